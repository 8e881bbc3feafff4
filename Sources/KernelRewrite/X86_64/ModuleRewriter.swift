// SPDX-License-Identifier: MIT

// Modules whose translations ask the kernel's table. A module adds the kernel's
// phys_base to an address as the kernel does, and the table lies at a distance
// from phys_base that KASLR keeps; so a relocation against phys_base leads to
// it. The code that asks goes into a section more:
//
//     .text:    jmp .kperm.text + …; nop   relocated against a symbol there
//     .kperm.text:   the copies; what they name is relocated as the original is
//
// Each function's copies get a symbol, and entries in the tables by which the
// kernel unwinds stacks, so that a trace through them names the function.

public import Addressing
import Disassembly
public import KernelImage

/// A module as an audit laid it out.
public struct LaidOutModule: Sendable {
    /// Where sections were put, by number.
    public let addresses: [Int: VirtualAddress]
    /// Their bytes, relocated.
    public let bytes: [Int: [UInt8]]
    /// What the kernel may patch when it loads or runs the module.
    public let patched: [Range<VirtualAddress>]

    public init(
        addresses: [Int: VirtualAddress], bytes: [Int: [UInt8]], patched: [Range<VirtualAddress>]
    ) {
        self.addresses = addresses
        self.bytes = bytes
        self.patched = patched
    }

    func section(at address: VirtualAddress) -> (number: Int, offset: Int)? {
        for (number, start) in addresses {
            // Its end is a place of its own: nothing else begins there.
            if let count = bytes[number]?.count, start <= address, address <= start + UInt64(count) {
                return (number, Int(address - start))
            }
        }
        return nil
    }
}

extension KernelImage {
    /// Whether a relocatable object adds the kernel's offset between virtual and physical addresses.
    ///
    /// - Throws: `RewriteError` when its symbols cannot be read.
    public borrowing func namesPhysBase() throws(RewriteError) -> Bool {
        do {
            guard let table = try symbolTable() else { return false }
            for symbol in table.symbols where symbol.section == 0 {
                if table.name(of: symbol, in: self) == "phys_base" { return true }
            }
            return false
        } catch {
            throw .image(error)
        }
    }
}

/// A module in which translations ask the kernel's table.
public struct RewrittenModule: Sendable {
    /// Instructions that ask.
    public let places: Int
    /// Sites that are left as they are, ascending, and why.
    public let left: [(address: VirtualAddress, reason: String)]
    /// The file, without a signature; empty when nothing asks.
    public let file: [UInt8]
    let code: DetourCode
    let edits: ObjectEdits

    static let section = ".kperm.text"

    /// - Parameter name: of the function that holds an address.
    /// - Throws: `RewriteError` when the module is not as expected.
    public static func make(
        _ image: borrowing KernelImage, _ layout: LaidOutModule, _ sites: [ObservedSite],
        _ lookups: KernelLookups, name: (VirtualAddress) -> String
    ) throws(RewriteError) -> RewrittenModule {
        var rewriter = try ModuleRewriter(image, layout, lookups)
        let (detours, crossed) = Detour.all(sites)
        var originals: OriginalCode = [:]
        for instruction in detours.flatMap(\.instructions) {
            originals[instruction.address] = rewriter.bytes(instruction)
        }
        let (place, obstacle) = (rewriter.place, rewriter.obstacle)
        var noNotes: NotePayload?
        let code = Rewriter.code(detours, behind: [], at: place, lookups, originals, nil, &noNotes, unless: obstacle)
            .leaving(crossed, "another jump is in the way of the one to the lookup")
        guard !code.led.isEmpty else {
            return RewrittenModule(places: 0, left: code.left, file: [], code: code, edits: rewriter.edits)
        }
        try rewriter.lead(code, name)
        try rewriter.relocate(code)
        rewriter.relocateAbsolute(code)
        rewriter.unwind(code)
        if let version = lookups.version { try rewriter.bind(to: version, image.sections) }
        let edits = rewriter.edits
        let file = try wrapping(RewriteError.image) { () throws(ImageError) in try image.object(with: edits) }
        return RewrittenModule(
            places: code.led.reduce(0) { $0 + $1.detour.looks.count }, left: code.left, file: file, code: code,
            edits: edits)
    }
}

/// What changes in a module's file, piece by piece.
private struct ModuleRewriter {
    /// Where the code lies while it is made.
    let place: VirtualAddress
    private(set) var edits = ObjectEdits(name: RewrittenModule.section)

    private let file: String
    private let layout: LaidOutModule
    private let lookups: KernelLookups
    private let physBaseSymbol: Int
    private let symbolCount: Int
    /// A symbol of each section, and its place there.
    private var anchors: [Int: (symbol: Int, offset: UInt64)] = [:]
    /// By section, ascending by address.
    private var relocations: [Int: [Relocation]] = [:]
    /// What data name in code, ascending: jump tables, labels, places that are patched.
    private var named: [VirtualAddress] = []
    private let unwindTable: UnwindTable?

    /// R_X86_64_PC32 and R_X86_64_PLT32.
    private static let (relative, call): (UInt32, UInt32) = (2, 4)
    /// R_X86_64_32 and R_X86_64_32S.
    private static let (absolute, signed): (UInt32, UInt32) = (10, 11)

    init(
        _ image: borrowing KernelImage, _ layout: LaidOutModule, _ lookups: KernelLookups
    ) throws(RewriteError) {
        file = image.path
        self.layout = layout
        self.lookups = lookups
        let table = try wrapping(RewriteError.image) { () throws(ImageError) in try image.symbolTable() }
        guard let table else { throw .unsupported(file: image.path, "no symbols") }
        symbolCount = table.symbols.count
        var base: Int?
        var values: [(section: Int, value: UInt64)] = []
        for symbol in table.symbols {
            let index = Int(symbol.index)
            let section = Int(symbol.section)
            values.append((section, symbol.value.rawValue))
            if section == 0, base == nil, table.name(of: symbol, in: image) == "phys_base" { base = index }
            if layout.addresses[section] != nil, symbol.kind == .section || anchors[section] == nil {
                anchors[section] = (index, symbol.value.rawValue)
            }
        }
        guard let base else { throw .unsupported(file: image.path, "does not name phys_base") }
        physBaseSymbol = base
        var all: [Relocation] = []
        do { try image.forEachRelocation { all.append($0) } } catch { throw .image(error) }
        relocations = Dictionary(grouping: all, by: \.section).mapValues { $0.sorted { $0.address < $1.address } }
        for relocation in all where values.indices.contains(relocation.symbol) {
            let section = image.sections[relocation.section]
            // The tables for unwinding name all code.
            guard !section.isExecutable, section.name != ".orc_unwind_ip",
                let start = layout.addresses[values[relocation.symbol].section]
            else { continue }
            named.append(
                start + (values[relocation.symbol].value &+ UInt64(bitPattern: relocation.addend)))
        }
        named.sort()
        let end = layout.addresses.map { $1 + UInt64(layout.bytes[$0]?.count ?? 0) }.max() ?? lookups.text
        place = VirtualAddress((end.rawValue + UInt64(2 * pageSize)) & ~UInt64(pageSize - 1))
        unwindTable = UnwindTable(image.sections, layout)
    }

    func bytes(_ instruction: Instruction) -> [UInt8]? {
        guard let (section, offset) = layout.section(at: instruction.address), let bytes = layout.bytes[section],
            offset + instruction.size <= bytes.count
        else { return nil }
        return Array(bytes[offset..<offset + instruction.size])
    }

    private func relocations(_ instruction: Instruction) -> ArraySlice<Relocation> {
        guard let (section, offset) = layout.section(at: instruction.address), let all = relocations[section] else {
            return []
        }
        let first = all.partitioningIndex { $0.address.rawValue >= UInt64(offset) }
        return all[first...].prefix { $0.address.rawValue < UInt64(offset + instruction.size) }
    }

    /// Why instructions cannot be led elsewhere.
    func obstacle(_ detour: Detour) -> String? {
        for instruction in detour.instructions {
            let range = instruction.address..<instruction.next
            let first = named.partitioningIndex { $0 >= range.lowerBound }
            if first < named.count, named[first] < range.upperBound { return "data of the module name the code there" }
            if layout.patched.contains(where: { $0.overlaps(range) }) { return "the kernel patches the code there" }
            guard relocations(instruction).allSatisfy({ isRelative($0) || stays(instruction, $0, detour) }) else {
                return "an absolute address stands in the code there"
            }
        }
        return nil
    }

    private func isRelative(_ relocation: Relocation) -> Bool { [Self.relative, Self.call].contains(relocation.type) }

    /// Whether an absolute field of an instruction is found in its copy: where nothing but the instruction stands.
    private func stays(_ instruction: Instruction, _ relocation: Relocation, _ detour: Detour) -> Bool {
        [Self.absolute, Self.signed].contains(relocation.type) && instruction.flow == .next
            && !detour.looks.contains { $0.place == instruction.address }
    }

    private func malformed(_ what: String) -> RewriteError { .unsupported(file: file, what) }

    /// Puts the jumps in, and gives the copies names.
    mutating func lead(_ code: DetourCode, _ name: (VirtualAddress) -> String) throws(RewriteError) {
        edits.code = code.bytes
        for led in code.led {
            let start = Int(led.code.lowerBound - place)
            let end = Int(led.code.upperBound - place)
            let name = name(led.detour.start) + ".lookup"
            if let last = edits.functions.last, last.name == name {
                edits.functions[edits.functions.count - 1] = ObjectEdits.Function(
                    name: name, range: last.range.lowerBound..<end)
            } else {
                edits.functions.append(ObjectEdits.Function(name: name, range: start..<end))
            }
            guard let (section, offset) = layout.section(at: led.detour.start) else {
                throw malformed("no section at \(led.detour.start)")
            }
            // The loader takes a field that is not 0 for one that was relocated already.
            let jump = ObservedSite.jumpBytes
            edits.replaced.append((section, offset, led.lead.prefix(1) + [0, 0, 0, 0] + led.lead.dropFirst(jump)))
            for field in relocations[section] ?? []
            where (offset..<offset + led.lead.count).contains(Int(field.address.rawValue)) {
                edits.dropped[section, default: []].insert(field.address.rawValue)
            }
            edits.relocations[section, default: []].append(relocation(UInt64(offset + 1), toCode: start, less: 4))
        }
    }

    /// A relocation to a place in the code, for a field that counts from so many bytes behind it.
    private func relocation(_ offset: UInt64, toCode target: Int, less distance: Int) -> ObjectEdits.Relocation {
        let function = edits.functions.lastIndex { $0.range.lowerBound <= target } ?? 0
        return ObjectEdits.Relocation(
            offset: offset, type: Self.relative, symbol: symbolCount + function,
            addend: Int64(target - edits.functions[function].range.lowerBound - distance))
    }

    /// Has all that the copies name outside relocated.
    mutating func relocate(_ code: DetourCode) throws(RewriteError) {
        let decoder = Decoder(.x86Bits64)
        var known: [VirtualAddress: (symbol: Int, value: Int64)] = [:]
        for instruction in code.led.flatMap(\.detour.instructions) {
            for relocation in relocations(instruction) where isRelative(relocation) {
                guard let target = instruction.reference, let (_, offset) = layout.section(at: instruction.address)
                else { throw malformed("a relocation of \(instruction.mnemonic) at \(instruction.address)") }
                let behind = offset + instruction.size - Int(relocation.address.rawValue)
                known[target] = (relocation.symbol, relocation.addend + Int64(behind))
            }
        }
        let end = place + UInt64(code.bytes.count)
        let instructions = decoder.all(code.bytes, at: place)
        guard instructions.last?.next == end else { throw malformed("the copies do not decode") }
        for instruction in instructions {
            let offset = Int(instruction.address - place)
            guard let target = instruction.reference, !(place..<end).contains(target) else { continue }
            guard let (symbol, value) = known[target] ?? self.symbol(for: target),
                let field = field(of: instruction, code.bytes, offset, decoder)
            else { throw malformed("nothing names \(target), which a copy needs") }
            edits.codeRelocations.append(
                ObjectEdits.Relocation(
                    offset: UInt64(offset + field), type: Self.relative, symbol: symbol,
                    addend: value - Int64(instruction.size - field)))
            edits.code.store(littleEndian: UInt32(0), at: offset + field)
        }
    }

    /// Has absolute addresses in the copies relocated, as they are in the originals.
    mutating func relocateAbsolute(_ code: DetourCode) {
        for led in code.led {
            let offsets = Dictionary(led.steps.map { ($0.original, $0.offset) }) { first, _ in first }
            for instruction in led.detour.instructions {
                guard let (_, start) = layout.section(at: instruction.address), let step = offsets[instruction.address]
                else { continue }
                let copy = Int(led.code.lowerBound - place) + step
                for relocation in relocations(instruction) where !isRelative(relocation) {
                    let field = copy + Int(relocation.address.rawValue) - start
                    edits.codeRelocations.append(
                        ObjectEdits.Relocation(
                            offset: UInt64(field), type: relocation.type, symbol: relocation.symbol,
                            addend: relocation.addend))
                    edits.code.store(littleEndian: UInt32(0), at: field)
                }
            }
        }
    }

    /// What names an address of the module or the kernel, and how far it lies behind.
    private func symbol(for target: VirtualAddress) -> (symbol: Int, value: Int64)? {
        if let (section, offset) = layout.section(at: target) {
            return anchors[section].map { ($0.symbol, Int64(offset) - Int64($0.offset)) }
        }
        let image = lookups.text..<lookups.text + UInt64(lookups.pages * pageSize)
        return image.contains(target)
            ? (physBaseSymbol, Int64(bitPattern: target.rawValue &- lookups.physBase.rawValue)) : nil
    }

    /// Where in an instruction its relative address stands.
    private func field(
        of instruction: Instruction, _ code: [UInt8], _ offset: Int, _ decoder: borrowing Decoder
    ) -> Int? {
        for field in stride(from: instruction.size - 4, through: 1, by: -1) {
            var changed = Array(code[offset..<offset + instruction.size])
            changed[field] ^= 1
            guard let other = unsafe decoder.decode(changed.span.bytes, at: instruction.address),
                other.size == instruction.size, other.mnemonic == instruction.mnemonic,
                let target = other.reference, let mine = instruction.reference,
                target.rawValue ^ mine.rawValue == 1 || abs(Int64(bitPattern: target.rawValue &- mine.rawValue)) == 1
            else { continue }
            return field
        }
        return nil
    }

    /// Has other kernels refuse the module.
    mutating func bind(to version: SymbolVersion, _ sections: [Section]) throws(RewriteError) {
        // struct modversion_info: a version in 8 bytes, a name in 56.
        let (size, name) = (64, Array("phys_base".utf8) + [0])
        guard let section = sections.first(where: { $0.name == "__versions" })?.index,
            let bytes = layout.bytes[section],
            let entry = stride(from: 0, through: bytes.count - size, by: size).first(where: {
                bytes[($0 + 8)...].starts(with: name)
            })
        else { throw malformed("says no version of phys_base") }
        let said = bytes[entry..<entry + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard said == UInt64(version.original) else {
            throw malformed("made for another kernel: it says another version of phys_base")
        }
        var own: [UInt8] = []
        own.append(littleEndian: UInt64(version.own))
        edits.replaced.append((section, entry, own))
    }

    /// Tells how the stack lies while a copy runs.
    mutating func unwind(_ code: DetourCode) {
        guard let table = unwindTable else { return }
        let decoder = Decoder(.x86Bits64)
        var ends: [(offset: Int, entry: [UInt8])] = []
        func add(_ offset: Int, _ entry: [UInt8]) { if ends.last?.entry != entry { ends.append((offset, entry)) } }
        for led in code.led {
            let start = Int(led.code.lowerBound - place)
            let next = led.steps.dropFirst().map(\.offset) + [Int(led.code.upperBound - led.code.lowerBound)]
            for (step, end) in zip(led.steps, next) {
                let entry = table.entry(at: step.original)
                var pushed = 0
                add(start + step.offset, entry)
                // Of one instruction, the next step tells.
                let copies = Array(code.bytes[start + step.offset..<start + end])
                for instruction in decoder.all(copies, at: led.code.lowerBound + UInt64(step.offset))
                where instruction.next < led.code.lowerBound + UInt64(end) {
                    switch instruction.mnemonic {
                    case "push", "pushf", "pushfq": pushed += 8
                    case "pop", "popf", "popfq": pushed -= 8
                    default: continue
                    }
                    add(Int(instruction.next - place), UnwindTable.entry(entry, pushed: pushed))
                }
            }
        }
        add(code.bytes.count, UnwindTable.end)
        edits.appended[table.places] = [UInt8](repeating: 0, count: 4 * ends.count)
        edits.appended[table.entries] = ends.flatMap(\.entry)
        edits.relocations[table.places, default: []] += ends.enumerated().map { number, end in
            relocation(UInt64(table.count + 4 * number), toCode: end.offset, less: 0)
        }
    }
}

/// How the stack lies at each place of a module's code: the kernel's ORC tables (arch/x86/include/asm/orc_types.h of
/// Linux), which it sorts when it loads a module.
private struct UnwindTable {
    /// Where nothing is known.
    static let end = [UInt8](repeating: 0, count: 6)
    /// What the place of the caller's stack is counted from.
    private static let (stackPointer, throughStackPointer): (UInt8, UInt8) = (5, 9)

    /// The sections with the places and with what is known there, by number.
    let places: Int
    let entries: Int
    /// Of all places, in bytes.
    let count: Int
    /// Ascending.
    private let known: [(place: VirtualAddress, entry: [UInt8])]

    /// Nil for a module without such tables, or with such of another form.
    init?(_ sections: [Section], _ layout: LaidOutModule) {
        guard let places = sections.first(where: { $0.name == ".orc_unwind_ip" })?.index,
            let entries = sections.first(where: { $0.name == ".orc_unwind" })?.index,
            let start = layout.addresses[places], let words = layout.bytes[places], let all = layout.bytes[entries],
            words.count % 4 == 0, all.count == words.count / 4 * Self.end.count
        else { return nil }
        self.places = places
        self.entries = entries
        count = words.count
        known = (0..<words.count / 4).map { number in
            let word = words[4 * number..<4 * number + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            let place = start + UInt64(4 * number) + UInt64(bitPattern: Int64(Int32(bitPattern: word)))
            return (place, Array(all[6 * number..<6 * number + 6]))
        }.sorted { $0.place < $1.place }
    }

    func entry(at address: VirtualAddress) -> [UInt8] {
        let next = known.partitioningIndex { $0.place > address }
        return next == 0 ? Self.end : known[next - 1].entry
    }

    /// The same, with more on the stack.
    static func entry(_ entry: [UInt8], pushed: Int) -> [UInt8] {
        guard [stackPointer, throughStackPointer].contains(entry[4] & 0xf) else { return entry }
        var entry = entry
        let offset = Int16(truncatingIfNeeded: Int(entry[0]) | Int(entry[1]) << 8) + Int16(pushed)
        entry.store(littleEndian: offset, at: 0)
        return entry
    }
}

extension Instruction {
    /// What it names relative to itself: where it leads, or what it reads or writes.
    fileprivate var reference: VirtualAddress? { target ?? relativeReference }
}

extension RandomAccessCollection where Index == Int {
    /// The first of elements that are such, behind all that are not.
    fileprivate func partitioningIndex(where isSuch: (Element) -> Bool) -> Int {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = (low + high) / 2
            if isSuch(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
