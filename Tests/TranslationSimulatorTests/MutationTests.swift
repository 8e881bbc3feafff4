// SPDX-License-Identifier: MIT

// Damage that nobody thought of: the sample traces cut and changed anywhere, and
// the models that kperm brings along with any of their values replaced. Each is
// read and simulated, or refused with the file and the place; nothing crashes.

import Addressing
import Foundation
import TestSupport
import Testing

@testable import TranslationSimulator

struct MutationTests {
    private func sample(_ name: String) throws -> [UInt8] {
        try Array(Data(contentsOf: URL(fileURLWithPath: "\(checkout)/Tests/Fixtures/traces/\(name).kpt")))
    }

    /// The beginning of a sample, not compressed, so that what changes is a record and not a block of zstd.
    private func plain(_ name: String) throws -> [UInt8] {
        var reader = try TraceReader("\(checkout)/Tests/Fixtures/traces/\(name).kpt")
        let file = TemporaryFile()
        var header = reader.header
        header.sites = Array(header.sites.prefix(8))
        header.imageBytes = 1 << 21
        var writer = try TraceWriter(file.path, header, isCompressed: false)
        var batch = TraceBatch()
        var references = 0
        while references < 3000, try reader.next(&batch) {
            for index in 0..<batch.count {
                let (line, kind) = batch[index]
                switch kind {
                case 0: try writer.fetch(line, instructions: 5)
                case 1: try writer.read(line)
                default: try writer.write(line)
                }
            }
            references += batch.count
            switch batch.event {
            case .site(let site)?: try writer.event(.site(site % 8))
            case .end?, nil: break
            case let event?: try writer.event(event)
            }
        }
        try writer.finish()
        return try file.bytes()
    }

    /// Reads and simulates what is there; nil where all went well.
    private func refusal(_ bytes: [UInt8], _ model: ProcessorModel, _ file: TemporaryFile) throws -> (any Error)? {
        try file.write(bytes)
        do {
            var reader = try TraceReader(file.path)
            let (base, pages) = (reader.header.virtualBase, reader.header.pageCount)
            let space = AddressSpace()
            guard pages < 1 << 14, space.obstacle(toImageAt: base, bytes: reader.header.imageBytes) == nil else {
                return nil
            }
            let layout = Layout(
                name: "4K", forward: (0..<UInt32(pages)).reversed(), virtualBase: base,
                physicalBase: PhysicalAddress(0x100_0000))
            var simulation = Simulation(
                models: [model], layouts: [layout], space: space, withCaches: true, sites: reader.header.sites.count)
            var batch = TraceBatch()
            while try reader.next(&batch) { try simulation.consume(batch) }
            _ = simulation.results
            return nil
        } catch let error as TraceError {
            #expect(error.file == file.path, "\(error)")
            return error
        } catch let error as Simulation.Obstacle { return error }
    }

    @Test(arguments: PublishedResultTests.samples)
    func cutAnywhere(name: String) throws {
        var random = TestRandom()
        let (whole, file, model) = (try sample(name), TemporaryFile(), try SmallModel().model())
        for _ in 0..<12 {
            // Short ones, too: the header is in the first block.
            let most = Bool.random(using: &random) ? whole.count : 200
            let length = Int.random(in: 0..<most, using: &random)
            let error = try #require(try refusal(Array(whole[..<length]), model, file), "\(length)")
            #expect((error as? TraceError)?.offset != nil || length < 4, TestRandom.comment("\(length): \(error)"))
        }
    }

    @Test(arguments: PublishedResultTests.samples)
    func changedAnywhere(name: String) throws {
        var random = TestRandom()
        let (whole, file, model) = (try plain(name), TemporaryFile(), try SmallModel().model())
        try #require(try refusal(whole, model, file) == nil)
        var refused = 0
        for _ in 0..<40 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                let count = Int.random(in: 1...16, using: &random)
                let noise = (0..<count).map { _ in
                    UInt8.random(in: .min ... .max, using: &random) | (Bool.random(using: &random) ? 0x80 : 0)
                }
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                case 1: bytes.insert(contentsOf: noise, at: place)
                case 2: bytes.removeSubrange(place..<min(bytes.count, place + count))
                default: bytes.replaceSubrange(place..<min(bytes.count, place + count), with: noise)
                }
            }
            if try refusal(bytes, model, file) != nil { refused += 1 }
        }
        #expect(refused > 10, TestRandom.comment())
        // And in zstd, where most changes are found by what they break.
        for _ in 0..<10 {
            var bytes = try sample(name)
            bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            _ = try refusal(bytes, model, file)
        }
    }

    private static var odd: [Any] {
        [
            0, -1, 1, 3, 64, 1.5, 1e300, 4096, 1 << 40, Int.max, "", "4K", "lru", "plru", "data", NSNull(), true,
            [Any](), [String: Any](), ["fetch"], ["4K", "4K"], ["data", "fetch"],
        ]
    }

    /// One value somewhere becomes another, goes away, or comes twice.
    private func mutated(_ value: Any, _ random: inout TestRandom) -> Any? {
        let goesOn = Int.random(in: 0..<6, using: &random) > 0
        if goesOn, var object = value as? [String: Any], let key = object.keys.sorted().randomElement(using: &random) {
            object[key] = object[key].flatMap { mutated($0, &random) }
            return object
        }
        if goesOn, var list = value as? [Any], let index = list.indices.randomElement(using: &random) {
            if Int.random(in: 0..<8, using: &random) == 0 { return list + [list[index]] }
            if let other = mutated(list[index], &random) { list[index] = other } else { list.remove(at: index) }
            return list
        }
        return Int.random(in: 0..<5, using: &random) == 0 ? nil : Self.odd.randomElement(using: &random)
    }

    @Test(arguments: ProcessorModel.known.map(\.name))
    func models(name: String) throws {
        var random = TestRandom()
        let known = try #require(ProcessorModel.known.first { $0.name == name })
        let whole = try JSONSerialization.jsonObject(with: Data(known.json.utf8))
        let (trace, file) = (try plain("fork"), TemporaryFile())
        var refused = 0
        for _ in 0..<100 {
            guard let other = mutated(whole, &random) as? [String: Any] else { continue }
            let json = try JSONSerialization.data(withJSONObject: other)
            do {
                let model = try ProcessorModel(json: Array(json), file: "f")
                let entries = model.buffers.map(\.shape.entries) + model.caches.map(\.shape.entries)
                guard entries.reduce(0, +) < 1 << 20 else { continue }
                #expect(
                    try refusal(trace, model, file) == nil, TestRandom.comment(String(decoding: json, as: UTF8.self)))
            } catch {
                let error = try #require(error as? ModelError)
                #expect(error.file == "f" && !error.field.isEmpty && !error.what.isEmpty, "\(error)")
                refused += 1
            }
        }
        #expect(refused > 30, TestRandom.comment())
    }

    /// What is not JSON, or not an object, or deeper than any model.
    @Test func noModel() throws {
        let known = Array(try #require(ProcessorModel.known.first).json.utf8)
        var random = TestRandom()
        for _ in 0..<20 {
            let bytes = Array(known[..<Int.random(in: 0..<known.count - 2, using: &random)])
            #expect(throws: ModelError(file: "f", field: "", what: "not JSON"), TestRandom.comment("\(bytes.count)")) {
                try ProcessorModel(json: bytes, file: "f")
            }
        }
        for text in ["", "[]", "1", "\"x\"", "null", String(repeating: "[", count: 100_000), "{\"a\":{}}", "\u{0}"] {
            #expect(throws: ModelError.self, "\(text.prefix(20))") {
                try ProcessorModel(json: Array(text.utf8), file: "f")
            }
        }
    }
}
