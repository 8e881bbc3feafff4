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
            return translated(segments, ELF_T_PHDR) {
                Elf64_Phdr(
                    p_type: $0.type, p_flags: $0.flags, p_offset: $0.offset, p_vaddr: $0.virtualAddress.rawValue,
                    p_paddr: $0.physicalAddress.rawValue, p_filesz: $0.fileSize, p_memsz: $0.memorySize,
                    p_align: $0.alignment)
            }
        }
        return translated(segments, ELF_T_PHDR) {
            Elf32_Phdr(
                p_type: $0.type, p_offset: UInt32(truncatingIfNeeded: $0.offset),
                p_vaddr: UInt32(truncatingIfNeeded: $0.virtualAddress.rawValue),
                p_paddr: UInt32(truncatingIfNeeded: $0.physicalAddress.rawValue),
                p_filesz: UInt32(truncatingIfNeeded: $0.fileSize), p_memsz: UInt32(truncatingIfNeeded: $0.memorySize),
                p_flags: $0.flags, p_align: UInt32(truncatingIfNeeded: $0.alignment))
        }
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
            return translated([raw], ELF_T_EHDR) { $0 }
        }
        if !header.is64Bit, let current = unsafe elf32_getehdr(elf) {
            var raw = unsafe current.pointee
            raw.e_phoff = UInt32(truncatingIfNeeded: offset)
            raw.e_phnum = UInt16(count)
            if withoutSections { (raw.e_shoff, raw.e_shnum, raw.e_shstrndx) = (0, 0, 0) }
            return translated([raw], ELF_T_EHDR) { $0 }
        }
        throw ImageError(.malformed, file: path, offset: 0, "the ELF header cannot be read")
    }

    /// Values as the file has them: made where they stay, then translated in place.
    private func translated<Value, T: BitwiseCopyable>(
        _ values: [Value], _ type: Elf_Type, _ raw: (Value) -> T
    ) -> [UInt8] {
        let size = values.count * MemoryLayout<T>.stride
        return unsafe [UInt8](unsafeUninitializedCapacity: size) { destination, count in
            for (i, value) in values.enumerated() {
                let offset = i * MemoryLayout<T>.stride
                unsafe UnsafeMutableRawBufferPointer(destination)
                    .storeBytes(of: raw(value), toByteOffset: offset, as: T.self)
            }
            var data = unsafe Elf_Data()
            unsafe data.d_buf = UnsafeMutableRawPointer(destination.baseAddress)
            unsafe data.d_size = size
            unsafe data.d_type = type
            unsafe data.d_version = UInt32(EV_CURRENT)
            let order = UInt32(header.isLittleEndian ? ELFDATA2LSB : ELFDATA2MSB)
            var same = unsafe data
            if size > 0 { unsafe gelf_xlatetof(elf, &same, &data, order) }
            count = size
        }
    }
}
