// SPDX-License-Identifier: MIT

// The way by another kernel: QEMU starts a stock kernel, whose only process
// starts the one to be judged with kexec_file_load(2). That kernel hands over
// as a boot loader does, and leaves a seed of its own generator in setup_data,
// which QEMU and OVMF do not.

enum Kexec {
    /// The first process of the kernel that only starts another. A generator that is not seeded yet passes no seed on,
    /// so it waits for that. Should it come to its end, the kernel panics and the guest is over.
    static let script = #"""
        #!/bin/busybox sh
        /bin/busybox mount -t devtmpfs devtmpfs /dev
        /bin/busybox head -c 1 /dev/random >/dev/null
        /bin/kexec /kernel /initramfs "$(/bin/busybox cat /command-line)"
        echo "kexec failed: error $?"

        """#

    /// Whether a kernel handed over to another, by its own word.
    static func check(_ log: String) -> GuestResult.Check {
        let lines = log.split(whereSeparator: \.isNewline)
        let failure = lines.first { $0.hasPrefix("kexec failed") }
        let success = lines.first { $0.firstRange(of: "Starting new kernel") != nil }
        return GuestResult.Check(
            name: "kexec", outcome: failure == nil && success != nil ? .pass : .fail,
            detail: (failure ?? success).map(String.init) ?? "the first kernel never started another")
    }
}
