// SPDX-License-Identifier: MIT

// A piece of an address space. Ranges are closed, since the last one of a kernel
// ends with the last address that there is.

/// What a piece of an address space is for.
public enum RegionKind: String, CaseIterable, Encodable, Sendable {
    case user = "user space"
    case hole = "canonical hole"
    case linear = "linear map"
    case vmalloc
    case vmemmap
    case modules
    case kernel
    case fixmap
    case pciIO = "PCI I/O"
    case kasan = "KASAN shadow"
    case localDescriptors = "LDT remap"
    case cpuEntryArea = "cpu_entry_area"
    case fixupStacks = "%esp fixup stacks"
    case firmware = "EFI runtime"
    case vsyscall
    case guardHole = "guard hole"
}

/// A range of virtual addresses and what it is for.
public struct Region: Equatable, Sendable {
    public let kind: RegionKind
    public let range: ClosedRange<UInt64>
    /// What lies around it, if that is another region.
    public let inside: RegionKind?
    /// Whether KASLR moves it at boot; then the range is where it lies without (`nokaslr`).
    public let isRandomized: Bool

    public init(
        _ kind: RegionKind, _ range: ClosedRange<UInt64>, inside: RegionKind? = nil, isRandomized: Bool = false
    ) {
        self.kind = kind
        self.range = range
        self.inside = inside
        self.isRandomized = isRandomized
    }

    /// In bytes; nil for all 2^64.
    public var byteCount: UInt64? {
        let (count, overflow) = (range.upperBound - range.lowerBound).addingReportingOverflow(1)
        return overflow ? nil : count
    }
}

/// A number of bytes in the unit that gives the shortest exact number, `256 GB`; a unit is 1024 of the one before.
public func bytesText(_ bytes: UInt64) -> String {
    let units = ["bytes", "KB", "MB", "GB", "TB", "PB", "EB"]
    var unit = 0
    var count = bytes
    // Halves and quarters may stay: 0.5 TB says more than 512 GB.
    while count >= 1024, count & 255 == 0, unit < units.count - 1 {
        if count & 1023 != 0 && count < 1024 { break }
        if count & 1023 != 0 {
            return "\(count >> 10).\([256: "25", 512: "5", 768: "75"][count & 1023] ?? "0") \(units[unit + 1])"
        }
        count >>= 10
        unit += 1
    }
    return "\(count) \(units[unit])"
}
