// SPDX-License-Identifier: MIT

// A kernel without CONFIG_KALLSYMS_ALL knows the names of its functions and of
// nothing else. What a plan needs of its data is then found by these rules, each
// with its reason; SymbolRecovery.swift applies them. A place is taken only where
// the image's sections and the code that uses it say the same, and an object
// only where a function that is known to use it does so. Too much may be pinned
// that way, too little not: where a rule finds nothing, the kernel is refused.

extension Rules {
    // MARK: Linker's markers

    /// What section headers say of a marker.
    enum SectionPlace: Sendable {
        /// Where the first of these sections that is there begins.
        case start([String])
        /// Where it ends.
        case end([String])
        /// Where its last page ends.
        case pageEnd([String])
        /// Where the last page ends of what lies before it.
        case pageEndBefore(String)
    }

    struct MarkerRule: Sendable {
        let symbol: String
        let place: SectionPlace
        /// Functions that use it: one of those that are there must name the same address.
        let users: [String]
        /// Whether a kernel may do without the section.
        var isOptional = false
    }

    private static let clearing = ["clear_bss", "x86_64_start_kernel"]

    static let markers = [
        MarkerRule(symbol: "__start_rodata", place: .start([".rodata"]), users: ["mark_rodata_ro"]),
        MarkerRule(symbol: "__end_rodata", place: .pageEndBefore(".data"), users: ["mark_rodata_ro"]),
        MarkerRule(symbol: "_sdata", place: .start([".data"]), users: ["mark_rodata_ro"]),
        MarkerRule(
            symbol: "__init_begin", place: .start([".data..percpu", ".init.text"]), users: ["free_initmem"]),
        MarkerRule(
            symbol: "__init_end", place: .start([".smp_locks", ".data_nosave", ".bss"]), users: ["free_initmem"]),
        MarkerRule(symbol: "__bss_start", place: .start([".bss"]), users: clearing),
        MarkerRule(symbol: "__bss_stop", place: .end([".bss"]), users: clearing),
        MarkerRule(symbol: "__brk_base", place: .start([".brk"]), users: clearing),
        MarkerRule(symbol: "__brk_limit", place: .end([".brk"]), users: clearing),
        MarkerRule(symbol: "_end", place: .pageEnd([".brk"]), users: ["__startup_64"]),
        MarkerRule(
            symbol: "__smp_locks", place: .start([".smp_locks"]), users: ["alternative_instructions"], isOptional: true),
        MarkerRule(
            symbol: "__smp_locks_end", place: .end([".smp_locks"]), users: ["alternative_instructions"],
            isOptional: true),
        MarkerRule(
            symbol: "__nosave_begin", place: .start([".data_nosave"]), users: ["pfn_is_nosave"], isOptional: true),
        MarkerRule(
            symbol: "__nosave_end", place: .end([".data_nosave"]), users: ["pfn_is_nosave"], isOptional: true),
        MarkerRule(symbol: "__per_cpu_load", place: .start([".data..percpu"]), users: [], isOptional: true),
    ]

    /// Lists that are sections of their own, from the first marker to the second. Only a check of a running kernel reads
    /// these and the next, so none is needed.
    static let lists = [
        (section: ".parainstructions", start: "__parainstructions", end: "__parainstructions_end"),
        (section: ".altinstructions", start: "__alt_instructions", end: "__alt_instructions_end"),
        (section: ".retpoline_sites", start: "__retpoline_sites", end: "__retpoline_sites_end"),
        (section: ".return_sites", start: "__return_sites", end: "__return_sites_end"),
        (section: ".call_sites", start: "__call_sites", end: "__call_sites_end"),
        (section: ".cfi_sites", start: "__cfi_sites", end: "__cfi_sites_end"),
        (section: ".ibt_endbr_seal", start: "__ibt_endbr_seal", end: "__ibt_endbr_seal_end"),
    ]

    /// Lists whose borders a function subtracts from one another to count their entries.
    static let countedLists = [
        (start: "__start_mcount_loc", end: "__stop_mcount_loc", users: ["ftrace_init"]),
        (start: "__start___jump_table", end: "__stop___jump_table", users: ["jump_label_init"]),
    ]

    // MARK: Objects

    /// How an object is known among what a function names.
    enum Sign: Sendable {
        /// A page table that leads to the kernel's own mapping of the image.
        case rootTable
        /// Each address of data at the start of a page, and each that a word which the function reads points to.
        case page
        /// Each address in the read-only data or in what is initialized.
        case any
        /// The word that is loaded for the register which holds the first CPU's data (MSR 0xc0000101). Newer kernels
        /// load an address there, which needs no name.
        case perCPUBase
        /// Named as it is and 0x228 bytes further, where boot parameters hold the address of the command line.
        case bootParameters
        /// The address as such, of data that goes with the init pages and that setup_arch names, too.
        case initData
        /// An array of pages, as many as the function counts to.
        case countedPages
        /// Nine ascending addresses: the levels of initcalls, and their end.
        case initcalls
        /// A list of memory ranges with its name behind it.
        case memoryRanges
    }

    struct UsedObjectRule: Sendable {
        let symbol: String
        /// In bytes; more than it has is pinned, too.
        let size: UInt64
        let sign: Sign
        /// Functions that use it. A kernel that has none of them does not have the object.
        let users: [String]
        /// Whether no kernel does without.
        var isNeeded = false
        let reason: String
    }

    private static let startup = ["secondary_startup_64"]

    static let usedObjects = [
        UsedObjectRule(
            symbol: "init_top_pgt", size: 8192, sign: .rootTable, users: startup, isNeeded: true,
            reason: "a CPU's start puts it into CR3; with page-table isolation it has a second page"),
        UsedObjectRule(
            symbol: "early_top_pgt", size: 8192, sign: .page, users: ["startup_64"], isNeeded: true,
            reason: "the start puts it into CR3; with page-table isolation it has a second page"),
        UsedObjectRule(
            symbol: "early_dynamic_pgts", size: 0, sign: .countedPages, users: ["__early_make_pgtable"],
            isNeeded: true, reason: "the tables that early page faults are mapped with"),
        UsedObjectRule(
            symbol: "initial_gs", size: 8, sign: .perCPUBase, users: ["startup_64"],
            reason: "the start loads it into the register of the first CPU's data"),
        UsedObjectRule(
            symbol: "boot_params", size: 4096, sign: .bootParameters, users: bootData, isNeeded: true,
            reason: "the start copies the loader's parameters there"),
        UsedObjectRule(
            symbol: "boot_command_line", size: 2048, sign: .initData, users: bootData, isNeeded: true,
            reason: "the start copies the command line there"),
        UsedObjectRule(
            symbol: "bm_pte", size: 4096, sign: .page, users: ["early_ioremap_init"], isNeeded: true,
            reason: "early_ioremap_init installs it by __pa"),
        UsedObjectRule(
            symbol: "espfix_pud_page", size: 4096, sign: .page, users: ["init_espfix_bsp"],
            reason: "init_espfix_bsp installs it by __pa"),
        UsedObjectRule(
            symbol: "level3_user_vsyscall", size: 4096, sign: .page, users: ["xen_setup_kernel_pagetable"],
            reason: "Xen pins it"),
        UsedObjectRule(
            symbol: "dummy_mapping", size: 4096, sign: .page, users: ["xen_set_fixmap"],
            reason: "Xen maps it by its frame number"),
        UsedObjectRule(
            symbol: "xen_remap_buf", size: 4096, sign: .page, users: ["xen_remap_memory"],
            reason: "Xen remaps through it by its frame number"),
        UsedObjectRule(
            symbol: "idt_table", size: 4096, sign: .page, users: ["idt_setup_apic_and_irq_gates"], isNeeded: true,
            reason: "mapped into the CPU entry area by __pa_symbol"),
        UsedObjectRule(
            symbol: "__vsyscall_page", size: 4096, sign: .page, users: ["map_vsyscall"],
            reason: "mapped for userspace by its physical address"),
        UsedObjectRule(
            symbol: "tsc_pg", size: 4096, sign: .page, users: ["hv_get_tsc_page"],
            reason: "Hyper-V writes the page by its frame number"),
        UsedObjectRule(
            symbol: "hv_extended_cap", size: 8, sign: .any, users: ["hv_query_ext_cap"],
            reason: "Hyper-V writes it by its physical address"),
        UsedObjectRule(
            symbol: "__efi64_thunk_ret_tramp", size: 16, sign: .any, users: ["efi_setup_page_tables"],
            reason: "EFI mixed mode maps it by its physical address"),
        UsedObjectRule(
            symbol: "initcall_levels", size: 72, sign: .initcalls, users: ["do_initcalls", "kernel_init_freeable"],
            reason: "a late initcall says that the kernel is permuted"),
        UsedObjectRule(
            symbol: "memblock", size: 64, sign: .memoryRanges, users: ["memblock_reserve", "memblock_add"],
            reason: "reserving memory writes it"),
    ]

    private static let bootData = ["copy_bootdata", "x86_64_start_kernel", "x86_64_start_reservations"]

    /// Data that modules may use: the kernel lists it by name, whatever kallsyms lists. Users as for a marker.
    static let exported: [(symbol: String, size: UInt64, users: [String])] = [
        ("phys_base", 8, startup),
        ("page_offset_base", 8, bootData),
        ("empty_zero_page", 4096, []),
    ]

    // MARK: Sizes

    /// No object without a name that early code or a physical address names is larger, in bytes; the rules above give
    /// those that are.
    static let largestUnnamed: UInt64 = 4096
    /// Nor one that early code indexes: eight bytes for each CPU that Linux can have.
    static let largestArray: UInt64 = 65536
    /// No kernel's stacks are larger, in bytes.
    static let largestStack: UInt64 = 32768
}
