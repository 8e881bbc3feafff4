// SPDX-License-Identifier: MIT

// A kernel image as a file format: segments by virtual and physical address,
// sections, symbols, relocations and notes of an ELF file, read through libelf
// from one mapping. It knows nothing of permutations; what a kernel's symbols
// mean is the business of KernelRewrite.

import Addressing
import CELF

/// An open ELF image.
@safe
public struct KernelImage: ~Copyable {
    public let file: MappedFile
    public let header: ELFHeader
    public let segments: [Segment]
    public let sections: [Section]
    let elf: OpaquePointer

    public var path: String { file.path }

    /// - Throws: `ImageError` when the file is not an ELF file or its headers do not hold together.
    public static func open(_ path: String) throws(ImageError) -> KernelImage {
        try KernelImage(MappedFile.open(path))
    }

    /// - Throws: `ImageError` when the file is not an ELF file or its headers do not hold together.
    public init(_ file: consuming MappedFile) throws(ImageError) {
        let path = file.path
        let span = file.bytes
        guard span.byteCount >= 16, unsafe span.unsafeLoadUnaligned(as: UInt32.self).bigEndian == 0x7f45_4c46 else {
            throw ImageError(.notELF, file: path, offset: 0, Self.notELF(span))
        }
        _ = elf_version(UInt32(EV_CURRENT))
        let memory = unsafe UnsafeMutableRawPointer(mutating: file.base).assumingMemoryBound(to: CChar.self)
        guard let elf = unsafe elf_memory(memory, file.byteCount), unsafe elf_kind(elf) == ELF_K_ELF else {
            throw ImageError(.malformed, file: path, "libelf: \(Self.lastError)")
        }
        do throws(ImageError) {
            let header = unsafe try Self.readHeader(elf, file)
            let segments = unsafe try Self.readSegments(elf, header, file)
            let sections = unsafe try Self.readSections(elf, header, file)
            self.header = header
            self.segments = segments
            self.sections = sections
        } catch {
            unsafe elf_end(elf)
            throw error
        }
        unsafe self.elf = elf
        self.file = file
    }

    deinit { unsafe elf_end(elf) }

    private static var lastError: String {
        let message = unsafe elf_errmsg(-1)
        return unsafe message.map { unsafe String(cString: $0) } ?? "unknown error"
    }

    private static func notELF(_ span: RawSpan) -> String {
        if span.byteCount >= 0x206, span.load(0x202, as: UInt32.self) == 0x5372_6448 {
            return "a bzImage (vmlinuz), not an ELF file: give the vmlinux it was made from"
        }
        return "not an ELF file"
    }

    private static func readHeader(_ elf: OpaquePointer, _ file: borrowing MappedFile) throws(ImageError) -> ELFHeader {
        var raw = GElf_Ehdr()
        guard unsafe gelf_getehdr(elf, &raw) != nil else {
            throw ImageError(.malformed, file: file.path, offset: 0, "ELF header: \(lastError)")
        }
        let is64Bit = raw.e_ident.4 == UInt8(ELFCLASS64)
        let entrySize = is64Bit ? 56 : 32
        var segmentCount = 0
        var sectionCount = 0
        guard unsafe elf_getphdrnum(elf, &segmentCount) == 0, unsafe elf_getshdrnum(elf, &sectionCount) == 0 else {
            throw ImageError(.malformed, file: file.path, offset: 0, "ELF header: \(lastError)")
        }
        // libelf counts only as many headers as fit: what the file says is the measure.
        if raw.e_phnum != UInt16(PN_XNUM) { segmentCount = Int(raw.e_phnum) }
        let (end, overflow) = raw.e_phoff.addingReportingOverflow(UInt64(segmentCount * entrySize))
        guard !overflow, end <= UInt64(file.byteCount) else {
            throw ImageError(
                .malformed, file: file.path, offset: raw.e_phoff,
                "\(segmentCount) program headers do not fit into the file's \(file.byteCount) bytes")
        }
        let declared = raw.e_shoff == 0 ? 0 : max(Int(raw.e_shnum), sectionCount, 1)
        let (sectionsEnd, outside) = raw.e_shoff.addingReportingOverflow(UInt64(declared * (is64Bit ? 64 : 40)))
        guard !outside, sectionsEnd <= UInt64(file.byteCount) else {
            throw ImageError(
                .malformed, file: file.path, offset: raw.e_shoff,
                "\(declared) section headers do not fit into the file's \(file.byteCount) bytes")
        }
        return ELFHeader(
            is64Bit: is64Bit, isLittleEndian: raw.e_ident.5 == UInt8(ELFDATA2LSB), type: raw.e_type,
            machine: raw.e_machine, entry: raw.e_entry, programHeaderOffset: raw.e_phoff,
            programHeaderCount: segmentCount, sectionHeaderOffset: raw.e_shoff, sectionCount: sectionCount)
    }

    private static func readSegments(
        _ elf: OpaquePointer, _ header: ELFHeader, _ file: borrowing MappedFile
    ) throws(ImageError) -> [Segment] {
        var segments: [Segment] = []
        for index in 0..<header.programHeaderCount {
            var raw = GElf_Phdr()
            let place = header.programHeaderOffset + UInt64(index * (header.is64Bit ? 56 : 32))
            guard unsafe gelf_getphdr(elf, CInt(index), &raw) != nil else {
                throw ImageError(.malformed, file: file.path, offset: place, "program header \(index): \(lastError)")
            }
            func refuse(_ what: String) -> ImageError {
                ImageError(.malformed, file: file.path, offset: place, "program header \(index): \(what)")
            }
            let (end, overflow) = raw.p_offset.addingReportingOverflow(raw.p_filesz)
            if raw.p_type == Segment.load || raw.p_type == Segment.note, raw.p_filesz > 0 {
                guard !overflow, end <= UInt64(file.byteCount) else {
                    throw refuse(
                        "bytes \(raw.p_offset.hex)+\(raw.p_filesz.hex) lie outside the file (\(file.byteCount) bytes)")
                }
            }
            if raw.p_type == Segment.load || raw.p_type == Segment.note {
                guard raw.p_memsz >= raw.p_filesz else { throw refuse("more bytes in the file than in memory") }
                guard !raw.p_vaddr.addingReportingOverflow(raw.p_memsz).overflow,
                    !raw.p_paddr.addingReportingOverflow(raw.p_memsz).overflow
                else { throw refuse("its addresses overflow") }
            }
            segments.append(
                Segment(
                    type: raw.p_type, flags: raw.p_flags, offset: raw.p_offset,
                    virtualAddress: VirtualAddress(raw.p_vaddr), physicalAddress: PhysicalAddress(raw.p_paddr),
                    fileSize: raw.p_filesz, memorySize: raw.p_memsz, alignment: raw.p_align))
        }
        return segments
    }

    private static func readSections(
        _ elf: OpaquePointer, _ header: ELFHeader, _ file: borrowing MappedFile
    ) throws(ImageError) -> [Section] {
        guard header.sectionCount > 0 else { return [] }
        var names = 0
        guard unsafe elf_getshdrstrndx(elf, &names) == 0 else {
            throw ImageError(.malformed, file: file.path, "section names: \(lastError)")
        }
        var sections: [Section] = []
        for index in 0..<header.sectionCount {
            var raw = GElf_Shdr()
            let place = header.sectionHeaderOffset + UInt64(index * (header.is64Bit ? 64 : 40))
            guard let handle = unsafe elf_getscn(elf, index), unsafe gelf_getshdr(handle, &raw) != nil else {
                throw ImageError(.malformed, file: file.path, offset: place, "section \(index): \(lastError)")
            }
            let (end, overflow) = raw.sh_offset.addingReportingOverflow(raw.sh_size)
            guard raw.sh_type == 8 || raw.sh_type == 0 || (!overflow && end <= UInt64(file.byteCount)) else {
                throw ImageError(
                    .malformed, file: file.path, offset: place,
                    "section \(index): bytes \(raw.sh_offset.hex)+\(raw.sh_size.hex) lie outside the file")
            }
            guard raw.sh_flags & 2 == 0 || !raw.sh_addr.addingReportingOverflow(raw.sh_size).overflow else {
                throw ImageError(
                    .malformed, file: file.path, offset: place, "section \(index): its addresses overflow")
            }
            let name = unsafe elf_strptr(elf, names, Int(raw.sh_name))
            sections.append(
                Section(
                    index: index, name: unsafe name.map { unsafe String(cString: $0) } ?? "", type: raw.sh_type,
                    flags: raw.sh_flags, address: VirtualAddress(raw.sh_addr), offset: raw.sh_offset,
                    size: raw.sh_size, link: Int(raw.sh_link), info: Int(raw.sh_info)))
        }
        return sections
    }

    public func section(named name: String) -> Section? { sections.first { $0.name == name } }
}

extension KernelImage {
    /// The bytes of a section as libelf gives them, in this machine's byte order; nil when it has none.
    func data(of section: Section) -> UnsafeMutablePointer<Elf_Data>? {
        guard let handle = unsafe elf_getscn(elf, section.index) else { return nil }
        return unsafe elf_getdata(handle, nil)
    }

    /// The symbol table, or nil when the image has none.
    ///
    /// - Throws: `ImageError` of kind `.malformed` when the table is damaged.
    public func symbolTable() throws(ImageError) -> SymbolTable? {
        guard let section = sections.first(where: { $0.type == 2 && $0.size > 0 }) else { return nil }
        guard section.link < sections.count, sections[section.link].type == 3 else {
            throw ImageError(.malformed, file: path, offset: section.offset, "the symbol table has no string table")
        }
        let strings = sections[section.link]
        func check(_ index: Int, _ value: UInt64, _ size: UInt64, _ name: UInt32) throws(ImageError) {
            guard UInt64(name) < strings.size, size <= UInt32.max, !value.addingReportingOverflow(max(size, 1)).overflow
            else {
                throw ImageError(
                    .malformed, file: path, offset: section.offset,
                    "symbol \(index): its name, address or size is damaged")
            }
        }
        let symbols: SymbolList
        if let mapped = mappedSymbols(section) {
            for index in 0..<mapped.count {
                let one = mapped.entry(index)
                try check(index, one.st_value, one.st_size, one.st_name)
            }
            symbols = SymbolList(mapped)
        } else {
            guard let data = unsafe data(of: section) else {
                throw ImageError(.malformed, file: path, offset: section.offset, "the symbol table cannot be read")
            }
            // libelf gives the whole table in this machine's byte order; a call for each of a hundred thousand symbols
            // would take longer than the rest of opening a kernel.
            let buffer = unsafe UnsafeRawBufferPointer(start: data.pointee.d_buf, count: data.pointee.d_size)
            var copies: [Symbol] = []
            func add(
                _ value: UInt64, _ size: UInt64, _ name: UInt32, _ home: UInt16, _ info: UInt8
            ) throws(ImageError) {
                try check(copies.count, value, size, name)
                copies.append(
                    Symbol(
                        value: VirtualAddress(value), byteCount: UInt32(size), nameOffset: name,
                        index: UInt32(copies.count), section: home, kind: Symbol.Kind(rawValue: info & 15) ?? .other))
            }
            if header.is64Bit {
                let raw = unsafe buffer.bindMemory(to: Elf64_Sym.self)
                copies.reserveCapacity(raw.count)
                for index in raw.indices {
                    let one = unsafe raw[index]
                    try add(one.st_value, one.st_size, one.st_name, one.st_shndx, one.st_info)
                }
            } else {
                let raw = unsafe buffer.bindMemory(to: Elf32_Sym.self)
                copies.reserveCapacity(raw.count)
                for index in raw.indices {
                    let one = unsafe raw[index]
                    try add(UInt64(one.st_value), UInt64(one.st_size), one.st_name, one.st_shndx, one.st_info)
                }
            }
            symbols = SymbolList(copies)
        }
        let names = Int(strings.offset)..<Int(strings.offset + strings.size)
        guard file.bytes.load(names.upperBound - 1, as: UInt8.self) == 0 else {
            throw ImageError(.malformed, file: path, offset: strings.offset, "the string table has no end")
        }
        return SymbolTable(symbols: symbols, names: .file(names))
    }

    /// A symbol table as it lies in the file, where that is as this machine has it.
    private func mappedSymbols(_ section: Section) -> MappedSymbols? {
        let compressed: UInt64 = 0x800  // SHF_COMPRESSED
        guard header.is64Bit, header.isLittleEndian, section.flags & compressed == 0,
            section.size % UInt64(MemoryLayout<Elf64_Sym>.size) == 0
        else { return nil }
        return MappedSymbols(Int(section.offset)..<Int(section.offset + section.size), of: file)
    }

    /// Calls `body` with every relocation of an allocated section.
    ///
    /// - Throws: `ImageError` of kind `.malformed` when a relocation section is damaged.
    public func forEachRelocation(_ body: (Relocation) -> Void) throws(ImageError) {
        for section in sections where section.type == 4 || section.type == 9 {
            guard section.info > 0, section.info < sections.count, sections[section.info].isAllocated else { continue }
            guard let data = unsafe data(of: section) else {
                throw ImageError(.malformed, file: path, offset: section.offset, "relocations cannot be read")
            }
            let withAddend = section.type == 4
            let entrySize = header.is64Bit ? (withAddend ? 24 : 16) : (withAddend ? 12 : 8)
            for index in 0..<Int(section.size) / entrySize {
                var rela = GElf_Rela()
                if withAddend {
                    guard unsafe gelf_getrela(data, CInt(index), &rela) != nil else { break }
                } else {
                    var rel = GElf_Rel()
                    guard unsafe gelf_getrel(data, CInt(index), &rel) != nil else { break }
                    rela.r_offset = rel.r_offset
                    rela.r_info = rel.r_info
                }
                body(
                    Relocation(
                        section: section.info, address: VirtualAddress(rela.r_offset),
                        type: UInt32(truncatingIfNeeded: rela.r_info), symbol: Int(rela.r_info >> 32),
                        addend: rela.r_addend))
            }
        }
    }

    /// Whether relocations of allocated sections are in the file.
    public var hasRelocations: Bool {
        sections.contains {
            ($0.type == 4 || $0.type == 9) && $0.info > 0 && $0.info < sections.count && sections[$0.info].isAllocated
        }
    }

    /// The notes in all note segments.
    public func notes() -> [Note] {
        var notes: [Note] = []
        for segment in segments where segment.type == Segment.note && segment.fileSize > 0 {
            let type = segment.alignment == 8 ? ELF_T_NHDR8 : ELF_T_NHDR
            guard
                let data = unsafe elf_getdata_rawchunk(elf, Int64(segment.offset), Int(segment.fileSize), type)
            else { continue }
            var next = 0
            while true {
                var raw = GElf_Nhdr()
                var name = 0
                var descriptor = 0
                let after = unsafe gelf_getnote(data, next, &raw, &name, &descriptor)
                guard after > 0 else { break }
                next = after
                let start = Int(segment.offset)
                let owner = file.bytes.extracting(start + name..<start + name + Int(raw.n_namesz))
                notes.append(
                    Note(
                        owner: owner.text, type: raw.n_type,
                        descriptor: start + descriptor..<start + descriptor + Int(raw.n_descsz)))
            }
        }
        return notes
    }
}

extension RawSpan {
    /// The bytes up to the first zero, as text.
    public var text: String {
        var bytes: [UInt8] = []
        for i in 0..<byteCount {
            let byte = load(i, as: UInt8.self)
            if byte == 0 { break }
            bytes.append(byte)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
