// SPDX-License-Identifier: MIT

// The program that starts another kernel by kexec, as far as it may run here:
// up to the file that is not there.

import FoundationEssentials
import Glibc
import Testing

@testable import GuestCheck

struct KexecTests {
    private static let checkout = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }

    private func inDirectory(_ body: (String) async throws -> Void) async throws {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try await body(directory)
    }

    @Test func committedBytesComeFromTheSource() async throws {
        try await inDirectory { directory in
            _ = try await output(of: "\(Self.checkout)/tools/build-stub", ["\(directory)/StubCode.swift"])
            let committed = try readFile("\(Self.checkout)/Sources/GuestCheck/KexecHelper.swift")
            #expect(try readFile("\(directory)/KexecHelper.swift") == committed, "run tools/build-stub")
            for (name, compiler) in [("Probe", ProbeHelper.compiler), ("Expose", ExposeHelper.compiler)] {
                let built = String(decoding: try readFile("\(directory)/\(name)Helper.swift"), as: UTF8.self)
                let isSameCompiler = built.contains("compiler = \"\(compiler)\"")
                let ours = try readFile("\(Self.checkout)/Sources/GuestCheck/\(name)Helper.swift")
                if isSameCompiler { #expect(Array(built.utf8) == ours, "run tools/build-stub") }
            }
        }
    }

    #if arch(x86_64)
        @Test func probeSaysHowItIsCalled() async throws {
            try await inDirectory { directory in
                let program = "\(directory)/probe"
                try writeFile(program, ProbeHelper.bytes)
                #expect(unsafe chmod(program, 0o700) == 0)
                let answer = try await output(of: "/bin/sh", ["-c", #""$0" nonsense; echo $?"#, program])
                #expect(answer == "usage: probe kvm|bpf\n1\n")
            }
        }

        @Test func statusIsTheErrorNumber() async throws {
            try await inDirectory { directory in
                let program = "\(directory)/kexec"
                try writeFile(program, KexecHelper.bytes)
                #expect(unsafe chmod(program, 0o700) == 0)
                let script = #""$0" /no/such/kernel /no/such/initramfs words; echo $?"#
                #expect(try await output(of: "/bin/sh", ["-c", script, program]) == "\(ENOENT)\n")
            }
        }
    #endif

    @Test func initramfsHoldsTheOther() async throws {
        try await inDirectory { directory in
            for name in ["busybox", "other", "inner"] {
                try writeFile("\(directory)/\(name)", Array("the \(name)".utf8))
            }
            try Initramfs.write(
                to: "\(directory)/outer", busybox: "\(directory)/busybox", starting: "\(directory)/other",
                initramfs: "\(directory)/inner", commandLine: "a \"b\" $c")
            let archive = try readFile("\(directory)/outer")
            for part in ["bin/kexec\0", "kernel\0", "the other", "the inner", "a \"b\" $c", Kexec.script] {
                #expect(archive.firstRange(of: Array(part.utf8)) != nil, "\(part)")
            }
            #expect(archive.firstRange(of: KexecHelper.bytes) != nil)
        }
    }

    @Test(
        arguments: [
            ("[    0.0] Linux version", GuestResult.Outcome.fail, "the first kernel never started another"),
            (
                "[    3.4] kexec_core: Starting new kernel\r\n[    0.0] Linux version", .pass,
                "[    3.4] kexec_core: Starting new kernel"
            ),
            ("[    3.4] a\r\nkexec failed: error 12\r\n", .fail, "kexec failed: error 12"),
        ])
    func handover(log: String, outcome: GuestResult.Outcome, detail: String) {
        #expect(Kexec.check(log) == GuestResult.Check(name: "kexec", outcome: outcome, detail: detail))
    }
}
