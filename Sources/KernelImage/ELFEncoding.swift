// SPDX-License-Identifier: MIT

// Headers back into bytes, in the image's own class and byte order. libelf does
// the translation; nothing else of a file is ever written through it, because it
// would lay the file out anew.

import Addressing
import CELF

extension KernelImage {
    /// Program headers as bytes of this image's class and byte order.
    public func encode(_ segments: [Segment]) -> [UInt8] {
        if header.is64Bit {
            let raw = segments.map {
                Elf64_Phdr(
                    p_type: $0.type, p_flags: $0.flags, p_offset: $0.offset, p_vaddr: $0.virtualAddress.rawValue,
                    p_paddr: $0.physicalAddress.rawValue, p_filesz: $0.fileSize, p_memsz: $0.memorySize,
                    p_align: $0.alignment)
            }
            return translated(raw, ELF_T_PHDR)
        }
        let raw = segments.map {
            Elf32_Phdr(
                p_type: $0.type, p_offset: UInt32(truncatingIfNeeded: $0.offset),
                p_vaddr: UInt32(truncatingIfNeeded: $0.virtualAddress.rawValue),
                p_paddr: UInt32(truncatingIfNeeded: $0.physicalAddress.rawValue),
                p_filesz: UInt32(truncatingIfNeeded: $0.fileSize), p_memsz: UInt32(truncatingIfNeeded: $0.memorySize),
                p_flags: $0.flags, p_align: UInt32(truncatingIfNeeded: $0.alignment))
        }
        return translated(raw, ELF_T_PHDR)
    }

    /// The ELF header with its program headers elsewhere and, if asked, no sections.
    ///
    /// - Throws: `ImageError` when there are more program headers than the format can count.
    public func encodedHeader(
        programHeadersAt offset: UInt64, count: Int, withoutSections: Bool
    ) throws(ImageError) -> [UInt8] {
        guard count < Int(PN_XNUM) else {
            throw ImageError(
                .unsuitable, file: path, "\(count) runs of pages are more than an ELF file can describe")
        }
        if header.is64Bit, let current = unsafe elf64_getehdr(elf) {
            var raw = unsafe current.pointee
            raw.e_phoff = offset
            raw.e_phnum = UInt16(count)
            if withoutSections { (raw.e_shoff, raw.e_shnum, raw.e_shstrndx) = (0, 0, 0) }
            return translated([raw], ELF_T_EHDR)
        }
        if !header.is64Bit, let current = unsafe elf32_getehdr(elf) {
            var raw = unsafe current.pointee
            raw.e_phoff = UInt32(truncatingIfNeeded: offset)
            raw.e_phnum = UInt16(count)
            if withoutSections { (raw.e_shoff, raw.e_shnum, raw.e_shstrndx) = (0, 0, 0) }
            return translated([raw], ELF_T_EHDR)
        }
        throw ImageError(.malformed, file: path, offset: 0, "the ELF header cannot be read")
    }

    private func translated<T: BitwiseCopyable>(_ values: [T], _ type: Elf_Type) -> [UInt8] {
        let size = values.count * MemoryLayout<T>.stride
        return unsafe [UInt8](unsafeUninitializedCapacity: size) { destination, count in
            unsafe values.withUnsafeBytes { source in
                var from = unsafe Elf_Data()
                unsafe from.d_buf = UnsafeMutableRawPointer(mutating: source.baseAddress)
                unsafe from.d_size = size
                unsafe from.d_type = type
                unsafe from.d_version = UInt32(EV_CURRENT)
                var to = unsafe from
                unsafe to.d_buf = UnsafeMutableRawPointer(destination.baseAddress)
                let order = UInt32(header.isLittleEndian ? ELFDATA2LSB : ELFDATA2MSB)
                if size > 0 { unsafe gelf_xlatetof(elf, &to, &from, order) }
            }
            count = size
        }
    }
}
