// SPDX-License-Identifier: MIT

// Which bytes go with an address of data, with its name and without.

import Addressing
import KernelImage
import Testing

@testable import KernelRewrite

struct DataObjectsTests {
    private static let source = """
        FUNCTION(start): ret
        END(start)
        .data
        .fill 0x9000
        .globl thing; .type thing, @object; thing: .fill 24
        .size thing, 24
        .fill 0x9000

        """

    /// The offset from the section's start of each bound, for the address so far into the section.
    private func bounds(_ range: Range<VirtualAddress>?, _ section: Section) -> [UInt64]? {
        range.map { [$0.lowerBound - section.address, $0.upperBound - section.address] }
    }

    @Test func boundsReachNoFurtherThanTheSection() throws {
        let kernel = try SmallKernel(Self.source)
        let section = kernel.image.section(named: ".data")
        let data = try #require(section)
        let table = kernel.table.functions(in: [kernel.map.virtualBase...kernel.map.virtualBase + 0xfff])
        let objects = DataObjects(
            table.index(over: kernel.map.virtualRange), table, kernel.image, largest: 4096, largestArray: 65536,
            largestStack: 32768)
        #expect(objects.isBounded)
        #expect(bounds(objects.object(at: data.address + 0x5010), data) == [0x4011, 0x6010])
        #expect(bounds(objects.object(at: data.address + 8), data) == [0, 0x1008])
        #expect(bounds(objects.array(at: data.address + 0x5010), data) == [0x4011, data.size])
        #expect(bounds(objects.stack(below: data.address + 0x9000), data) == [0xfff, 0x9000])
        #expect(bounds(objects.stack(below: data.address + 0x800), data) == [0, 0x800])
        #expect(objects.object(at: kernel.map.virtualBase) == nil)
    }

    @Test func namesSayIt() throws {
        let kernel = try SmallKernel(Self.source, names: ["thing"])
        let section = kernel.image.section(named: ".data")
        let data = try #require(section)
        let objects = DataObjects(
            kernel.index, kernel.table, kernel.image, largest: 4096, largestArray: 65536, largestStack: 32768)
        let place = try #require(kernel.symbols.optional("thing")).range
        #expect(!objects.isBounded)
        for found in [
            objects.object(at: place.lowerBound + 8), objects.array(at: place.lowerBound),
            objects.stack(below: place.upperBound),
        ] { #expect(found == place) }
        #expect(objects.object(at: data.address) == nil)
    }
}
