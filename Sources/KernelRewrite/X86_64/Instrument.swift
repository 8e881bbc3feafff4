// SPDX-License-Identifier: MIT

// The kernel that notes what it translates. Instructions around each place that
// does so become a jump to a copy of them elsewhere, which hands the address to
// the code of images/stub/x86_64/record.c on the way, and jumps back:
//
//     mov phys_base(%rip), %rax     jmp 1f; nop       1: push %rdi; push $0; push $17; call entry
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
            detours.reduce(RecordCode.bytes.count) { $0 + $1.bound }, analysis, image)
        let patched = analysis.patchSites(in: image)
        let bytes = code(detours, at: room.address, analysis.map, image, &plan) {
            $0.obstacle(analysis, patched, relocations)
        }
        plan.changes.append(
            Change(
                fileOffset: room.fileOffset, address: room.address,
                before: bytes.indices.map { image.file.bytes.load(room.fileOffset + $0, as: UInt8.self) }, after: bytes,
                reason: "notes what is translated", evidence: "\(room.size) bytes of padding that no symbol covers"))
        return plan
    }

    /// The code for a place in text, and in the plan what leads there, what is noted, and what had to be left.
    ///
    /// - Parameter obstacle: why a detour must not be.
    static func code(
        _ detours: [Detour], at place: VirtualAddress, _ map: PageMap, _ image: borrowing KernelImage,
        _ plan: inout Instrumentation, unless obstacle: (Detour) -> String?
    ) -> [UInt8] {
        let decoder = Decoder(.x86Bits64)
        let entry = place + UInt64(RecordCode.entry)
        var bytes = RecordCode.bytes
        var reasons: [VirtualAddress: String] = [:]
        for detour in detours {
            let obstacle = obstacle(detour)
            let here = place + UInt64(bytes.count)
            if obstacle == nil,
                let way = detour.code(at: here, entry: entry, firstNote: plan.notes.count, map, image, decoder),
                let lead = detour.lead(to: here, map, image)
            {
                plan.changes.append(lead)
                plan.notes += detour.looks.map(\.note)
                bytes += way
            } else {
                for site in detour.looks.flatMap(\.note.sites) {
                    reasons[site] = obstacle ?? "an instruction there is not as expected, or cannot stand elsewhere"
                }
            }
        }
        plan.left = reasons.sorted { $0.key < $1.key }.map { ($0, $1) }
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
    private static func notesRange(
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

/// Instructions that run elsewhere, with what is noted between them.
struct Detour {
    struct Look {
        var note: Instrumentation.Note
        let place: VirtualAddress
        let displacement: Int64
    }

    /// One after the other, entered at the first only.
    private(set) var instructions: [Instruction]
    /// Ascending by place.
    private(set) var looks: [Look] = []

    private var range: Range<VirtualAddress> {
        instructions[0].address..<instructions[instructions.count - 1].next
    }

    /// One for all looks whose instructions overlap, ascending.
    static func merged(_ sites: [ObservedSite]) -> [Detour] {
        var detours: [Detour] = []
        let all = sites.flatMap { site in site.looks.map { (site: site.address, look: $0) } }
        for (site, look) in all.sorted(by: { ($0.look.first, $0.look.place) < ($1.look.first, $1.look.place) }) {
            if let last = detours.last, look.first < last.range.upperBound {
                let known = last.range.upperBound
                detours[detours.count - 1].instructions += look.instructions.filter { $0.address >= known }
            } else {
                detours.append(Detour(instructions: look.instructions))
            }
            detours[detours.count - 1].add(look, of: site)
        }
        return detours
    }

    private mutating func add(_ look: ObservedSite.Look, of site: VirtualAddress) {
        let same = looks.firstIndex {
            $0.place == look.place && $0.note.register == look.register && $0.displacement == look.displacement
        }
        if let same {
            looks[same].note.sites.append(site)
            return
        }
        looks.append(
            Look(
                note: Instrumentation.Note(sites: [site], place: look.place, register: look.register),
                place: look.place,
                displacement: look.displacement))
        looks.sort { $0.place < $1.place }
    }

    /// Why the instructions cannot be led elsewhere.
    func obstacle(
        _ analysis: KernelAnalysis, _ patched: [Range<VirtualAddress>], _ relocations: KASLRRelocations?
    ) -> String? {
        guard let function = analysis.index.function(at: range.lowerBound), range.upperBound <= function.end else {
            return "code that no symbol covers"
        }
        if analysis.earlyFunctions.contains(function.value) { return "runs before the kernel's own mapping is live" }
        if patched.contains(where: { $0.overlaps(range) }) { return "the kernel patches the code there" }
        if relocations?.first(in: range) != nil { return "KASLR relocates a word of the code there" }
        return nil
    }

    /// An upper bound of the bytes of the code.
    var bound: Int { looks.count * 17 + instructions.reduce(0) { $0 + $1.size } + ObservedSite.jumpBytes }

    /// The instructions with notes between them, numbered from `firstNote`; nil when one of them is not as expected or
    /// cannot stand there.
    func code(
        at start: VirtualAddress, entry: VirtualAddress, firstNote: Int, _ map: PageMap, _ image: borrowing KernelImage,
        _ decoder: borrowing Decoder
    ) -> [UInt8]? {
        var bytes: [UInt8] = []
        var number = firstNote
        for instruction in instructions.map(Optional.some) + [nil] {
            for look in looks where look.place == instruction?.address ?? range.upperBound {
                guard let displacement = Int32(exactly: look.displacement), look.note.register != .rsp else {
                    return nil
                }
                let register = UInt8(look.note.register.number)
                bytes += register < 8 ? [0x50 + register] : [0x41, 0x50 + register - 8]
                bytes.append(0x68)
                bytes.append(littleEndian: displacement)
                bytes.append(0x68)
                bytes.append(littleEndian: Int32(number))
                guard let call = Self.branch(0xe8, from: start + UInt64(bytes.count), to: entry) else { return nil }
                bytes += call
                number += 1
            }
            guard let instruction else { break }
            guard let original = map.bytes(at: instruction.address, count: instruction.size, in: image),
                let decoded = unsafe decoder.decode(original.span.bytes, at: instruction.address),
                decoded == instruction,
                let copy = InstructionCopy.bytes(
                    of: instruction, original, at: start + UInt64(bytes.count), decoder)
            else { return nil }
            bytes += copy
        }
        guard number == firstNote + looks.count,
            let back = Self.branch(0xe9, from: start + UInt64(bytes.count), to: range.upperBound)
        else { return nil }
        return bytes + back
    }

    /// The jump in the place of the first instructions.
    func lead(to place: VirtualAddress, _ map: PageMap, _ image: borrowing KernelImage) -> Change? {
        var covered = 0
        for instruction in instructions where covered < ObservedSite.jumpBytes { covered += instruction.size }
        guard let jump = Self.branch(0xe9, from: range.lowerBound, to: place), covered >= jump.count,
            let fileOffset = map.fileOffset(of: range.lowerBound),
            let before = map.bytes(at: range.lowerBound, count: covered, in: image)
        else { return nil }
        return Change(
            fileOffset: fileOffset, address: range.lowerBound, before: before,
            after: jump + [UInt8](repeating: 0x90, count: covered - jump.count),
            reason: "notes what is translated",
            evidence: "what is read at \(looks.flatMap(\.note.sites).map(\.description).joined(separator: ", "))")
    }

    private static func branch(_ opcode: UInt8, from: VirtualAddress, to: VirtualAddress) -> [UInt8]? {
        let distance = Int64(bitPattern: to.rawValue &- from.rawValue &- UInt64(ObservedSite.jumpBytes))
        guard let offset = Int32(exactly: distance) else { return nil }
        var bytes = [opcode]
        bytes.append(littleEndian: offset)
        return bytes
    }
}

extension ObservedSite.Look {
    fileprivate var first: VirtualAddress { instructions[0].address }
}
