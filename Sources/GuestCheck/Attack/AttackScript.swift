// SPDX-License-Identifier: MIT

// The first process of a guest that is attacked: it says again and again what
// it sees, with a number. So the host needs no way to tell it anything: it stops
// the guest between any two readings, and what counts are those that began after
// the write.

enum AttackScript {
    static func text(reading command: String) -> String {
        ExerciseScript.opening
            + #"""
            n=0
            while :; do
                say reading $n "$(COMMAND 2>&1)"
                n=$((n + 1))
                sleep 0.2 || sleep 1
            done

            """#.replacing("COMMAND", with: command)
    }

    struct Reading: Equatable {
        let number: Int
        let text: String
    }

    /// What the guest has said so far, in whole lines.
    static func readings(in log: String) -> [Reading] {
        guard let end = log.lastIndex(where: \.isNewline) else { return [] }
        return Exercise.statements(in: String(log[...end])).compactMap { words in
            guard words.count >= 2, words[0] == "reading", let number = Int(words[1]) else { return nil }
            return Reading(number: number, text: words.count > 2 ? String(words[2]) : "")
        }
    }
}
