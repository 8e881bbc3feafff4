// SPDX-License-Identifier: MIT

// Where Linux puts things under a paging mode: data, one region a line, each
// layout with the documents it was taken from. The numbers are those of kernels
// without KASAN and without KASLR.

/// The address space of a kernel under a paging mode.
public struct AddressLayout: Sendable {
    public let mode: PagingMode
    /// The Linux release whose documents and sources were read.
    public let release: String
    /// Documents and files of the kernel's source.
    public let sources: [String]
    /// Ascending by first address; what lies inside another region follows it.
    public let regions: [Region]

    /// The releases of which layouts are known, the usual one first. (arm64's of 6.12 is not: its document and its
    /// headers do not agree.)
    public static let releases = ["6.1", "6.12"]

    public static let modeNames = ["sv39", "sv48", "sv57", "x86-4", "x86-5", "arm64-39", "arm64-48"]

    /// The layout of a mode in a release; nil when none is known.
    public static func named(_ mode: String, release: String = "6.1") -> Self? {
        guard releases.contains(release) else { return nil }
        return switch mode {
        case "sv39": riscv(3, release)
        case "sv48": riscv(4, release)
        case "sv57": riscv(5, release)
        case "x86-4": x86(4, release)
        case "x86-5": x86(5, release)
        case "arm64-39" where release == "6.1": arm64(39)
        case "arm64-48" where release == "6.1": arm64(48)
        default: nil
        }
    }

    init(_ mode: PagingMode, _ release: String, sources: [String], _ regions: [Region]) {
        self.mode = mode
        self.release = release
        self.sources = sources
        let last = UInt64(1) << UInt64(mode.halfBits) - 1
        let all = [Region(.user, 0...last), Region(.hole, mode.hole)] + regions
        self.regions = all.sorted { a, b in
            (a.range.lowerBound, b.range.upperBound) < (b.range.lowerBound, a.range.upperBound)
        }
    }

    /// The first region of a kind; of most there is one.
    public func region(_ kind: RegionKind) -> Region? { regions.first { $0.kind == kind } }

    /// What an address belongs to: the innermost region.
    public func region(at address: UInt64) -> Region? { regions.last { $0.range.contains(address) } }
}

// MARK: RISC-V

extension AddressLayout {
    /// Where the linear map begins (`PAGE_OFFSET`): the one number that a mode decides by itself.
    private static func riscvPageOffset(_ levels: Int, _ release: String) -> UInt64 {
        switch levels {
        case 3: release == "6.1" ? 0xffff_ffd8_0000_0000 : 0xffff_ffd6_0000_0000
        case 4: 0xffff_af80_0000_0000
        default: 0xff60_0000_0000_0000
        }
    }

    private static func riscv(_ levels: Int, _ release: String) -> Self {
        let mode = PagingMode.riscv(levels)
        let pageOffset = riscvPageOffset(levels, release)
        // All else hangs on it: a quarter of the kernel's half each for the linear map and, halved again, for vmalloc.
        let half = UInt64(1) << UInt64(mode.halfBits)
        let linear = half / 2
        let vmalloc = pageOffset - half / 4
        // A `struct page` of 64 bytes for each page of one half.
        let vmemmap = vmalloc - half / 4096 * 64
        let pciIO = vmemmap - 16 << 20
        let fixmap = pciIO - 6 << 20
        let isOld = release == "6.1"
        let documents = isOld ? "Documentation/riscv/vm-layout.rst" : "Documentation/arch/riscv/vm-layout.rst"
        return Self(
            mode, release,
            sources: [
                "\(documents) (Linux \(release)\(levels == 5 && isOld ? "; Sv57 follows from the headers" : ""))",
                "arch/riscv/include/asm/page.h, pgtable.h"
                    + (levels == 3 && isOld ? " (the document gives the last 4 GB of the linear map to KASAN)" : ""),
            ],
            [
                Region(.fixmap, fixmap...pciIO - 1), Region(.pciIO, pciIO...vmemmap - 1),
                Region(.vmemmap, vmemmap...vmalloc - 1), Region(.vmalloc, vmalloc...pageOffset - 1),
                Region(.linear, pageOffset...pageOffset + linear - 1),
                Region(.modules, 0xffff_ffff_0000_0000...0xffff_ffff_7fff_ffff),
                Region(.kernel, 0xffff_ffff_8000_0000...UInt64.max, isRandomized: !isOld),
            ])
    }
}

// MARK: x86-64

extension AddressLayout {
    private static func x86(_ levels: Int, _ release: String) -> Self {
        let documents =
            release == "6.1" ? "Documentation/x86/x86_64/mm.rst" : "Documentation/arch/x86/x86_64/mm.rst"
        let own: [Region] =
            levels == 4
            ? [
                Region(.guardHole, 0xffff_8000_0000_0000...0xffff_87ff_ffff_ffff),
                Region(.localDescriptors, 0xffff_8800_0000_0000...0xffff_887f_ffff_ffff),
                Region(.linear, 0xffff_8880_0000_0000...0xffff_c87f_ffff_ffff, isRandomized: true),
                Region(.vmalloc, 0xffff_c900_0000_0000...0xffff_e8ff_ffff_ffff, isRandomized: true),
                Region(.vmemmap, 0xffff_ea00_0000_0000...0xffff_eaff_ffff_ffff, isRandomized: true),
                Region(.kasan, 0xffff_ec00_0000_0000...0xffff_fbff_ffff_ffff),
            ]
            : [
                Region(.guardHole, 0xff00_0000_0000_0000...0xff0f_ffff_ffff_ffff),
                Region(.localDescriptors, 0xff10_0000_0000_0000...0xff10_ffff_ffff_ffff),
                Region(.linear, 0xff11_0000_0000_0000...0xff90_ffff_ffff_ffff, isRandomized: true),
                Region(.vmalloc, 0xffa0_0000_0000_0000...0xffd1_ffff_ffff_ffff, isRandomized: true),
                Region(.vmemmap, 0xffd4_0000_0000_0000...0xffd5_ffff_ffff_ffff, isRandomized: true),
                Region(.kasan, 0xffdf_0000_0000_0000...0xffff_fbff_ffff_ffff),
            ]
        return Self(
            .x86(levels), release,
            sources: [
                "\(documents) (Linux \(release))", "arch/x86/include/asm/pgtable_64_types.h",
                "arch/x86/include/asm/page_64_types.h: the kernel has 1 GB with CONFIG_RANDOMIZE_BASE, else the "
                    + "document's 512 MB",
            ],
            own + [
                Region(.cpuEntryArea, 0xffff_fe00_0000_0000...0xffff_fe7f_ffff_ffff),
                Region(.fixupStacks, 0xffff_ff00_0000_0000...0xffff_ff7f_ffff_ffff),
                Region(.firmware, 0xffff_ffef_0000_0000...0xffff_fffe_ffff_ffff),
                Region(.kernel, 0xffff_ffff_8000_0000...0xffff_ffff_bfff_ffff, isRandomized: true),
                Region(.modules, 0xffff_ffff_c000_0000...0xffff_ffff_feff_ffff),
                Region(.fixmap, 0xffff_ffff_ff00_0000...0xffff_ffff_ff5f_ffff),
                Region(.vsyscall, 0xffff_ffff_ff60_0000...0xffff_ffff_ff60_0fff),
            ])
    }
}

// MARK: arm64

extension AddressLayout {
    private static func arm64(_ bits: Int) -> Self {
        let mode = PagingMode.arm64(bits)
        let pageOffset = 0 &- UInt64(1) << UInt64(bits)
        let pageEnd = 0 &- UInt64(1) << UInt64(bits - 1)
        let modulesEnd = pageEnd + 128 << 20
        // A `struct page` of 64 bytes for each page of the linear map.
        let vmemmap = 0 &- UInt64(1) << UInt64(bits - 6)
        let fixmap = vmemmap - 256 << 20
        return Self(
            mode, "6.1",
            sources: [
                "Documentation/arm64/memory.rst (Linux 6.1\(bits == 39 ? "; 39 bits follow from the headers" : ""))",
                "arch/arm64/include/asm/memory.h, pgtable.h",
            ],
            [
                Region(.linear, pageOffset...pageEnd - 1, isRandomized: true),
                Region(.modules, pageEnd...modulesEnd - 1, isRandomized: true),
                Region(.vmalloc, modulesEnd...fixmap - 1),
                // It begins at KIMAGE_VADDR, the region's first address; with KASLR anywhere in it.
                Region(.kernel, modulesEnd...fixmap - 1, inside: .vmalloc, isRandomized: true),
                Region(.fixmap, fixmap...vmemmap - 32 << 20 - 1),
                Region(.pciIO, vmemmap - 24 << 20...vmemmap - 8 << 20 - 1),
                Region(.vmemmap, vmemmap...vmemmap + (pageEnd - pageOffset) / 64 - 1),
            ])
    }
}
