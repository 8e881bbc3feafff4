// SPDX-License-Identifier: MIT

// How the guest is made that an evaluation attacks or looks at.

import ArgumentParser
import GuestCheck

struct GuestArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Guest memory.", valueName: "MiB"))
    var memory = GuestOptions().memory

    @Option(help: "Guest CPUs.")
    var cpus = 1

    @Option(help: "QEMU's CPU model (max).")
    var cpu: String?

    @Option(help: ArgumentHelp("More for the kernel's command line.", valueName: "words"))
    var append = ""

    @Option(help: ArgumentHelp("How long one boot may take.", valueName: "seconds"))
    var timeout = 300

    @Option(help: "The emulator (qemu-system-x86_64).", completion: .file())
    var qemu: String?

    func validate() throws {
        if memory < 128 { throw ValidationError("--memory: a kernel needs 128 MiB at the least") }
        if cpus < 1 { throw ValidationError("--cpus takes a number from 1 on") }
        if timeout < 1 { throw ValidationError("--timeout takes a number of seconds from 1 on") }
    }

    var options: GuestOptions {
        var options = GuestOptions()
        options.emulator = qemu
        options.memory = memory
        options.cpus = cpus
        options.cpuModel = cpu
        options.timeout = timeout
        options.extraCommandLine = append
        return options
    }
}
