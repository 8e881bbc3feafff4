// SPDX-License-Identifier: MIT

import AddressSpaces
import ArgumentParser

struct LayoutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "layout",
        abstract: "Show where things lie in an address space, and what a split or a paging mode costs.",
        discussion: """
            Paging modes (64 bits): --mode shows the regions of the kernel's address space under a mode, as Linux's \
            own documents and headers have it, without KASLR and KASAN. Modes: sv39, sv48, sv57 (RISC-V), x86-4, x86-5, \
            arm64-39, arm64-48.

            --against MODE compares: what moves, and how far, when the kernel comes up under the other mode. The \
            kernel itself does not, which is why its translation table holds in every mode.

            --under MODE runs the mode's kernel on a processor that has the narrower MODE only: page-table levels that \
            are missing are folded, which is a lie that costs nothing, and regions that fall into the canonical hole \
            have to move, which makes constants variables. Page tables are built by the deep kernel's code and walked \
            as the narrow processor does.

            --measure times virt_to_phys and phys_to_virt as these kernels have them: a constant offset (one mode \
            only), a variable offset (several modes), the test against the top of the address space (x86), the test of \
            borders in memory (RISC-V), and the translation table. On this machine, like kperm bench.

            --maps FILE holds a running kernel against the layout: what QEMU's monitor prints for `info mem`, or the \
            kernel's log with its "Virtual kernel memory layout", its VMCOREINFO \
            (`strings` of a memory dump), or lines as `vmalloc_base = 0xffffc90000000000` of x86's variables. Boot with \
            nokaslr. - is standard input.

              kperm layout --mode sv48
              kperm layout --mode sv39 --against sv48
              kperm layout --mode sv57 --under sv39 --measure
              kperm layout --mode sv48 --release 6.12 --maps info-mem.txt

            Splits (32 bits): --split USER/LINEAR/VMALLOC in MB, 4096 together, and --kernel-size. A kernel whose \
            pages lie anywhere is mapped in vmalloc, and in the linear map as well: what that wastes of the address \
            space and of vmalloc, and what of --ram is lowmem and highmem. --split EITHER/VMALLOC is the proposal to \
            let user space and the linear map take turns, which costs switches at every entry into the kernel: two, \
            and two for every copy from or to user space (--copies); a switch takes --switch-cycles.

              kperm layout --bits 32 --split 3072/768/256 --kernel-size 4M
              kperm layout --bits 32 --split 3840/256 --kernel-size 10M --ram 4G --entries 200000 --clock 1500
              kperm layout --bits 32 --split 3072/768/256 --kernel-size 4M --ram 2G --sweep --svg sweep.svg

            Exit status: 0 done, 1 --maps found what does not fit the layout, 2 bad usage or input.
            """)

    enum Mode: String, CaseIterable, ExpressibleByArgument {
        case sv39, sv48, sv57
        case x86Four = "x86-4"
        case x86Five = "x86-5"
        case arm64Short = "arm64-39"
        case arm64Long = "arm64-48"
    }

    enum Release: String, CaseIterable, ExpressibleByArgument {
        case older = "6.1"
        case newer = "6.12"
    }

    @Option(help: "The paging mode: \(AddressLayout.modeNames.joined(separator: ", ")).")
    var mode: Mode?

    @Option(help: "Compare with another mode.")
    var against: Mode?

    @Option(help: "Run the mode's kernel under a narrower mode of the same processors.")
    var under: Mode?

    @Option(help: "Whose layout: Linux \(AddressLayout.releases.joined(separator: " or ")).")
    var release: Release = .older

    @Option(help: "What a running kernel has mapped, or printed; -: standard input.", completion: .file())
    var maps: String?

    @Flag(help: "Time virt_to_phys and phys_to_virt in the forms that modes ask for.")
    var measure = false

    @Option(help: ArgumentHelp("Bits of an address: 32 for splits. (default: 64)", valueName: "bits"))
    var bits: Int?

    @Option(help: ArgumentHelp("USER/LINEAR/VMALLOC or EITHER/VMALLOC, in MB.", valueName: "split"))
    var split: String?

    @Option(help: ArgumentHelp("Bytes of the kernel's image, with K, M or G.", valueName: "size"))
    var kernelSize: ByteSize?

    @Option(help: ArgumentHelp("Bytes of RAM, with K, M or G. (default: 1G)", valueName: "size"))
    var ram: ByteSize?

    @Option(
        help: ArgumentHelp(
            "Cycles of a switch between user space and linear map. (default: 100: \(SwitchCost.source))",
            valueName: "cycles"))
    var switchCycles: Double?

    @Option(
        help: ArgumentHelp(
            "Cycles a switch costs in entries of the TLB that have to be read again. (default: 0, as with ASIDs)",
            valueName: "cycles"))
    var refillCycles: Double?

    @Option(help: ArgumentHelp("Copies from or to user space an entry. (default: 1)", valueName: "count"))
    var copies: Double?

    @Option(help: ArgumentHelp("Entries into the kernel a second. (default: 100000)", valueName: "count"))
    var entries: Double?

    @Option(help: ArgumentHelp("The processor's clock. (default: 1000)", valueName: "MHz"))
    var clock: Double?

    @Flag(help: "Other splits and kernel sizes beside the one asked for.")
    var sweep = false

    @Option(help: "Draw the sweep: vmalloc wasted by size of the kernel.", completion: .file())
    var svg: String?

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if bits == 32 { try validateSplit() } else { try validateMode() }
    }

    private func validateMode() throws {
        guard bits == nil || bits == 64 else { throw ValidationError("--bits takes 32 or 64") }
        guard split == nil, kernelSize == nil, ram == nil, !sweep, svg == nil, switchCycles == nil,
            refillCycles == nil, copies == nil, entries == nil, clock == nil
        else {
            throw ValidationError("--split, --sweep and what goes with them are for --bits 32")
        }
        guard mode != nil else { throw ValidationError("say which: --mode MODE, or --bits 32 --split SPLIT") }
        if [against != nil, under != nil, maps != nil].count(where: { $0 }) > 1 {
            throw ValidationError("--against, --under and --maps: one at a time")
        }
    }

    private func validateSplit() throws {
        guard mode == nil, against == nil, under == nil, maps == nil, !measure, release == .older else {
            throw ValidationError("--mode, and what goes with it, is for 64 bits: leave --bits 32 out")
        }
        guard split != nil, kernelSize != nil else {
            throw ValidationError("--bits 32 takes --split USER/LINEAR/VMALLOC and --kernel-size SIZE")
        }
        if svg != nil, !sweep { throw ValidationError("--svg draws a sweep: give --sweep, too") }
        for (name, value, most) in [
            ("--switch-cycles", switchCycles, 1e9), ("--refill-cycles", refillCycles, 1e9), ("--copies", copies, 1e6),
            ("--entries", entries, 1e12), ("--clock", clock, 1e6),
        ] {
            guard let value else { continue }
            guard value.isFinite, value >= 0, value <= most, name != "--clock" || value > 0 else {
                throw ValidationError("\(name) takes a number from \(name == "--clock" ? "above 0" : "0") to \(most)")
            }
        }
    }

    func run() async throws {
        if bits == 32 { try await runSplit() } else { try runMode() }
    }
}

/// A number of bytes with its unit: 4M.
struct ByteSize: ExpressibleByArgument {
    let bytes: UInt64

    init?(argument: String) {
        let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "k": 1 << 10]
        guard let unit = argument.last.flatMap({ units[$0] }), let number = UInt64(argument.dropLast()),
            argument.first?.isNumber == true
        else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit)
        guard !overflow else { return nil }
        self.bytes = bytes
    }
}
