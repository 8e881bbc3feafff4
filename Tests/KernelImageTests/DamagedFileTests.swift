// SPDX-License-Identifier: MIT

// A small image cut at every length, and with every byte changed. Whatever
// opens must hold together, and nothing may crash or hang.

import Addressing
import KernelImage
import TestSupport
import Testing

struct DamagedFileTests {
    /// Opens a file and reads all there is in it. Returns what does not hold together.
    private func contradictions(in file: borrowing ScratchFile, byteCount: Int) -> [String] {
        var found: [String] = []
        do throws(ImageError) {
            let image = try file.open()
            let size = UInt64(byteCount)
            for segment in image.segments where segment.type == Segment.load && segment.fileSize > 0 {
                if segment.offset + segment.fileSize > size { found.append("segment outside the file") }
                if segment.memorySize < segment.fileSize { found.append("segment larger in the file") }
            }
            for section in image.sections where !section.isNoBits && section.type != 0 {
                if section.offset + section.size > size { found.append("section outside the file") }
            }
            for note in image.notes() where note.descriptor.upperBound > byteCount {
                found.append("note outside the file")
            }
            _ = image.encode(image.segments)
            _ = try? image.encodedHeader(programHeadersAt: 64, count: 2, withoutSections: true)
            readPages(image, &found)
            try? image.forEachRelocation { _ in }
            if let table = try image.symbolTable() {
                for symbol in table.symbols where table.name(of: symbol, in: image).utf8.count > byteCount {
                    found.append("name longer than the file")
                }
                _ = table.find(["start", "absent"], in: image)
                _ = table.find(["a"], in: image)
                let index = table.index(over: VirtualAddress(0x1000)..<VirtualAddress(0x4000))
                _ = index.function(at: VirtualAddress(0x1004))
            }
        } catch {
            if error.file != file.name || error.message.isEmpty { found.append("error without file or text") }
        }
        return found
    }

    private func readPages(_ image: borrowing KernelImage, _ found: inout [String]) {
        for segment in image.segments where segment.type == Segment.load {
            let base = segment.virtualAddress
            guard let map = try? PageMap(image, from: base, to: base + 0x3000) else { continue }
            for page in 0..<map.pageCount where map.contents(of: page, in: image).count != pageSize {
                found.append("page of a wrong size")
            }
            _ = map.fileOffset(of: base)
        }
    }

    /// The section headers are the last bytes of the fixture: without one of them the file is not whole.
    @Test(arguments: Format.allCases)
    func everyLengthIsRefused(format: Format) async throws {
        let bytes = try await fixture("tiny", format)
        let file = try ScratchFile(bytes)
        #expect(contradictions(in: file, byteCount: bytes.count) == [])
        var accepted: [Int] = []
        for length in (0..<bytes.count).reversed() {
            file.cut(to: length)
            do throws(ImageError) {
                _ = try file.open()
                accepted.append(length)
            } catch {
                #expect(error.file == "some.elf" && !error.message.isEmpty)
            }
        }
        #expect(accepted == [])
    }

    /// The same without sections: any part that still opens must hold together.
    @Test(arguments: Format.allCases)
    func everyLengthWithoutSections(format: Format) async throws {
        let bytes = try await fixture("tiny", format)
        let file = try ScratchFile(bytes)
        let original = try file.open()
        let header = original.header
        file.write(
            try original.encodedHeader(
                programHeadersAt: header.programHeaderOffset, count: header.programHeaderCount, withoutSections: true),
            at: 0)
        for length in (0..<bytes.count).reversed() {
            file.cut(to: length)
            #expect(contradictions(in: file, byteCount: length) == [], "cut to \(length) bytes")
        }
    }

    /// Every byte with one bit changed, with all, and as the largest and smallest number.
    @Test(arguments: Format.allCases)
    func everyByte(format: Format) async throws {
        let bytes = try await fixture("tiny", format)
        let file = try ScratchFile(bytes)
        var random = TestRandom()
        for (offset, byte) in bytes.enumerated() {
            for value in [byte ^ 1 << UInt8.random(in: 0..<8, using: &random), ~byte, 0, 0xff, 0x80, 0x7f] {
                file.write([value], at: offset)
                let found = contradictions(in: file, byteCount: bytes.count)
                #expect(found == [], TestRandom.comment("byte \(offset) = \(value)"))
            }
            file.write([byte], at: offset)
        }
    }

    /// Several fields at once: words of the headers replaced by numbers that like to overflow.
    @Test(arguments: Format.allCases)
    func manyFields(format: Format) async throws {
        let bytes = try await fixture("tiny", format)
        let file = try ScratchFile(bytes)
        var random = TestRandom()
        let odd: [UInt64] = [0, 1, .max, .max - 1, 1 << 63, 1 << 63 - 1, 1 << 32 - 1, 1 << 31, 0x1000, 0xfff]
        for number in 0..<4000 {
            let places = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                Int.random(in: 4..<bytes.count / 4, using: &random) * 4
            }
            for place in places where place + 8 <= bytes.count {
                let value = odd.randomElement(using: &random) ?? 0
                let width = Bool.random(using: &random) ? 8 : 4
                file.write((0..<width).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }, at: place)
            }
            let found = contradictions(in: file, byteCount: bytes.count)
            #expect(found == [], TestRandom.comment("number \(number), words at \(places)"))
            file.write(bytes, at: 0)
        }
    }
}
