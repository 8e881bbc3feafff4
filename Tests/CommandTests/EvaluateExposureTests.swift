// SPDX-License-Identifier: MIT

// `kperm evaluate exposure` where there is nothing to look at. What a real kernel
// exposes, tools/check sees.

import Foundation
import GuestCheck
import Testing

@testable import kperm

struct EvaluateExposureTests {
    @Test(arguments: ["sample", "permuted-segments", "vmlinuz"]) func refusesWhatIsNotLinux(name: String) async throws {
        let place = try await Workplace("sample", "permuted-segments")
        try await place.addVmlinuz(of: "sample")
        #expect(
            try await refused(place, ["evaluate", "exposure", name]) == "\(name): not Linux: it has no /proc to read")
    }

    @Test(arguments: [
        ("--boots 0", "--boots takes a number from 1 on"), ("--memory 1", "a kernel needs 128 MiB at the least"),
        ("--cpus 0", "--cpus takes a number from 1 on"),
        ("--timeout 0", "--timeout takes a number of seconds from 1 on"),
        ("--seed 12", "Unknown option '--seed'"),
    ])
    func usage(words: String, message: String) async throws {
        let place = try await Workplace("sample")
        let words = words.split(separator: " ").map(String.init)
        #expect(try await refused(place, ["evaluate", "exposure", "sample"] + words).contains(message))
    }

    @Test func help() async throws {
        let outcome = try await Workplace().kperm("evaluate", "exposure", "--help")
        #expect(outcome.status == 0 && outcome.error.isEmpty)
        for text in ["USAGE: kperm evaluate exposure", "/proc/kcore", "Exit status 1 when"] {
            #expect(outcome.output.contains(text))
        }
    }

    /// A file that holds the order is its owner's alone; one that holds none may be everybody's.
    @Test(arguments: [
        (ExposureReport.File.Secret.order, 0o600, true), (.order, 0o644, false), (.order, 0o640, false),
        (.seed, 0o604, false), (.seed, 0o400, true), (.nothing, 0o644, true),
    ])
    func fileOfTheImage(secret: ExposureReport.File.Secret, mode: Int, isRight: Bool) {
        let file = ExposureReport.File(mode: UInt16(mode), holds: secret)
        let report = ExposureReport(image: "image", release: "1", file: file)
        #expect(report.problems.isEmpty == isRight)
        #expect(report.problems.allSatisfy { $0.contains("chmod 600") })
    }
}
