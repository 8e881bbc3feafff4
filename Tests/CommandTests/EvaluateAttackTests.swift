// SPDX-License-Identifier: MIT

// `kperm evaluate attack` where there is nothing to attack, or no way to. That
// attacks work on real kernels and how often, tools/check and tools/campaign see.

import Testing

struct EvaluateAttackTests {
    @Test(arguments: [
        ("--kind text", "sample: not Linux: nothing in it tells what an attack did"),
        ("--kind text --original sample", "sample: not a vmlinuz: its original is in it, --original is not needed"),
    ])
    func refuses(words: String, message: String) async throws {
        let place = try await Workplace("sample", "permuted-segments")
        let words = words.split(separator: " ").map(String.init)
        #expect(try await refused(place, ["evaluate", "attack", "sample"] + words) == message)
        let permuted = try await refused(place, ["evaluate", "attack", "permuted-segments"] + words)
        #expect(permuted.contains(message.split(separator: ":")[1]))
    }

    @Test func refusesWhatIsNotLinuxInVmlinuz() async throws {
        let place = try await Workplace("sample")
        try await place.addVmlinuz(of: "sample")
        let said = try await refused(place, ["evaluate", "attack", "vmlinuz", "--kind", "modprobe-path"])
        #expect(said == "vmlinuz: not Linux: nothing in it tells what an attack did")
        let words = ["evaluate", "attack", "vmlinuz", "--kind", "text", "--original", "sample"]
        #expect(
            try await refused(place, words)
                == "vmlinuz: not permuted: --original is for what kperm permute made")
    }

    @Test(arguments: [
        ("--kind text --boots 0", "--boots takes a number from 1 on"),
        ("--kind text --leaked 1", "--leaked and --leaks-target go with --kind leak"),
        ("--kind text --reads 1", "--reads goes with --kind fingerprint"),
        ("--kind leak --leaked=-1", "--leaked takes a number from 0 on"),
        ("--kind leak --leaked 0 --leaks-target", "--leaked takes a number from 1 on then"),
        ("--kind core-pattern --target text", "--kind core-pattern names its target itself"),
        ("--kind text --address there", "'there' is no address"),
        ("--kind text --memory 1", "a kernel needs 128 MiB at the least"), ("--kind rowhammer", "rowhammer"),
        ("--boots 1", "--kind"),
    ])
    func usage(words: String, message: String) async throws {
        let place = try await Workplace("sample")
        let words = words.split(separator: " ").map(String.init)
        #expect(try await refused(place, ["evaluate", "attack", "sample"] + words).contains(message))
    }

    @Test func help() async throws {
        let outcome = try await Workplace().kperm("evaluate", "attack", "--help")
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        #expect(outcome.output.contains("USAGE: kperm evaluate attack"))
        for kind in ["modprobe-path", "core-pattern", "text", "alias", "leak", "fingerprint"] {
            #expect(outcome.output.contains("\n  \(kind) "))
        }
    }
}
