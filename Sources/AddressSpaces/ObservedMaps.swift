// SPDX-License-Identifier: MIT

// What a running kernel has mapped, or says that it has, held against a layout.
// Five forms are read, as they are printed by others:
//
//     ffff888000000000-ffff888000009a00 0000000000009a00 -rw     QEMU's `info mem` on x86
//     ffffffc6fea00000 0000000080200000 0000000000200000 rwx---- QEMU's `info mem` on RISC-V
//     vmalloc : 0xffffaf8000000000 - 0xffffcf8000000000 (  32 TB) the kernel's log (DEBUG_VM)
//     NUMBER(VMALLOC_START)=0xffff800008000000                   VMCOREINFO, which lies in the kernel's memory
//     vmalloc_base = 0xffa0000000000000                          x86's variables, as a debugger shows them
//
// All other lines are passed over.

/// A range that is mapped, by its own name if it has one.
public struct ObservedRange: Equatable, Sendable {
    public let line: Int
    public let kind: RegionKind?
    public let range: ClosedRange<UInt64>
    /// Whether the range is the region's first or last byte only, and has to be just that.
    public let border: Border?

    public enum Border: Sendable { case first, last }
}

/// What was observed of a kernel, against a layout.
public struct LayoutCheck: Sendable {
    public struct Row: Sendable {
        public let kind: RegionKind
        /// Mapped ranges in it, and their bytes; of borders alone there are none.
        public let ranges: Int
        public let bytes: UInt64
    }

    public let rows: [Row]
    /// What does not fit the layout.
    public let findings: [String]

    public init(_ layout: AddressLayout, _ observed: [ObservedRange]) {
        var counts: [RegionKind: (ranges: Int, bytes: UInt64)] = [:]
        var findings: [String] = []
        for one in observed {
            let text = "line \(one.line): \(one.range.lowerBound.hexadecimal) … \(one.range.upperBound.hexadecimal)"
            if let kind = one.kind {
                guard let region = layout.region(kind) else {
                    findings.append("\(text): the layout has no \(kind.rawValue)")
                    continue
                }
                // A linear map ends with the memory, modules begin with the image: what is printed lies within.
                guard region.range.contains(one.range.lowerBound), region.range.contains(one.range.upperBound) else {
                    findings.append(
                        "\(text): \(kind.rawValue) lies at \(region.range.lowerBound.hexadecimal) … "
                            + "\(region.range.upperBound.hexadecimal) in the layout")
                    continue
                }
                let doubt = region.isRandomized ? "; was it booted with nokaslr?" : ""
                let begins = one.border == .first || one.border == nil && kind == .linear
                if begins, one.range.lowerBound != region.range.lowerBound {
                    findings.append(
                        "\(text): \(kind.rawValue) begins at \(region.range.lowerBound.hexadecimal) in the layout"
                            + doubt)
                    continue
                }
                if one.border == .last, one.range.upperBound != region.range.upperBound {
                    findings.append(
                        "\(text): \(kind.rawValue) ends at \(region.range.upperBound.hexadecimal) in the layout"
                            + doubt)
                    continue
                }
                counts[kind, default: (0, 0)].ranges += 1
                counts[kind, default: (0, 0)].bytes +=
                    one.border != nil ? 0 : one.range.upperBound - one.range.lowerBound + 1
                continue
            }
            // One mapping may run on from a region into the next.
            var start = one.range.lowerBound
            while true {
                guard let region = layout.region(at: start) else {
                    findings.append("\(text): \(start.hexadecimal) belongs to no region")
                    break
                }
                guard ![.hole, .guardHole, .kasan].contains(region.kind) else {
                    findings.append(
                        "\(text): \(start.hexadecimal) lies in the \(region.kind.rawValue), where nothing is mapped")
                    break
                }
                let end = min(region.range.upperBound, one.range.upperBound)
                counts[region.kind, default: (0, 0)].ranges += 1
                counts[region.kind, default: (0, 0)].bytes += end - start + 1
                if end == one.range.upperBound { break }
                start = end + 1
            }
        }
        rows = RegionKind.allCases.compactMap { kind in
            counts[kind].map { Row(kind: kind, ranges: $0.ranges, bytes: $0.bytes) }
        }
        self.findings = findings
    }
}

extension ObservedRange {
    /// The names that kernels print of their regions.
    private static let names: [String: RegionKind] = [
        "fixmap": .fixmap, "pci io": .pciIO, "vmemmap": .vmemmap, "vmalloc": .vmalloc, "modules": .modules,
        "lowmem": .linear, "kasan": .kasan, "kernel": .kernel,
    ]

    /// What holds or says a border of a region; a last border is where the next thing begins.
    private static let borders: [String: (kind: RegionKind, border: Border)] = [
        "page_offset_base": (.linear, .first), "vmalloc_base": (.vmalloc, .first), "vmemmap_base": (.vmemmap, .first),
        "NUMBER(PAGE_OFFSET)": (.linear, .first),
        "NUMBER(VMALLOC_START)": (.vmalloc, .first), "NUMBER(VMALLOC_END)": (.vmalloc, .last),
        "NUMBER(VMEMMAP_START)": (.vmemmap, .first), "NUMBER(VMEMMAP_END)": (.vmemmap, .last),
        "NUMBER(KERNEL_LINK_ADDR)": (.kernel, .first),
    ]

    /// All ranges that lines of text speak of.
    public static func all(in text: String) -> [Self] {
        text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { number, line in
            printed(line, number + 1) ?? border(line, number + 1) ?? mapped(line, number + 1)
        }
    }

    /// A line of `info mem`.
    private static func mapped(_ line: Substring, _ number: Int) -> Self? {
        let words = line.split { $0 == " " || $0 == "\r" }
        guard words.count >= 3 else { return nil }
        let ends = words[0].split(separator: "-")
        if ends.count == 2, let start = address(ends[0]), let end = address(ends[1]) {
            return make(number, nil, start, end &- 1)
        }
        guard words.count >= 4, let start = address(words[0]), address(words[1]) != nil, let size = address(words[2]),
            size > 0
        else { return nil }
        return make(number, nil, start, start &+ (size - 1))
    }

    /// A line of the kernel's "Virtual kernel memory layout".
    private static func printed(_ line: Substring, _ number: Int) -> Self? {
        guard let match = line.firstMatch(of: /([a-z][a-z ]*?)\s*: 0x([0-9a-f]+) - 0x([0-9a-f]+)/),
            let kind = names[String(match.1)], let start = UInt64(match.2, radix: 16),
            let end = UInt64(match.3, radix: 16)
        else { return nil }
        // Linux prints where the next thing begins; of the last region, the last address.
        return make(number, kind, start, end == .max ? end : end &- 1)
    }

    /// A name and the border that it stands for.
    private static func border(_ line: Substring, _ number: Int) -> Self? {
        let words = line.split { " =\r".contains($0) }
        guard words.count == 2, let (kind, border) = borders[String(words[0])], words[1].hasPrefix("0x"),
            let value = UInt64(words[1].dropFirst(2), radix: 16)
        else { return nil }
        let address = border == .last && value != .max ? value &- 1 : value
        return Self(line: number, kind: kind, range: address...address, border: border)
    }

    private static func make(_ line: Int, _ kind: RegionKind?, _ start: UInt64, _ last: UInt64) -> Self? {
        start <= last ? Self(line: line, kind: kind, range: start...last, border: nil) : nil
    }

    /// Sixteen hexadecimal digits.
    private static func address(_ text: Substring) -> UInt64? { text.count == 16 ? UInt64(text, radix: 16) : nil }
}

extension UInt64 {
    /// As the kernel's documents write addresses.
    public var hexadecimal: String {
        let digits = String(self, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
