// SPDX-License-Identifier: MIT

// Models in files: those that kperm brings along are whole, and what is wrong in
// one is named by its field.

import Foundation
import Testing

@testable import TranslationSimulator

struct ModelFileTests {
    @Test(arguments: ProcessorModel.known.map(\.name))
    func known(name: String) throws {
        let json = try #require(ProcessorModel.known.first { $0.name == name }).json
        let model = try ProcessorModel(json: Array(json.utf8), file: name)
        let sources =
            model.buffers.map(\.shape.source) + model.walkCaches.map(\.shape.source) + model.caches.map(\.shape.source)
        #expect(sources.allSatisfy { !$0.isEmpty } && model.caches.count >= 3 && model.buffers.count >= 3)
        #expect(model.walkCaches.map(\.level) == Array(2...model.pagingLevels))
    }

    @Test(arguments: [
        (#""ways": 12"#, #""ways": 11"#, "tlbs[5].ways: 1536 entries cannot be divided into sets of 11 ways"),
        (
            #""entries": 1536, "ways": 12"#, #""entries": 1536, "ways": 8"#,
            "tlbs[5].entries: 1536 entries of 8 ways are 192 sets, which is no power of two"
        ),
        (#""entries": 128"#, #""entries": 0"#, "tlbs[0].entries: not a whole number from 1 to 262144"),
        (#""entries": 128"#, #""entries": 1.5"#, "tlbs[0].entries: not a whole number from 1 to 262144"),
        (#""entries": 128"#, #""entries": "128""#, "tlbs[0].entries: not a whole number from 1 to 262144"),
        (#""entries": 128, "#, "", "tlbs[0].entries: missing"),
        (#""entries": 128"#, #""entries": 128, "entries": 256"#, "entries: given twice in one object"),
        (
            #""entries": 128"#, #""entrys": 1, "entries": 128"#,
            "tlbs[0].entrys: unknown; here there may be level, streams, pages, entries, ways, replacement, source"
        ),
        (#"["4K", "2M"]"#, #"["4K", "8K"]"#, "tlbs[5].pages[1]: '8K' is none of 4K, 16K, 64K, 2M, 1G"),
        (#"["4K", "2M"]"#, #"["4K", "4K"]"#, "tlbs[5].pages[1]: given twice"),
        (#"["4K", "2M"]"#, "[]", "tlbs[5].pages: an empty list"),
        (#"["4K", "2M"]"#, #"["4K", "1G"]"#, "tlbs[6].pages: another buffer of this level and stream has 1G already"),
        (
            #""level": 1, "streams": ["data"], "pages": ["4K"]"#, #""level": 1, "streams": ["data"], "pages": ["64K"]"#,
            "tlbs: no buffer of level 1 for data that holds 4K"
        ),
        (
            #""level": 1, "streams": ["data"], "pages": ["1G"]"#, #""level": 3, "streams": ["data"], "pages": ["1G"]"#,
            "tlbs[4].level: not a whole number from 1 to 2"
        ),
        (
            #""level": 1, "streams": ["data"], "pages": ["1G"]"#,
            #""level": 1, "streams": ["data", "fetch"], "pages": ["1G"]"#,
            "tlbs[4].streams: a buffer of the first level is for fetch or for data, not for both"
        ),
        (
            #""value": 4, "source": "Intel SDM"#, #""value": 5, "source": "Intel SDM"#,
            "pagingLevels.value: not a whole number from 3 to 4"
        ),
        (
            #""level": 4, "entries": 4"#, #""level": 3, "entries": 4"#,
            "walkCaches[2].level: another walk cache has level 3 already"
        ),
        (
            #""bytes": 262144, "ways": 4, "replacement": "lru""#,
            #""bytes": 786432, "ways": 12, "replacement": "plru""#,
            "caches[2].replacement: plru takes 1, 2, 4, … 64 ways, not 12"
        ),
        (#""bytes": 262144"#, #""bytes": 262145"#, "caches[2].bytes: 262145 bytes are no whole lines of 64"),
        (
            #""level": 2, "streams": ["fetch", "data"], "bytes""#, #""level": 2, "streams": ["data"], "bytes""#,
            "caches[2].streams: the first level is for fetch or for data, each other level for both"
        ),
        (
            #""level": 2, "streams": ["fetch", "data"], "bytes""#,
            #""level": 3, "streams": ["fetch", "data"], "bytes""#, "caches[3].level: another cache has level 3 already"
        ),
        (#""cache3": {"value": 44"#, #""cache3": {"value": 11"#, "cycles.cache3: less than cache2"),
        (
            #""memory": {"value": 250"#, #""memory": {"value": -1"#,
            "cycles.memory.value: not a number from 0.0 to 100000.0"
        ),
        (
            #""replacement": "plru""#, #""replacement": "random""#,
            "caches[0].replacement: 'random' is none of lru, plru"
        ),
        (#""title": "Intel Skylake (client)","#, "", "title: missing"),
        (#""title": "Intel Skylake (client)","#, "x", "not JSON"),
    ])
    func refused(old: String, new: String, message: String) throws {
        let json = try #require(ProcessorModel.known.first).json
        let place = try #require(json.range(of: old))
        let text = json.replacingCharacters(in: place, with: new)
        do {
            _ = try ProcessorModel(json: Array(text.utf8), file: "f")
            Issue.record("accepted: \(message)")
        } catch { #expect(error.description == "f: \(message)") }
    }
}
