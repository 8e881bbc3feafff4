// SPDX-License-Identifier: MIT

import Testing

@testable import GuestCheck

struct ExerciseTests {
    static let log = """
        [    0.000000] Linux version 6.1.0-56-cloud-amd64\r
        [    1.925708] kperm-exercise: userspace pass 6.1.0\r
        [    1.932960] kperm-exercise: cpus pass 2\r
        kperm-exercise: vdso skip
        [    3.066950] kperm-exercise: modules fail not loaded: veth.ko dummy.ko\r
        [    3.186763] kperm-exercise: nonsense perhaps\r
        """

    @Test func linesAreRead() {
        let exercise = Exercise(parsing: Self.log)
        #expect(exercise.checks.map(\.name) == ["userspace", "cpus", "vdso", "modules"])
        #expect(exercise.checks.map(\.outcome) == [.pass, .pass, .skip, .fail])
        #expect(exercise.checks.last?.detail == "not loaded: veth.ko dummy.ko")
        #expect(!exercise.isDone)
        #expect(Exercise(parsing: Self.log + "\n[    8.4] kperm-exercise: done\r\n").isDone)
        #expect(!Exercise(parsing: "kperm-exercise: don").isDone)
    }

    @Test func hostHasTheLastWord() {
        let exercise = Exercise(parsing: Self.log)
        let right = exercise.judged(against: ["cpus": "2", "userspace": nil, "vdso": "9"])
        #expect(right.map(\.outcome) == [.pass, .pass, .skip, .fail])
        let wrong = exercise.judged(against: ["cpus": "4", "ftrace": nil])
        #expect(wrong.first { $0.name == "cpus" }?.outcome == .fail)
        #expect(wrong.first { $0.name == "cpus" }?.detail == "the guest has 2, the host 4")
        #expect(wrong.first { $0.name == "ftrace" }?.outcome == .fail)
    }

    @Test(arguments: [
        "[    1.0] BUG: unable to handle page fault for address: ffffffff81",
        "[    1.0] kernel BUG at mm/usercopy.c:101!",
        "[    1.0] WARNING: CPU: 0 PID: 1 at mm/page_alloc.c", "[    1.0] Oops: 0002 [#1] PREEMPT SMP",
        "[    1.0] general protection fault, maybe for address 0x0",
        "[    1.0] BPF: failed to validate module [veth] BTF: -22",
        "[    1.0] Call Trace:", "[    1.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
        "[    1.0] init[1]: segfault at 0 ip 0", "[    1.0] x86/mm: Checked W+X mappings: FAILED, 1 W+X pages found.",
    ])
    func troubleIsSeen(line: String) {
        #expect(KernelLog.troubles(in: "[    0.0] Linux version\r\n\(line)\r\n[    2.0] after") == [line])
    }

    @Test func harmlessLines() {
        let log = """
            [    0.0] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on
            [    1.0] x86/mm: Checked W+X mappings: passed, no W+X pages found.
            [    1.0] DEBUG_VM is off
            """
        #expect(KernelLog.troubles(in: log).isEmpty)
    }

    @Test func resultNeedsChecks() {
        #expect(!GuestResult().passed)
        #expect(GuestResult(checks: [.init(name: "a", outcome: .skip, detail: "")]).passed)
        #expect(!GuestResult(checks: [.init(name: "a", outcome: .fail, detail: "")]).passed)
    }
}
