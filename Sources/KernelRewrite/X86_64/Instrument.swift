// SPDX-License-Identifier: MIT

// The kernel that notes what it translates. Instructions around each place that
// does so become a jump to a copy of them elsewhere, which hands the address to
// the code of images/stub/x86_64/record.c on the way, and jumps back:
//
//     mov phys_base(%rip), %rax     jmp 1f; nop       1: push %rdi; push $0; push $0; push $17; call entry
//     add %rdi, %rax            ->  add %rdi, %rax       mov phys_base(%rip), %rax
//                                                        jmp back
//
// A jump leaves the stack as it is. All this lies in padding of text:
//
//     code | copies
//
// The notes lie where the last large page of the image is mapped behind its end:
// in the kernel's own mapping, writable, and nobody's once they are reserved. The
// frames must be the linear ones: when the kernel changes the rights of any frame
// up to there, it changes them at its linear address in this mapping, too.

import Addressing
import Disassembly
import KernelImage

enum Instrument {
    static func plan(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ sites: [ObservedSite],
        _ relocations: KASLRRelocations?
    ) throws(RewriteError) -> Instrumentation {
        let detours = Detour.merged(sites)
        let looks = detours.reduce(0) { $0 + $1.looks.count }
        var plan = Instrumentation(range: try notesRange(analysis, image, looks: looks))
        let room = try TextRoom.find(
            detours.reduce(RecordCode.bytes.count) { $0 + $1.bound(NotePayload.bytesPerLook) }, analysis, image)
        let patched = analysis.patchSites(in: image)
        let bytes = code(detours, at: room.address, analysis.map, image, &plan, relocations) {
            $0.obstacle(analysis, patched, relocations)
        }
        plan.changes.append(room.change(to: bytes, reason, image))
        return plan
    }

    private static let reason = "notes what is translated"

    /// The code for a place in text, and in the plan what leads there, what is noted, and what had to be left.
    ///
    /// - Parameter obstacle: why a detour must not be.
    static func code(
        _ detours: [Detour], at place: VirtualAddress, _ map: PageMap, _ image: borrowing KernelImage,
        _ plan: inout Instrumentation, _ relocations: KASLRRelocations? = nil, unless obstacle: (Detour) -> String?
    ) -> [UInt8] {
        var payload = NotePayload(entry: place + UInt64(RecordCode.entry))
        let originals = map.originals(of: detours, in: image)
        let code = DetourCode(
            detours, behind: RecordCode.bytes, at: place, &payload, originals, relocations, unless: obstacle)
        plan.changes += code.leads(map, originals, reason: reason)
        plan.notes = payload.notes
        plan.changes += relocations?.changes(moving: code.relocated) ?? []
        plan.left = code.left
        return recorder(at: place, map, plan) + code.bytes.dropFirst(RecordCode.bytes.count)
    }

    /// The code that writes the notes of a plan, for a place in text.
    static func recorder(at place: VirtualAddress, _ map: PageMap, _ plan: Instrumentation) -> [UInt8] {
        var bytes = RecordCode.bytes
        let parameters = place + UInt64(RecordCode.parameters)
        func distance(_ target: VirtualAddress) -> UInt64 { target.rawValue &- parameters.rawValue }
        let words = [
            distance(map.virtualBase), distance(plan.range.lowerBound),
            distance(plan.range.lowerBound + UInt64(plan.slotsOffset)), UInt64(map.pageCount * pageSize),
            UInt64(Instrumentation.slotCount),
        ]
        for (i, word) in words.enumerated() { bytes.store(littleEndian: word, at: RecordCode.parameters + 8 * i) }
        return bytes
    }

    /// Behind the image, up to the end of its last large page.
    static func notesRange(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, looks: Int
    ) throws(RewriteError) -> Range<VirtualAddress> {
        func refuse(_ what: String) -> RewriteError { .unsupported(file: analysis.symbols.file, what) }
        let start = analysis.map.virtualRange.upperBound
        let end = start + UInt64(Instrumentation.byteCount(looks: looks))
        let large: UInt64 = 1 << 21
        guard (end.rawValue - 1) / large == (start.rawValue - 1) / large else {
            throw refuse(
                "no room for notes: of the last 2 MB of the image, \((large - start.rawValue % large) % large) bytes lie "
                    + "behind its end at \(start), \(end - start) are needed")
        }
        // The kernel drops the large pages behind the used part of .brk.
        if let brk = analysis.symbols.optional("__brk_base")?.address, brk.rawValue / large != start.rawValue / large {
            throw refuse(
                "no room for notes: .brk at \(brk) begins before the last 2 MB of the image, which ends at \(start)")
        }
        let physical = analysis.map.physicalBase + (start - analysis.map.virtualBase)
        for segment in image.segments where segment.type == Segment.load && segment.fileSize > 0 {
            let loaded = segment.physicalAddress..<segment.physicalAddress + segment.fileSize
            for at in stride(from: physical.rawValue, to: physical.rawValue + (end - start), by: 8)
            where loaded.contains(PhysicalAddress(at)) {
                let offset = Int(segment.offset + (PhysicalAddress(at) - segment.physicalAddress))
                guard offset + 8 <= image.file.byteCount, image.file.bytes.load(offset, as: UInt64.self) == 0 else {
                    throw refuse("no room for notes: something is loaded behind the image, at physical \(at.hex)")
                }
            }
        }
        return start..<end
    }
}

/// Hands what the registers hold to the code of images/stub/x86_64/record.c.
struct NotePayload: DetourPayload {
    static let bytesPerLook = 19

    let entry: VirtualAddress
    /// By number.
    private(set) var notes: [Instrumentation.Note] = []

    init(entry: VirtualAddress) { self.entry = entry }

    mutating func code(
        for instructions: ArraySlice<Instruction>, _ original: [UInt8], _ looks: [Detour.Look],
        at place: VirtualAddress, _ decoder: borrowing Decoder
    ) -> [UInt8]? {
        var bytes: [UInt8] = []
        for look in looks {
            guard look.register != .rsp else { return nil }
            bytes += X86Code.push(look.register) + Self.noResult
            guard let call = call(look, at: place + UInt64(bytes.count)) else { return nil }
            bytes += call
        }
        guard let instruction = instructions.first else { return bytes }
        return InstructionCopy.bytes(of: instruction, original, at: place + UInt64(bytes.count), decoder)
            .map { bytes + $0 }
    }

    /// `push $0`
    private static let noResult: [UInt8] = [0x6a, 0]

    /// What hands over what was pushed: the register of a look, and what it was translated to.
    ///
    /// - Parameter bits: how many bits of it count; nil for none.
    mutating func call(_ look: Detour.Look, resultBits bits: Int? = nil, at place: VirtualAddress) -> [UInt8]? {
        guard let displacement = Int32(exactly: look.displacement) else { return nil }
        var bytes: [UInt8] = [0x68]
        bytes.append(littleEndian: displacement)
        bytes.append(0x68)
        bytes.append(littleEndian: Int32(notes.count))
        guard let call = X86Code.branch(0xe8, from: place + UInt64(bytes.count), to: entry) else { return nil }
        notes.append(
            Instrumentation.Note(
                sites: look.sites, place: look.place, register: look.register, isReverse: look.isReverse,
                resultBits: bits))
        return bytes + call
    }
}
