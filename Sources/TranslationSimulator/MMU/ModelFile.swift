// SPDX-License-Identifier: MIT

// Reads a processor model from JSON and checks every field of it: a misspelt one
// would otherwise be a processor that nobody meant. `kperm simulate models NAME`
// prints an example.

import FoundationEssentials

/// Why a model, or other JSON, cannot be used.
public struct ModelError: Error, Equatable, Sendable, CustomStringConvertible {
    public let file: String
    /// Like `tlbs[2].ways`.
    public let field: String
    public let what: String

    public var description: String { field.isEmpty ? "\(file): \(what)" : "\(file): \(field): \(what)" }
}

/// Any JSON.
private indirect enum JSONValue: Decodable {
    case object([String: JSONValue])
    case array([JSONValue])
    case string(String)
    case number(Double)
    case other

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let object = try? value.decode([String: JSONValue].self) {
            self = .object(object)
        } else if let array = try? value.decode([JSONValue].self) {
            self = .array(array)
        } else if let text = try? value.decode(String.self) {
            self = .string(text)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else {
            self = .other
        }
    }
}

/// A value and its place in the file.
private struct Field {
    let file: String
    let path: String
    let value: JSONValue?

    func wrong(_ what: String) -> ModelError { ModelError(file: file, field: path, what: what) }

    /// The members of an object that has these and no others.
    func members(_ names: [String]) throws(ModelError) -> [String: Field] {
        guard case .object(let object)? = value else {
            throw wrong(value == nil ? "missing" : "not an object with \(names.joined(separator: ", "))")
        }
        if let unknown = object.keys.sorted().first(where: { !names.contains($0) }) {
            throw child(unknown, nil).wrong("unknown; here there may be \(names.joined(separator: ", "))")
        }
        return Dictionary(uniqueKeysWithValues: names.map { ($0, child($0, object[$0])) })
    }

    private func child(_ name: String, _ value: JSONValue?) -> Field {
        Field(file: file, path: path.isEmpty ? name : "\(path).\(name)", value: value)
    }

    func elements() throws(ModelError) -> [Field] {
        guard case .array(let array)? = value else { throw wrong(value == nil ? "missing" : "not a list") }
        return array.enumerated().map { Field(file: file, path: "\(path)[\($0)]", value: $1) }
    }

    func text() throws(ModelError) -> String {
        guard case .string(let text)? = value, !text.isEmpty else {
            throw wrong(value == nil ? "missing" : "not a text")
        }
        return text
    }

    func integer(_ range: ClosedRange<Int>) throws(ModelError) -> Int {
        guard case .number(let number)? = value, let integer = Int(exactly: number), range.contains(integer) else {
            throw wrong(value == nil ? "missing" : "not a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return integer
    }

    func number(_ range: ClosedRange<Double>) throws(ModelError) -> Double {
        guard case .number(let number)? = value, range.contains(number) else {
            throw wrong(value == nil ? "missing" : "not a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func choice<T>(_ all: [(name: String, value: T)]) throws(ModelError) -> T {
        let text = try text()
        guard let found = all.first(where: { $0.name == text }) else {
            throw wrong("'\(text)' is none of \(all.map(\.name).joined(separator: ", "))")
        }
        return found.value
    }

    /// At least one, none twice.
    func choices<T: Equatable>(_ all: [(name: String, value: T)]) throws(ModelError) -> [T] {
        var found: [T] = []
        for element in try elements() {
            let value = try element.choice(all)
            guard !found.contains(value) else { throw element.wrong("given twice") }
            found.append(value)
        }
        guard !found.isEmpty else { throw wrong("an empty list") }
        return found
    }
}

extension ProcessorModel {
    /// Of a translation buffer or a walk cache.
    private static let mostEntries = 1 << 18
    private static let mostCacheBytes = 1 << 28
    private static let mostWays = 4096

    /// Reads a model.
    ///
    /// - Parameter file: what errors call it.
    /// - Throws: `ModelError` for what is no JSON, for a field that is missing, unknown or out of range, and for a
    ///   geometry that cannot be built.
    public init(json: [UInt8], file: String) throws(ModelError) {
        let root: JSONValue
        do { root = try JSONDecoder().decode(JSONValue.self, from: Data(json)) } catch {
            throw ModelError(file: file, field: "", what: "not JSON")
        }
        if let key = Self.repeatedKey(json) {
            throw ModelError(file: file, field: key, what: "given twice in one object")
        }
        let top = try Field(file: file, path: "", value: root)
            .members(["title", "pagingLevels", "tlbs", "walkCaches", "caches", "cycles"])
        title = try top["title"]!.text()
        let paging = try top["pagingLevels"]!.members(["value", "source"])
        pagingLevels = try paging["value"]!.integer(3...4)
        pagingSource = try paging["source"]!.text()
        buffers = try Self.buffers(top["tlbs"]!)
        walkCaches = try Self.walkCaches(top["walkCaches"]!, levels: pagingLevels)
        caches = try Self.caches(top["caches"]!)
        cycles = try Self.cycles(top["cycles"]!)
    }

    /// A key that an object has twice, which JSON does not forbid: one of the values would be lost.
    private static func repeatedKey(_ json: [UInt8]) -> String? {
        var keys: [Set<String>] = [[]]
        var text = ""
        var index = 0
        while index < json.count {
            switch json[index] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): keys.append([])
            case UInt8(ascii: "}"), UInt8(ascii: "]"): _ = keys.popLast()
            case UInt8(ascii: ":"):
                if !keys.isEmpty, !keys[keys.count - 1].insert(text).inserted { return text }
            case UInt8(ascii: "\""):
                let start = index + 1
                index = start
                while index < json.count, json[index] != UInt8(ascii: "\"") {
                    index += json[index] == UInt8(ascii: "\\") ? 2 : 1
                }
                text = String(decoding: json[start..<min(index, json.count)], as: UTF8.self)
            default: break
            }
            index += 1
        }
        return nil
    }

    private static func shape(
        _ members: [String: Field], entries: Int, _ entriesField: Field
    ) throws(ModelError) -> Shape {
        let waysField = members["ways"]!
        let ways = try waysField.integer(1...mostWays)
        guard entries % ways == 0 else {
            throw waysField.wrong("\(entries) entries cannot be divided into sets of \(ways) ways")
        }
        let sets = entries / ways
        guard sets & (sets - 1) == 0 else {
            throw entriesField.wrong("\(entries) entries of \(ways) ways are \(sets) sets, which is no power of two")
        }
        let replacement = try members["replacement"]!.choice(Replacement.allCases.map { ($0.rawValue, $0) })
        guard replacement == .lru || ways <= 64 && ways & (ways - 1) == 0 else {
            throw members["replacement"]!.wrong("plru takes 1, 2, 4, … 64 ways, not \(ways)")
        }
        return Shape(entries: entries, ways: ways, replacement: replacement, source: try members["source"]!.text())
    }

    private static let streamNames = Stream.allCases.map { ($0.rawValue, $0) }

    private static func buffers(_ list: Field) throws(ModelError) -> [Buffer] {
        var buffers: [Buffer] = []
        for field in try list.elements() {
            let members = try field.members(["level", "streams", "pages", "entries", "ways", "replacement", "source"])
            let level = try members["level"]!.integer(1...2)
            let streams = try members["streams"]!.choices(streamNames)
            let pages = try members["pages"]!.choices(MappingSize.allCases.map { ($0.name, $0) })
            guard level == 2 || streams.count == 1 else {
                throw members["streams"]!.wrong("a buffer of the first level is for fetch or for data, not for both")
            }
            for other in buffers where other.level == level && other.streams.contains(where: streams.contains) {
                if let both = other.pages.first(where: pages.contains) {
                    throw members["pages"]!.wrong("another buffer of this level and stream has \(both.name) already")
                }
            }
            let entries = try members["entries"]!.integer(1...mostEntries)
            buffers.append(
                Buffer(
                    level: level, streams: streams, pages: pages.sorted(),
                    shape: try shape(members, entries: entries, members["entries"]!)))
        }
        for stream in Stream.allCases {
            guard
                buffers.contains(where: {
                    $0.level == 1 && $0.streams.contains(stream) && $0.pages.contains(.size4K)
                })
            else { throw list.wrong("no buffer of level 1 for \(stream.rawValue) that holds 4K") }
        }
        return buffers
    }

    private static func walkCaches(_ list: Field, levels: Int) throws(ModelError) -> [WalkCache] {
        var caches: [WalkCache] = []
        for field in try list.elements() {
            let members = try field.members(["level", "entries", "ways", "replacement", "source"])
            let level = try members["level"]!.integer(2...levels)
            guard !caches.contains(where: { $0.level == level }) else {
                throw members["level"]!.wrong("another walk cache has level \(level) already")
            }
            let entries = try members["entries"]!.integer(1...mostEntries)
            let shape = try shape(members, entries: entries, members["entries"]!)
            caches.append(WalkCache(level: level, shape: shape))
        }
        return caches.sorted { $0.level < $1.level }
    }

    private static func caches(_ list: Field) throws(ModelError) -> [Cache] {
        var caches: [Cache] = []
        for field in try list.elements() {
            let members = try field.members(["level", "streams", "bytes", "ways", "replacement", "source"])
            let level = try members["level"]!.integer(1...3)
            let streams = try members["streams"]!.choices(streamNames)
            guard level == 1 ? streams.count == 1 : streams.count == 2 else {
                throw members["streams"]!.wrong("the first level is for fetch or for data, each other level for both")
            }
            guard !caches.contains(where: { $0.level == level && $0.streams == streams }),
                !caches.contains(where: { $0.level == level && level > 1 })
            else { throw members["level"]!.wrong("another cache has level \(level) already") }
            let bytes = try members["bytes"]!.integer(64...mostCacheBytes)
            guard bytes % 64 == 0 else { throw members["bytes"]!.wrong("\(bytes) bytes are no whole lines of 64") }
            let shape = try shape(members, entries: bytes / 64, members["bytes"]!)
            caches.append(Cache(level: level, streams: streams, shape: shape))
        }
        let levels = Set(caches.map(\.level))
        guard
            caches.isEmpty || caches.count(where: { $0.level == 1 }) == 2 && (!levels.contains(3) || levels.contains(2))
        else {
            throw list.wrong("give none, or level 1 for fetch and for data, and level 3 only with level 2")
        }
        return caches.sorted { ($0.level, $0.streams[0].index) < ($1.level, $1.streams[0].index) }
    }

    private static func cycles(_ field: Field) throws(ModelError) -> Cycles {
        let names = ["secondLevelHit", "walkReference", "cache1", "cache2", "cache3", "memory", "instruction"]
        let members = try field.members(names)
        var numbers: [String: Number] = [:]
        for name in names {
            let parts = try members[name]!.members(["value", "source"])
            let least = name == "instruction" ? 0.05 : 0
            numbers[name] = Number(
                value: try parts["value"]!.number(least...100_000), source: try parts["source"]!.text())
        }
        let ladder = ["cache1", "cache2", "cache3", "memory"]
        for (near, far) in zip(ladder, ladder.dropFirst()) where numbers[near]!.value > numbers[far]!.value {
            throw members[far]!.wrong("less than \(near)")
        }
        return Cycles(
            secondLevelHit: numbers["secondLevelHit"]!, walkReference: numbers["walkReference"]!,
            cache1: numbers["cache1"]!, cache2: numbers["cache2"]!, cache3: numbers["cache3"]!,
            memory: numbers["memory"]!, instruction: numbers["instruction"]!)
    }
}
