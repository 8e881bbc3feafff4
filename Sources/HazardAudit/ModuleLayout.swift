// SPDX-License-Identifier: MIT

// A module, or any relocatable object, as it would lie in memory: each section
// at the start of a page of its own, each undefined symbol at a made-up address
// behind them, and the relocations carried out. After that it reads like a
// kernel. Where a real loader packs sections closer, offsets in pages differ;
// this layout is the one that the section's own alignment promises.

public import Addressing
public import KernelImage
public import KernelRewrite

/// What stands in the way of laying out a module.
public struct ModuleRemarks: Sendable, Equatable {
    /// Relocations that lead outside their section, or name no symbol.
    public var misplaced = 0
    /// Relocations of a type that is not known, by type.
    public var unknown: [UInt32: Int] = [:]
    /// Values that do not fit into their fields.
    public var overflowing = 0
    /// Symbols that lie outside their section, in part or altogether: they name nothing.
    public var outside = 0

    /// Relocations.
    public var skipped: Int { misplaced + overflowing + unknown.values.reduce(0, +) }
}

extension AuditSubject {
    /// Where modules are, on x86-64 (Documentation/x86/x86_64/mm.rst of Linux).
    static let moduleArea = VirtualAddress(0xffff_ffff_c000_0000)
    private static let moduleAreaSize: UInt64 = 0x3e00_0000

    /// Whether a file is a relocatable object.
    public static func isRelocatable(_ image: borrowing KernelImage) -> Bool { image.header.type == 1 }

    /// A relocatable object for x86-64 (`.ko` or `.o`), laid out as a loader might.
    ///
    /// - Throws: `RewriteError` when it is no such object, or is damaged.
    public static func module(_ image: borrowing KernelImage) throws(RewriteError) -> AuditSubject {
        guard isRelocatable(image) else { throw .unsupported(file: image.path, "not a relocatable object (.ko or .o)") }
        guard image.header.is64Bit, image.header.isLittleEndian, image.header.machine == 62 else {
            throw .unsupported(
                file: image.path, "a module for machine \(image.header.machine): only x86-64 (62) is audited")
        }
        let table: SymbolTable?
        do { table = try image.symbolTable() } catch { throw .image(error) }
        guard let table else { throw .unsupported(file: image.path, "no symbols") }
        var layout = ModuleLayout()
        try layout.place(image)
        let names = table.symbols.map { table.name(of: $0, in: image) }
        layout.place(Array(table.symbols), names)
        do {
            try image.forEachRelocation { layout.carryOut($0) }
        } catch {
            throw .image(error)
        }
        let range = moduleArea..<layout.end
        return AuditSubject(
            file: image.path,
            sections: [layout.table].compactMap { $0 }
                + layout.sections.map { number, section in
                    Section(
                        name: section.name, address: layout.addresses[number] ?? moduleArea, size: section.size,
                        bytes: layout.bytes[number] ?? [], isExecutable: section.isExecutable,
                        isWritable: section.flags & 1 != 0)
                },
            symbols: layout.names.filter { range.contains($0.value) }, names: names,
            index: AddressIndex(layout.names, range), kernel: nil, module: layout.remarks,
            placement: layout.addresses)
    }
}

extension AuditSubject {
    /// What a module's sections hold, for those who change its code.
    public var laidOut: LaidOutModule {
        var bytes: [Int: [UInt8]] = [:]
        for (number, address) in placement { bytes[number] = section(at: address)?.bytes }
        // What may take the place of other code runs there, and not where it stands.
        let replacements = sections.filter { $0.name == ".altinstr_replacement" }.map(\.range)
        return LaidOutModule(
            addresses: placement, bytes: bytes,
            patched: AlternativeTable.patches(ofX86: self).map(\.original) + replacements)
    }

    /// The name of the function that holds an address.
    public func functionName(at address: VirtualAddress) -> String {
        index.function(at: address).map { name(of: $0) } ?? "code"
    }
}

/// Sections and symbols while they get their addresses.
private struct ModuleLayout {
    var sections: [(number: Int, section: Section)] = []
    var addresses: [Int: VirtualAddress] = [:]
    private var sizes: [Int: UInt64] = [:]
    /// Symbols that lie outside their section.
    private var nameless: Set<UInt32> = []
    /// What is left of the symbols.
    var names: [Symbol] { symbols.filter { !nameless.contains($0.index) } }
    var bytes: [Int: [UInt8]] = [:]
    var symbols: [Symbol] = []
    var remarks = ModuleRemarks()
    private(set) var end = AuditSubject.moduleArea
    private var offsets = AuditSubject.moduleArea
    private var entries: Set<Int> = []

    mutating func place(_ image: borrowing KernelImage) throws(RewriteError) {
        for section in image.sections where section.isAllocated && section.size > 0 {
            guard section.size < 1 << 28, end < AuditSubject.moduleArea + 1 << 29 else {
                throw .unsupported(file: image.path, "section \(section.name) does not fit into the modules' area")
            }
            sections.append((section.index, section))
            addresses[section.index] = end
            sizes[section.index] = section.size
            if !section.isNoBits {
                let source = image.file.bytes.extracting(Int(section.offset)..<Int(section.offset + section.size))
                bytes[section.index] = unsafe source.withUnsafeBytes { unsafe Array($0) }
            }
            // A page between them keeps what runs over the end of one from another's symbols.
            end = end + ((section.size + UInt64(2 * pageSize) - 1) & ~UInt64(pageSize - 1))
        }
    }

    mutating func place(_ all: [Symbol], _ names: [String]) {
        // What is undefined lies at the same place in a module with a little more code.
        let room: UInt64 = 1 << 22
        end = VirtualAddress((end.rawValue + room) & ~(room - 1))
        for symbol in all {
            switch symbol.section {
            case 0 where symbol.index > 0:
                symbols.append(symbol.moved(to: end))
                // Room for what code reads at a symbol and some bytes behind it.
                end = end + 64
            case let home:
                guard let address = addresses[Int(home)] else {
                    symbols.append(symbol.moved(to: symbol.value))
                    continue
                }
                symbols.append(symbol.moved(to: address + symbol.value.rawValue))
                let size = sizes[Int(home)] ?? 0
                if symbol.value.rawValue > size || symbol.size > size - symbol.value.rawValue {
                    nameless.insert(symbol.index)
                }
            }
        }
        remarks.outside = nameless.count
        // One entry for each symbol, of which few are used, if any.
        end = VirtualAddress((end.rawValue + UInt64(pageSize - 1)) & ~UInt64(pageSize - 1))
        offsets = end
        end = end + ((UInt64(all.count) * 8 + UInt64(2 * pageSize) - 1) & ~UInt64(pageSize - 1))
    }

    /// The global offset table as a section of its own, when a relocation asked for it.
    var table: AuditSubject.Section? {
        guard !entries.isEmpty else { return nil }
        var bytes = [UInt8](repeating: 0, count: symbols.count * 8)
        for symbol in entries {
            for i in 0..<8 {
                bytes[symbol * 8 + i] = UInt8(truncatingIfNeeded: symbols[symbol].value.rawValue >> (8 * i))
            }
        }
        return AuditSubject.Section(
            name: ".got", address: offsets, size: UInt64(bytes.count), bytes: bytes, isExecutable: false,
            isWritable: false)
    }

    mutating func carryOut(_ relocation: Relocation) {
        let type = relocation.type
        let size: Int
        switch type {
        case 0: return
        case 1, 24: size = 8
        case 2, 4, 9, 10, 11, 41, 42: size = 4
        case 12, 13: size = 2
        case 14, 15: size = 1
        default:
            remarks.unknown[type, default: 0] += 1
            return
        }
        guard let home = addresses[relocation.section], let count = bytes[relocation.section]?.count,
            let offset = Int(exactly: relocation.address.rawValue), offset <= count - size,
            symbols.indices.contains(relocation.symbol)
        else {
            remarks.misplaced += 1
            return
        }
        let place = home + UInt64(offset)
        var value = symbols[relocation.symbol].value.rawValue &+ UInt64(bitPattern: relocation.addend)
        // R_X86_64_GOTPCREL and its like.
        if [9, 41, 42].contains(type) {
            entries.insert(relocation.symbol)
            value = (offsets + UInt64(relocation.symbol) * 8).rawValue &+ UInt64(bitPattern: relocation.addend)
        }
        let isRelative = [2, 4, 9, 13, 15, 24, 41, 42].contains(type)
        if isRelative { value = value &- place.rawValue }
        let fits =
            switch (size, isRelative || type == 11) {
            case (4, true): Int32(exactly: Int64(bitPattern: value)) != nil
            case (4, false): value <= 0xffff_ffff
            default: true
            }
        if !fits { remarks.overflowing += 1 }
        Self.store(value, size, at: offset, &bytes[relocation.section, default: []])
    }

    private static func store(_ value: UInt64, _ size: Int, at offset: Int, _ bytes: inout [UInt8]) {
        for i in 0..<size { bytes[offset + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i)) }
    }
}
