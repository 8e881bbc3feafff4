// SPDX-License-Identifier: MIT

// The first look at a kernel that draws its order while it starts. There is no
// address to break at, so the stub is asked to wait (`kperm.wait`), and its
// boot area is looked for in the running guest's memory.

import Addressing
import PagePermutation

/// What the look at userspace goes by.
enum UserspaceLook {
    case known(GuestExpectation)
    /// The base is to be searched, the order is the identity.
    case searched(@Sendable (TranslationTable) -> GuestExpectation)
    /// Nothing is known.
    case none
}

extension GuestExpectation {
    /// What to demand at userspace, when the page tables of all CPUs are at hand, with the check of the search.
    func atUserspace(
        _ look: UserspaceLook, _ roots: [PageTables], _ memory: borrowing GuestMemory
    ) -> (expectation: GuestExpectation?, checks: [GuestResult.Check]) {
        switch look {
        case .known(let known): return (known, [])
        case .none: return (nil, [])
        case .searched(let derive):
            guard let base = KernelBase(in: roots, pageCount: pages.count, memory) else {
                let detail = "no kernel in the page tables of any CPU"
                return (nil, [GuestResult.Check(name: "base", outcome: .fail, detail: detail)])
            }
            let derived = derive(base.identity(pageCount: pages.count))
            let detail = "the kernel begins at \(base.virtual), physical \(base.physical)"
            return (derived, [GuestResult.Check(name: "base", outcome: .pass, detail: detail)])
        }
    }

    private func judge(_ sources: BootArea.Sources) -> GuestResult.Check {
        let missing = sources.isDisjoint(with: .given) ? demandedSources.subtracting(sources) : []
        let found = sources.isEmpty ? "no source at all" : sources.names.joined(separator: ", ")
        let lack = missing.isEmpty ? "" : ", but not " + missing.names.joined(separator: ", ")
        return GuestResult.Check(
            name: "entropy", outcome: sources.isEmpty || !missing.isEmpty ? .fail : .pass, detail: found + lack)
    }

    /// The checks of what the stub did, and what the derived expectation is if there is a table.
    func judge(
        _ drawing: Drawing, _ derive: @Sendable (TranslationTable) -> GuestExpectation
    ) -> (derived: GuestExpectation?, checks: [GuestResult.Check]) {
        func check(_ name: String, _ passed: Bool, _ detail: String) -> GuestResult.Check {
            GuestResult.Check(name: name, outcome: passed ? .pass : .fail, detail: detail)
        }
        switch drawing {
        case .unclear(let problem): return (nil, [check("live-table", false, problem)])
        case .unpermuted(let area):
            let why = area.status.isEmpty ? "the stub gives no reason" : area.status
            let expected = expectsUnpermuted && area.state != .halted
            return (nil, [check("permuted", expected, "\(area.state.name): \(why)")])
        case .permuted(let area, let table):
            var checks = [check("permuted", !expectsUnpermuted, area.status), judge(area.sources)]
            guard table.pageCount == pages.count else {
                let detail = "\(table.pageCount) pages, the image has \(pages.count)"
                return (nil, checks + [check("live-table", false, detail)])
            }
            checks.append(
                check(
                    "live-table", true,
                    "checksum right, \(table.movedCount) of \(table.pageCount) pages moved, "
                        + "virtual base \(table.virtualBase), physical base \(table.physicalBase)"))
            return (derive(table), checks)
        }
    }
}

/// Runs the guest from its start until its stub is done and waits, has the first look, and lets it go on.
///
/// - Returns: what to go by later, and the status that the guest must report.
func lookAtLiveTable(
    _ expectation: GuestExpectation, _ derive: @escaping @Sendable (TranslationTable) -> GuestExpectation,
    _ machine: inout Machine, _ memory: inout GuestMemory, _ console: String,
    _ deadline: ContinuousClock.Instant, _ result: inout GuestResult
) async throws(Interruption) -> (look: UserspaceLook, status: String?) {
    try await machine.debugger.detach(until: deadline)
    let problem = try await waitForDrawing(&machine, memory, console, deadline, &result)
    try await machine.monitor.stop(until: deadline)
    let areas = BootAreas(in: memory)
    let drawing = areas.drawing(in: memory) ?? .unclear(problem ?? areas.absence)
    let (derived, checks) = expectation.judge(drawing, derive)
    result.checks += checks
    if let derived {
        let first = derived.lookAtStub(try await machine.survey(&memory, until: deadline)[0], memory)
        result.looks.append(first.look)
        result.checks += first.checks
    }
    if areas.live.contains(where: { $0.state == .halted }) { throw .halted }
    areas.letGo(in: memory)
    try await machine.monitor.resume(until: deadline)

    switch drawing {
    case .permuted(let area, _): return (derived.map { .known($0) } ?? .none, area.status)
    case .unpermuted(let area): return (.searched(derive), area.status)
    case .unclear: return (areas.live.isEmpty && areas.damagedLive.isEmpty ? .searched(derive) : .none, nil)
    }
}

/// Waits until there is a drawing to judge, or clearly none to come: a guest that reached userspace without one.
///
/// - Returns: why there is none.
private func waitForDrawing(
    _ machine: inout Machine, _ memory: borrowing GuestMemory, _ console: String,
    _ deadline: ContinuousClock.Instant, _ result: inout GuestResult
) async throws(Interruption) -> String? {
    /// A stub that is still writing has this long to end.
    let patience = Duration.seconds(10)
    var unclearSince: ContinuousClock.Instant?
    while true {
        try machine.monitor.stillThere()
        let userspace = !Exercise(parsing: read(console)).checks.isEmpty
        let areas = BootAreas(in: memory)
        switch areas.drawing(in: memory) {
        case .permuted, .unpermuted: return nil
        case .unclear(let problem):
            let since = unclearSince ?? .now
            unclearSince = since
            if userspace || ContinuousClock.now - since > patience { return problem }
        case nil:
            if userspace { return "the guest reached userspace, with \(areas.absence)" }
        }
        do throws(Interruption) {
            try await pause(until: deadline, for: .milliseconds(100))
        } catch {
            result.checks.append(GuestResult.Check(name: "live-table", outcome: .fail, detail: areas.absence))
            throw error
        }
    }
}
