// SPDX-License-Identifier: MIT

// Data of a kernel without names that is known by what it holds: the vDSOs, the
// banner, and the lists of places that the kernel patches.

import Addressing
import Disassembly
import KernelImage

extension SymbolRecovery {
    /// The vDSOs: ELF files at the start of a page, and the descriptions that begin with their address and size.
    mutating func userImages(_ image: borrowing KernelImage) throws(RewriteError) {
        guard !code.functions(["arch_setup_additional_pages"], in: image).isEmpty else { return }
        var files: [VirtualAddress: String] = [:]
        let data = sections.filter { !$0.isExecutable && $0.offset != nil }
        for page in 0..<map.pageCount {
            let address = map.virtualBase + UInt64(page * pageSize)
            guard isData(address), let head = map.words(at: address, count: 3, in: image),
                head[0] & 0xffff_ffff == 0x464c_457f
            else { continue }
            let machine = head[2] >> 16 & 0xffff
            files[address] =
                head[0] >> 32 & 0xff == 2 ? "vdso_image_64" : machine == 3 ? "vdso_image_32" : "vdso_image_x32"
        }
        for section in data {
            let count = Int(section.range.upperBound - section.range.lowerBound)
            guard let start = section.offset else { continue }
            for at in stride(from: start + section.range.lowerBound.paddingToWord, to: start + count - 15, by: 8) {
                guard let name = files[VirtualAddress(image.file.bytes.load(at, as: UInt64.self))] else { continue }
                let size = image.file.bytes.load(at + 8, as: UInt64.self)
                guard size > 0, size % UInt64(pageSize) == 0, size <= 1 << 20 else { continue }
                found.append((name, section.range.lowerBound + UInt64(at - start), 16))
            }
        }
        guard found.contains(where: { $0.name == "vdso_image_64" }) else {
            throw refuse(
                "vdso_image_64", "nothing in the image describes an ELF file of 64 bits at the start of a page")
        }
    }

    /// Lists of the places that the kernel patches.
    mutating func lists(_ image: borrowing KernelImage) {
        for list in Rules.lists {
            guard let range = sections.first(where: { $0.name == list.section })?.range else { continue }
            found += [(list.start, range.lowerBound, 0), (list.end, range.upperBound, 0)]
        }
        for list in Rules.countedLists {
            let borders = Set(code.functions(list.users, in: image).flatMap(Self.differences))
            guard borders.count == 1, let only = borders.first else { continue }
            found += [(list.start, only.lowerBound, 0), (list.end, only.upperBound, 0)]
        }
        // The linker lays the list of static calls behind that of jump labels.
        guard let start = address("__stop___jump_table") else { return }
        let named = code.references(of: ["static_call_init"], in: image).filter(\.isValue).map(\.address)
        let home = section(at: start)?.range
        let behind = named.filter { $0 > start && home?.contains($0) ?? false }.min()
        if named.contains(start), let end = behind {
            found += [("__start_static_call_sites", start, 0), ("__stop_static_call_sites", end, 0)]
        }
    }

    /// What a function subtracts from one another: `mov $end, %register`, `sub $start, %register`.
    private static func differences(_ function: CodeReferences.Function) -> [Range<VirtualAddress>] {
        function.indices.compactMap { at in
            guard function[at].instruction.mnemonic == "sub", let start = function[at].named.first?.address,
                let register = function[at].instruction.operands.first,
                let end = function[..<at].last(where: {
                    $0.instruction.mnemonic == "mov" && $0.instruction.operands.first == register
                })?.named.first?.address, start < end
            else { return nil }
            return start..<end
        }
    }

    /// "Linux version RELEASE (…", which the start prints.
    mutating func banner(_ image: borrowing KernelImage) {
        let words = Array("Linux version ".utf8)
        var places: [VirtualAddress] = []
        for section in sections where section.name == ".rodata" {
            guard let start = section.offset else { continue }
            let count = Int(section.range.upperBound - section.range.lowerBound)
            let bytes = image.file.bytes.extracting(start..<start + count)
            for at in 0..<max(0, count - 64) where bytes.load(at, as: UInt64.self) == 0x6576_2078_756e_694c {
                guard words.indices.allSatisfy({ bytes.load(at + $0, as: UInt8.self) == words[$0] }),
                    0x30...0x39 ~= bytes.load(at + words.count, as: UInt8.self)
                else { continue }
                places.append(section.range.lowerBound + UInt64(at))
            }
        }
        let printed = code.references(of: ["start_kernel"], in: image).map(\.address)
        if places.count > 1 { places = places.filter(printed.contains) }
        if places.count == 1 { found.append(("linux_banner", places[0], 512)) }
    }
}

extension VirtualAddress {
    /// Bytes from here to the next 64-bit word.
    fileprivate var paddingToWord: Int { Int((0 &- rawValue) & 7) }
}
