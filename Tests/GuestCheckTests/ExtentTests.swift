// SPDX-License-Identifier: MIT

// What the host reads out of a longer exercise's log, and how the machine for
// it differs.

import PagePermutation
import Testing

@testable import GuestCheck

struct ExtentTests {
    private func log(_ words: String...) -> String {
        words.map { "[    1.0] kperm-exercise: \($0)\r\n[    1.1] something else\r\n" }.joined()
    }

    @Test func sleepersAreWoken() {
        #expect(PowerLooks.wakeUp("") == nil)
        #expect(PowerLooks.wakeUp(log("asleep suspend-to-idle")) == "sendkey ret")
        #expect(PowerLooks.wakeUp(log("asleep suspend-to-idle", "awake", "kvm pass")) == nil)
        #expect(PowerLooks.wakeUp(log("asleep suspend-to-idle", "awake", "asleep suspend-to-ram")) == "system_wakeup")
    }

    @Test func hibernationsAreCounted() {
        #expect(Hibernation.count(in: log("hibernation pass")) == 0)
        #expect(Hibernation.count(in: log("hibernating", "resuming", "hibernating")) == 2)
    }

    @Test func orderOfTheResumingKernel() throws {
        let first = try SyntheticGuest().expectation.table
        let identity = TranslationTable(
            Permutation(identity: first.pageCount), virtualBase: first.virtualBase, physicalBase: first.physicalBase)
        #expect(Hibernation.check(first, resumedBy: nil).outcome == .fail)
        #expect(Hibernation.check(first, resumedBy: first).detail.hasPrefix("0 of 8"))
        let other = Hibernation.check(first, resumedBy: identity)
        #expect(other.outcome == .pass)
        #expect(other.detail.hasPrefix("4 of 8"))
    }

    @Test func crashThatWasAskedFor() {
        let crash = log("crashing") + "[ 2.0] Kernel panic - not syncing: sysrq\r\n[ 2.0] Call Trace:\r\n"
        let begin = "[ 0.0] Linux version 6.1.0\r\n"
        #expect(KernelLog.troubles(in: begin + crash + begin).isEmpty)
        #expect(KernelLog.troubles(in: begin + crash + begin + "[ 1.0] BUG: late").count == 1)
        #expect(KernelLog.troubles(in: begin + "[ 1.0] BUG: early\r\n" + crash + begin).count == 1)
    }

    @Test func dumpIsThereWhenTheGuestSaysSo() {
        #expect(!CrashDump.isWritten(log("crash-kernel pass loaded", "crash-dump fail not written")))
        #expect(!CrashDump.isWritten(log("crash-dump skip no crash kernel")))
        #expect(CrashDump.isWritten(log("crash-dump pass 4096 bytes")))
    }

    @Test(arguments: ExerciseExtent.allCases) func machine(extent: ExerciseExtent) throws {
        var options = GuestOptions()
        options.exercise = extent
        var expectation = try SyntheticGuest().expectation
        expectation.userspace = .linux(release: nil)
        let arguments = Machine.arguments(options, expectation, directory: "/d", console: "/console", ram: "/ram")
        #expect(arguments.contains("-no-reboot") == !extent.hibernates)
        #expect(arguments.contains { $0.contains("file=/d/scratch") } == (extent != .usual))
        let words = arguments[(arguments.firstIndex(of: "-append") ?? 0) + 1]
        #expect(words.contains("crashkernel=") == extent.crashes)
    }
}
