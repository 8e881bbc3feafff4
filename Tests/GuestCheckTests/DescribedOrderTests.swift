// SPDX-License-Identifier: MIT

// What a flat riscv64 kernel's descriptor says in a guest's memory, and what is
// not believed of it.

import Addressing
import PagePermutation
import TestSupport
import Testing

@testable import GuestCheck

struct DescribedOrderTests {
    /// Where the guest has the image, and where the RAM file has it.
    private static let physical: UInt64 = 0x8020_0000
    private static let offset = 0x20_0000
    private let permuted: UInt32 = 1

    private func problem() throws -> PermutationProblem {
        try PermutationProblem(
            pageCount: FlatSample.pages,
            classes: FlatSample.classes.map { PageClass(name: $0.name, ranges: [$0.pages]) })
    }

    /// Pages 15 and 16 of rodata, and 20 and 21 of data, have traded places.
    private var order: [UInt32] {
        var order = (0..<UInt32(FlatSample.pages)).map { $0 }
        order.swapAt(15, 16)
        order.swapAt(20, 21)
        return order
    }

    /// An image that runs in an order, which the descriptor says the kernel drew from the device tree's seed.
    private func image(_ order: [UInt32], state: UInt32 = 1, sources: UInt32 = 5) -> FlatSample {
        var sample = FlatSample()
        for (page, frame) in order.enumerated() {
            let difference = (Int32(frame) - Int32(page)) * 4096
            sample.put(difference, at: FlatSample.forward + 4 * page)
            sample.put(-difference, at: FlatSample.forward + 4 * (sample.capacity + Int(frame)))
        }
        let moved = order.enumerated().count { $0.offset != $0.element }
        for (field, value) in [(0x3c, 2), (0x44, UInt32(moved)), (0x48, sources), (0x4c, state)] {
            sample.put(value, at: FlatSample.descriptor + field)
        }
        sample.put(Self.physical, at: FlatSample.descriptor + 0x50)
        return sample
    }

    private func failures(
        _ sample: FlatSample, _ wanted: Permutation? = nil, isDrawnAtBoot: Bool = true, expectsUnpermuted: Bool = false,
        again: Int? = nil
    ) throws -> [String] {
        var memory = try GuestMemory(size: 8 << 20)
        memory.map = MemoryMap(pieces: [MemoryMap.Piece(guest: 0x8000_0000..<0x8080_0000, offset: 0)])
        memory.write(sample.bytes, atOffset: Self.offset)
        if let again { memory.write(sample.bytes, atOffset: again) }
        let identity = TranslationTable(
            Permutation(identity: FlatSample.pages), virtualBase: VirtualAddress(FlatSample.virtualBase),
            physicalBase: PhysicalAddress(0))
        let expectation = GuestExpectation(
            kernelPath: "", table: identity, stubEnd: VirtualAddress(0),
            pages: [PageKind](repeating: .other, count: FlatSample.pages), contents: { _ in [] },
            userspace: .given(initramfs: nil), expectsUnpermuted: expectsUnpermuted, machine: .virt)
        let wanted = DescribedOrder(problem: try problem(), order: wanted, isDrawnAtBoot: isDrawnAtBoot)
        let (described, _, checks) = expectation.described(wanted, memory)
        if let described {
            #expect(described.table.physicalBase == PhysicalAddress(Self.physical))
            #expect(described.table.virtualBase == VirtualAddress(FlatSample.virtualBase))
        }
        return checks.filter { $0.outcome == .fail }.map { $0.name }
    }

    @Test func rightOnes() throws {
        let drawn = try Permutation(forward: order, for: problem())
        #expect(try failures(image(order)).isEmpty)
        #expect(try failures(image(order), drawn).isEmpty)
        #expect(try failures(image(order, sources: 16), drawn, isDrawnAtBoot: false).isEmpty)
        let identity = Permutation(identity: FlatSample.pages)
        #expect(try failures(image(identity.forward, state: 2), identity, expectsUnpermuted: true).isEmpty)
    }

    @Test func wrongOnes() throws {
        let drawn = try Permutation(forward: order, for: problem())
        var across = order
        across.swapAt(2, 22)
        #expect(try failures(image(across)) == ["live-table"], "leaves its class")
        var pinned = order
        pinned.swapAt(0, 1)
        #expect(try failures(image(pinned)) == ["live-table"], "moves what stays")
        #expect(try failures(image((0..<32).map { $0 }), drawn) == ["live-table"], "not the one asked for")
        var miscounted = image(order)
        miscounted.put(UInt32(3), at: FlatSample.descriptor + 0x44)
        #expect(try failures(miscounted) == ["live-table"])
        var oneWay = image(order)
        oneWay.put(UInt32(0), at: FlatSample.forward + 4 * (oneWay.capacity + 15))
        #expect(try failures(oneWay) == ["live-table"], "does not lead back")
        var behind = image(order)
        behind.put(UInt32(4096), at: FlatSample.forward + 4 * FlatSample.pages)
        #expect(try failures(behind) == ["live-table"], "says something of what is no page")
        #expect(try failures(image(order), expectsUnpermuted: true) == ["permuted"])
        #expect(try failures(image(order, state: 3)) == ["permuted"])
        #expect(try failures(image(order, sources: 4)) == ["entropy"], "the time alone")
        #expect(try failures(image(order, sources: 16)) == ["entropy"], "the tool's, of what draws itself")
    }

    /// A descriptor counts where it says its image lies, and there is one.
    @Test func whereItLies() throws {
        var elsewhere = image(order)
        elsewhere.put(Self.physical + 0x1000, at: FlatSample.descriptor + 0x50)
        #expect(try failures(elsewhere) == ["live-table"])
        #expect(try failures(image(order), again: 0x40_0000).isEmpty, "a copy that does not run")
        var idle = image(order)
        idle.put(UInt64(0), at: FlatSample.descriptor + 0x50)
        #expect(try failures(idle) == ["live-table"])
    }

    @Test func wordsAndDevices() throws {
        var expectation = try SyntheticGuest(.riscv, levels: 3).expectation
        expectation.userspace = .given(initramfs: "/initramfs")
        expectation.machine = .virt
        var options = GuestOptions()
        options.pagingMode = .sv39
        options.extraCommandLine = "kperm=off"
        let arguments = Machine.arguments(options, expectation, directory: "/dir", console: "/console", ram: "/ram")
        #expect(arguments.contains { $0.hasSuffix("panic=-1 kperm_hold loglevel=7 no4lvl kperm=off") })
        #expect(arguments.contains("virtio-blk-device,drive=disk") && !arguments.contains { $0.contains("-pci") })
    }

    @Test func announcement() {
        let log = "[    1.0] kperm: permuted, 4 of 32 pages moved, drawn from x\nkperm: not permuted"
        #expect(KernelLog.check("kperm: permuted, 4 of ", in: log).outcome == .pass)
        #expect(KernelLog.check("kperm: permuted, 5 of ", in: log).outcome == .fail)
        #expect(KernelLog.check("", in: log).outcome == .fail)
    }

    /// The program of a guest that got none: ELF for RISC-V whose last words end the exercise.
    @Test func program() {
        let bytes = IdleHelper.bytes
        #expect(bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]) && bytes[18] == 243)
        #expect(bytes.count == 64 + 56 + 14 * 4 + 21)
        #expect(Exercise(parsing: String(decoding: bytes.suffix(21), as: UTF8.self)).isDone)
    }
}
