// SPDX-License-Identifier: MIT

// What is known of x86-64 Linux kernels, as data: one line a rule, each with its
// reason. The engines beside this file (PageClasses, EarlyCode,
// PhysicalConstants) read it; nothing here is an address or a version.

/// The rules for x86-64.
enum Rules {
    // MARK: Page classes

    /// Sets of pages that the kernel frees, protects or reserves as a whole.
    static let classes = [
        ClassRule(name: "text", start: "_text", end: "_etext"),
        ClassRule(name: "rodata", start: "__start_rodata", end: "__end_rodata"),
        ClassRule(name: "data", start: "_sdata", end: "__init_begin"),
        ClassRule(name: "init", start: "__init_begin", end: "__init_end"),
        ClassRule(name: "bss", start: "__bss_start", end: "__bss_stop"),
    ]

    /// Those among which pages may trade places when the kernel asks what lies in a frame.
    static let crossing = classes.map(\.name)

    /// Pages that stay by nature and that no percentage counts.
    static let exclusions = [
        ExclusionRule(
            start: "__start_bss_decrypted", end: "__end_bss_decrypted",
            reason: ".bss..decrypted: shared with a hypervisor by physical address"),
        ExclusionRule(
            start: "__smp_locks", end: "__smp_locks_end", reason: ".smp_locks: freed by its own range"),
        ExclusionRule(
            start: "__nosave_begin", end: "__nosave_end",
            reason: ".data_nosave: hibernation leaves it out by its physical range"),
        ExclusionRule(
            start: "__brk_base", end: "__brk_limit", reason: ".brk: given out as physical memory in early boot"),
    ]

    // MARK: Objects that the kernel addresses physically

    enum Extent: Sendable {
        /// The pages that the symbol's bytes touch.
        case object
        /// The pages of what the pointer in the first word points at, as many bytes as the second word says.
        case pointee
        /// The page that the pointer in the first word points into.
        case pointedPage
    }

    struct ObjectRule: Sendable {
        let symbol: String
        var extent = Extent.object
        let reason: String
        /// Functions that are all who use the object's frames as linear ones, by translating an address of each page that
        /// they use: when all that they translate asks a table, the rule demands nothing. Empty where somebody else does:
        /// the start of the kernel, hardware, firmware, a hypervisor, modules, or another kernel.
        var askers: [String] = []
        /// What they do with it, in the code of kernels that were looked at.
        var use = ""
    }

    private static let pageTable = "page table: the processor reads it by physical address"

    private static let eachPage =
        "adds the offset of the page that is wanted before it translates, so each page is asked for"

    /// Objects translated through a pointer or by other means that no physical constant in the image shows.
    static let objects = [
        ObjectRule(symbol: "init_top_pgt", reason: pageTable),
        ObjectRule(symbol: "early_top_pgt", reason: pageTable),
        ObjectRule(symbol: "pvh_init_top_pgt", reason: pageTable),
        ObjectRule(symbol: "level4_kernel_pgt", reason: pageTable),
        ObjectRule(symbol: "level3_kernel_pgt", reason: pageTable),
        ObjectRule(symbol: "level3_ident_pgt", reason: pageTable),
        ObjectRule(symbol: "level2_kernel_pgt", reason: pageTable),
        ObjectRule(symbol: "level2_ident_pgt", reason: pageTable),
        ObjectRule(symbol: "level2_fixmap_pgt", reason: pageTable),
        ObjectRule(symbol: "level1_fixmap_pgt", reason: pageTable),
        ObjectRule(symbol: "early_dynamic_pgts", reason: pageTable),
        ObjectRule(
            symbol: "bm_pte", reason: pageTable + " (early_ioremap_init installs it by __pa)",
            askers: ["early_ioremap_init"],
            use: "an entry of a page table, which is found again by the linear alias of the frame in it"),
        ObjectRule(
            symbol: "espfix_pud_page", reason: pageTable + " (init_espfix_bsp installs it by __pa)",
            askers: ["init_espfix_bsp"],
            use: "an entry of a page table; other processors write the page by its own address"),
        ObjectRule(symbol: "level3_user_vsyscall", reason: pageTable + " (Xen)"),
        ObjectRule(symbol: "dummy_mapping", reason: "Xen maps it by its frame number"),
        ObjectRule(symbol: "xen_remap_buf", reason: "Xen remaps through it by its frame number"),
        ObjectRule(
            symbol: "idt_table", reason: "mapped into the CPU entry area by __pa_symbol",
            askers: ["idt_setup_apic_and_irq_gates"],
            use:
                "an entry of the CPU entry area, whose address the processor gets; it becomes read-only by its own address"
        ),
        ObjectRule(symbol: "empty_zero_page", reason: "the zero page: mapped by its frame number (zero_pfn)"),
        ObjectRule(
            symbol: "__vsyscall_page", reason: "mapped for userspace by its physical address",
            askers: ["map_vsyscall"],
            use: "an entry of the fixed mappings"),
        ObjectRule(
            symbol: "__vvar_page", reason: "mapped for userspace by its frame number",
            askers: ["vvar_fault"],
            use: "the frame number of a page that is mapped for userspace"),
        ObjectRule(
            symbol: "vdso_image_64", extent: .pointee, reason: "vDSO: mapped by frame numbers",
            askers: ["vdso_fault"],
            use: eachPage),
        ObjectRule(
            symbol: "vdso_image_32", extent: .pointee, reason: "vDSO: mapped by frame numbers",
            askers: ["vdso_fault"],
            use: eachPage),
        ObjectRule(
            symbol: "vdso_image_x32", extent: .pointee, reason: "vDSO: mapped by frame numbers",
            askers: ["vdso_fault"],
            use: eachPage),
        ObjectRule(symbol: "init_thread_union", reason: "the first task's stack: in use before the mapping is live"),
        ObjectRule(symbol: "init_stack", reason: "the first task's stack: in use before the mapping is live"),
        ObjectRule(
            symbol: "initial_gs", extent: .pointedPage,
            reason: "the first CPU's data: in use before the mapping is live"
        ),
        ObjectRule(symbol: "boot_params", reason: "handed over by physical address"),
        ObjectRule(symbol: "restore_registers", reason: "resume from hibernation jumps to it physically"),
        ObjectRule(symbol: "relocate_kernel", reason: "kexec maps and runs it at its physical address"),
        ObjectRule(symbol: "__efi64_thunk_ret_tramp", reason: "EFI mixed mode maps it by its physical address"),
        ObjectRule(
            symbol: "asm_acpi_mp_play_dead", reason: "mapped at its physical address when a processor is handed back"),
        ObjectRule(symbol: "tsc_pg", reason: "Hyper-V writes the page by its frame number"),
        ObjectRule(symbol: "hv_extended_cap", reason: "Hyper-V writes it by its physical address"),
    ]

    struct LeftRule: Sendable {
        let function: String
        let reason: String
    }

    /// Functions with translations that cannot ask a table, and why none of them is of a page that could be released.
    static let leftAlone = [
        LeftRule(function: "arch_crash_save_vmcoreinfo", reason: "writes the offset itself down for crash dumps"),
        LeftRule(
            function: "__change_page_attr_set_clr",
            reason: "finds the image's address of a frame whose linear alias somebody else than the image changes"),
        LeftRule(
            function: "__efi64_thunk", reason: "finds where EFI mixed mode returns to, by its linear address"),
        LeftRule(
            function: "efi_thunk_query_variable_info",
            reason: "EFI mixed mode: what its callers pass, on their stacks and in allocated memory"),
        LeftRule(
            function: "__early_make_pgtable", reason: "goes from entries of the start's page tables to these tables"),
        LeftRule(
            function: "ds_update_cea", reason: "buffers that the processor writes its records of branches to, allocated"
        ),
        LeftRule(function: "init_real_mode", reason: "sizes of the real-mode code, in memory below the image"),
        LeftRule(
            function: "find_microcode_in_initrd",
            reason: "a variable of the loader of microcode by its linear address, for kernels of 32 bits"),
    ]

    /// Root tables; what they lead to is followed.
    static let rootTables = ["init_top_pgt", "early_top_pgt", "pvh_init_top_pgt"]

    // MARK: Early code

    /// Functions that early code calls and that are not followed; their pages move.
    enum Stop: Sendable {
        /// Never returns: the machine stops there.
        case halts
        /// Returns. Not followed, because of the reason given.
        case returns(String)
    }

    /// A `*` at the end stands for any rest of a name; what a compiler adds behind a dot does not count.
    static let notFollowed: [String: Stop] = [
        "panic": .halts,
        "__stack_chk_fail": .halts,
        "sev_es_terminate": .halts,
        "snp_abort": .halts,
        "__warn_printk": .returns("reports a bug"),
        "_printk": .returns("reports"),
        "printk": .returns("reports"),
        "early_printk": .returns("reports"),
        "exc_*": .returns("an exception's handler: runs with the kernel's own descriptor tables"),
        "xen_raw_printk": .returns("reports under Xen"),
        "xen_raw_console_write": .returns("reports under Xen"),
        "xen_pvh_init": .returns("under Xen only, where the mapping is live"),
        "mem_map_via_hcall": .returns("under Xen only, where the mapping is live"),
    ]

    static func stop(_ name: String) -> Stop? {
        let name = name.prefix { $0 != "." }
        return notFollowed[String(name)]
            ?? notFollowed.first { $0.key.hasSuffix("*") && name.hasPrefix($0.key.dropLast()) }?.value
    }

    /// No kernel seen runs through more functions before its mapping is live.
    static let earlyFunctionLimit = 160

    /// Where the kernel begins besides the ELF entry and the PVH entry.
    static let earlyEntries = ["secondary_startup_64"]

    // MARK: The hook of the boot stub

    /// Where the kernel's first C code calls start_kernel.
    static let startFunctions = ["x86_64_start_reservations", "x86_64_start_kernel"]

    // MARK: Symbols that the plan itself uses

    static let planSymbols: Set<String> = [
        "_text", "_end", "_sinittext", "__per_cpu_load", "__per_cpu_start", "__per_cpu_end", "level2_kernel_pgt",
        "init_top_pgt", "start_kernel", "memblock_reserve",
        "x86_64_start_kernel", "__text_poke", "core_kernel_text", "pti_init", "pti_clone_pgtable", "_printk", "printk",
        "debugfs_create_blob",
        "page_offset_base", "phys_base", "boot_params", "boot_command_line", "__cfi_start_kernel", "__initcall7_start",
        "__initcall_end",
        "linux_banner", "mark_rodata_ro",
    ]

    /// What memblock_reserve writes.
    static let memblock = ["memblock", "memblock_reserved_init_regions", "memblock_memory_init_regions"]

    static var allSymbols: Set<String> {
        planSymbols
            .union(classes.flatMap { [$0.start, $0.end] })
            .union(exclusions.flatMap { [$0.start, $0.end] })
            .union(objects.map(\.symbol))
            .union(objects.flatMap(\.askers))
            .union(leftAlone.map(\.function))
            .union(earlyEntries)
            .union(startFunctions)
            .union(memblock)
            .union(PatchSites.symbols)
    }
}
