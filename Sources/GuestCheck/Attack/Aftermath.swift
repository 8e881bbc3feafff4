// SPDX-License-Identifier: MIT

// What becomes of a guest whose memory was written into.

/// Watches a guest after the write.
struct Aftermath {
    /// One reading may have begun before the write and be told after it, and another have been on its way to the
    /// console when the guest was stopped; the third began after the write.
    private static let readingsAway = 3
    /// A guest that says nothing for so long stands still. A loaded host is slow, not that slow.
    private static let patience = Duration.seconds(60)

    struct Verdict: Equatable {
        var outcome: AttackResult.Outcome
        var seen: String?
        var detail: String?
    }

    /// The number of the last reading that was told before the write.
    let last: Int
    /// What a reading says when the attack has worked.
    let after: String

    /// The outcome, once there is one.
    func judge(_ readings: [AttackScript.Reading]) -> Verdict? {
        let later = readings.filter { $0.number > last }
        if let hit = later.first(where: { $0.text == after }) { return Verdict(outcome: .hit, seen: hit.text) }
        guard let newest = later.last, newest.number >= last + Self.readingsAway else { return nil }
        return Verdict(outcome: .missed, seen: newest.text)
    }

    /// Has time of its own: a guest that came up late must not be taken for one that crashed.
    func watch(_ console: String, _ machine: inout Machine) async throws(GuestError) -> Verdict {
        let deadline = ContinuousClock.now + Self.patience * Self.readingsAway
        var newest = last
        var saidAt = ContinuousClock.now
        do throws(Interruption) {
            while true {
                let readings = AttackScript.readings(in: read(console))
                if let verdict = judge(readings) { return verdict }
                try machine.monitor.stillThere()
                if let number = readings.last?.number, number > newest { (newest, saidAt) = (number, .now) }
                if ContinuousClock.now - saidAt > Self.patience { throw .timedOut }
                try await pause(until: deadline, for: .milliseconds(50))
            }
        } catch .cancelled {
            throw .cancelled
        } catch {
            let log = read(console)
            let readings = AttackScript.readings(in: log)
            if let verdict = judge(readings), verdict.outcome == .hit { return verdict }
            let trouble = KernelLog.troubles(in: log).first.map { ": \($0)" } ?? ""
            return Verdict(outcome: .crashed, seen: readings.last?.text, detail: "\(error)\(trouble)")
        }
    }
}
