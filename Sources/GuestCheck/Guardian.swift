// SPDX-License-Identifier: MIT

// QEMU must not outlive kperm, however kperm ends: Ctrl-C, SIGKILL, a crash.
// A shell stands between the two, holding a pipe from kperm. When that pipe
// closes, for whichever reason, the shell's second half kills QEMU and removes
// the temporary directory. Nothing in kperm has to run for this to happen, so
// there are no signal handlers to get wrong. (PR_SET_PDEATHSIG would not do:
// it fires when the thread that forked ends, and thread pools end threads.)

import FoundationEssentials
import Subprocess

struct Guardian {
    /// The private directory; gone when the guardian ends.
    let directory: String
    private let input: StandardInputWriter

    private static let script = """
        trap '' INT TERM HUP
        directory=$1
        shift
        read -r start || { rm -rf -- "$directory"; exit; }
        exec 3<&0
        "$@" </dev/null >"$directory/emulator" 2>&1 3<&- &
        emulator=$!
        (
            read -r end <&3
            [ -e "$directory/exit" ] || kill -KILL $emulator
            rm -rf -- "$directory"
        ) &
        wait $emulator
        echo $? >"$directory/exit"
        wait
        """

    /// Lets the emulator begin.
    func start() async throws(GuestError) {
        do { _ = try await input.write("start\n") } catch { throw .emulatorFailed("\(error)") }
    }

    /// Whether the emulator has ended by itself.
    var hasEnded: Bool { fileExists("\(directory)/exit") }

    /// The end of what the emulator printed.
    var lastWords: String {
        let printed = (try? readFile("\(directory)/emulator")) ?? []
        return lastLines(String(decoding: printed, as: UTF8.self), 5).joined(separator: "; ")
    }

    /// Runs `body` with a guardian ready to start `command`; both are gone when this returns.
    static func with<Value: Sendable>(
        directory: String, command: [String], body: (Guardian) async throws(GuestError) -> Value
    ) async throws(GuestError) -> Value {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let ended: Result<Value, GuestError>
        do {
            let arguments = ["-c", script, "kperm-guardian", directory] + command
            ended = try await run(
                .name("sh"), arguments: Arguments(arguments), input: .inputWriter, output: .discarded,
                error: .discarded
            ) { execution in
                let guardian = Guardian(directory: directory, input: execution.standardInputWriter)
                do throws(GuestError) {
                    return .success(try await body(guardian))
                } catch {
                    return .failure(error)
                }
            }.closureResult
        } catch is CancellationError {
            throw .cancelled
        } catch {
            throw .emulatorFailed("\(error)")
        }
        return try ended.get()
    }
}

/// What a command prints.
func output(of program: String, _ arguments: [String]) async throws(GuestError) -> String {
    do {
        return try await run(
            .name("sh"), arguments: Arguments(["-c", #"exec "$@""#, "sh", program] + arguments),
            output: .string(limit: 1 << 16)
        ).standardOutput
    } catch {
        throw .emulatorFailed("\(program): \(error)")
    }
}
