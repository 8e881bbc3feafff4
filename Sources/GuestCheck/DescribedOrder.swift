// SPDX-License-Identifier: MIT

// The first look at a kernel that says in its own memory which order its pages
// have: a flat riscv64 Image. Its descriptor is found there by its magic word,
// where nobody asks the kernel, and what it says is held against what was asked
// of the kernel, before the pages are held against it.

import Addressing
public import PagePermutation

/// What the order of a kernel with a descriptor must be.
public struct DescribedOrder: Sendable {
    /// What every order has to respect.
    public var problem: PermutationProblem
    /// The only right one; nil for any.
    public var order: Permutation?
    /// Whether it is the kernel that draws it.
    public var isDrawnAtBoot: Bool

    public init(problem: PermutationProblem, order: Permutation?, isDrawnAtBoot: Bool) {
        self.problem = problem
        self.order = order
        self.isDrawnAtBoot = isDrawnAtBoot
    }
}

/// A descriptor in a guest's memory.
struct LiveDescriptor {
    /// What a seed was made of.
    static let sources: [(bit: UInt32, name: String)] = [
        (1, "the device tree's rng-seed"), (2, "its kaslr-seed"), (4, "the time counter"),
        (8, "the seed on the command line"), (16, "the tool's order"),
    ]
    /// Without one of these a seed can be guessed.
    static let strong: UInt32 = 1 | 2 | 8 | 16

    let says: ImageDescriptor
    /// Where the image begins in the RAM file.
    let image: Int

    /// All that kernels have begun to use.
    static func all(in memory: borrowing GuestMemory) -> [LiveDescriptor] {
        var found: [LiveDescriptor] = []
        for offset in memory.pages(beginningWith: ImageDescriptor.magic) {
            guard let bytes = memory.bytes(atOffset: offset, count: ImageDescriptor.byteCount),
                let says = ImageDescriptor(bytes), says.physicalBase.rawValue != 0, offset >= says.place,
                memory.map.address(ofOffset: offset - says.place) == says.physicalBase
            else { continue }
            found.append(LiveDescriptor(says: says, image: offset - says.place))
        }
        return found
    }

    func order(in memory: borrowing GuestMemory) throws(TableError) -> [UInt32] {
        guard let forward = memory.bytes(atOffset: image + says.forwardTable, count: 4 * says.capacity),
            let inverse = memory.bytes(atOffset: image + says.inverseTable, count: 4 * says.capacity)
        else { throw .notATable }
        return try says.order(forward: forward, inverse: inverse)
    }
}

extension GuestExpectation {
    /// What to demand of a guest in which the descriptor has been written, with the checks of it; nil without one that
    /// can be believed.
    func described(
        _ wanted: DescribedOrder, _ memory: borrowing GuestMemory
    ) -> (expectation: GuestExpectation?, status: String, checks: [GuestResult.Check]) {
        func check(_ name: String, _ passed: Bool, _ detail: String) -> GuestResult.Check {
            GuestResult.Check(name: name, outcome: passed ? .pass : .fail, detail: detail)
        }
        let found = LiveDescriptor.all(in: memory)
        guard found.count == 1, let live = found.first else {
            return (nil, "", [check("live-table", false, "\(found.count) live descriptors in guest memory")])
        }
        let says = live.says
        let permutation: Permutation
        do {
            permutation = try Permutation(forward: try live.order(in: memory), for: wanted.problem)
        } catch {
            return (
                nil, "",
                [check("live-table", false, "the descriptor at \(says.physicalBase) + \(says.place): \(error)")]
            )
        }
        var expectation = self
        expectation.placement = .fixed
        expectation.table = TranslationTable(
            wanted.order ?? permutation, virtualBase: table.virtualBase, physicalBase: says.physicalBase,
            isBaked: !wanted.isDrawnAtBoot)
        let moved = permutation.forward.enumerated().count { $0.offset != $0.element }
        let isRight = permutation == wanted.order ?? permutation
        var checks = [
            check(
                "live-table", isRight && moved == says.movedCount && says.virtualBase == table.virtualBase,
                !isRight
                    ? "not the order that was asked for"
                    : "a permutation that respects classes and pins, \(moved) of \(pages.count) pages moved "
                        + "(\(says.movedCount) by the kernel's count), physical base \(says.physicalBase)")
        ]
        let isPermuted = says.state == .permuted
        let state = says.state.map { "\($0)" } ?? "unknown"
        checks.insert(check("permuted", isPermuted != expectsUnpermuted, "by the kernel's descriptor: \(state)"), at: 0)
        guard isPermuted else { return (expectation, "kperm: not permuted, ", checks) }
        let sources = LiveDescriptor.sources.filter { says.sources & $0.bit != 0 }.map(\.name)
        let isFitting = wanted.isDrawnAtBoot == (says.sources & 16 == 0)
        checks.append(
            check(
                "entropy", isFitting && says.sources & LiveDescriptor.strong != 0,
                sources.isEmpty ? "no source at all" : sources.joined(separator: ", ")))
        return (expectation, "kperm: permuted, \(moved) of ", checks)
    }
}

/// Runs the guest until the image is mapped, and has the first look.
///
/// - Returns: what to go by later, and how a line of the log must begin.
func lookAtDescribed(
    _ expectation: GuestExpectation, _ wanted: DescribedOrder, _ machine: inout Machine, _ memory: inout GuestMemory,
    _ console: String, _ deadline: ContinuousClock.Instant, _ result: inout GuestResult
) async throws(Interruption) -> (look: UserspaceLook, line: String) {
    try await machine.debugger.run(to: expectation.stubEnd, until: deadline) {
        read(console).firstRange(of: KernelLog.halted) != nil
    }
    let tables = try await machine.survey(&memory, until: deadline)[0]
    let (described, line, checks) = expectation.described(wanted, memory)
    result.checks += checks
    if let described {
        let first = described.lookAtStub(tables, memory)
        result.looks.append(first.look)
        result.checks += first.checks
    }
    try await machine.debugger.detach(until: deadline)
    return (described.map { .known($0) } ?? .none, line)
}
