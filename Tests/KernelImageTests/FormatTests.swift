// SPDX-License-Identifier: MIT

// Both classes and both byte orders are read into the same values.

import Addressing
import KernelImage
import Testing

struct FormatTests {
    private func image(_ format: Format) async throws -> KernelImage {
        try ScratchFile(await fixture("four-formats", format)).open()
    }

    @Test(arguments: Format.allCases)
    func header(format: Format) async throws {
        let header = try await image(format).header
        #expect(header.is64Bit == format.is64Bit)
        #expect(header.isLittleEndian == format.isLittleEndian)
        #expect(header.type == 2)
        #expect(header.machine == format.machine.number)
        #expect(header.entry == 0x100_0040)
        #expect(header.programHeaderOffset == (format.is64Bit ? 64 : 52))
        #expect(header.programHeaderCount == 4)
        #expect(header.sectionCount == 13)
    }

    @Test(arguments: Format.allCases)
    func segments(format: Format) async throws {
        func segment(
            _ type: UInt32, _ flags: UInt32, _ offset: UInt64, _ virtual: UInt64, _ physical: UInt64, file: UInt64,
            memory: UInt64, alignment: UInt64 = 0x1000
        ) -> Segment {
            Segment(
                type: type, flags: flags, offset: offset, virtualAddress: VirtualAddress(virtual),
                physicalAddress: PhysicalAddress(physical), fileSize: file, memorySize: memory, alignment: alignment)
        }
        let segments = try await image(format).segments
        #expect(
            segments == [
                segment(1, 5, 0x1000, 0x8100_0000, 0x100_0000, file: 0x1030, memory: 0x1030),
                segment(1, 6, 0x3000, 0, 0x100_3000, file: 0x200, memory: 0x200),
                segment(1, 6, 0x4000, 0x8100_4000, 0x100_4000, file: 0x800, memory: 0x3000),
                segment(4, 4, 0x2000, 0x8100_1000, 0x100_1000, file: 0x30, memory: 0x30, alignment: 4),
            ])
    }

    @Test(arguments: Format.allCases)
    func sections(format: Format) async throws {
        let image = try await image(format)
        let names = image.sections.map(\.name)
        #expect(
            names == [
                "", ".text", ".notes", ".data..percpu", ".data", ".bss", ".debug_info", ".rela.text", ".rel.data",
                ".rela.debug_info", ".symtab", ".strtab", ".shstrtab",
            ])
        #expect(image.sections.map(\.index) == Array(0..<13))
        guard let text = image.section(named: ".text"), let bss = image.section(named: ".bss"),
            let relocations = image.section(named: ".rela.text")
        else { throw Missing() }
        #expect(text.type == 1 && text.isAllocated && text.isExecutable && !text.isNoBits)
        #expect(text.address == VirtualAddress(0x8100_0000) && text.end == VirtualAddress(0x8100_1000))
        #expect(text.offset == 0x1000 && text.size == 0x1000)
        #expect(bss.isNoBits && bss.isAllocated && !bss.isExecutable && bss.size == 0x2800)
        #expect(!relocations.isAllocated && relocations.link == 10 && relocations.info == 1)
        let absent = image.section(named: ".tex")
        #expect(absent == nil)
    }

    @Test(arguments: Format.allCases)
    func symbols(format: Format) async throws {
        let image = try await image(format)
        guard let table = try image.symbolTable() else { throw Missing() }
        var found: [String] = []
        for symbol in table.symbols {
            let name = table.name(of: symbol, in: image)
            found.append("\(name) \(symbol.value) \(symbol.size) \(symbol.kind) \(symbol.section)")
        }
        #expect(
            found == [
                " 0x0 0 none 0", "head.c 0x0 0 file 65521", "start 0x81000000 64 function 1",
                "table 0x81004000 16 object 4", "percpu_base 0x0 0 none 3", "elsewhere 0x0 0 none 0",
            ])
        #expect(table.symbols[2].end == VirtualAddress(0x8100_0040))
        #expect(table.symbols.map { Int($0.index) } == Array(0..<6))
    }

    /// With addends and without; those of a section that takes no memory are left out.
    @Test(arguments: Format.allCases)
    func relocations(format: Format) async throws {
        let image = try await image(format)
        var found: [String] = []
        try image.forEachRelocation {
            found.append("\($0.address) type \($0.type) symbol \($0.symbol) addend \($0.addend)")
        }
        #expect(
            found == [
                "0x81000004 type 1 symbol 2 addend -4", "0x81000100 type 2 symbol 3 addend 16",
                "0x81004008 type 1 symbol 3 addend 0",
            ])
        let hasRelocations = image.hasRelocations
        #expect(hasRelocations)
    }

    @Test(arguments: Format.allCases)
    func notes(format: Format) async throws {
        let image = try await image(format)
        let notes = image.notes()
        #expect(notes.map(\.owner) == ["Linux", "GNU"])
        #expect(notes.map(\.type) == [0x101, 3])
        let bytes = try await fixture("four-formats", format)
        let descriptors = notes.map { Array(bytes[$0.descriptor]) }
        #expect(descriptors == [[1, 2, 3, 4, 5], [0xa0, 0xa1, 0xa2, 0xa3]])
    }
}
