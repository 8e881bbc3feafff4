// SPDX-License-Identifier: MIT

// Headers into bytes and back: what was read encodes to the bytes it was read
// from, and what is written reads back as it was meant.

import Addressing
import KernelImage
import Testing

struct EncodeTests {
    @Test(arguments: Format.allCases)
    func unchangedHeadersAreTheSameBytes(format: Format) async throws {
        let bytes = try await fixture("four-formats", format)
        let image = try ScratchFile(bytes).open()
        let header = image.header
        let offset = Int(header.programHeaderOffset)
        let segments = image.encode(image.segments)
        #expect(segments == Array(bytes[offset..<offset + segments.count]))
        #expect(segments.count == 4 * (format.is64Bit ? 56 : 32))
        let encoded = try image.encodedHeader(
            programHeadersAt: header.programHeaderOffset, count: header.programHeaderCount, withoutSections: false)
        #expect(encoded == Array(bytes[..<offset]))
        let none = image.encode([])
        #expect(none == [])
    }

    /// More program headers, at the end of the file.
    @Test(arguments: Format.allCases, [false, true])
    func patchedCopy(format: Format, withoutSections: Bool) async throws {
        let bytes = try await fixture("four-formats", format)
        let file = try ScratchFile(bytes)
        let original = try file.open()
        var segments = original.segments
        segments.swapAt(0, 2)
        for i in 0..<20 {
            segments.append(
                Segment(
                    type: 1, flags: 7, offset: UInt64(0x1000 + i), virtualAddress: VirtualAddress(0x8200_0000),
                    physicalAddress: PhysicalAddress(UInt64(0xfedc_b000 + i)), fileSize: 0x123, memorySize: 0x456,
                    alignment: 0x20_0000))
        }
        let place = bytes.count + 8
        file.write(original.encode(segments), at: place)
        let header = try original.encodedHeader(
            programHeadersAt: UInt64(place), count: segments.count, withoutSections: withoutSections)
        file.write(header, at: 0)
        let copy = try file.open()
        #expect(copy.segments == segments)
        #expect(copy.header.programHeaderOffset == UInt64(place))
        #expect(copy.header.entry == original.header.entry && copy.header.machine == original.header.machine)
        #expect(copy.sections == (withoutSections ? [] : original.sections))
    }

    @Test(arguments: Format.allCases)
    func tooManyProgramHeaders(format: Format) async throws {
        let image = try ScratchFile(await fixture("tiny", format)).open()
        do {
            _ = try image.encodedHeader(programHeadersAt: 64, count: 65_535, withoutSections: true)
            Issue.record("accepted")
        } catch {
            #expect(error.kind == .unsuitable && error.description.hasPrefix("some.elf: 65535 runs of pages"))
        }
        let most = try image.encodedHeader(programHeadersAt: 64, count: 65_534, withoutSections: true)
        #expect(most.count == (format.is64Bit ? 64 : 52))
    }
}
