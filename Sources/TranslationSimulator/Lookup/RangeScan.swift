// SPDX-License-Identifier: MIT

// XNU's way (`phystokv` on arm64): a list of ranges, from the first on until one
// fits. XNU has eight; how many a permutation has, the granule decides.

public import Addressing
public import PagePermutation

/// Ranges of bytes, scanned in the order of their virtual addresses.
public struct RangeScan: LookupStrategy, ~Copyable {
    private struct Range: BitwiseCopyable {
        var virtual: UInt64
        var physical: UInt64
        var bytes: UInt64
    }

    private let linear: LinearOffset
    private let table: LookupMemory
    public let rangeCount: Int

    public init(_ table: TranslationTable) {
        linear = LinearOffset(table)
        let runs = Run.all(table.forward)
        let ends = runs.dropFirst().map(\.first) + [UInt32(table.pageCount)]
        rangeCount = runs.count
        var memory = LookupMemory(byteCount: runs.count * MemoryLayout<Range>.stride)
        for (i, (run, end)) in zip(runs, ends).enumerated() {
            let frame = UInt64(run.first &+ run.distance)
            let range = Range(
                virtual: table.virtualBase.rawValue &+ UInt64(run.first) << 12,
                physical: table.physicalBase.rawValue &+ frame << 12, bytes: UInt64(end - run.first) << 12)
            memory.store(range, 0, i)
        }
        self.table = memory
    }

    public var name: String { "scan of \(rangeCount) range\(rangeCount == 1 ? "" : "s")" }
    public var tableBytes: Int { table.byteCount }
    public var cacheLines: Int { 1 + lines(table.byteCount) }
    public var orderDependence: String? { "bytes, steps: the number of ranges" }
    public var memory: UnsafeRawBufferPointer { unsafe table.bytes }

    @inline(__always)
    public func physicalAddress(of address: VirtualAddress) -> PhysicalAddress {
        for i in 0..<rangeCount {
            let range = table.load(0, UInt64(truncatingIfNeeded: i), as: Range.self)
            let offset = address.rawValue &- range.virtual
            if offset < range.bytes { return PhysicalAddress(range.physical &+ offset) }
        }
        return linear.physicalAddress(of: address)
    }

    @inline(__always)
    public func virtualAddress(of address: PhysicalAddress) -> VirtualAddress {
        for i in 0..<rangeCount {
            let range = table.load(0, UInt64(truncatingIfNeeded: i), as: Range.self)
            let offset = address.rawValue &- range.physical
            if offset < range.bytes { return VirtualAddress(range.virtual &+ offset) }
        }
        return linear.virtualAddress(of: address)
    }
}
