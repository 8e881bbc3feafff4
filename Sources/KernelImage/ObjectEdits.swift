// SPDX-License-Identifier: MIT

// A relocatable object with code that it did not have: a section more, symbols
// for it, and relocations that lead there. libelf lays the file out anew; what
// lies behind the ELF file, as a module's signature does, is left out.

import CELF
import CLinux
import Glibc

/// What changes in a relocatable object. Sections and symbols go by number.
public struct ObjectEdits: Sendable {
    /// A relocation with an addend. Symbols that are added count on from the object's.
    public struct Relocation: Equatable, Sendable {
        /// In its section, in bytes.
        public let offset: UInt64
        public let type: UInt32
        public let symbol: Int
        public let addend: Int64

        public init(offset: UInt64, type: UInt32, symbol: Int, addend: Int64) {
            self.offset = offset
            self.type = type
            self.symbol = symbol
            self.addend = addend
        }
    }

    /// A function of the new section, and its place there in bytes.
    public struct Function: Equatable, Sendable {
        public let name: String
        public let range: Range<Int>

        public init(name: String, range: Range<Int>) {
            self.name = name
            self.range = range
        }
    }

    /// Bytes that others take the place of.
    public var replaced: [(section: Int, offset: Int, bytes: [UInt8])] = []
    /// Fields that are relocated no more, by section, in bytes from its beginning.
    public var dropped: [Int: Set<UInt64>] = [:]
    /// What comes behind a section's bytes.
    public var appended: [Int: [UInt8]] = [:]
    /// Relocations of a section besides its own.
    public var relocations: [Int: [Relocation]] = [:]

    /// The section that is added, which is executable.
    public let name: String
    public var code: [UInt8] = []
    public var codeRelocations: [Relocation] = []
    public var functions: [Function] = []

    public init(name: String) { self.name = name }
}

extension KernelImage {
    /// Where the ELF file ends: sections, segments, and the table of sections. In bytes.
    public var elfByteCount: Int {
        let table = header.sectionHeaderOffset + UInt64(header.sectionCount * (header.is64Bit ? 64 : 40))
        let ends = sections.filter { !$0.isNoBits }.map { $0.offset + $0.size }
        return Int((ends + segments.map { $0.offset + $0.fileSize }).reduce(table, max))
    }

    /// A relocatable object for a little-endian machine of 64 bits, changed.
    ///
    /// - Throws: `ImageError` of kind `.malformed` when it has not what is to be changed.
    public func object(with edits: ObjectEdits) throws(ImageError) -> [UInt8] {
        guard let symbols = sections.first(where: { $0.type == UInt32(SHT_SYMTAB) }) else {
            throw ImageError(.malformed, file: path, "no symbols")
        }
        let writer = try ObjectWriter(file, count: elfByteCount)
        for (section, offset, bytes) in edits.replaced { try writer.replace(section, offset, bytes) }
        for section in Set(edits.dropped.keys).union(edits.relocations.keys).sorted() {
            guard let table = sections.first(where: { $0.type == UInt32(SHT_RELA) && $0.info == section }) else {
                throw ImageError(.malformed, file: path, "section \(section) has no relocations")
            }
            let own = edits.dropped[section] ?? []
            try writer.rewrite(table.index) { bytes in
                let kept = stride(from: 0, to: bytes.count, by: 24).filter { at in
                    !own.contains(bytes[at..<at + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) })
                }
                return kept.flatMap { bytes[$0..<$0 + 24] } + (edits.relocations[section] ?? []).flatMap(\.encoded)
            }
        }
        for (section, bytes) in edits.appended.sorted(by: { $0.key < $1.key }) {
            try writer.rewrite(section) { $0 + bytes }
        }
        var entries: [UInt8] = []
        try writer.rewrite(symbols.link) { strings in
            var strings = strings
            for function in edits.functions {
                entries += word(UInt32(strings.count), 4) + [UInt8(STB_GLOBAL) << 4 | UInt8(STT_FUNC), 0]
                entries += word(UInt16(header.sectionCount), 2)
                entries += word(UInt64(function.range.lowerBound), 8) + word(UInt64(function.range.count), 8)
                strings += Array(function.name.utf8) + [0]
            }
            return strings
        }
        try writer.rewrite(symbols.index) { $0 + entries }
        try writer.add(
            edits.name, type: SHT_PROGBITS, flags: SHF_ALLOC | SHF_EXECINSTR, alignment: 16, edits.code)
        try writer.add(
            ".rela\(edits.name)", type: SHT_RELA, flags: SHF_INFO_LINK, alignment: 8,
            edits.codeRelocations.flatMap(\.encoded), link: symbols.index, info: header.sectionCount)
        return try writer.finish()
    }
}

extension ObjectEdits.Relocation {
    /// An `Elf64_Rela`.
    fileprivate var encoded: [UInt8] {
        word(offset, 8) + word(UInt64(symbol) << 32 | UInt64(type), 8) + word(UInt64(bitPattern: addend), 8)
    }
}

private func word(_ value: some FixedWidthInteger, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

/// A copy of an object that libelf changes, in a file without a name.
@safe
private final class ObjectWriter {
    private let path: String
    private let descriptor: CInt
    private let elf: OpaquePointer
    /// What libelf writes, and does not own.
    private var buffers: [UnsafeMutableRawPointer] = unsafe []

    init(_ file: borrowing MappedFile, count: Int) throws(ImageError) {
        let descriptor = unsafe memfd_create("kperm", 1)  // MFD_CLOEXEC
        let isCopied = unsafe file.bytes.extracting(0..<count).withUnsafeBytes { bytes in
            unsafe Glibc.write(descriptor, bytes.baseAddress, bytes.count) == bytes.count
        }
        guard isCopied, let elf = unsafe elf_begin(descriptor, ELF_C_RDWR, nil) else {
            close(descriptor)
            throw ImageError(.io, file: file.path, "no copy in memory")
        }
        path = file.path
        self.descriptor = descriptor
        unsafe self.elf = elf
    }

    deinit {
        unsafe elf_end(elf)
        while let buffer = unsafe buffers.popLast() { unsafe buffer.deallocate() }
        close(descriptor)
    }

    private func failure(_ doing: String) -> ImageError {
        ImageError(.malformed, file: path, "\(doing): \(unsafe String(cString: elf_errmsg(-1)))")
    }

    private func data(_ section: Int) throws(ImageError) -> UnsafeMutablePointer<Elf_Data> {
        guard let handle = unsafe elf_getscn(elf, section), let data = unsafe elf_getdata(handle, nil) else {
            throw failure("section \(section)")
        }
        return unsafe data
    }

    private func set(_ data: UnsafeMutablePointer<Elf_Data>, _ bytes: [UInt8]) {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: max(bytes.count, 1), alignment: 16)
        unsafe buffer.copyMemory(from: bytes, byteCount: bytes.count)
        unsafe buffers.append(buffer)
        unsafe data.pointee.d_buf = unsafe buffer
        unsafe data.pointee.d_size = bytes.count
        _ = unsafe elf_flagdata(data, ELF_C_SET, UInt32(ELF_F_DIRTY))
    }

    /// Other bytes for a section.
    func rewrite(_ section: Int, _ change: ([UInt8]) -> [UInt8]) throws(ImageError) {
        let data = unsafe try data(section)
        let old = unsafe Array(UnsafeRawBufferPointer(start: data.pointee.d_buf, count: data.pointee.d_size))
        unsafe set(data, change(old))
    }

    func replace(_ section: Int, _ offset: Int, _ bytes: [UInt8]) throws(ImageError) {
        let data = unsafe try data(section)
        guard let buffer = unsafe data.pointee.d_buf, case let count = unsafe data.pointee.d_size,
            offset + bytes.count <= count
        else {
            throw failure("\(bytes.count) bytes at \(offset) of section \(section)")
        }
        unsafe (buffer + offset).copyMemory(from: bytes, byteCount: bytes.count)
        _ = unsafe elf_flagdata(data, ELF_C_SET, UInt32(ELF_F_DIRTY))
    }

    /// A section more, and its name.
    func add(
        _ name: String, type: Int32, flags: Int32, alignment: UInt64, _ bytes: [UInt8], link: Int = 0, info: Int = 0
    ) throws(ImageError) {
        var names = 0
        guard unsafe elf_getshdrstrndx(elf, &names) == 0 else { throw failure("names of sections") }
        var place = 0
        try rewrite(names) { strings in
            place = strings.count
            return strings + Array(name.utf8) + [0]
        }
        guard let section = unsafe elf_newscn(elf), let data = unsafe elf_newdata(section),
            let header = unsafe elf64_getshdr(section)
        else { throw failure("a new section") }
        unsafe data.pointee.d_align = numericCast(alignment)
        unsafe data.pointee.d_type = type == SHT_RELA ? ELF_T_RELA : ELF_T_BYTE
        unsafe set(data, bytes)
        unsafe header.pointee.sh_name = UInt32(place)
        unsafe header.pointee.sh_type = UInt32(type)
        unsafe header.pointee.sh_flags = UInt64(flags)
        unsafe header.pointee.sh_addralign = alignment
        unsafe header.pointee.sh_entsize = type == SHT_RELA ? 24 : 0
        unsafe header.pointee.sh_link = UInt32(link)
        unsafe header.pointee.sh_info = UInt32(info)
    }

    /// The file's bytes.
    func finish() throws(ImageError) -> [UInt8] {
        let count = Int(unsafe elf_update(elf, ELF_C_WRITE))
        guard count > 0 else { throw failure("cannot be written") }
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, done in
            done = max(unsafe pread(descriptor, buffer.baseAddress, count, 0), 0)
        }
        guard bytes.count == count else { throw ImageError(.io, file: path, "no copy in memory") }
        return bytes
    }
}
