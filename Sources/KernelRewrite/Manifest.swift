// SPDX-License-Identifier: MIT

// What a permuted image says of itself. An ELF note (owner "kperm", type 1) in a
// program header leads to it; its description is six little-endian 64-bit words:
//
//     file offset and size of the translation table
//     physical address of the translation table
//     file offset and size of the manifest
//     size of the original file
//
// The manifest is JSON. With it and the table, the original comes back bit for
// bit.

import Addressing
import FoundationEssentials
import KernelImage
import PagePermutation

/// The note that leads to the table and the manifest.
struct KpermNote: Equatable {
    static let owner = "kperm"
    static let type: UInt32 = 1

    var tableOffset: UInt64
    var tableBytes: UInt64
    var tableAddress: UInt64
    var manifestOffset: UInt64
    var manifestBytes: UInt64
    var originalBytes: UInt64

    var words: [UInt64] {
        [tableOffset, tableBytes, tableAddress, manifestOffset, manifestBytes, originalBytes]
    }

    /// The note as it stands in the file.
    var bytes: [UInt8] {
        var out: [UInt8] = []
        for value in [UInt32(Self.owner.utf8.count + 1), UInt32(8 * words.count), Self.type] {
            out.append(littleEndian: value)
        }
        out += Array(Self.owner.utf8) + [0, 0, 0]
        for word in words { out.append(littleEndian: word) }
        return out
    }

    /// Reads the note's description, or gives nil when it is not one of ours.
    init?(reading description: RawSpan) {
        guard description.byteCount >= 48 else { return nil }
        func word(_ i: Int) -> UInt64 { description.load(8 * i, as: UInt64.self) }
        (tableOffset, tableBytes, tableAddress) = (word(0), word(1), word(2))
        (manifestOffset, manifestBytes, originalBytes) = (word(3), word(4), word(5))
    }

    init(
        tableOffset: UInt64, tableBytes: UInt64, tableAddress: UInt64, manifestOffset: UInt64, manifestBytes: UInt64,
        originalBytes: UInt64
    ) {
        (self.tableOffset, self.tableBytes, self.tableAddress) = (tableOffset, tableBytes, tableAddress)
        (self.manifestOffset, self.manifestBytes, self.originalBytes) = (manifestOffset, manifestBytes, originalBytes)
    }
}

/// What is needed to undo and to prove a permutation, besides the table.
public struct Manifest: Codable, Equatable, Sendable {
    public struct Patch: Codable, Equatable, Sendable {
        /// In the original file, in bytes.
        public let offset: Int
        public let address: UInt64?
        /// Hexadecimal.
        public let before: String
        public let after: String
        public let reason: String
        public let evidence: String
    }

    public struct Displaced: Codable, Equatable, Sendable {
        public let offset: Int
        /// Hexadecimal.
        public let bytes: String
    }

    /// Pages, `end` excluded.
    public struct Span: Codable, Equatable, Sendable {
        public let first: Int
        public let end: Int

        /// Nil for none.
        static func list(_ pages: [Range<Int>]) -> [Span]? {
            pages.isEmpty ? nil : pages.map { Span(first: $0.lowerBound, end: $0.upperBound) }
        }

        /// Nil when one is no range of pages of an image.
        static func ranges(_ spans: [Span]?) -> [Range<Int>]? {
            let spans = spans ?? []
            guard spans.allSatisfy({ 0 <= $0.first && $0.first <= $0.end && $0.end <= 1 << 20 }) else { return nil }
            return spans.map { $0.first..<$0.end }
        }
    }

    public struct Constraint: Codable, Equatable, Sendable {
        public let first: Int
        public let end: Int
        public let reason: String
        public let evidence: String
    }

    public let format: Int
    public let tool: String
    public let algorithm: Int
    public let encoding: Encoding
    public let granule: String
    public let seed: String
    public let release: String?
    public let counted: Int
    public let moved: Int
    public let pinned: Int
    /// What the user added.
    public let pins: [Constraint]
    public let glue: [Constraint]
    /// "off" when pins were left out that only code shows.
    public let audit: String?
    /// True of a kernel that does not run, as 32-bit ones; absent of others.
    public let unbootable: Bool?
    /// "table" when translations ask one, "table and modules" when those of modules must, too.
    public let translations: String?
    /// Pages that no pin holds because they do; absent when there are none.
    public let released: [Span]?
    /// True when pages trade places across classes; absent otherwise.
    public let crossClass: Bool?
    public let patches: [Patch]
    /// Bytes of the original file that moved pages cover (`contents` only).
    public let displaced: [Displaced]

    init(_ plan: RewritePlan, tool: String, header: Change, displaced: [(offset: Int, bytes: [UInt8])]) {
        format = 1
        self.tool = tool
        algorithm = Permutation.algorithm
        encoding = plan.request.encoding
        granule = plan.request.granule.rawValue
        seed = plan.request.seedSource
        release = plan.analysis.release
        counted = plan.analysis.countedPages
        moved = plan.movedPages
        pinned = plan.analysis.pinnedPages
        pins = plan.request.pins.map { Constraint($0) }
        glue = plan.request.glue.map { Constraint($0) }
        audit = plan.request.leavesOutTranslated ? "off" : nil
        unbootable = plan.analysis.architecture.isBootable ? nil : true
        translations = plan.request.translations
        released = Span.list(plan.request.released)
        crossClass = plan.request.crossesClasses ? true : nil
        patches = ([header] + plan.changes).map {
            Patch(
                offset: $0.fileOffset, address: $0.address?.rawValue, before: $0.before.hexadecimal,
                after: $0.after.hexadecimal, reason: $0.reason, evidence: $0.evidence)
        }
        self.displaced = displaced.map { Displaced(offset: $0.offset, bytes: $0.bytes.hexadecimal) }
    }

    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return try Array(encoder.encode(self))
    }

    static func decode(_ bytes: [UInt8]) throws -> Manifest {
        try JSONDecoder().decode(Manifest.self, from: Data(bytes))
    }

    /// What was asked for when the image was made.
    ///
    /// - Throws: `RewriteError.unsupported` for a granule or range that no tool of ours writes.
    public func request(file: String) throws(RewriteError) -> Request {
        guard let granule = Granule(rawValue: granule), ["fresh", "given"].contains(seed),
            (pins + glue).allSatisfy({ $0.first <= $0.end }), let released = Span.ranges(released)
        else { throw .unsupported(file: file, "the manifest is damaged: granule, seed or a page range") }
        var request = Request(
            encoding: encoding, granule: granule,
            pins: pins.map { Pin(pages: $0.first..<$0.end, reason: $0.reason, evidence: $0.evidence) },
            glue: glue.map { Glue(pages: $0.first..<$0.end, reason: $0.reason) },
            leavesOutTranslated: audit == "off", seedSource: seed, rewrites: translations != nil,
            crossesClasses: crossClass == true)
        request.bindsModules = translations == Request.tableAndModules
        request.released = released
        return request
    }
}

extension Request {
    static let tableAndModules = "table and modules"

    /// What a manifest says of translations.
    var translations: String? { rewrites ? bindsModules ? Self.tableAndModules : "table" : nil }
}

extension [UInt8] {
    /// Two lower-case digits a byte.
    public var hexadecimal: String {
        let digits = [UInt8]("0123456789abcdef".utf8)
        var out: [UInt8] = []
        out.reserveCapacity(2 * count)
        for byte in self {
            out.append(digits[Int(byte >> 4)])
            out.append(digits[Int(byte & 15)])
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// The bytes that hexadecimal digits stand for, or nil when they are no such digits.
    init?(hexadecimal text: String) {
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in text {
            guard let value = digit.hexDigitValue else { return nil }
            if let first = high {
                bytes.append(first << 4 | UInt8(value))
                high = nil
            } else {
                high = UInt8(value)
            }
        }
        guard high == nil else { return nil }
        self = bytes
    }
}
