// SPDX-License-Identifier: MIT

// One virtual machine: its command line, and the moment of its start, when
// QEMU calls back on both sockets or dies saying why.
//
// All CPUs share one emulator thread. With a thread each, under QEMU 7.2, a
// stock kernel hung in 3 boots of 29, one CPU waiting for the other while it
// patched its text (text_poke_bp_batch); with one thread in none of 50, and a
// boot takes about as long.

import Addressing

struct Machine: ~Copyable {
    var monitor: Monitor
    var debugger: Debugger

    /// Starts the emulator, halted before its first instruction.
    init(_ guardian: Guardian, until deadline: ContinuousClock.Instant) async throws(GuestError) {
        let monitors = try Listener(path: "\(guardian.directory)/monitor")
        let debuggers = try Listener(path: "\(guardian.directory)/debugger")
        try await guardian.start()
        var awaited = "monitor"
        do throws(Interruption) {
            let monitorChannel = Channel(descriptor: try await Self.accept(monitors, guardian, deadline))
            awaited = "debugger port"
            let debuggerChannel = Channel(descriptor: try await Self.accept(debuggers, guardian, deadline))
            awaited = "monitor"
            monitor = try await Monitor(monitorChannel, until: deadline)
            debugger = Debugger(debuggerChannel)
        } catch .cancelled {
            throw .cancelled
        } catch {
            let words = guardian.lastWords
            throw .emulatorFailed(words.isEmpty ? "\(error), waiting for its \(awaited)" : words)
        }
    }

    private static func accept(
        _ listener: borrowing Listener, _ guardian: Guardian, _ deadline: ContinuousClock.Instant
    ) async throws(Interruption) -> Int32 {
        while true {
            if let caller = listener.accept() { return caller }
            if guardian.hasEnded { throw .ended }
            try await pause(until: deadline)
        }
    }

    /// Asks for the paging of each CPU that runs (at least one), and brings the memory map up to date, which
    /// firmware changes as it goes.
    mutating func survey(
        _ memory: inout GuestMemory, until deadline: ContinuousClock.Instant
    ) async throws(Interruption) -> [PageTables] {
        memory.map = MemoryMap(parsing: try await monitor.ask("info mtree -f", until: deadline), block: "ram")
        let registers = try await monitor.ask("info registers -a", until: deadline)
        let running = ControlRegisters.parse(registers).filter { $0.cr3 != 0 }.map(\.tables)
        let harts = TranslationRegister.parse(registers).compactMap(\.tables)
        if running.isEmpty && harts.isEmpty { throw .malformed("no CPU has paging on") }
        return running + harts
    }

    /// QEMU's arguments: no default devices, RAM in a shared file, both conversations over sockets that kperm listens on.
    static func arguments(
        _ options: GuestOptions, _ expectation: GuestExpectation, directory: String, console: String, ram: String
    ) -> [String] {
        func escaped(_ path: String) -> String { path.replacing(",", with: ",,") }
        var arguments = [
            "-nodefaults", "-no-user-config", "-display", "none", "-S",
            "-machine", "\(expectation.machine.name),memory-backend=ram", "-accel", "tcg,thread=single", "-m",
            "\(options.memory)M",
            "-object", "memory-backend-file,id=ram,share=on,size=\(options.memory)M,mem-path=\(ram)",
            "-cpu", options.cpuModel ?? expectation.machine.cpuModel, "-smp", "\(options.cpus)",
            "-chardev", "socket,id=monitor,path=\(escaped(directory))/monitor", "-mon", "chardev=monitor,mode=control",
            "-chardev", "socket,id=debugger,path=\(escaped(directory))/debugger", "-gdb", "chardev:debugger",
            "-chardev", "file,id=console,path=\(escaped(console))", "-serial", "chardev:console",
            "-kernel", options.kexecFrom ?? expectation.kernelPath,
            "-append", options.kexecFrom == nil ? commandLine(options, expectation) : words.joined(separator: " "),
        ]
        if let port = options.secondSerialPort {
            arguments += ["-chardev", "file,id=second,path=\(escaped(port))", "-serial", "chardev:second"]
        }
        if !options.exercise.hibernates { arguments.append("-no-reboot") }
        arguments += options.firmware.arguments(directory: directory)
        if options.isVictim {
            arguments += ["-initrd", initramfs(options, in: directory)]
        } else if case .given = expectation.userspace {
            arguments += [
                "-initrd", initramfs(options, in: directory),
                "-drive", "if=none,id=disk,format=raw,readonly=on,file=\(escaped(directory))/disk",
                "-device", "virtio-blk-device,drive=disk",
                "-object", "rng-random,id=random,filename=/dev/urandom", "-device", "virtio-rng-device,rng=random",
                "-netdev", "user,id=net,restrict=on", "-device", "virtio-net-device,netdev=net",
            ]
        } else if case .linux = expectation.userspace {
            let platform = options.watchesTransfers ? Transfers.deviceOptions : ""
            arguments += [
                "-initrd", initramfs(options, in: directory),
                "-drive", "if=none,id=disk,format=raw,readonly=on,file=\(escaped(directory))/disk",
                "-device", "virtio-blk-pci,drive=disk\(platform)",
                "-netdev", "user,id=net,restrict=on,tftp=\(escaped(directory))/tftp",
                "-device", "virtio-net-pci,netdev=net,romfile=\(platform)",
            ]
            if options.watchesTransfers { arguments += Transfers.listDevice(disk: "\(escaped(directory))/disk") }
            if options.exercise.needsScratch {
                arguments += [
                    "-drive", "if=none,id=scratch,format=raw,file=\(escaped(PreparedExercise.scratch(in: directory)))",
                    "-device", "virtio-blk-pci,drive=scratch\(platform)",
                ]
            }
        }
        return arguments
    }

    /// The initramfs of the kernel that QEMU starts.
    static func initramfs(_ options: GuestOptions, in directory: String) -> String {
        options.kexecFrom == nil ? "\(directory)/initramfs" : "\(directory)/kexec"
    }

    /// What every kernel is told.
    static let words = ["console=ttyS0", "loglevel=6", "printk.devkmsg=on", "panic=-1"]

    /// What the kernel to be judged is told.
    static func commandLine(_ options: GuestOptions, _ expectation: GuestExpectation) -> String {
        var words = words
        if case .live = expectation.placement, !options.isVictim { words.append("kperm.wait") }
        if case .linux = expectation.userspace, options.exercise.crashes { words.append(CrashDump.reservation) }
        // The order is told in the log, not everywhere else.
        if case .given = expectation.userspace { words += ["kperm_hold", "loglevel=7"] }
        words += options.pagingMode?.words ?? []
        if !options.extraCommandLine.isEmpty { words.append(options.extraCommandLine) }
        return words.joined(separator: " ")
    }
}
