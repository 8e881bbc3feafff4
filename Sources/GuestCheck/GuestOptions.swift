// SPDX-License-Identifier: MIT

// How a guest is started. The defaults are what `kperm boot` does.

/// The machine a guest gets, and where its log goes.
public struct GuestOptions: Sendable {
    /// A path, or a name to be found in PATH; nil for the machine's own.
    public var emulator: String?
    /// A path, or a name to be found in PATH; must be statically linked.
    public var busybox = "busybox"
    /// Guest memory in MiB; above 3 GiB a part of it lies over the PCI hole.
    public var memory = 512
    public var cpus = 2
    /// QEMU's `-cpu`; nil for a model that has all that the machine's kernels use.
    public var cpuModel: String?
    /// The mode that a riscv64 kernel must run in; nil for the deepest that it takes.
    public var pagingMode: PagingMode?
    /// What runs before the kernel.
    public var firmware = Firmware.seabios
    /// A vmlinuz that is booted in the kernel's stead and then starts it by kexec; the kernel must be a vmlinuz, too.
    public var kexecFrom: String?
    /// How much a Linux guest does.
    public var exercise = ExerciseExtent.usual
    /// Whether a Linux guest reports the transfers of devices that touch the image; `GuestResult.transfers` lists them.
    public var watchesTransfers = false
    /// For the whole boot and exercise, in seconds.
    public var timeout = 180
    /// Modules of the kernel's own release: a directory that holds them, or one with `lib/modules/<release>` below it.
    /// Without it the system's are used when it has them; else the exercise is a reduced one.
    public var modulesDirectory: String?
    /// Where the console's log goes; it is then always kept. Without it a failed boot's log is kept in TMPDIR.
    public var logPath: String?
    /// Words added to the kernel's command line.
    public var extraCommandLine = ""

    /// It only lies there to be attacked: it has no devices, and a boot stub does not wait.
    var isVictim = false
    /// Where what the guest writes to its second serial port goes, if it has one.
    var secondSerialPort: String?

    public init() {}
}
