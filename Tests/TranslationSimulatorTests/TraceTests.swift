// SPDX-License-Identifier: MIT

// Traces written and read again, and damaged in every way there is.

import Addressing
import Foundation
import TestSupport
import Testing

@testable import TranslationSimulator

let traceBase = VirtualAddress(0xffff_ffff_8100_0000)

/// A path that is gone after the test.
final class TemporaryFile {
    let path = NSTemporaryDirectory() + "kperm-trace-\(UUID().uuidString)"

    func bytes() throws -> [UInt8] { try Array(Data(contentsOf: URL(fileURLWithPath: path))) }
    func write(_ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

func traceHeader(pages: Int = 64) -> TraceHeader {
    TraceHeader(virtualBase: traceBase, imageBytes: UInt64(pages * pageSize), workload: "a test")
}

/// What a reader gives, in one list.
enum Item: Equatable {
    case reference(VirtualAddress, kind: Int)
    case event(TraceEvent)
}

func items(_ path: String) throws -> (items: [Item], instructions: UInt64) {
    var reader = try TraceReader(path)
    var batch = TraceBatch()
    var items: [Item] = []
    var instructions: UInt64 = 0
    while try reader.next(&batch) {
        for index in 0..<batch.count { items.append(.reference(batch[index].line, kind: batch[index].kind)) }
        if let event = batch.event { items.append(.event(event)) }
        instructions += batch.instructions
    }
    return (items, instructions)
}

struct TraceTests {
    @Test(arguments: [false, true])
    func roundTrip(isCompressed: Bool) throws {
        var random = TestRandom()
        var header = traceHeader()
        header.sites = [traceBase + 5, traceBase + 4096]
        header.buildID = [1, 2, 3]
        header.windowStart = 99
        let file = TemporaryFile()
        var writer = try TraceWriter(file.path, header, isCompressed: isCompressed)
        var expected: [Item] = []
        var instructions: UInt64 = 0
        let events: [TraceEvent] = [
            .site(1), .systemCall, .processor(3), .addressSpace, .skipped(1 << 40), .site(0),
        ]
        // Near and far, up to both ends of the address space, and enough to cross the windows of the reader.
        for step in 0..<300_000 {
            let far = VirtualAddress(UInt64.random(in: .min ... .max, using: &random) & ~63)
            let near = traceBase + UInt64(step & 0xffff) << 6
            let address = step % 7 == 0 ? far : near
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<8:
                let count = UInt64.random(in: 0..<300, using: &random)
                try writer.fetch(address, instructions: count)
                instructions += count
                expected.append(.reference(address, kind: 0))
            case 8..<14:
                try writer.read(address)
                expected.append(.reference(address, kind: 1))
            case 14..<19:
                try writer.write(address)
                expected.append(.reference(address, kind: 2))
            default:
                try writer.event(events[step % events.count])
                expected.append(.event(events[step % events.count]))
            }
        }
        try writer.finish()
        expected.append(.event(.end))
        // The writer may leave out what repeats: not here, where no line comes twice in a row.
        let read = try items(file.path)
        #expect(read.items == expected, TestRandom.comment())
        #expect(read.instructions == instructions, TestRandom.comment())
        #expect(try TraceReader(file.path).header == header)
    }

    @Test func leavesOutWhatRepeats() throws {
        let file = TemporaryFile()
        var writer = try TraceWriter(file.path, traceHeader())
        for offset: UInt64 in [0, 4, 60, 64] { try writer.fetch(traceBase + offset, instructions: 2) }
        for offset: UInt64 in [0, 8, 64] { try writer.read(traceBase + offset) }
        try writer.write(traceBase + 64)
        try writer.finish()
        let read = try items(file.path)
        #expect(read.instructions == 8)
        let kinds: [(UInt64, Int)] = [(0, 0), (64, 0), (0, 1), (64, 1), (64, 2)]
        #expect(read.items == kinds.map { .reference(traceBase + $0, kind: $1) } + [.event(.end)])
    }

    private func small(isCompressed: Bool = false) throws -> TemporaryFile {
        let file = TemporaryFile()
        var writer = try TraceWriter(file.path, traceHeader(), isCompressed: isCompressed)
        for step: UInt64 in 0..<200 {
            try writer.fetch(traceBase + step << 6, instructions: 200)
            try writer.read(VirtualAddress(0xffff_8880_0000_0000) + step << 12)
        }
        try writer.finish()
        return file
    }

    private func refusal(_ file: TemporaryFile) -> TraceError? {
        do {
            _ = try items(file.path)
            return nil
        } catch let error as TraceError { return error } catch { return nil }
    }

    /// Wherever a trace ends too early, it says so, and where.
    @Test(arguments: [false, true])
    func truncated(isCompressed: Bool) throws {
        let file = try small(isCompressed: isCompressed)
        let whole = try file.bytes()
        #expect(refusal(file) == nil)
        for count in 16..<whole.count {
            try file.write(Array(whole[..<count]))
            let error = try #require(refusal(file), "\(count) of \(whole.count) bytes")
            #expect(error.file == file.path && error.offset != nil, "\(count): \(error)")
            #expect(error.what.contains("truncated"), "\(count): \(error)")
            if !isCompressed { #expect(error.offset == count, "\(error)") }
        }
    }

    @Test func damaged() throws {
        let header = traceHeader().bytes
        let places: [(tail: [UInt8], offset: Int, what: String)] = [
            ([UInt8](repeating: 0xff, count: 10) + [1], 0, "a number too large"),  // 77 bits
            ([0x00] + [UInt8](repeating: 0x80, count: 9) + [0x02], 0, "a number too large"),  // bit 64
            ([0x00, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], 0, "a number too large"),  // instructions
            ([0x05], 0, "a reference outside"),  // a line below 0
            ([0x01, 0x03], 1, "an event of type 0 with the value 0"),  // no sites
            ([0x01, 0x1b], 1, "an event of type 6 with the value 0"),
            ([0x01, 0x27], 1, "an event of type 1 with the value 1"),
            ([0x01, 0x0f, 0x00], 2, "bytes behind the end"),
        ]
        for place in places {
            let file = TemporaryFile()
            try file.write(header + place.tail + [UInt8](repeating: 0, count: place.tail.last == 0 ? 0 : 80))
            let error = try #require(refusal(file), "\(place)")
            #expect(error.offset == header.count + place.offset, "\(place): \(error)")
            #expect(error.what.hasPrefix("damaged: ") && error.what.contains(place.what), "\(place): \(error)")
        }
    }

    @Test(
        arguments: [
            (0, 0x6c, nil, "not a trace: it begins"), (8, 2, 8, "version 2; this kperm reads version 1"),
            (12, 0x57, 12, "damaged: a header of 87 bytes"), (16, 1, 16, "damaged: an image"),
            (27, 0xff, 16, "damaged: an image"), (80, 0xff, 80, "damaged: a name"), (90, 0xff, 90, "damaged: "),
        ] as [(Int, UInt8, Int?, String)])
    func damagedHeader(at place: Int, value: UInt8, offset: Int?, what: String) throws {
        let file = try small()
        var bytes = try file.bytes()
        // A name of 6 bytes: the number of sites stands at 90.
        bytes[place == 27 ? 31 : place] = value
        try file.write(bytes)
        let error = try #require(refusal(file))
        #expect(error.offset == offset && error.what.hasPrefix(what), "\(error)")
    }

    @Test func damagedCompression() throws {
        let file = try small(isCompressed: true)
        var bytes = try file.bytes()
        bytes[6] ^= 0xff
        bytes[7] ^= 0xff
        try file.write(bytes)
        let error = try #require(refusal(file))
        #expect(error.description.hasPrefix("\(file.path): at byte "))
    }

    /// Frames one behind another are one stream, wherever they divide it.
    @Test func severalFrames() throws {
        let plain = try small()
        let expected = try items(plain.path)
        let frames = try small(isCompressed: true)
        // A skippable frame in front.
        try frames.write([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3] + frames.bytes())
        let read = try items(frames.path)
        #expect(read.items == expected.items && read.instructions == expected.instructions)
    }

    @Test func noTraceAtAll() throws {
        let file = TemporaryFile()
        #expect(throws: TraceError(file.path, "cannot open: No such file or directory")) { try items(file.path) }
        try file.write([1, 2])
        #expect(throws: TraceError.self) { try items(file.path) }
        #expect(throws: TraceError(NSTemporaryDirectory(), "not a regular file")) {
            try items(NSTemporaryDirectory())
        }
    }

    /// What is being written has another name until it is finished.
    @Test func unfinishedIsGone() throws {
        let file = TemporaryFile()
        do {
            var writer = try TraceWriter(file.path, traceHeader())
            try writer.fetch(traceBase)
        }
        #expect(!FileManager.default.fileExists(atPath: file.path))
        #expect(!FileManager.default.fileExists(atPath: file.path + ".partial"))
    }
}
