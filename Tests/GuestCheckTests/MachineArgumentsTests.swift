// SPDX-License-Identifier: MIT

import PagePermutation
import Testing

@testable import GuestCheck

struct MachineArgumentsTests {
    private func arguments(
        _ options: GuestOptions = GuestOptions(), placement: GuestPlacement = .fixed,
        userspace: Userspace = .selfChecking
    ) throws -> [String] {
        var expectation = try SyntheticGuest().expectation
        expectation.kernelPath = "/kernel"
        expectation.placement = placement
        expectation.userspace = userspace
        return Machine.arguments(options, expectation, directory: "/dir,ectory", console: "/console", ram: "/ram")
    }

    private func value(of option: String, in arguments: [String]) throws -> String {
        let index = try #require(arguments.firstIndex(of: option))
        return arguments[index + 1]
    }

    @Test func wordsOfTheCommandLine() throws {
        let plain = "console=ttyS0 loglevel=6 printk.devkmsg=on panic=-1"
        #expect(try value(of: "-append", in: arguments()) == plain)
        #expect(try value(of: "-append", in: arguments(placement: .searched { _ in fatalError() })) == plain)
        var options = GuestOptions()
        options.extraCommandLine = "kperm=off quiet"
        let live = try arguments(options, placement: .live { _ in fatalError() })
        #expect(try value(of: "-append", in: live) == plain + " kperm.wait kperm=off quiet")
    }

    /// QEMU starts the other kernel, which gets the words of no exercise.
    @Test func kernelThatStartsTheKernel() throws {
        var options = GuestOptions()
        options.extraCommandLine = "quiet"
        options.kexecFrom = "/stock"
        let arguments = try arguments(
            options, placement: .live { _ in fatalError() }, userspace: .linux(release: nil))
        #expect(try value(of: "-kernel", in: arguments) == "/stock")
        #expect(try value(of: "-append", in: arguments) == "console=ttyS0 loglevel=6 printk.devkmsg=on panic=-1")
        #expect(try value(of: "-initrd", in: arguments) == "/dir,ectory/kexec")
    }

    /// A guest that is attacked has nothing but its memory, and nobody is there to let a waiting stub go on.
    @Test func guestThatIsAttacked() throws {
        var options = GuestOptions()
        options.isVictim = true
        let arguments = try arguments(
            options, placement: .live { _ in fatalError() }, userspace: .linux(release: nil))
        #expect(try value(of: "-append", in: arguments) == "console=ttyS0 loglevel=6 printk.devkmsg=on panic=-1")
        #expect(try value(of: "-initrd", in: arguments) == "/dir,ectory/initramfs")
        #expect(!arguments.contains { $0.contains("virtio") || $0.contains("netdev") })
    }

    @Test func processorModelPassesThrough() throws {
        var options = GuestOptions()
        options.cpuModel = "max,la57=off"
        #expect(try value(of: "-cpu", in: arguments(options)) == "max,la57=off")
    }

    /// A riscv64 kernel has another machine, which starts its firmware by itself, and is asked for narrower modes by words.
    @Test(arguments: [(nil, ""), (.sv57, ""), (.sv48, " no5lvl"), (.sv39, " no4lvl")] as [(PagingMode?, String)])
    func machineOfRISCV(mode: PagingMode?, words: String) throws {
        var expectation = try SyntheticGuest(.riscv).expectation
        expectation.machine = .virt
        var options = GuestOptions()
        options.pagingMode = mode
        let arguments = Machine.arguments(options, expectation, directory: "/d", console: "/c", ram: "/ram")
        #expect(try value(of: "-machine", in: arguments) == "virt,memory-backend=ram")
        #expect(try value(of: "-cpu", in: arguments) == "rv64")
        #expect(
            try value(of: "-append", in: arguments) == "console=ttyS0 loglevel=6 printk.devkmsg=on panic=-1" + words)
        #expect(expectation.machine.emulator == "qemu-system-riscv64")
    }

    /// Linux gets its initramfs and devices there, too.
    @Test func linuxOfRISCV() throws {
        var expectation = try SyntheticGuest(.riscv).expectation
        expectation.machine = .virt
        expectation.kernelPath = "/Image"
        expectation.userspace = .linux(release: nil)
        let arguments = Machine.arguments(GuestOptions(), expectation, directory: "/d", console: "/c", ram: "/ram")
        #expect(try value(of: "-kernel", in: arguments) == "/Image")
        #expect(try value(of: "-initrd", in: arguments) == "/d/initramfs")
        #expect(arguments.contains("virtio-blk-pci,drive=disk"))
    }

    @Test func flashOfTheFirmware() throws {
        #expect(try !arguments().contains { $0.contains("pflash") })
        var options = GuestOptions()
        options.firmware = .ovmf
        let flash = try arguments(options).filter { $0.contains("pflash") }
        #expect(
            flash == [
                "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd",
                "if=pflash,format=raw,unit=1,file=/dir,,ectory/variables",
            ])
        #expect(try arguments(options).contains { $0.hasPrefix("virtio-rng-pci") }, "OVMF's source of random numbers")
    }

    @Test func variablesLieBesideTheCode() {
        #expect(Firmware.variables(of: "/CODE/OVMF_CODE_4M.fd") == "/CODE/OVMF_VARS_4M.fd")
        #expect(Firmware.variables(of: "CODE.fd") == "VARS.fd")
    }

    @Test func firmwareMissing() async throws {
        var expectation = try SyntheticGuest().expectation
        expectation.kernelPath = "/bin/sh"
        var options = GuestOptions()
        options.emulator = "sh"
        options.firmware = .uefi(code: "/no/such/CODE.fd")
        await #expect(throws: GuestError.firmwareMissing("/no/such/CODE.fd")) {
            try await checkGuest(expectation, options: options)
        }
        #expect("\(GuestError.firmwareMissing("/a"))".contains("ovmf"))
    }
}
