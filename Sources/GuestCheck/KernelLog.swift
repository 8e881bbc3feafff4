// SPDX-License-Identifier: MIT

// What in a kernel's log means that something went wrong. Knowledge first, one
// rule a line; the scan below knows none of it.

enum KernelLog {
    /// Words of trouble.
    static let troubles = [
        "BUG:", "kernel BUG at", "WARNING:", "Oops", "general protection", "failed to validate", "Call Trace",
        "RCU stall", "self-detected stall", "detected stalls on CPUs", "Bad page", "Kernel panic", "segfault at",
        "unable to handle", "mappings: FAILED", "soft lockup", "hung_task", "Failed to patch", "ftrace bug",
    ]

    /// Lines that hold such a word and yet are right, with the reason.
    static let harmless = [
        // An eIBRS processor model with unprivileged BPF left on: advice to the administrator.
        "Spectre V2 : WARNING: Unprivileged eBPF",
        // A processor model that no mitigation fully covers: the same.
        "RETBleed: WARNING: Spectre v2 mitigation leaves CPU vulnerable",
    ]

    /// A crash that was asked for begins and ends with such lines.
    private static let crashBegins = Exercise.mark + "crashing"
    private static let crashEnds = "Linux version"

    /// How the line begins that a kernel leaves which will not boot.
    static let halted = "kperm: halted"

    /// What the kernel tells its administrator of its order: the beginning of a line, which nothing but a time stamp
    /// stands before.
    static func check(_ beginning: String, in log: String) -> GuestResult.Check {
        let found = log.split(whereSeparator: \.isNewline).compactMap { line in
            line.firstRange(of: beginning).map { String(line[$0.lowerBound...]) }
        }
        return GuestResult.Check(
            name: "announced", outcome: found.isEmpty || beginning.isEmpty ? .fail : .pass,
            detail: found.first ?? "no line begins with '\(beginning)'")
    }

    /// The lines that speak of trouble, in order.
    static func troubles(in log: String) -> [String] {
        func has(_ line: Substring, _ words: [String]) -> Bool { words.contains { line.firstRange(of: $0) != nil } }
        var isCrashing = false
        var found: [String] = []
        for line in log.split(whereSeparator: \.isNewline) {
            if has(line, [crashBegins]) { isCrashing = true }
            if has(line, [crashEnds]) { isCrashing = false }
            if !isCrashing, has(line, troubles), !has(line, harmless) { found.append(String(line)) }
        }
        return found
    }
}
