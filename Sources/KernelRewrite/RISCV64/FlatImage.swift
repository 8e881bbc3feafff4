// SPDX-License-Identifier: MIT

// A flat riscv64 `Image` that can have its pages permuted: its page i is its
// bytes from i * 4096, and a descriptor in it says which pages may trade places
// and where the translation table lies. images/riscv64/linux/kperm/descriptor.h
// states that layout. Nothing in such a file has a name, so everything that the
// descriptor says is checked before it is believed.

public import Addressing
public import KernelImage
public import PagePermutation
public import SecureRandom

/// A flat image, its descriptor read and checked.
public struct FlatImage: Sendable {
    /// What the kernel does about its pages when it starts.
    public enum Mode: UInt32, Sendable, Codable {
        case linear = 0
        case baked = 1
        case drawnAtBoot = 2
    }

    public let path: String
    public let bytes: [UInt8]
    /// Where the descriptor lies, in bytes from the start.
    public let descriptor: Int
    /// Size in memory, in bytes.
    public let memoryBytes: Int
    /// Where the part begins that the file may lack, for it is zero: a multiple of a page.
    public let storedBytes: Int
    /// Entries of each table.
    public let capacity: Int
    public let mode: Mode
    /// Whether pages trade places across classes.
    public let isCrossClass: Bool
    /// Pages that may trade places, as the image says it.
    public let classes: [PageClass]
    public let pins: [Pin]
    public let virtualBase: VirtualAddress
    /// The first instruction that runs when the image is mapped and nothing else was done; nil where it is not said.
    public let started: VirtualAddress?
    let forwardTable: Int
    let inverseTable: Int
    /// What the kernel changes in its image, by kind: bytes from the start.
    let changed: [(kind: String, bytes: Range<Int>)]
    /// Size of the file before a permutation was written to it, if one was.
    let originalBytes: Int

    /// Fields of the descriptor, as offsets in bytes.
    enum Field {
        static let mode = 0x3c
        static let flags = 0x40
        static let moved = 0x44
        static let original = 0x60
        static let changed = 0x6c
        static let started = 0x74
        static let end = ImageDescriptor.byteCount
    }
    static let magic: [UInt8] = Array("kperm\0rv".utf8)
    static let crossClass: UInt32 = 1

    public var pageCount: Int { (memoryBytes + pageSize - 1) / pageSize }
    public var movablePages: Int { classes.reduce(0) { $0 + $1.pageCount } }
    /// Pages of classes and pins.
    public var countedPages: Int { movablePages + pins.reduce(0) { $0 + $1.pages.count } }

    /// Whether a file is a flat RISC-V image.
    public static func isFlat(_ file: borrowing MappedFile) -> Bool {
        let span = file.bytes
        guard span.byteCount >= 64 else { return false }
        return span.load(0x38, as: UInt32.self) == 0x0543_5352  // RSC\x05
    }

    /// - Throws: `RewriteError` when the file cannot be read, is not a flat RISC-V image, or has no descriptor that
    ///   holds together.
    public static func open(_ path: String) throws(RewriteError) -> FlatImage {
        let file = try wrapping(RewriteError.image) { () throws(ImageError) in try MappedFile.open(path) }
        guard isFlat(file) else { throw .unsupported(file: path, "not a flat RISC-V Image (no RSC\\x05 at 0x38)") }
        return try FlatImage(path, unsafe file.bytes.withUnsafeBytes { unsafe [UInt8]($0) })
    }

    /// - Throws: `RewriteError` as `open(_:)` does.
    public init(_ path: String, _ bytes: [UInt8]) throws(RewriteError) {
        self.path = path
        self.bytes = bytes
        let found = stride(from: 0, to: bytes.count - Field.end, by: pageSize).filter {
            bytes[$0..<$0 + 8].elementsEqual(Self.magic) && bytes.word($0 + 0x10) == $0
        }
        guard found.count == 1, let place = found.first else {
            throw .unsupported(
                file: path,
                found.isEmpty
                    ? "this Image has no descriptor of permutable pages: build it with tools/build-riscv64"
                    : "\(found.count) descriptors of permutable pages, where there should be one")
        }
        func refuse(_ what: String) -> RewriteError {
            .unsupported(file: path, "descriptor at 0x\(String(place, radix: 16)): \(what)")
        }
        guard bytes.word(place + 8) == 1, bytes.word(place + 0xc) >= Field.end, bytes.word(place + 0x1c) == pageSize
        else {
            throw refuse("version \(bytes.word(place + 8)), \(bytes.word(place + 0xc)) bytes: not one that kperm knows")
        }
        descriptor = place
        memoryBytes = bytes.word(place + 0x14)
        storedBytes = bytes.word(place + 0x18)
        capacity = bytes.word(place + 0x20)
        forwardTable = bytes.word(place + 0x24)
        inverseTable = bytes.word(place + 0x28)
        originalBytes = bytes.word(place + Field.original)
        isCrossClass = UInt32(bytes.word(place + Field.flags)) & Self.crossClass != 0
        virtualBase = VirtualAddress(UInt64(bytes.word(place + 0x58)) | UInt64(bytes.word(place + 0x5c)) << 32)
        guard let mode = Mode(rawValue: UInt32(bytes.word(place + Field.mode))) else {
            throw refuse("unknown mode \(bytes.word(place + Field.mode))")
        }
        self.mode = mode
        let header = (0..<8).reduce(0) { $0 | Int(bytes[0x10 + $1]) << (8 * $1) }
        guard header == memoryBytes else {
            throw refuse("\(memoryBytes) bytes in memory, but \(header) by the Image's own header")
        }
        guard storedBytes % pageSize == 0, storedBytes <= memoryBytes, bytes.count <= (memoryBytes + 0xfff) & ~0xfff
        else {
            throw refuse("\(storedBytes) of \(memoryBytes) bytes stored do not fit the file's \(bytes.count)")
        }
        let pages = (memoryBytes + pageSize - 1) / pageSize
        guard pages < capacity else { throw refuse("a table of \(capacity) entries is too small for \(pages) pages") }
        for table in [forwardTable, inverseTable] where table % 4 != 0 || table + 4 * capacity > bytes.count {
            throw refuse("a table lies outside the file")
        }
        func records(_ field: Int, _ size: Int) throws(RewriteError) -> [(text: String, start: Int, end: Int)] {
            let first = bytes.word(place + field)
            let count = bytes.word(place + field + 4)
            guard count <= 64, first + count * size <= bytes.count else { throw refuse("a list lies outside the file") }
            var out: [(text: String, start: Int, end: Int)] = []
            for at in stride(from: first, to: first + count * size, by: size) {
                let text = bytes[at..<at + size - 8].prefix { $0 != 0 }
                let start = bytes.word(at + size - 8)
                let end = bytes.word(at + size - 4)
                guard start <= end, end <= header else { throw refuse("a range of pages ends before it begins") }
                out.append((String(decoding: text, as: UTF8.self), start, end))
            }
            return out
        }
        classes = try records(0x2c, 32).map {
            PageClass(name: $0.text, ranges: [($0.start + 0xfff) / pageSize..<($0.end + 0xfff) / pageSize])
        }
        pins = try records(0x34, 64).map {
            Pin(
                pages: $0.start / pageSize..<($0.end + 0xfff) / pageSize, reason: $0.text,
                evidence: "the image's own list")
        }
        changed = try records(Field.changed, 32).map { ($0.text, $0.start..<$0.end) }
        let started = bytes.word(place + Field.started)
        self.started = started > 0 && started < header ? virtualBase + UInt64(started) : nil
        let fixed = [descriptor, forwardTable, inverseTable].map { $0 / pageSize }
        for page in fixed where !pins.contains(where: { $0.pages.contains(page) }) {
            throw refuse("page \(page), which the kernel reads before pages have their order, is not pinned")
        }
    }

    /// What every order has to respect.
    public func problem(crossClass: Bool) throws(RewriteError) -> PermutationProblem {
        let all = crossClass ? [PageClass(name: "all", ranges: classes.flatMap(\.ranges))] : classes
        return try wrapping(RewriteError.problem) { () throws(ProblemError) in
            try PermutationProblem(pageCount: pageCount, classes: all, pins: pins)
        }
    }

    /// The order that a seed gives its pages.
    public func draw(from seed: borrowing Seed) throws(RewriteError) -> Permutation {
        let problem = try problem(crossClass: isCrossClass)
        do {
            return try Permutation.draw(problem, seed: seed)
        } catch {
            throw .unsupported(file: path, "\(error)")
        }
    }

    /// The order that the tables give, checked; of an image that is not baked, every page in its own frame.
    public func permutation() throws(RewriteError) -> Permutation {
        guard let says = ImageDescriptor(Array(bytes[descriptor...].prefix(ImageDescriptor.byteCount))) else {
            throw .unsupported(file: path, "its descriptor does not hold together")
        }
        func table(_ start: Int) -> [UInt8] { Array(bytes[start..<start + 4 * capacity]) }
        let forward: [UInt32]
        do {
            forward = try says.order(forward: table(forwardTable), inverse: table(inverseTable))
        } catch {
            throw .table(file: path, error)
        }
        let problem = try problem(crossClass: isCrossClass)
        return try wrapping(RewriteError.permutation) { () throws(PermutationError) in
            try Permutation(forward: forward, for: problem)
        }
    }
}

extension [UInt8] {
    /// A 32-bit number, little-endian.
    func word(_ offset: Int) -> Int {
        Int(self[offset]) | Int(self[offset + 1]) << 8 | Int(self[offset + 2]) << 16 | Int(self[offset + 3]) << 24
    }
}
