// SPDX-License-Identifier: MIT

// What is known of the places where x86-64 Linux goes by ranges of frames, as
// data: one line a place, each with its reason. FrameTestFinder.swift holds a
// kernel's code against it; what is in neither list is refused.

enum FrameRules {
    /// A comparison of frames with those of the pages from one marker up to another.
    struct Range {
        let functions: [String]
        let start: String
        let end: String
        let reason: String
    }

    static let ranges = [
        Range(
            functions: [
                "protect_rodata", "static_protections", "__should_split_large_page", "__change_page_attr",
                "__change_page_attr_set_clr",
            ], start: "__start_rodata", end: "__end_rodata",
            reason: "what must stay read-only is told by the page in a frame"),
        Range(
            functions: ["check_kernel_text_object", "__check_object_size"], start: "_stext", end: "_etext",
            reason: "copies to and from user space are kept off text by the page in a frame"),
    ]

    /// Where an address of the image is made of a frame.
    static let names = (
        functions: ["cpa_process_alias", "__change_page_attr_set_clr"],
        reason: "when the rights of a frame change, they change at the address of the page in it"
    )

    private static let whole = "the frames of the whole image, which stay its own"
    private static let mixedMode = "for 32-bit EFI firmware, which starts no vmlinux"

    /// What is right wherever pages are.
    static let harmless: [(function: String, reason: String)] = [
        ("crash_prepare_elf64_headers", whole),
        ("init_mem_mapping", whole),
        ("xen_memory_setup", whole),
        ("efi_reserve_boot_services", whole),
        (
            "setup_arch",
            "reserves the frames of the whole image; four ranges in /proc/iomem that nothing but their sum is used of"
        ),
        ("pfn_is_nosave", "frames of .data_nosave, which stays"),
        ("efi_setup_page_tables", mixedMode),
        ("__efi64_thunk", mixedMode),
        ("__early_make_pgtable", "page tables of the start, which stay"),
        ("init_real_mode", "the size of a part of what is copied to low memory"),
        ("arch_crash_save_vmcoreinfo", "hands the offset to readers of crash dumps, which need the table with it"),
        ("find_microcode_in_initrd", "uses nothing of what it reads"),
    ]
}
