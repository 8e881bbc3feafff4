// SPDX-License-Identifier: MIT

// Where a kernel tells userspace about itself: knowledge of Linux, one rule a
// line. Files that no rule names are counted under the tree they are in.

struct Interface {
    /// A path, or the beginning of one.
    let path: String
    let what: String

    static let all = [
        Interface(path: "/proc/cmdline", what: "the kernel's command line"),
        Interface(path: "/proc/iomem", what: "what lies where in physical memory"),
        Interface(path: "/proc/kallsyms", what: "addresses of symbols"),
        Interface(path: "/proc/modules", what: "addresses of modules"),
        Interface(path: "/proc/vmallocinfo", what: "mappings of vmalloc, of physical memory among them"),
        Interface(path: "/proc/kcore (memory)", what: "tables of kperm's in the kernel's memory as a core file"),
        Interface(path: "/proc/kcore", what: "that file's headers, VMCOREINFO among them"),
        Interface(path: "/proc/kpageflags", what: "a word for each frame: its use"),
        Interface(path: "/proc/kpagecount", what: "a word for each frame: its mappings"),
        Interface(path: "/proc/kpagecgroup", what: "a word for each frame: its group"),
        Interface(path: "/proc/self/maps", what: "the process's own addresses"),
        Interface(path: "/proc/self/pagemap", what: "frames of the process's own pages, of its vDSO among them"),
        Interface(path: "/proc/sys/", what: "settings"),
        Interface(path: "/proc/self/", what: "the process's own other files"),
        Interface(path: "/proc/", what: "all other files there"),
        Interface(path: "/sys/kernel/notes", what: "notes of the image"),
        Interface(path: "/sys/kernel/vmcoreinfo", what: "where the notes for a crash dump are"),
        Interface(path: "/sys/kernel/boot_params/", what: "what the loader handed over"),
        Interface(path: "/sys/kernel/btf/", what: "the kernel's types"),
        Interface(path: "/sys/kernel/debug/kperm", what: "what kperm's stub says of itself"),
        Interface(path: "/sys/kernel/debug", what: "all other files there"),
        Interface(path: "/sys/firmware/", what: "tables of the firmware"),
        Interface(path: "/sys/devices/system/memory", what: "blocks of memory"),
        Interface(path: "/sys/module/", what: "modules: parameters, sections"),
        Interface(path: "/sys/", what: "all other files there"),
        Interface(path: "/dev/kmsg", what: "the kernel's log"),
        Interface(path: "syslog(2)", what: "the kernel's log"),
        Interface(path: "/dev/mem", what: "physical memory"),
    ]

    /// The rule for a file: the one that names most of its path.
    static func index(of path: String) -> Int? {
        all.indices.filter { path.hasPrefix(all[$0].path) }.max { all[$0].path.count < all[$1].path.count }
    }
}
