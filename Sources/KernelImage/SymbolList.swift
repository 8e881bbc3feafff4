// SPDX-License-Identifier: MIT

// Planning looks at each of a hundred thousand symbols once or twice. Copies of
// them would be a quarter of all memory that planning touches for the first
// time, so those of a 64-bit little-endian file are read where they lie.

import Addressing
import CELF
import Glibc

/// The symbols of a table, in its order.
public struct SymbolList: RandomAccessCollection, Sendable {
    private let own: [Symbol]
    private let mapped: MappedSymbols?
    public let count: Int

    public init(_ symbols: [Symbol]) {
        own = symbols
        mapped = nil
        count = symbols.count
    }

    init(_ mapped: MappedSymbols) {
        own = []
        self.mapped = mapped
        count = mapped.count
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    public subscript(index: Int) -> Symbol {
        guard let mapped else { return own[index] }
        precondition(index >= 0 && index < count)
        return mapped[index]
    }
}

/// A symbol table of a 64-bit little-endian file in a mapping of its own, so that it outlives the image.
@safe
final class MappedSymbols: @unchecked Sendable {
    let count: Int
    private let memory: UnsafeMutableRawPointer
    private let byteCount: Int
    private let entries: UnsafeRawPointer

    /// Nil when it cannot be mapped. `range` must lie in the file.
    init?(_ range: Range<Int>, of file: borrowing MappedFile) {
        let start = range.lowerBound & ~(pageSize - 1)
        byteCount = range.upperBound - start
        guard
            let memory = unsafe mmap(
                nil, byteCount, PROT_READ, MAP_SHARED | MAP_POPULATE, file.descriptor, off_t(start)),
            unsafe memory != MAP_FAILED
        else { return nil }
        unsafe self.memory = memory
        unsafe entries = UnsafeRawPointer(memory) + (range.lowerBound - start)
        count = range.count / MemoryLayout<Elf64_Sym>.size
    }

    func entry(_ index: Int) -> Elf64_Sym {
        unsafe entries.loadUnaligned(fromByteOffset: index * MemoryLayout<Elf64_Sym>.size, as: Elf64_Sym.self)
    }

    subscript(index: Int) -> Symbol {
        let entry = entry(index)
        return Symbol(
            value: VirtualAddress(entry.st_value), byteCount: UInt32(truncatingIfNeeded: entry.st_size),
            nameOffset: entry.st_name, index: UInt32(index), section: entry.st_shndx,
            kind: Symbol.Kind(rawValue: entry.st_info & 15) ?? .other)
    }

    deinit { unsafe munmap(memory, byteCount) }
}
