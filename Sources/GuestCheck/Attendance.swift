// SPDX-License-Identifier: MIT

// What a guest needs from outside while it exercises itself: somebody who
// wakes it, and, when it restarts to resume from hibernation, somebody who
// lets the waiting stub go on.

import Addressing
import PagePermutation

struct Attendance {
    /// The order of the kernel that resumes another.
    private(set) var resumedBy: TranslationTable?
    private var wokenAt = ContinuousClock.now
    private var lookedAt = ContinuousClock.now
    private let extent: ExerciseExtent

    init(_ extent: ExerciseExtent) { self.extent = extent }

    /// Does what the guest's log asks for.
    mutating func attend(
        _ log: String, _ machine: inout Machine, _ memory: borrowing GuestMemory,
        until deadline: ContinuousClock.Instant
    ) async throws(Interruption) {
        try machine.monitor.stillThere()
        if let line = PowerLooks.wakeUp(log), ContinuousClock.now - wokenAt > .milliseconds(1500) {
            _ = try await machine.monitor.ask(line, until: deadline)
            wokenAt = .now
        }
        guard extent.hibernates, ContinuousClock.now - lookedAt > .milliseconds(250) else { return }
        lookedAt = .now
        let count = Hibernation.count(in: log)
        if count > 1 { throw .malformed("the guest came up anew instead of resuming") }
        if count == 0 { return }
        let areas = BootAreas(in: memory)
        guard let waiting = areas.live.first(where: { !$0.mayGo }) else { return }
        if waiting.state == .permuted { resumedBy = try? waiting.table(in: memory) }
        areas.letGo(in: memory)
    }
}
