// SPDX-License-Identifier: MIT

// Cases whose outcome can be worked out by hand: how often buffers and walk
// caches of a given size miss, what a walk reads, what it costs.

import Addressing
import Foundation
import TestSupport
import Testing

@testable import TranslationSimulator

/// A model with one small buffer for data, written as a model file is.
struct SmallModel {
    var pages = #"["4K"]"#
    var entries = 16
    var ways = 16
    var replacement = "lru"
    /// Others behind the first two, each with a comma in front.
    var more = ""
    var walkCaches = ""
    var caches = ""
    var levels = 4

    func model() throws -> ProcessorModel {
        let json = """
            {"title": "small", "pagingLevels": {"value": \(levels), "source": "s"}, "tlbs": [
            {"level": 1, "streams": ["fetch"], "pages": ["4K"], "entries": 1, "ways": 1, "replacement": "lru", "source": "s"},
            {"level": 1, "streams": ["data"], "pages": \(pages), "entries": \(entries), "ways": \(ways),
             "replacement": "\(replacement)", "source": "s"}\(more)],
            "walkCaches": [\(walkCaches)], "caches": [\(caches)], "cycles": {
            "secondLevelHit": {"value": 7, "source": "s"}, "walkReference": {"value": 10, "source": "s"},
            "cache1": {"value": 1, "source": "s"}, "cache2": {"value": 20, "source": "s"},
            "cache3": {"value": 300, "source": "s"}, "memory": {"value": 4000, "source": "s"},
            "instruction": {"value": 1, "source": "s"}}}
            """
        return try ProcessorModel(json: Array(json.utf8), file: "small")
    }

    static func second(_ pages: String, _ entries: Int, _ ways: Int) -> String {
        #", {"level": 2, "streams": ["fetch", "data"], "pages": \#(pages), "entries": \#(entries), "ways": \#(ways), "#
            + #""replacement": "lru", "source": "s"}"#
    }

    static func walkCache(_ level: Int, _ entries: Int) -> String {
        #"{"level": \#(level), "entries": \#(entries), "ways": \#(entries), "replacement": "lru", "source": "s"}"#
    }
}

/// What is read, and what happens in between.
enum Step {
    case read(VirtualAddress)
    case event(TraceEvent)
}

func pages(_ numbers: some Sequence<Int>, _ base: VirtualAddress = traceBase) -> [Step] {
    numbers.map { .read(base + UInt64($0) << 12) }
}

/// Single pages in a linear order, so far apart that none coalesce: page and frame are never congruent.
func scattered(_ count: Int) -> Layout {
    Layout(
        name: "4K", forward: (0..<UInt32(count)).map { $0 }, virtualBase: traceBase,
        physicalBase: PhysicalAddress(0x100_1000))
}

func simulate(
    _ model: ProcessorModel, _ layout: Layout, _ steps: [Step], space: AddressSpace = AddressSpace()
) throws -> Counts {
    let file = TemporaryFile()
    var writer = try TraceWriter(file.path, traceHeader(pages: layout.pageCount), isCompressed: false)
    for step in steps {
        switch step {
        case .read(let address): try writer.read(address)
        case .event(let event): try writer.event(event)
        }
    }
    try writer.finish()
    var reader = try TraceReader(file.path)
    var batch = TraceBatch()
    var simulation = Simulation(models: [model], layouts: [layout], space: space, withCaches: true, sites: 0)
    while try reader.next(&batch) { try simulation.consume(batch) }
    return simulation.results[0].counts
}

struct SimulationTests {
    /// Around and around n pages: LRU misses each once when they fit, and always when one is too many.
    @Test(arguments: [(16, 16), (17, 17 * 20), (8, 8), (64, 64 * 20)])
    func cyclicSweep(count: Int, misses: Int) throws {
        let steps = (0..<20).flatMap { _ in pages(0..<count) }
        let counts = try simulate(SmallModel().model(), scattered(64), steps)
        #expect(counts.data.firstLevelMisses == misses)
        #expect(counts.data.imageFirstLevelMisses == misses && counts.data.walks == misses)
        #expect(counts.fetch == StreamCounts())
    }

    /// With 4 sets of 4 ways, pages at a stride share min(n, …) sets.
    @Test(arguments: [
        (1, 16, true), (2, 8, true), (2, 9, false), (4, 4, true), (4, 5, false), (8, 5, false), (3, 16, true),
    ])
    func strides(step: Int, count: Int, fits: Bool) throws {
        let steps = (0..<10).flatMap { _ in pages((0..<count).map { $0 * step }) }
        let counts = try simulate(SmallModel(ways: 4).model(), scattered(64), steps)
        // A set with one page too many misses on all of its pages, and only on them.
        let bySet = Dictionary(grouping: 0..<count) { $0 * step % 4 }.values
        let expected = bySet.reduce(0) { $0 + ($1.count <= 4 ? $1.count : $1.count * 10) }
        #expect(counts.data.firstLevelMisses == expected)
        #expect((expected == count) == fits)
        #expect(try simulate(SmallModel().model(), scattered(64), steps).data.firstLevelMisses == count)
    }

    /// 4 ways in a tree: after 0 1 2 3, 0 points away from its half, so 2 leaves, though 1 is older.
    @Test func treeReplacement() throws {
        func misses(_ numbers: [Int], _ replacement: String) throws -> Int {
            let model = try SmallModel(entries: 4, ways: 4, replacement: replacement).model()
            return try simulate(model, scattered(64), pages(numbers)).data.firstLevelMisses
        }
        #expect(try misses([0, 1, 2, 3, 0, 4, 1], "plru") == 5)
        #expect(try misses([0, 1, 2, 3, 0, 4, 1], "lru") == 6)
        #expect(try misses([0, 1, 2, 3, 0, 4, 2], "plru") == 6)
        #expect(try misses([0, 1, 2, 3, 0, 4, 2], "lru") == 5)
    }

    /// The second level catches what the first is too small for, and its misses are the walks.
    @Test func secondLevel() throws {
        let model = try SmallModel(entries: 4, ways: 4, more: SmallModel.second(#"["4K"]"#, 32, 32)).model()
        let counts = try simulate(model, scattered(64), (0..<10).flatMap { _ in pages(0..<20) })
        #expect(counts.data.firstLevelMisses == 200 && counts.data.walks == 20)
        #expect(counts.data.walkReferences == 80 && counts.data.walkCycles == 800)
    }

    /// The second level need not hold what the first holds, nor keeps out of it: the two fill alike and empty alone.
    @Test func inclusion() throws {
        // Page 0 stays in the first level, used every other time, and leaves the second, where nothing asks for it. Were
        // the second to hold all of the first, it would go there, too, and walk again.
        let model = try SmallModel(entries: 2, ways: 2, more: SmallModel.second(#"["4K"]"#, 2, 2)).model()
        let kept = try simulate(model, scattered(64), pages((1...10).flatMap { [0, $0] }))
        #expect(kept.data.firstLevelMisses == 11 && kept.data.walks == 11)
        // So when it leaves the first as well, it must walk, though the second has seen it.
        let gone = try simulate(model, scattered(64), pages((1...10).flatMap { [0, $0] } + [11, 12, 0]))
        #expect(gone.data.firstLevelMisses == 14 && gone.data.walks == 14)
        // Two levels of one entry hold one page, not two.
        let one = try SmallModel(entries: 1, ways: 1, more: SmallModel.second(#"["4K"]"#, 1, 1)).model()
        #expect(try simulate(one, scattered(64), pages((0..<10).map { $0 & 1 })).data.walks == 10)
    }

    /// Around and around tables: a walk cache has an edge like any buffer. Where it is too small for one table, every
    /// walk reads the entry above, too.
    @Test(arguments: [(4, 4), (5, 4), (8, 8), (9, 8), (1, 1)])
    func walkCacheEdge(tables: Int, entries: Int) throws {
        let rounds = 10
        // Of each table another page in each round, so that the buffer of one entry never helps.
        let steps = (0..<rounds).flatMap { round in pages((0..<tables).map { $0 * 512 + round }) }
        let json = [(2, entries), (3, 1), (4, 1)].map { SmallModel.walkCache($0, $1) }.joined(separator: ", ")
        let model = try SmallModel(entries: 1, ways: 1, walkCaches: json).model()
        let counts = try simulate(model, scattered(tables * 512), steps)
        #expect(counts.data.walks == tables * rounds)
        // The first walk reads four entries. With room for all tables each costs one entry more, once.
        let more = tables <= entries ? tables : tables * rounds
        #expect(counts.data.walkReferences == 2 + tables * rounds + more)
    }

    /// Entries of three sizes in one buffer: each takes one way of the set that its own number chooses.
    @Test func sizesShareSets() throws {
        // In 4 sets of 2 ways: blocks 0 and 4 and page 0, all in set 0, are one too many; with page 1 instead they fit.
        let shape = SmallModel(pages: #"["4K", "2M", "1G"]"#, entries: 8, ways: 2)
        let linear = AddressSpace().linearMap.lowerBound
        let blocks: [Step] = [.read(linear), .read(linear + 4 << 21)]
        let free = VirtualAddress(0xffff_c900_0000_0000)
        func misses(_ page: UInt64) throws -> Int {
            let steps = (0..<10).flatMap { _ in blocks + [.read(free + page << 12)] }
            return try simulate(shape.model(), scattered(64), steps).data.firstLevelMisses
        }
        #expect(try misses(0) == 30 && misses(1) == 3 && misses(4) == 30)
        // The same numbers of another size are other entries.
        let gigabytes = try simulate(
            shape.model(), scattered(64), blocks + blocks, space: AddressSpace(linearMapping: .size1G))
        #expect(gigabytes.data.firstLevelMisses == 1)
    }

    /// What fills the buffers and is not counted leaves them full.
    @Test func forgetCounts() throws {
        let file = TemporaryFile()
        var writer = try TraceWriter(file.path, traceHeader(), isCompressed: false)
        for step in pages(0..<16) + [.event(.systemCall)] + pages(0..<20) {
            switch step {
            case .read(let address): try writer.read(address)
            case .event(let event): try writer.event(event)
            }
        }
        try writer.finish()
        var reader = try TraceReader(file.path)
        var batch = TraceBatch()
        var simulation = Simulation(
            models: [try SmallModel().model()], layouts: [scattered(64)], withCaches: false, sites: 0)
        while try reader.next(&batch) {
            try simulation.consume(batch)
            if batch.event == .systemCall { simulation.forgetCounts() }
        }
        #expect(simulation.results[0].counts.data.firstLevelMisses == 4)
        #expect(simulation.totals.references == 20 && simulation.totals.systemCalls == 0)
    }

    @Test func beyondThePageTables() throws {
        let model = try SmallModel().model()
        #expect(throws: Simulation.Obstacle.address) {
            try simulate(model, scattered(64), pages([0]) + [.read(VirtualAddress(0x0001_0000_0000_0000))])
        }
        let ends: [UInt64] = [0, 0x7fff_ffff_f000, 0xffff_8000_0000_0000, 0xffff_ffff_ffff_f000]
        #expect(try simulate(model, scattered(64), ends.map { .read(VirtualAddress($0)) }).data.walks == 4)
    }

    /// Without walk caches a walk reads an entry of each level; each cache takes away those above it.
    @Test func walkCaches() throws {
        // Two pages in each of two tables, over and over, with a buffer of one entry.
        let far: [Step] = (0..<10).flatMap { _ in pages([0, 512, 1, 513]) }
        func references(_ caches: [(Int, Int)], levels: Int = 4) throws -> Int {
            let json = caches.map { SmallModel.walkCache($0, $1) }.joined(separator: ", ")
            let model = try SmallModel(entries: 1, ways: 1, walkCaches: json, levels: levels).model()
            let counts = try simulate(model, scattered(1024), far)
            #expect(counts.data.walks == 40)
            return counts.data.walkReferences
        }
        #expect(try references([]) == 160)
        #expect(try references([], levels: 3) == 120)
        #expect(try references([(4, 1)]) == 4 + 39 * 3)
        #expect(try references([(3, 1)]) == 4 + 39 * 2)
        // One entry for two tables is always the wrong one; two are right from the third walk on.
        #expect(try references([(2, 1)]) == 160)
        #expect(try references([(2, 2)]) == 8 + 38)
        #expect(try references([(2, 1), (3, 1)]) == 4 + 39 * 2)
        #expect(try references([(2, 2), (3, 1), (4, 1)]) == 4 + 2 + 38)
    }

    /// A block of 2M ends a level earlier, and one entry holds all of it.
    @Test func blocks() throws {
        let layout = try Layout(blocksOf: 1024, virtualBase: traceBase, physicalBase: PhysicalAddress(0x100_0000))
        let steps = (0..<10).flatMap { _ in pages(stride(from: 0, to: 1024, by: 100)) }
        let held = try simulate(SmallModel(pages: #"["4K", "2M"]"#).model(), layout, steps)
        #expect(held.data.firstLevelMisses == 2 && held.data.walkReferences == 6)
        // A buffer that holds no blocks holds pages of them.
        let split = try simulate(SmallModel().model(), layout, steps)
        #expect(split.data.firstLevelMisses == 11 && split.data.walkReferences == 33)
        let cached = try simulate(
            SmallModel(pages: #"["2M"]"#, entries: 1, ways: 1, walkCaches: SmallModel.walkCache(2, 8)).model4K(),
            layout,
            steps)
        // An entry that maps a block leads to no table, so the cache of those entries does not keep it.
        #expect(cached.data.walkReferences == 3 * cached.data.walks)
    }

    /// Runs of frames that may form one entry do so where the buffer can, and only there.
    @Test func coalescing() throws {
        // 64 pages: pieces of 16 in another order, but for the last 16, of which only pieces of 4 stay together.
        let order: [UInt32] = [32, 16, 0].flatMap { $0..<($0 + 16) } + [60, 56, 52, 48].flatMap { $0..<($0 + 4) }
        let layout = Layout(
            name: "64K", forward: order, virtualBase: traceBase, physicalBase: PhysicalAddress(0x100_0000))
        #expect(layout.mappings.prefix(48).allSatisfy { $0 == .size64K })
        #expect(layout.mappings.suffix(16).allSatisfy { $0 == .size16K })
        let steps = pages(0..<64)
        for (held, misses) in [(#"["4K"]"#, 64), (#"["4K", "16K"]"#, 16), (#"["4K", "16K", "64K"]"#, 3 + 4)] {
            let counts = try simulate(SmallModel(pages: held, entries: 64, ways: 64).model(), layout, steps)
            #expect(counts.data.firstLevelMisses == misses && counts.data.walkReferences == 4 * misses, "\(held)")
        }
        // The same runs at frames that no entry of their size can begin at.
        for shift: UInt64 in [0x1000, 0x2000] {
            let odd = Layout(
                name: "4K", forward: order, virtualBase: traceBase, physicalBase: PhysicalAddress(0x100_0000 + shift))
            #expect(odd.mappings.allSatisfy { $0 == .size4K })
        }
    }

    /// The linear map in its sizes, a buffer without 1G, and the last block of an image, which reaches beyond it.
    @Test func mixedSizes() throws {
        let model = try SmallModel(pages: #"["4K", "2M"]"#, entries: 64, ways: 64).model()
        let linear = AddressSpace().linearMap.lowerBound
        let steps = pages(stride(from: 0, to: 1 << 18, by: 256), linear)
        for (size, misses, references) in [
            (MappingSize.size4K, 1024, 4), (.size2M, 512, 3), (.size1G, 512, 2),
        ] {
            let counts = try simulate(model, scattered(64), steps, space: AddressSpace(linearMapping: size))
            #expect(counts.data.firstLevelMisses == misses && counts.data.imageFirstLevelMisses == 0, "\(size)")
            #expect(counts.data.walkReferences == references * misses, "\(size)")
        }
        let layout = try Layout(blocksOf: 5, virtualBase: traceBase, physicalBase: PhysicalAddress(0x100_0000))
        #expect(try simulate(model, layout, pages([0, 4, 5, 511, 512])).data.firstLevelMisses == 2)
        #expect(throws: LayoutError.self) {
            try Layout(blocksOf: 5, virtualBase: traceBase, physicalBase: PhysicalAddress(0x100_1000))
        }
    }

    /// Another address space forgets the user's pages and keeps the kernel's.
    @Test func addressSpaces() throws {
        let user: [Step] = pages(0..<4, VirtualAddress(0x7000_0000_0000))
        let kernel = pages(0..<4)
        let model = try SmallModel(walkCaches: SmallModel.walkCache(2, 4)).model()
        let counts = try simulate(
            model, scattered(64), user + kernel + user + kernel + [.event(.addressSpace)] + user + kernel)
        #expect(counts.data.firstLevelMisses == 12 && counts.data.imageFirstLevelMisses == 4)
        // The walk caches are empty again, too: each of the three first walks to a table begins at the top.
        #expect(counts.data.walkReferences == 3 * 4 + 9)
        // So are the kernel's in larger mappings kept.
        let block = [Step.read(AddressSpace().linearMap.lowerBound)]
        let both = try SmallModel(pages: #"["4K", "2M"]"#).model()
        let blocks = try simulate(both, scattered(64), block + user + [.event(.addressSpace)] + block + user)
        #expect(blocks.data.firstLevelMisses == 9)
    }

    /// Each processor fills buffers of its own, whichever number it has.
    @Test func processors() throws {
        let all = pages(0..<8)
        let counts = try simulate(
            SmallModel().model(), scattered(64),
            [5, 2, 5, 2].flatMap { [.event(.processor($0))] + all })
        #expect(counts.data.firstLevelMisses == 16)
    }

    @Test func tooManyProcessors() throws {
        let model = try SmallModel().model()
        let steps = { (count: Int) in (0..<count).flatMap { [.event(.processor($0))] + pages([0]) } }
        #expect(try simulate(model, scattered(64), steps(64)).data.walks == 64)
        #expect(throws: Simulation.Obstacle.processors) { try simulate(model, scattered(64), steps(65)) }
    }

    /// Entries of page tables come from where they are: the first from memory, those in the same line from the cache.
    @Test func walksThroughCaches() throws {
        let shape = #""ways": 8, "replacement": "lru", "source": "s"}"#
        let caches = ["fetch", "data"].map { #"{"level": 1, "streams": ["\#($0)"], "bytes": 4096, \#(shape)"# }
        let second = #"{"level": 2, "streams": ["fetch", "data"], "bytes": 65536, \#(shape)"#
        let small = SmallModel(
            entries: 1, ways: 1, walkCaches: SmallModel.walkCache(2, 1),
            caches: (caches + [second]).joined(separator: ", "))
        // Four cold entries of 64 bytes apart; then eight pages whose entries share a line, of which the first is new.
        let counts = try simulate(small.model(), scattered(64), pages(0..<8))
        #expect(counts.data.walkReferences == 4 + 7)
        // Page 7 would be the ninth entry of the line that holds page 0's: `traceBase` is aligned, so all 8 share it.
        #expect(counts.data.walkCycles == 4 * 4000 + 7 * 1)
        #expect(counts.data.cacheMisses == 8 && counts.fetch.cacheMisses == 0)
        // 8 pages and 4 entries, all from memory.
        #expect(counts.cache2Misses == 12 && counts.cache3Misses == 0)
    }

    /// Which frames stand behind pages decides who shares a set of a physically indexed cache.
    @Test func framesDecideSets() throws {
        let shape = #""ways": 1, "replacement": "lru", "source": "s"}"#
        let caches = ["fetch", "data"].map { #"{"level": 1, "streams": ["\#($0)"], "bytes": 64, \#(shape)"# }
        let second = #"{"level": 2, "streams": ["fetch", "data"], "bytes": 8192, \#(shape)"#
        let model = try SmallModel(entries: 64, ways: 64, caches: (caches + [second]).joined(separator: ", ")).model()
        func misses(_ order: [UInt32]) throws -> Int {
            let layout = Layout(
                name: "4K", forward: order, virtualBase: traceBase, physicalBase: PhysicalAddress(0x100_0000))
            // Once around to walk, then as often as it counts.
            let once = try simulate(model, layout, pages([0, 1])).cache2Misses
            return try simulate(model, layout, pages([0, 1, 0, 1, 0, 1])).cache2Misses - once
        }
        #expect(try misses([0, 1, 2, 3]) == 0)
        #expect(try misses([0, 2, 1, 3]) == 4)
    }

    /// A real order behind the tables: in a debug build each walk is compared with the layout.
    @Test func randomOrder() throws {
        var random = TestRandom()
        let order = (0..<UInt32(3000)).shuffled(using: &random)
        let layout = Layout(
            name: "4K", forward: order, virtualBase: traceBase, physicalBase: PhysicalAddress(0x100_0000))
        let steps = (0..<20_000).map { _ in
            Step.read(traceBase + UInt64.random(in: 0..<3000, using: &random) << 12)
        }
        let counts = try simulate(SmallModel().model(), layout, steps)
        #expect(counts.data.walks == counts.data.imageFirstLevelMisses, TestRandom.comment())
        #expect(counts.data.walkReferences == 4 * counts.data.walks, TestRandom.comment())
    }

    /// One pass over all layouts counts what a pass over each would.
    @Test func onePassForAll() throws {
        var random = TestRandom()
        let file = TemporaryFile()
        var workload = SyntheticWorkload(seed: random.next())
        var writer = try TraceWriter(file.path, workload.header)
        try workload.write(100_000, to: &writer)
        let models = try ProcessorModel.known.map { try ProcessorModel(json: Array($0.json.utf8), file: $0.name) }
        let layouts = [
            scattered(workload.pageCount),
            try Layout(
                blocksOf: workload.pageCount, virtualBase: traceBase, physicalBase: PhysicalAddress(0x100_0000)),
        ]
        func run(_ models: [ProcessorModel], _ layouts: [Layout], withCaches: Bool) throws -> [Counts] {
            var reader = try TraceReader(file.path)
            var batch = TraceBatch()
            var simulation = Simulation(models: models, layouts: layouts, withCaches: withCaches, sites: 0)
            while try reader.next(&batch) { try simulation.consume(batch) }
            return simulation.results.map(\.counts)
        }
        let together = try run(models, layouts, withCaches: true)
        var apart: [Counts] = []
        for model in models { for layout in layouts { apart += try run([model], [layout], withCaches: true) } }
        #expect(together == apart, TestRandom.comment())
        // Whether all references go through the buffers or only those that change the page, they count the same.
        for (with, without) in zip(together, try run(models, layouts, withCaches: false)) {
            for (a, b) in [(with.fetch, without.fetch), (with.data, without.data)] {
                #expect(a.firstLevelMisses == b.firstLevelMisses && a.walks == b.walks, TestRandom.comment())
                #expect(a.walkReferences == b.walkReferences && b.walkCycles > 0, TestRandom.comment())
            }
        }
    }
}

extension SmallModel {
    /// With a buffer for single pages, too, which every model must have.
    func model4K() throws -> ProcessorModel {
        var copy = self
        copy.more +=
            #", {"level": 1, "streams": ["data"], "pages": ["4K"], "entries": 1, "ways": 1, "replacement": "lru", "#
            + #""source": "s"}"#
        return try copy.model()
    }
}
