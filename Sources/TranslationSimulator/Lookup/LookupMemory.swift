// SPDX-License-Identifier: MIT

// The bytes of a strategy: aligned as a kernel would align them, zero at first,
// read without a check. Every strategy proves at its construction that what it
// will read lies inside.

/// Zeroed memory that begins on a page border.
@safe
struct LookupMemory: ~Copyable {
    private let base: UnsafeMutableRawPointer
    let byteCount: Int

    init(byteCount: Int) {
        self.byteCount = byteCount
        // Whole lines: what else is in use must not be evicted with it.
        unsafe base = UnsafeMutableRawPointer.allocate(byteCount: 64 * lines(byteCount), alignment: 4096)
        unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    }

    var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: base, count: byteCount) }

    /// Of `byteCount` bytes, which live as long as this does.
    @inline(__always)
    @unsafe var start: UnsafeRawPointer { unsafe UnsafeRawPointer(base) }

    /// Reads entry `index` of an array that begins at byte `start`; nothing is checked.
    @inline(__always)
    func load<T: BitwiseCopyable>(_ start: Int, _ index: UInt64, as: T.Type) -> T {
        unsafe base.load(
            fromByteOffset: start &+ Int(truncatingIfNeeded: index) &* MemoryLayout<T>.stride, as: T.self)
    }

    mutating func store<T: BitwiseCopyable>(_ value: T, _ start: Int, _ index: Int) {
        let offset = start + index * MemoryLayout<T>.stride
        precondition(offset >= 0 && offset + MemoryLayout<T>.size <= byteCount)
        unsafe base.storeBytes(of: value, toByteOffset: offset, as: T.self)
    }

    deinit { unsafe base.deallocate() }
}

/// The cache lines of so many bytes from a line's border on.
func lines(_ bytes: Int) -> Int { (bytes + 63) / 64 }
