// SPDX-License-Identifier: MIT

// One processor in front of one layout of the image, and what it counts. This is
// the inner loop: its state is flat memory, and nothing is allocated in it, but
// for page tables when a part of memory is touched for the first time.

import Addressing

/// What one stream asked of the translation buffers.
public struct StreamCounts: Equatable, Sendable, BitwiseCopyable {
    /// Missed the first level, in the image and in all memory.
    public internal(set) var imageFirstLevelMisses = 0
    public internal(set) var firstLevelMisses = 0
    /// Missed the second level, too: walks.
    public internal(set) var imageWalks = 0
    public internal(set) var walks = 0
    /// Entries of page tables that walks read.
    public internal(set) var walkReferences = 0
    public internal(set) var walkCycles = 0.0
    /// Of the first-level cache, walks left out.
    public internal(set) var cacheMisses = 0

    static func += (a: inout Self, b: Self) {
        a.imageFirstLevelMisses += b.imageFirstLevelMisses
        a.firstLevelMisses += b.firstLevelMisses
        a.imageWalks += b.imageWalks
        a.walks += b.walks
        a.walkReferences += b.walkReferences
        a.walkCycles += b.walkCycles
        a.cacheMisses += b.cacheMisses
    }
}

/// What a processor counted.
public struct Counts: Equatable, Sendable {
    public internal(set) var fetch = StreamCounts()
    public internal(set) var data = StreamCounts()
    /// Of the caches behind the first, walks among those who asked.
    public internal(set) var cache2Misses = 0
    public internal(set) var cache3Misses = 0

    static func += (a: inout Self, b: Self) {
        a.fetch += b.fetch
        a.data += b.data
        a.cache2Misses += b.cache2Misses
        a.cache3Misses += b.cache3Misses
    }
}

@safe struct Machine {
    /// Where mappings of a size go at a level: which buffer, and how large its entry is.
    private struct Port: BitwiseCopyable {
        var buffer: Associative
        var isThere = false
        var bits: UInt64 = 0
        /// Tells entries of different sizes in one buffer apart.
        var tag: UInt64 = 0

        @inline(__always)
        func touch(_ page: UInt64) -> Bool {
            let number = page &>> bits
            return buffer.touch(number &<< 3 | tag, at: number)
        }
    }

    private struct WalkPort: BitwiseCopyable {
        var cache: Associative
        var level: Int
    }

    private static let sizes = MappingSize.allCases.count
    private static let noPage = UInt64.max
    /// Of a page number of 52 bits: set in the kernel's half.
    private static let kernelBit: UInt64 = 1 << 51

    private let arena = Arena()
    private let space: AddressSpace
    private let firstPage: UInt64
    private let pageCount: UInt64
    private let mappings: UnsafeMutablePointer<UInt8>
    private let frames: UnsafeMutablePointer<UInt64>

    private let buffers: UnsafeMutablePointer<Associative>
    private let bufferCount: Int
    /// By stream and size of the mapping.
    private let first: UnsafeMutablePointer<Port>
    private let second: UnsafeMutablePointer<Port>

    private let topLevel: Int
    private let walkCaches: UnsafeMutablePointer<WalkPort>
    private let walkCacheCount: Int
    private let addresses: UnsafeMutablePointer<UInt64>
    private var tables: PageTables
    private let walkReferenceCycles: Double

    /// First level for fetches, for data, second, third; `cacheLevels` is 0 where none are simulated.
    private let caches: UnsafeMutablePointer<Associative>
    private let cacheLevels: Int
    /// By level, memory behind the last.
    private let cacheCycles: UnsafeMutablePointer<Double>
    /// By stream: the page used last, and its first line in physical memory.
    private let lastPage: UnsafeMutablePointer<UInt64>
    private let lastLine: UnsafeMutablePointer<UInt64>

    private let streams: UnsafeMutablePointer<StreamCounts>
    private var cache2Misses = 0
    private var cache3Misses = 0

    init(_ model: ProcessorModel, _ layout: Layout, _ space: AddressSpace, caches withCaches: Bool) {
        self.space = space
        firstPage = layout.virtualBase.rawValue >> 12
        pageCount = UInt64(layout.pageCount)
        unsafe mappings = arena.allocate(layout.pageCount, repeating: 0)
        unsafe frames = arena.allocate(layout.pageCount, repeating: 0)
        for page in 0..<layout.pageCount {
            unsafe mappings[page] = UInt8(layout.mappings[page].rawValue)
            unsafe frames[page] = layout.frames[page]
        }
        func build(_ shape: ProcessorModel.Shape, _ arena: Arena) -> Associative {
            Associative(entries: shape.entries, ways: shape.ways, shape.replacement, in: arena)
        }

        bufferCount = model.buffers.count
        let empty = Associative(entries: 1, ways: 1, .lru, in: arena)
        unsafe buffers = arena.allocate(bufferCount, repeating: empty)
        unsafe first = arena.allocate(2 * Self.sizes, repeating: Port(buffer: empty))
        unsafe second = arena.allocate(2 * Self.sizes, repeating: Port(buffer: empty))
        for (index, buffer) in model.buffers.enumerated() { unsafe buffers[index] = build(buffer.shape, arena) }
        for level in 1...2 {
            let ports = unsafe level == 1 ? first : second
            for stream in Stream.allCases {
                for mapping in MappingSize.allCases {
                    // The largest entry that the mapping fills.
                    for size in MappingSize.allCases where size <= mapping {
                        for (index, buffer) in model.buffers.enumerated()
                        where buffer.level == level && buffer.streams.contains(stream) && buffer.pages.contains(size) {
                            unsafe ports[stream.index * Self.sizes + mapping.rawValue] = Port(
                                buffer: buffers[index], isThere: true, bits: size.pageBits, tag: UInt64(size.rawValue))
                        }
                    }
                }
            }
        }

        topLevel = model.pagingLevels
        walkCacheCount = model.walkCaches.count
        unsafe walkCaches = arena.allocate(walkCacheCount, repeating: WalkPort(cache: empty, level: 0))
        for (index, cache) in model.walkCaches.enumerated() {
            unsafe walkCaches[index] = WalkPort(cache: build(cache.shape, arena), level: cache.level)
        }
        unsafe addresses = arena.allocate(4, repeating: 0)
        tables = PageTables(layout, space)
        walkReferenceCycles = model.cycles.walkReference.value

        let levels = withCaches ? Set(model.caches.map(\.level)).count : 0
        cacheLevels = levels
        unsafe caches = arena.allocate(4, repeating: empty)
        for cache in model.caches {
            let place = cache.level == 1 ? cache.streams[0].index : cache.level
            unsafe caches[place] = build(cache.shape, arena)
        }
        let cycles = model.cycles
        let ladder =
            [cycles.cache1.value, cycles.cache2.value, cycles.cache3.value].prefix(levels) + [cycles.memory.value]
        unsafe cacheCycles = arena.allocate(4, repeating: 0)
        for (index, value) in ladder.enumerated() { unsafe cacheCycles[index] = value }
        unsafe lastPage = arena.allocate(2, repeating: Self.noPage)
        unsafe lastLine = arena.allocate(2, repeating: 0)
        unsafe streams = arena.allocate(2, repeating: StreamCounts())
    }

    var hasCaches: Bool { cacheLevels > 0 }
    /// Why the last page could not be translated.
    var obstacle: Simulation.Obstacle? { tables.obstacle }
    /// Of buffers, caches and what is known of the image; page tables grow besides.
    var structureBytes: Int { arena.byteCount }
    var tableCount: Int { tables.tableCount }

    var counts: Counts {
        Counts(
            fetch: unsafe streams[0], data: unsafe streams[1], cache2Misses: cache2Misses, cache3Misses: cache3Misses)
    }

    /// Begins to count anew; buffers and caches stay as they are.
    mutating func forgetCounts() {
        for stream in 0..<2 { unsafe streams[stream] = StreamCounts() }
        (cache2Misses, cache3Misses) = (0, 0)
    }

    /// Pages in the order they were used, each times two, plus 1 for data. Where a stream stays in a page, one of them
    /// is enough: to use the entry again that was used last changes nothing.
    mutating func translate(_ pages: UnsafePointer<UInt64>, _ count: Int) {
        for index in 0..<count {
            let item = unsafe pages[index]
            translate(item >> 1, Int(truncatingIfNeeded: item & 1))
        }
    }

    /// References as a batch holds them, through the caches.
    mutating func run(_ references: UnsafePointer<UInt64>, _ count: Int) {
        for index in 0..<count {
            let reference = unsafe references[index]
            let stream = reference & 3 == 0 ? 0 : 1
            let line = reference >> 2
            let page = line >> 6
            if unsafe page != lastPage[stream] {
                unsafe lastPage[stream] = page
                translate(page, stream)
                unsafe lastLine[stream] = frame(of: page) << 6
            }
            let physical = unsafe lastLine[stream] | line & 63
            if unsafe !caches[stream].touch(physical, at: physical) {
                unsafe streams[stream].cacheMisses &+= 1
                _ = missedFirstCache(physical)
            }
        }
    }

    @inline(__always)
    private mutating func translate(_ page: UInt64, _ stream: Int) {
        let inImage = page &- firstPage
        let isImage = inImage < pageCount
        let mapping =
            isImage ? unsafe Int(mappings[Int(truncatingIfNeeded: inImage)]) : space.mapping(ofPage: page).rawValue
        let row = stream &* Self.sizes &+ mapping
        if unsafe first[row].touch(page) { return }
        missedFirstLevel(page, stream, mapping, isImage)
    }

    @inline(never)
    private mutating func missedFirstLevel(_ page: UInt64, _ stream: Int, _ mapping: Int, _ isImage: Bool) {
        unsafe streams[stream].firstLevelMisses &+= 1
        if isImage { unsafe streams[stream].imageFirstLevelMisses &+= 1 }
        let port = unsafe second[stream &* Self.sizes &+ mapping]
        if port.isThere, port.touch(page) { return }
        unsafe streams[stream].walks &+= 1
        if isImage { unsafe streams[stream].imageWalks &+= 1 }

        // The walk begins below the lowest entry that a walk cache has; what it reads on the way they all keep.
        let leaf = MappingSize.leafLevel(mapping)
        var top = topLevel
        for index in 0..<walkCacheCount {
            let cache = unsafe walkCaches[index]
            if cache.level <= leaf { continue }
            let number = page &>> UInt64(9 &* (cache.level &- 1))
            if cache.cache.touch(number, at: number) {
                top = cache.level &- 1
                break
            }
        }
        let (count, found) = unsafe tables.walk(to: page, from: top, leaf: leaf, addresses)
        assert(obstacle != nil || found == frame(of: page), "the tables and the layout differ")
        unsafe streams[stream].walkReferences &+= count
        if cacheLevels == 0 {
            unsafe streams[stream].walkCycles += Double(count) * walkReferenceCycles
            return
        }
        for index in 0..<count {
            let line = unsafe addresses[index] >> 6
            let level = unsafe caches[1].touch(line, at: line) ? 0 : missedFirstCache(line)
            unsafe streams[stream].walkCycles += cacheCycles[level]
        }
    }

    /// The level in which a line is found that the first does not have, from 1 on; memory is the one behind the last.
    private mutating func missedFirstCache(_ line: UInt64) -> Int {
        if cacheLevels == 1 { return 1 }
        if unsafe caches[2].touch(line, at: line) { return 1 }
        cache2Misses &+= 1
        if cacheLevels == 2 { return 2 }
        if unsafe caches[3].touch(line, at: line) { return 2 }
        cache3Misses &+= 1
        return 3
    }

    @inline(__always)
    private func frame(of page: UInt64) -> UInt64 {
        let inImage = page &- firstPage
        return inImage < pageCount
            ? unsafe frames[Int(truncatingIfNeeded: inImage)] : space.frame(ofPage: page)
    }

    /// Another address space: user memory is forgotten, the kernel's is in every one (global).
    mutating func switchAddressSpace() {
        for index in 0..<bufferCount {
            unsafe buffers[index].drop { key in
                // The number of pages of a mapping stands above the tag; its highest bit moved down with its size.
                let size = MappingSize.allCases[Int(key & 7)]
                return (key >> 3) << size.pageBits & Self.kernelBit == 0
            }
        }
        for index in 0..<walkCacheCount { unsafe walkCaches[index].cache.drop { _ in true } }
        for stream in 0..<2 { unsafe lastPage[stream] = Self.noPage }
    }
}
