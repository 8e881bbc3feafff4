// SPDX-License-Identifier: MIT

// What the guest says of itself: `kperm-exercise: NAME pass|fail|skip DETAIL`,
// one a line, at last `kperm-exercise: done`. The lines go through the
// kernel's log, so a time stamp may stand before them. Where the detail is a
// number or a digest, the host compares: the guest's "pass" alone is not
// enough.

struct Exercise: Equatable {
    static let mark = "kperm-exercise: "

    var checks: [GuestResult.Check] = []
    var isDone = false

    /// What the guest said, each in up to three words.
    static func statements(in log: String) -> [[Substring]] {
        log.split(whereSeparator: \.isNewline).compactMap { line in
            line.firstRange(of: mark).map { line[$0.upperBound...].split(separator: " ", maxSplits: 2) }
        }
    }

    init(parsing log: String) {
        for words in Self.statements(in: log) {
            if words == ["done"] { isDone = true }
            guard words.count >= 2, let outcome = GuestResult.Outcome(rawValue: String(words[1])) else { continue }
            let detail = words.count == 3 ? String(words[2]) : ""
            checks.append(GuestResult.Check(name: String(words[0]), outcome: outcome, detail: detail))
        }
    }

    /// Holds the guest's answers against what the host knows; an answer that never came is a failure.
    ///
    /// - Parameter expected: the detail that must come with a pass, or nil where any will do.
    func judged(against expected: [String: String?]) -> [GuestResult.Check] {
        var judged = checks
        for (name, answer) in expected.sorted(by: { $0.key < $1.key }) {
            guard let index = judged.firstIndex(where: { $0.name == name }) else {
                judged.append(GuestResult.Check(name: name, outcome: .fail, detail: "the guest never reported it"))
                continue
            }
            guard let answer, judged[index].outcome == .pass, judged[index].detail != answer else { continue }
            judged[index].outcome = .fail
            judged[index].detail = "the guest has \(judged[index].detail), the host \(answer)"
        }
        return judged
    }
}
