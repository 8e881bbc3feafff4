// SPDX-License-Identifier: MIT

// The figures of the mail of 2020 that began this, and what no split can be.

import AddressSpaces
import Testing

struct SplitTests {
    private let mega: UInt64 = 1 << 20

    private func split(_ kernel: UInt64) throws -> AddressSplit {
        try AddressSplit(user: 3072 * mega, linear: 768 * mega, vmalloc: 256 * mega, kernel: kernel)
    }

    /// To so many decimals.
    private func rounded(_ value: Double, _ decimals: Double) -> Double { (value * decimals).rounded() / decimals }

    @Test func aKernelOfFourMegabytes() throws {
        let split = try split(4 * mega)
        #expect(rounded(split.wastedOfSpace, 10) == 0.1)
        #expect(rounded(split.wastedOfVmalloc, 100) == 1.56)
        #expect(split.wastedOfSpace == 100.0 * 4 / 4096)
        #expect(split.wastedOfVmalloc == 100.0 * 4 / 256)
        #expect(split.vmallocLeft == 252 * mega)
    }

    @Test func aKernelOfTenMegabytes() throws {
        let split = try split(10 * mega)
        #expect(rounded(split.wastedOfSpace, 100) == 0.24)
        #expect(rounded(split.wastedOfVmalloc, 10) == 3.9)
    }

    @Test func lowmemAndHighmem() throws {
        let side = try split(4 * mega)
        #expect(side.lowmem(ram: 512 * mega) == 512 * mega)
        #expect(side.highmem(ram: 512 * mega) == 0)
        #expect(side.lowmem(ram: 2048 * mega) == 768 * mega)
        #expect(side.highmem(ram: 2048 * mega) == 1280 * mega)
        let switched = try AddressSplit(either: 3840 * mega, vmalloc: 256 * mega, kernel: 4 * mega)
        #expect(switched.user == 3840 * mega && switched.linear == 3840 * mega)
        #expect(switched.highmem(ram: 2048 * mega) == 0)
        #expect(switched.highmem(ram: 4096 * mega) == 256 * mega)
        #expect(switched.regions.first { $0.kind == .kernel }?.range.lowerBound == 3840 * mega)
    }

    @Test func switching() {
        var cost = SwitchCost()
        #expect(cost.switchesPerEntry == 4)
        #expect(cost.cyclesPerEntry == 400)
        #expect(cost.percentOfTime == 4)
        cost.userCopies = 0
        cost.refillCycles = 50
        #expect(cost.cyclesPerEntry == 300)
        cost.entriesPerSecond = 1e6
        #expect(cost.percentOfTime == 30)
    }

    @Test(arguments: [
        (3072, 768, 255, 4, "3072 + 768 + 255 MB are 4095 MB, not 4096: 1 MB belong to no part"),
        (3072, 1024, 256, 4, "3072 + 1024 + 256 MB are 4352 MB, not 4096: they overlap by 256 MB"),
        (0, 3840, 256, 4, "user space has no addresses: every part needs some"),
        (3072, 1024, 0, 4, "vmalloc has no addresses: every part needs some"),
        (3072, 768, 256, 256, "a kernel of 256 MB leaves nothing of vmalloc's 256 MB"),
        (3584, 128, 384, 200, "a kernel of 200 MB does not fit into a linear map of 128 MB"),
        (3072, 768, 256, 0, "a kernel of no bytes"),
        (1 << 40, 768, 256, 4, "1 EB for user space leave nothing of 4096 MB for the other parts"),
    ])
    func refused(user: UInt64, linear: UInt64, vmalloc: UInt64, kernel: UInt64, why: String) {
        #expect {
            try AddressSplit(
                user: user * mega, linear: linear * mega, vmalloc: vmalloc * mega, kernel: kernel * mega)
        } throws: { error in
            "\(error)" == why
        }
    }

    @Test func bytes() {
        #expect(bytesText(4096) == "4 KB")
        #expect(bytesText(256 << 30) == "256 GB")
        #expect(bytesText(1 << 39) == "512 GB")
        #expect(bytesText(3840 << 20) == "3.75 GB")
        #expect(bytesText(12_800 << 40) == "12.5 PB")
        #expect(bytesText(1000) == "1000 bytes")
        #expect(bytesText(6 << 20) == "6 MB")
        #expect(bytesText(3072 << 20 | 1 << 20) == "3073 MB")
    }
}
