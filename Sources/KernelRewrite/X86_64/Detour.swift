// SPDX-License-Identifier: MIT

// Instructions that run elsewhere, where something is done besides: the first of
// them become a jump to a copy of them, which jumps back behind them. What is done
// besides differs, and is a payload.

import Addressing
import Disassembly
import KernelImage

/// What is done besides the instructions of a detour.
protocol DetourPayload {
    /// An upper bound of the bytes of one look, besides its instruction's.
    static var bytesPerLook: Int { get }

    /// The code for the first of some instructions, or for what comes behind the last; nil when it cannot be.
    ///
    /// - Parameter looks: those before this instruction.
    mutating func code(
        for instructions: ArraySlice<Instruction>, _ original: [UInt8], _ looks: [Detour.Look],
        at place: VirtualAddress, _ decoder: borrowing Decoder
    ) -> [UInt8]?
}

struct Detour {
    struct Look {
        /// The instructions that read the offset which is added here.
        var sites: [VirtualAddress]
        /// The instruction before which the register holds the address.
        let place: VirtualAddress
        let register: GeneralRegister
        let displacement: Int64
    }

    /// One after the other, entered at the first only.
    private(set) var instructions: [Instruction]
    /// Ascending by place.
    private(set) var looks: [Look] = []

    var range: Range<VirtualAddress> {
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
            $0.place == look.place && $0.register == look.register && $0.displacement == look.displacement
        }
        if let same {
            looks[same].sites.append(site)
            return
        }
        looks.append(
            Look(sites: [site], place: look.place, register: look.register, displacement: look.displacement))
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
    func bound<Payload: DetourPayload>(_ payload: Payload.Type) -> Int {
        // An instruction may stand there twice, and a short jump become a long one.
        let copied = instructions.reduce(0) { $0 + $1.size } + looks.reduce(0) { $0 + size(at: $1.place) }
        return looks.count * Payload.bytesPerLook + copied + 2 * ObservedSite.jumpBytes
    }

    private func size(at place: VirtualAddress) -> Int { instructions.first { $0.address == place }?.size ?? 0 }

    /// The code of the detour; nil when an instruction is not as expected or cannot stand there.
    func code<Payload: DetourPayload>(
        at start: VirtualAddress, _ payload: inout Payload, _ map: PageMap, _ image: borrowing KernelImage,
        _ decoder: borrowing Decoder
    ) -> [UInt8]? {
        var bytes: [UInt8] = []
        var open = looks[...]
        for (number, instruction) in instructions.enumerated() {
            guard let original = map.bytes(at: instruction.address, count: instruction.size, in: image),
                let decoded = unsafe decoder.decode(original.span.bytes, at: instruction.address),
                decoded == instruction
            else { return nil }
            let here = open.prefix { $0.place == instruction.address }
            open = open.dropFirst(here.count)
            guard
                let code = payload.code(
                    for: instructions[number...], original, Array(here), at: start + UInt64(bytes.count), decoder)
            else { return nil }
            bytes += code
        }
        let behind = open.prefix { $0.place == range.upperBound }
        guard behind.count == open.count,
            let last = payload.code(for: [], [], Array(behind), at: start + UInt64(bytes.count), decoder)
        else { return nil }
        bytes += last
        return X86Code.branch(0xe9, from: start + UInt64(bytes.count), to: range.upperBound).map { bytes + $0 }
    }

    /// The jump in the place of the first instructions.
    func lead(
        to place: VirtualAddress, _ map: PageMap, _ image: borrowing KernelImage, reason: String
    ) -> Change? {
        var covered = 0
        for instruction in instructions where covered < ObservedSite.jumpBytes { covered += instruction.size }
        guard let jump = X86Code.branch(0xe9, from: range.lowerBound, to: place), covered >= jump.count,
            let fileOffset = map.fileOffset(of: range.lowerBound),
            let before = map.bytes(at: range.lowerBound, count: covered, in: image)
        else { return nil }
        return Change(
            fileOffset: fileOffset, address: range.lowerBound, before: before,
            after: jump + [UInt8](repeating: 0x90, count: covered - jump.count), reason: reason,
            evidence: "what is read at \(looks.flatMap(\.sites).map(\.description).joined(separator: ", "))")
    }
}

/// The code of many detours, one behind the other.
struct DetourCode {
    /// What leads to a copy, and where that is.
    struct Led {
        let detour: Detour
        let lead: Change
        let code: Range<VirtualAddress>
    }

    private(set) var bytes: [UInt8]
    private(set) var led: [Led] = []
    /// Sites that are left as they are, ascending, and why.
    private(set) var left: [(address: VirtualAddress, reason: String)] = []

    /// - Parameters:
    ///   - first: what comes before them.
    ///   - obstacle: why a detour must not be.
    init<Payload: DetourPayload>(
        _ detours: [Detour], behind first: [UInt8], at place: VirtualAddress, _ payload: inout Payload, _ map: PageMap,
        _ image: borrowing KernelImage, reason: String, unless obstacle: (Detour) -> String?
    ) {
        let decoder = Decoder(.x86Bits64)
        var reasons: [VirtualAddress: String] = [:]
        bytes = first
        for detour in detours {
            let obstacle = obstacle(detour)
            let here = place + UInt64(bytes.count)
            var next = payload
            if obstacle == nil, let code = detour.code(at: here, &next, map, image, decoder),
                let lead = detour.lead(to: here, map, image, reason: reason)
            {
                payload = next
                led.append(Led(detour: detour, lead: lead, code: here..<here + UInt64(code.count)))
                bytes += code
            } else {
                for site in detour.looks.flatMap(\.sites) {
                    reasons[site] = obstacle ?? "an instruction there is not as expected, or cannot stand elsewhere"
                }
            }
        }
        left = reasons.sorted { $0.key < $1.key }.map { ($0, $1) }
    }
}

extension ObservedSite.Look {
    fileprivate var first: VirtualAddress { instructions[0].address }
}
