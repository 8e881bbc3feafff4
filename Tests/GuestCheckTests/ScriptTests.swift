// SPDX-License-Identifier: MIT

// Parts of the guest's script, run by the same shell in a pretended guest: a
// few files instead of /sys, /proc and /modules. Each must say so when
// something does not work, and when it is not there.

import FoundationEssentials
import Testing

@testable import GuestCheck

@Suite(.enabled(if: (try? findProgram("busybox")) != nil))
struct ScriptTests {
    /// What a part of the script says, with these files in the guest.
    private func said(
        by script: String, files: [String: String] = [:], load: Int = 0, problem: String = "no way", probe: Int = 0
    ) async throws -> [GuestResult.Check] {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        for (name, text) in files {
            let path = "\(directory)/\(name)"
            let parent = path.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
            try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
            try writeFile(path, Array(text.utf8))
        }
        var script = script.replacing("/bin/probe", with: "sh \(directory)/probe")
        for root in ["sys", "proc", "modules"] {
            for before in [" ", "=", ">"] {
                script = script.replacing("\(before)/\(root)/", with: "\(before)\(directory)/\(root)/")
            }
        }
        let opening = """
            say() { echo "kperm-exercise: $*"; }
            load() { problem='\(problem)'; return \(load); }
            insmod() { return \(load); }
            rmmod() { :; }
            dmesg() { cat \(directory)/dmesg; }
            echo 'echo the answer; exit \(probe)' >\(directory)/probe

            """
        try writeFile("\(directory)/script", Array((opening + script).utf8))
        let busybox = try findProgram("busybox")
        return Exercise(parsing: try await output(of: busybox, ["sh", "\(directory)/script"])).checks
    }

    @Test(arguments: ExerciseExtent.allCases) func shellUnderstandsIt(extent: ExerciseExtent) async throws {
        let directory = try makeTemporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        for (name, script) in [("guest", ExerciseScript.text(extent)), ("crash", CrashDump.script)] {
            try writeFile("\(directory)/\(name)", Array(script.utf8))
            let command = #""$0" sh -n "$1" 2>&1 && echo fine"#
            let answer = try await output(
                of: "/bin/sh", ["-c", command, try findProgram("busybox"), "\(directory)/\(name)"])
            #expect(answer == "fine\n")
        }
    }

    /// A CPU that does not go away.
    @Test func processorThatStays() async throws {
        let checks = try await said(
            by: PowerLooks.script, files: ["sys/devices/system/cpu/cpu1/online": "1", "sys/power/state": "disk"])
        #expect(checks.map(\.name) == ["cpu-hotplug", "suspend-to-idle", "suspend-to-ram"])
        #expect(checks.map(\.outcome) == [.fail, .skip, .skip])
        #expect(checks.first?.detail.hasPrefix("wrong: off-1") == true)
    }

    @Test func oneProcessorAndNoSleep() async throws {
        let checks = try await said(by: PowerLooks.script)
        #expect(checks.map(\.outcome) == [.skip, .skip, .skip])
        #expect(checks.first?.detail == "one CPU")
    }

    /// A state file that cannot be written is a kernel that would not sleep.
    @Test func sleepRefused() async throws {
        let script = PowerLooks.script.replacing("echo $2 2>/dev/null >/sys/power/state", with: "false")
            .replacing("sleep 1", with: "")
        let files = [
            "sys/power/state": "freeze mem", "sys/power/mem_sleep": "s2idle [deep]",
            "sys/bus/serio/devices/serio0/power/wakeup": "disabled",
        ]
        let checks = try await said(by: script, files: files)
        #expect(checks.map(\.outcome) == [.skip, .fail, .fail])
        let vmlinux = try await said(by: "vmlinux=yes\n" + script, files: files)
        #expect(vmlinux.map(\.outcome) == [.skip, .fail, .skip])
    }

    @Test(
        arguments: [
            (0, GuestResult.Outcome.pass, "the answer"), (1, .fail, "the answer"),
            (2, .skip, "not in this kernel: the answer"),
        ])
    func answersOfTheProgram(status: Int, outcome: GuestResult.Outcome, detail: String) async throws {
        let files = ["proc/cpuinfo": "flags : fpu svm", "modules/kvm_amd.order": "kvm_amd\n"]
        let checks = try await said(by: HelperLooks.script, files: files, probe: status)
        #expect(checks.map(\.name) == ["kvm", "bpf"])
        #expect(checks.allSatisfy { $0.outcome == outcome && $0.detail == detail })
    }

    @Test func virtualMachinesAreAbsentOrBroken() async throws {
        let plain = try await said(by: HelperLooks.script, files: ["proc/cpuinfo": "flags : fpu"])
        #expect(plain.first?.detail == "the processor model has neither svm nor vmx")
        let bare = try await said(by: HelperLooks.script, files: ["proc/cpuinfo": "flags : vmx"])
        #expect(bare.first == GuestResult.Check(name: "kvm", outcome: .skip, detail: "no module kvm_intel"))
        let files = ["proc/cpuinfo": "flags : vmx", "modules/kvm_intel.order": ""]
        let broken = try await said(by: HelperLooks.script, files: files, load: 1)
        #expect(broken.first?.outcome == .fail)
        let log = ["dmesg": "[    1.0] kvm: RT requires more\n"].merging(files) { $1 }
        let refused = try await said(by: HelperLooks.script, files: log, load: 1, problem: "not supported")
        #expect(refused.first?.outcome == .skip)
        #expect(refused.first?.detail == "the kernel refuses: kvm: RT requires more")
    }

    @Test func testsOfTheKernel() async throws {
        #expect(try await said(by: SelfTests.script).map(\.outcome) == [.skip])
        let files = ["modules/test_user_copy.order": ""]
        let passed = try await said(by: SelfTests.script, files: files)
        #expect(passed == [GuestResult.Check(name: "self-tests", outcome: .pass, detail: "test_user_copy")])
        let failed = try await said(by: SelfTests.script, files: files, load: 1)
        #expect(failed.map(\.outcome) == [.fail])
        #expect(failed.first?.detail == "failed: test_user_copy: no way")
    }

    @Test(
        arguments: [
            ("[ 9.0] test_bpf: Summary: 7 PASSED, 0 FAILED, [7/7 JIT'ed]", 0, GuestResult.Outcome.pass),
            ("[ 9.0] test_bpf: Summary: 7 PASSED, 1 FAILED, [7/7 JIT'ed]", 0, .fail),
            ("test_bpf: Summary: 7 PASSED, 0 FAILED\ntest_bpf: b: Summary: 1 PASSED, 2 FAILED", 0, .fail),
            ("[ 9.0] test_bpf: Summary: 7 PASSED, 0 FAILED, [7/7 JIT'ed]", 1, .fail), ("", 0, .fail),
        ])
    func summaryOfTheLongTest(log: String, load: Int, outcome: GuestResult.Outcome) async throws {
        let files = ["modules/test_bpf.order": "test_bpf\n", "dmesg": log]
        #expect(try await said(by: SelfTests.atLength, files: files, load: load).map(\.outcome) == [outcome])
        #expect(try await said(by: SelfTests.atLength, files: ["dmesg": log]).map(\.outcome) == [.skip])
    }

    @Test func hibernationThatCannotBe() async throws {
        #expect(try await said(by: Hibernation.script).map(\.outcome) == [.skip])
        let files = ["sys/power/state": "disk"]
        let checks = try await said(by: "scratch=/no/disk\n" + Hibernation.script, files: files)
        #expect(checks.first?.detail == "no driver for the disk")
    }

    @Test func crashKernelThatIsNone() async throws {
        let absent = try await said(by: CrashDump.crashing)
        #expect(absent.map(\.name) == ["crash-kernel", "crash-dump"])
        #expect(absent.first?.detail == "not in this kernel")
        let files = ["sys/kernel/kexec_crash_loaded": "0"]
        let vmlinux = try await said(by: CrashDump.crashing, files: files)
        #expect(vmlinux.map(\.outcome) == [.skip, .skip])
        let refused = CrashDump.crashing.replacing("[ ! -f /crash/kernel ]", with: "false")
        #expect(try await said(by: refused, files: files).map(\.outcome) == [.fail, .fail])
    }
}
