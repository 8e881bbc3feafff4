// SPDX-License-Identifier: MIT

// Translations that ask a table. Where the offset between virtual and physical
// addresses is added to an address, the instruction runs elsewhere, and what the
// frame of the address's page differs from the linear one is added besides:
//
//     add %rdi, %rax     jmp 1f; nop     1: push %rcx; push %rdx
//     shr $12, %rax  ->                     lea _text(%rip), %rdx
//                                           lea (%rdi), %rcx; sub %rdx, %rcx
//                                           btr $31, %rcx; shr $12, %rcx
//                                           cmp $pages, %rcx; cmovae pages(%rip), %rcx
//                                           mov table-_text(%rdx,%rcx,8), %rcx
//                                           add %rdi, %rax
//                                           lea (%rax,%rcx), %rax
//                                           pop %rdx; pop %rcx
//                                           shr $12, %rax
//                                           jmp back
//
// The kernel adds the offset to x - START_KERNEL_MAP, sometimes to x itself:
// counted from _text, the two differ in bit 31, and no image has 2 GB. There is
// no branch that a processor could guess wrong, so no address outside the image
// reads what is behind the table. No call either: stacks stay as they are.
//
// The table is one 64-bit difference a page, one for all other addresses, which
// is 0, and the number of pages. It lies in padding of text with the code, where
// the running kernel lets nobody write. Where pages cross classes, the same the
// other way round is behind it, for those who ask what lies in a frame:
//
//     table | other way round | copies
//
// For an audit the copies also note what was asked and what came out, by the code
// of Instrument.swift, which lies behind the tables then. Other translations are
// noted where no jump of these is in the way.

public import Addressing
import Disassembly
import KernelImage
public import PagePermutation

enum Rewriter {
    /// - Parameter others: what shall be noted besides what asks the table; nil in a kernel to be used.
    static func plan(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ sites: [ObservedSite],
        noting others: [ObservedSite]?, _ relocations: KASLRRelocations?, _ order: TranslationTable,
        _ tests: FrameTests? = nil
    ) throws(RewriteError) -> Rewriting {
        guard !sites.isEmpty else {
            throw .unsupported(file: analysis.symbols.file, "no translation that could ask a table was found")
        }
        let (asking, crossed) = Detour.all(sites + (tests?.sites ?? []))
        let known = Detour.merged(others ?? [])
        let noted = known.filter { detour in asking.allSatisfy(detour.isApart) }.map(\.asksNothing)
        let detours = asking + noted
        let tableBytes = LookupTable.byteCount(pages: analysis.map.pageCount)
        var instrumentation: Instrumentation?
        if others != nil {
            let looks = detours.reduce(0) { $0 + $1.looks.count }
            instrumentation = Instrumentation(range: try Instrument.notesRange(analysis, image, looks: looks))
        }
        let inverse = tests == nil ? [] : LookupTable.inverseBytes(order)
        let front =
            tableBytes + inverse.count + FrameCode.bytesPerStep * (tests?.steps.count ?? 0)
            + (others == nil ? 0 : RecordCode.bytes.count)
        let bytesPerLook = LookupPayload.bytesPerLook + (others == nil ? 0 : NotePayload.bytesPerLook)
        let room = try TextRoom.find(detours.reduce(front) { $0 + $1.bound(bytesPerLook) }, analysis, image)
        // What may take the place of other code runs there, and not where it stands.
        let replacements = image.section(named: ".altinstr_replacement").map { [$0.address..<$0.end] } ?? []
        let patched = (analysis.patchSites(in: image) + replacements).mergedRanges
        let originals = analysis.map.originals(of: detours, in: image)
        let lookups = KernelLookups(
            text: analysis.map.virtualBase, table: room.address, pages: analysis.map.pageCount,
            physBase: try analysis.symbols.require("phys_base", for: "which translations add").address)
        let table = LookupTable.bytes(order) + inverse
        let recorder = room.address + UInt64(table.count)
        let first = table + (instrumentation.map { Instrument.recorder(at: recorder, analysis.map, $0) } ?? [])
        var notes = instrumentation.map { _ in NotePayload(entry: recorder + UInt64(RecordCode.entry)) }
        let code = code(detours, behind: first, at: room.address, lookups, originals, relocations, &notes, tests) {
            $0.obstacle(analysis, patched, relocations)
        }
        .leaving(crossed, "another jump is in the way of the one to the lookup")
        // Frames that another class's pages are in must not be freed or protected for those of their own.
        if tests != nil, let left = code.left.first {
            throw .unsupported(
                file: analysis.symbols.file,
                "--cross-class: what goes by frames at \(left.address) does not ask the table: \(left.reason)")
        }
        let covered = known.filter { detour in !noted.contains { $0.start == detour.start } }
        instrumentation?.notes = notes?.notes ?? []
        instrumentation?.left =
            code.leaving(covered.flatMap(\.looks).flatMap(\.sites), "a jump to a lookup is in the way").left
        return Rewriting(
            code, lookups: lookups, instrumentation: instrumentation, frameTests: tests,
            room: room.change(to: code.bytes, reason, image),
            leads: code.leads(analysis.map, originals, reason: reason, tests)
                + (relocations?.changes(moving: code.relocated) ?? []))
    }

    private static let reason = "a translation asks the table"

    /// The code, behind other bytes.
    ///
    /// - Parameters:
    ///   - notes: what is noted besides; nil for nothing.
    ///   - obstacle: why a detour must not be.
    static func code(
        _ detours: [Detour], behind first: [UInt8], at place: VirtualAddress, _ lookups: KernelLookups,
        _ originals: OriginalCode, _ relocations: KASLRRelocations? = nil, _ notes: inout NotePayload?,
        _ tests: FrameTests? = nil, unless obstacle: (Detour) -> String?
    ) -> DetourCode {
        var payload = LookupPayload(lookups: lookups, tests: tests, notes: notes)
        let code = DetourCode(
            detours, behind: first, at: place, &payload, originals, relocations, unless: obstacle)
        notes = payload.notes
        return code
    }
}

/// Where a kernel's translations find their table, as linked.
public struct KernelLookups: Equatable, Sendable {
    /// What the table counts its pages from.
    public let text: VirtualAddress
    public let table: VirtualAddress
    public let pages: Int
    /// The kernel's `phys_base`, by which its modules find the rest.
    public let physBase: VirtualAddress
    /// What modules say of `phys_base`; nil where nothing tells kernels apart.
    public internal(set) var version: SymbolVersion?

    public init(text: VirtualAddress, table: VirtualAddress, pages: Int, physBase: VirtualAddress) {
        self.text = text
        self.table = table
        self.pages = pages
        self.physBase = physBase
    }
}

/// The table that rewritten translations ask.
public enum LookupTable {
    static func byteCount(pages: Int) -> Int { 8 * (pages + 2) }

    /// All of it, for an order.
    public static func bytes(_ order: TranslationTable) -> [UInt8] { bytes(order.forward) }

    /// The other way round, of the same form: what the page in a frame differs from it.
    static func inverseBytes(_ order: TranslationTable) -> [UInt8] { bytes(order.inverse) }

    private static func bytes(_ order: [UInt32]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(byteCount(pages: order.count))
        for (from, to) in order.enumerated() { bytes.append(littleEndian: Int64((Int(to) - from) * pageSize)) }
        bytes.append(littleEndian: UInt64(0))
        bytes.append(littleEndian: UInt64(order.count))
        return bytes
    }
}

/// An instruction that adds the offset to an address.
struct OffsetSum {
    let result: GeneralRegister
    /// 64, or 32 where the rest of the sum is not wanted.
    let bits: Int
    /// All that the instruction reads.
    let operands: GeneralRegisters

    /// Nil for an instruction that does anything else, or of which a copy could not be told the difference.
    init?(_ instruction: Instruction, _ look: Detour.Look) {
        guard instruction.operands.count == 2, case .register(let name) = instruction.operands[0],
            let result = GeneralRegister(name: name), case let bits = GeneralRegister.width(of: name),
            bits == 64 || bits == 32
        else { return nil }
        var operands = GeneralRegisters()
        switch (instruction.mnemonic, instruction.operands[1]) {
        case ("add", .register(let other)):
            guard let other = GeneralRegister(name: other), look.displacement == 0, other != result else { return nil }
            operands = [GeneralRegisters(result), GeneralRegisters(other)]
        case ("add", .memory(base: "rip", index: nil, _)):
            guard look.displacement == 0 else { return nil }
            operands = GeneralRegisters(result)
        case ("lea", .memory(let base?, let index?, look.displacement)):
            guard instruction.scale == 1, let base = GeneralRegister(name: base),
                let index = GeneralRegister(name: index), base != index
            else { return nil }
            operands = [GeneralRegisters(base), GeneralRegisters(index)]
        default: return nil
        }
        guard operands.contains(look.register), !operands.contains(.rsp), result != .rsp else { return nil }
        self.result = result
        self.bits = bits
        self.operands = operands
    }
}

/// Looks the difference up and adds it, and notes both if it is to.
private struct LookupPayload: DetourPayload {
    static let bytesPerLook = 64

    let lookups: KernelLookups
    /// Those that the table behind the other one answers.
    let tests: FrameTests?
    var notes: NotePayload?

    mutating func code(
        for instructions: ArraySlice<Instruction>, _ original: [UInt8], _ looks: [Detour.Look],
        at place: VirtualAddress, _ decoder: borrowing Decoder
    ) -> [UInt8]? {
        guard let look = looks.first(where: \.asksTable) else {
            if notes != nil { return notes?.code(for: instructions, original, looks, at: place, decoder) }
            return instructions.first.map { InstructionCopy.bytes(of: $0, original, at: place, decoder) } ?? []
        }
        let (text, table) = (lookups.text, lookups.table)
        guard let instruction = instructions.first else { return nil }
        if let step = tests?.step(at: look.place) {
            let inverse = table + UInt64(LookupTable.byteCount(pages: lookups.pages))
            guard looks.count == 1, step.look.register == look.register else { return nil }
            return FrameCode.code(step, at: place, text: text, inverse: inverse, pages: lookups.pages) {
                InstructionCopy.bytes(of: instruction, original, at: $0, decoder)
            }
        }
        guard looks.count == 1, let sum = OffsetSum(instruction, look),
            let displacement = Int32(exactly: look.displacement), let limit = Int32(exactly: lookups.pages),
            let distance = X86Code.distance(from: text, to: table)
        else { return nil }
        var used = sum.operands.union(GeneralRegisters(sum.result)).union(GeneralRegisters(.rsp))
        var saved: [GeneralRegister] = []
        func free() -> GeneralRegister? {
            guard let register = GeneralRegister.all.first(where: { !used.contains($0) }) else { return nil }
            used.formUnion(GeneralRegisters(register))
            saved.append(register)
            return register
        }
        let isFree = !sum.operands.contains(sum.result)
        guard let difference = free(), let base = isFree ? sum.result : free() else { return nil }
        let keepsFlags = !instructions.writeFlags

        var bytes = notes == nil ? [] : X86Code.push(look.register)
        bytes += saved.flatMap(X86Code.push)
        if keepsFlags { bytes += X86Code.pushFlags }
        guard let start = X86Code.load(base, addressOf: text, at: place + UInt64(bytes.count)) else { return nil }
        bytes += start
        bytes += X86Code.load(difference, look.register, plus: displacement)
        bytes += X86Code.subtract(base, from: difference)
        bytes += X86Code.clear(bit: 31, of: difference)
        bytes += X86Code.shiftRight(difference, by: 12)
        bytes += X86Code.compare(difference, with: limit)
        let last = table + UInt64(8 * (lookups.pages + 1))
        guard let bound = X86Code.replaceUnlessBelow(difference, byWordAt: last, at: place + UInt64(bytes.count))
        else { return nil }
        bytes += bound
        bytes += X86Code.load(difference, word: difference, of: base, plus: distance)
        if keepsFlags { bytes += X86Code.popFlags }
        guard let copy = InstructionCopy.bytes(of: instruction, original, at: place + UInt64(bytes.count), decoder)
        else { return nil }
        bytes += copy + X86Code.add(difference, to: sum.result, bits: sum.bits)
        bytes += saved.reversed().flatMap(X86Code.pop)
        guard notes != nil else { return bytes }
        bytes += X86Code.push(sum.result)
        return notes?.call(look, resultBits: sum.bits, at: place + UInt64(bytes.count)).map { bytes + $0 }
    }
}
