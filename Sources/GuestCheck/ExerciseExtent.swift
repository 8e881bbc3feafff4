// SPDX-License-Identifier: MIT

/// How much a Linux guest does.
public enum ExerciseExtent: String, CaseIterable, Sendable {
    /// What takes a few seconds.
    case usual
    /// And hibernates, restarts and resumes.
    case hibernation
    /// And crashes at its end; a crash kernel writes a dump, which is looked at in place of the running guest.
    case crash
    /// All of this, and the kernel's own test of its BPF machine.
    case full

    var hibernates: Bool { self == .hibernation || self == .full }
    var crashes: Bool { self == .crash || self == .full }
    var testsAtLength: Bool { self == .full }
    /// Whether the guest writes to a disk.
    var needsScratch: Bool { hibernates || crashes }

    /// The checks that a guest must report.
    var checks: [String] {
        let usual = [
            "userspace", "announced", "forks", "vdso", "modules", "ftrace", "kprobe", "cpu-hotplug", "suspend-to-idle",
            "suspend-to-ram", "kvm", "bpf", "self-tests",
        ]
        return usual + (hibernates ? ["hibernation"] : []) + (testsAtLength ? ["test-bpf"] : [])
            + (crashes ? ["crash-kernel", "crash-dump"] : [])
    }
}
