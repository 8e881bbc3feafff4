// SPDX-License-Identifier: MIT

// Load segments and ends that are absurd but hold together as headers: the page
// map refuses them or leaves them out, and never traps. Each case runs in a
// process of its own, so that a trap is a failure and not the end of all tests.

import Addressing
import KernelImage
import Testing

struct AbsurdPageMapTests {
    /// Maps the fixture's pages with one more load segment, or with another end.
    private static func map(
        _ bytes: [UInt8], end: UInt64 = 0x8100_7000, _ change: (inout [Segment]) -> Void = { _ in }
    ) throws {
        let file = try ScratchFile(bytes)
        let original = try file.open()
        var segments = original.segments
        change(&segments)
        file.write(original.encode(segments), at: Int(original.header.programHeaderOffset))
        let image = try file.open()
        do throws(ImageError) {
            let map = try PageMap(image, from: segments[0].virtualAddress, to: VirtualAddress(end))
            _ = (map.virtualRange, map.physicalRange)
            for page in 0..<map.pageCount { _ = map.contents(of: page, in: image) }
        } catch {
            #expect(error.file == "some.elf")
        }
    }

    /// No bytes in the file, so its offset means nothing.
    @Test func offsetOfNothing() async throws {
        let bytes = try await fixture("four-formats")
        await #expect(processExitsWith: .success) { [bytes = bytes as [UInt8]] in
            try Self.map(bytes) {
                $0[1].fileSize = 0
                $0[1].offset = .max
            }
        }
    }

    @Test func memoryToTheEndOfTheAddressSpace() async throws {
        let bytes = try await fixture("four-formats")
        await #expect(processExitsWith: .success) { [bytes = bytes as [UInt8]] in
            try Self.map(bytes) {
                $0[0].physicalAddress = PhysicalAddress(0)
                $0[1].physicalAddress = PhysicalAddress(0)
                $0[1].memorySize = .max
            }
        }
    }

    @Test func lastPageOfTheAddressSpace() async throws {
        let bytes = try await fixture("four-formats")
        await #expect(processExitsWith: .success) { [bytes = bytes as [UInt8]] in
            try Self.map(bytes, end: .max) { $0[0].virtualAddress = VirtualAddress(.max - 0x1fff) }
        }
    }

    @Test func physicalAddressesOverTheEnd() async throws {
        let bytes = try await fixture("four-formats")
        await #expect(processExitsWith: .success) { [bytes = bytes as [UInt8]] in
            try Self.map(bytes) {
                $0[0].physicalAddress = PhysicalAddress(.max - 0x1fff)
                $0[1].memorySize = 0
                $0[1].fileSize = 0
                $0[2].memorySize = 0
                $0[2].fileSize = 0
            }
        }
    }
}
