// SPDX-License-Identifier: MIT

// The lists of KASLR behind the decoded kernel: which they are, and that nothing
// else is taken for them.

import Addressing
import KernelImage
import Testing

struct BzImageRelocationsTests {
    private func read(_ kernel: SampleKernel) throws -> KASLRRelocations {
        try KASLRRelocations(kernel.bytes, file: "some.vmlinuz")
    }

    private func refused(_ kernel: SampleKernel) -> ImageError? { refusal { _ = try read(kernel) } }

    private func addresses(_ values: UInt64...) -> [VirtualAddress] {
        values.map { VirtualAddress(0xffff_ffff_8100_0000 + $0) }
    }

    @Test func threeLists() throws {
        let relocations = try read(SampleKernel())
        #expect(relocations.listCount == 3)
        #expect(relocations.words64 == addresses(0x100, 0x2ff8))
        #expect(relocations.inverse32 == addresses(0x204))
        #expect(relocations.words32 == addresses(8, 0x300, 0x2ffc))
        #expect(relocations.start == SampleKernel().elf.count)
        #expect(relocations.encoded == Array(SampleKernel().bytes[relocations.start...]))
    }

    @Test func twoListsOfNewerKernels() throws {
        let kernel = SampleKernel(lists: [[0x8100_0100], [0x8100_0008]])
        let relocations = try read(kernel)
        #expect(relocations.words64 == addresses(0x100) && relocations.words32 == addresses(8))
        #expect(relocations.inverse32.isEmpty && relocations.listCount == 2)
        #expect(relocations.encoded == Array(kernel.bytes[relocations.start...]))
    }

    @Test func oneListOf32Bit() throws {
        let kernel = SampleKernel(is64Bit: false, lists: [[0xc100_0004, 0xc100_2ffc]])
        let relocations = try read(kernel)
        #expect(relocations.words32 == [VirtualAddress(0xc100_0004), VirtualAddress(0xc100_2ffc)])
        #expect(relocations.words64.isEmpty && relocations.listCount == 1)
        #expect(relocations.encoded == Array(kernel.bytes[relocations.start...]))
        #expect(refused(SampleKernel(is64Bit: false, lists: [[], [0xc100_0004]])) != nil)
    }

    @Test func emptyLists() throws {
        #expect(try read(SampleKernel(lists: [[], [], []])).listCount == 3)
        let fixed = try read(SampleKernel(lists: []))
        #expect(fixed.listCount == 0 && fixed.encoded.isEmpty)
    }

    @Test(arguments: [1, 4])
    func wrongNumberOfLists(count: Int) {
        let error = refused(SampleKernel(lists: .init(repeating: [0x8100_0008], count: count)))
        #expect(error?.kind == .malformed)
        #expect(error?.message == "\(count) lists of relocations follow the ELF, where 2 or 3 are expected")
    }

    @Test(arguments: [[0x80ff_fffc], [0x8100_2ffd], [0x8100_3000], [0x1000], [0x7fff_fffc]] as [[UInt32]])
    func entryOutside(list: [UInt32]) {
        #expect(
            refused(SampleKernel(lists: [[], [], list]))?.message.hasSuffix("lies outside what the ELF loads") == true)
        #expect(refused(SampleKernel(lists: [[], list, []])) != nil)
    }

    /// The last word of 64 bits that fits, and the next.
    @Test func wordOf64BitsAtTheEnd() throws {
        _ = try read(SampleKernel(lists: [[0x8100_2ff8], []]))
        #expect(
            refused(SampleKernel(lists: [[0x8100_2ff9], []]))?.message
                == "a relocation at 0xffffffff81002ff9 lies outside what the ELF loads")
    }

    @Test(arguments: [[1], [0, 0], [1, 2, 3, 4], [0, 0, 0, 1]] as [[UInt8]])
    func somethingElseBehindTheELF(gap: [UInt8]) { #expect(refused(SampleKernel(gap: gap))?.kind == .malformed) }

    @Test func refusesEveryCutOfTheELF() {
        for is64Bit in [true, false] {
            let elf = SampleKernel(is64Bit: is64Bit).elf
            for length in Array(0..<300) + Array(stride(from: 300, to: elf.count, by: 97)) + [elf.count - 1] {
                #expect(throws: ImageError.self, "\(length) bytes") {
                    try KASLRRelocations(Array(elf[..<length]), file: "some.vmlinuz")
                }
            }
        }
    }

    @Test func refusesAbsurdHeaders() {
        for (field, value) in [(32, UInt64.max), (40, .max - 64), (64 + 8, .max), (64 + 32, .max), (0x4000 + 88, .max)]
        {
            var kernel = SampleKernel().bytes
            kernel.put(value, at: field)
            #expect(throws: ImageError.self, "at \(field)") { try KASLRRelocations(kernel, file: "some.vmlinuz") }
        }
        for (field, value) in [(0, UInt8(0)), (4, 3), (5, 2), (54, 1), (58, 1)] {
            var kernel = SampleKernel().bytes
            kernel[field] = value
            #expect(throws: ImageError.self, "at \(field)") { try KASLRRelocations(kernel, file: "some.vmlinuz") }
        }
    }
}
