// SPDX-License-Identifier: MIT

// The loops that are timed: short functions that nothing is inlined around, so
// that what they compile to can be read. `opaque` and `consume` cost no
// instruction; they keep the compiler from doing several lookups at once, which
// a kernel's scattered calls never allow, and from leaving any out. The loops begin
// on a cache line's border, in both languages: the shortest fit into one line, and
// none is slower for where the linker put it.

import Addressing
import CBenchmark
import PagePermutation

extension LookupStrategy where Self: ~Copyable {
    /// Translates addresses that are known beforehand: the processor overlaps as much as it can.
    @inline(never)
    func throughput(_ addresses: UnsafePointer<UInt64>, _ count: Int) {
        guard count > 0 else { return }
        var i = 0
        align_loop()
        repeat {
            consume(physicalAddress(of: VirtualAddress(opaque(unsafe addresses[i]))).rawValue)
            i &+= 1
        } while i < count
    }

    /// Translates addresses each of which is the last one's translation plus a step: every lookup waits for the one
    /// before, and one addition. Gives back where the steps lead, which is known if all lookups are right.
    @inline(never)
    func latency(from start: UInt64, _ steps: UnsafePointer<UInt64>, _ count: Int) -> UInt64 {
        var address = start
        guard count > 0 else { return address }
        var i = 0
        align_loop()
        repeat {
            address = physicalAddress(of: VirtualAddress(opaque(address))).rawValue &+ (unsafe steps[i])
            i &+= 1
        } while i < count
        return address
    }
}

/// A strategy's loops without its type, called once a batch.
@safe
struct LookupLoops {
    let size: LookupSize
    let memory: UnsafeRawBufferPointer
    let translate: (UInt64) -> UInt64
    let throughput: (UnsafePointer<UInt64>, Int) -> Void
    let latency: (UInt64, UnsafePointer<UInt64>, Int) -> UInt64

    private final class Box<Strategy: LookupStrategy & ~Copyable> {
        let strategy: Strategy

        init(_ strategy: consuming Strategy) { self.strategy = strategy }
    }

    /// Generic functions are compiled for each strategy by itself where their calls name it; these closures are then, too.
    @inline(__always)
    init<Strategy: LookupStrategy & ~Copyable>(_ strategy: consuming Strategy) {
        let box = Box(strategy)
        size = LookupSize(
            strategy: box.strategy.name, tableBytes: box.strategy.tableBytes, cacheLines: box.strategy.cacheLines,
            orderDependence: box.strategy.orderDependence)
        unsafe memory = box.strategy.memory
        translate = { box.strategy.physicalAddress(of: VirtualAddress($0)).rawValue }
        unsafe throughput = { unsafe box.strategy.throughput($0, $1) }
        unsafe latency = { unsafe box.strategy.latency(from: $0, $1, $2) }
    }

    /// What the names of loops in C end with.
    static let inC = ", in C"

    /// The linear offset in C.
    static func linearInC(_ table: TranslationTable) -> Self {
        let swift = Self(LinearOffset(table))
        let virtualBase = table.virtualBase.rawValue
        let physicalBase = unsafe swift.memory.baseAddress?.assumingMemoryBound(to: UInt64.self)
        return unsafe Self(
            swift, throughput: { unsafe c_linear_throughput(virtualBase, physicalBase, $0, $1) },
            latency: { unsafe c_linear_latency(virtualBase, physicalBase, $0, $1, $2) })
    }

    /// The flat table in C.
    static func flatInC(_ table: TranslationTable) throws(LookupError) -> Self {
        let swift = Self(try FlatTable<UInt32>(table))
        let bytes = unsafe swift.memory.baseAddress
        return unsafe Self(
            swift, throughput: { unsafe c_flat_throughput(bytes, $0, $1) },
            latency: { unsafe c_flat_latency(bytes, $0, $1, $2) })
    }

    /// The flat table of offsets in C.
    static func offsetsInC(_ table: TranslationTable) -> Self {
        let strategy = FlatOffsets(table)
        let (minusBase, pages) = strategy.numbers
        let swift = Self(strategy)
        let offsets = unsafe swift.memory.baseAddress?.assumingMemoryBound(to: UInt64.self)
        return unsafe Self(
            swift, throughput: { unsafe c_offsets_throughput(offsets, minusBase, pages, $0, $1) },
            latency: { unsafe c_offsets_latency(offsets, minusBase, pages, $0, $1, $2) })
    }

    /// Other loops over the same bytes, which `translate` keeps.
    private init(
        _ swift: Self, throughput: @escaping (UnsafePointer<UInt64>, Int) -> Void,
        latency: @escaping (UInt64, UnsafePointer<UInt64>, Int) -> UInt64
    ) {
        size = LookupSize(
            strategy: swift.size.strategy + Self.inC, tableBytes: swift.size.tableBytes,
            cacheLines: swift.size.cacheLines, orderDependence: swift.size.orderDependence)
        unsafe memory = swift.memory
        translate = swift.translate
        unsafe self.throughput = throughput
        unsafe self.latency = latency
    }
}
