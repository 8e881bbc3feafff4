// SPDX-License-Identifier: MIT

// Reads functions of load-store processors: the jumps that instructions show,
// and those of the kernel's tables.

import Addressing
import Disassembly
import KernelImage

typealias PlainUnit = FunctionUnit<PlainInstruction>

/// Reads the functions of what is audited.
struct PlainReader: FunctionReader {
    let subject: AuditSubject
    let architecture: OffsetArchitecture
    var alignment: Int { architecture.alignment }
    private let edges: CodeEdges
    private var patched: [VirtualAddress: [VirtualAddress]] = [:]
    private let decoder: (RawSpan, VirtualAddress) -> PlainInstruction?

    init(_ subject: AuditSubject, _ architecture: OffsetArchitecture) {
        self.subject = subject
        self.architecture = architecture
        edges = CodeEdges(subject)
        decoder = architecture.decoder()
        for patch in architecture.alternatives.patches(subject) { follow(patch) }
    }

    /// Where an alternative leads that is not in force in the file.
    private mutating func follow(_ patch: AlternativeTable.Patch) {
        var at = patch.original.lowerBound
        while at < patch.original.upperBound, let instruction = decode(at) {
            // What takes its place may go on.
            if instruction.flow == .jump || instruction.flow == .end {
                patched[at, default: []].append(instruction.next)
            }
            at = instruction.next
        }
        at = patch.replacement.lowerBound
        while at < patch.replacement.upperBound, let instruction = decode(at) {
            if let target = instruction.target, instruction.flow != .call, !patch.replacement.contains(target) {
                let place = patch.original.lowerBound + (at - patch.replacement.lowerBound)
                patched[place, default: []].append(target)
            }
            at = instruction.next
        }
    }

    func decode(_ address: VirtualAddress) -> PlainInstruction? {
        guard let section = subject.section(at: address), section.isExecutable else { return nil }
        let start = Int(address - section.address)
        guard start < section.bytes.count else { return nil }
        let end = min(start + 4, section.bytes.count)
        return unsafe decoder(section.bytes.span.bytes.extracting(start..<end), address)
    }

    func ways(from instruction: PlainInstruction) -> CodeWays {
        var ways = CodeWays(isUnknown: instruction.isIndirectJump)
        switch instruction.flow {
        case .next, .call: ways.next = [instruction.next]
        case .branch: ways.next = [instruction.next] + (instruction.target.map { [$0] } ?? [])
        case .jump: ways.next = instruction.target.map { [$0] } ?? []
        case .farJump, .end: break
        }
        edges.add(to: &ways, at: instruction.address, next: instruction.next)
        ways.instead += patched[instruction.address] ?? []
        return ways
    }
}
