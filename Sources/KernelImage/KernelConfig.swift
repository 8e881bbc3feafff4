// SPDX-License-Identifier: MIT

// The configuration that a kernel was built with, where the kernel carries it
// (CONFIG_IKCONFIG): the text of its .config, by gzip, between two words in its
// read-only data.

import Addressing

/// A kernel's own configuration.
public struct KernelConfig: Equatable, Sendable {
    /// Larger than any configuration, in bytes.
    private static let limit = 1 << 22
    private static let begin = Array("IKCFG_ST".utf8)
    private static let end = Array("IKCFG_ED".utf8)

    private let lines: [Substring]

    /// A configuration as its text says it.
    public init(_ text: String) { lines = text.split(separator: "\n") }

    /// How many options are set.
    public var count: Int { lines.count { $0.hasPrefix("CONFIG_") } }

    /// What an option is set to ("y", a number, or text without its quotes); nil when it is not set.
    public subscript(_ option: String) -> String? {
        let start = "CONFIG_\(option)="
        guard let line = lines.last(where: { $0.hasPrefix(start) }) else { return nil }
        let value = line.dropFirst(start.count)
        guard value.count >= 2, value.hasPrefix("\""), value.hasSuffix("\"") else { return String(value) }
        let text = String(value.dropFirst().dropLast())
        return text.replacing("\\\"", with: "\"").replacing("\\\\", with: "\\")
    }

    /// Words that the kernel has on its command line whatever a loader says; nil when it has none.
    public var commandLine: String? {
        guard self["CMDLINE_BOOL"] == "y", let words = self["CMDLINE"], !words.isEmpty else { return nil }
        return words
    }

    /// Whether the kernel takes no notice of a loader's command line.
    public var ignoresLoader: Bool { commandLine != nil && self["CMDLINE_OVERRIDE"] == "y" }
}

extension KernelImage {
    /// The configuration that the image carries, or nil when it carries none.
    ///
    /// - Throws: `ImageError` of kind `.malformed` when it is damaged.
    public func config() throws(ImageError) -> KernelConfig? {
        for section in sections where section.isAllocated && !section.isExecutable && !section.isNoBits {
            let bytes = file.bytes.extracting(Int(section.offset)..<Int(section.offset + section.size))
            if let found = try KernelConfig.read(bytes, file: path, at: Int(section.offset)) { return found }
        }
        return nil
    }
}

extension KernelConfig {
    fileprivate static func read(_ bytes: RawSpan, file: String, at offset: Int) throws(ImageError) -> KernelConfig? {
        // The words stand in other texts, too: before the one that counts, gzip begins.
        var start: Int?
        var from = 0
        while start == nil, let word = bytes.first(begin, from: from) {
            from = word + begin.count
            if from + 18 <= bytes.byteCount, Codec(detecting: bytes.extracting(from..<bytes.byteCount)) == .gzip {
                start = from
            }
        }
        guard let start else { return nil }
        func refuse(_ what: String) -> ImageError {
            ImageError(
                .malformed, file: file, offset: UInt64(offset + start), "the kernel's configuration is damaged: \(what)"
            )
        }
        guard let end = bytes.first(end, from: start + 18) else { throw refuse("it has no end") }
        let size = Int(bytes.load(end - 4, as: UInt32.self))
        guard 0 < size, size <= limit else { throw refuse("it claims to hold \(size) bytes") }
        do {
            let text = try Codec.gzip.decode(bytes.extracting(start..<end), size: size)
            return KernelConfig(String(decoding: text, as: UTF8.self))
        } catch {
            throw refuse("\(error)")
        }
    }
}

extension RawSpan {
    /// Where eight bytes stand first.
    fileprivate func first(_ word: [UInt8], from start: Int) -> Int? {
        let wanted = word.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return unsafe withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress else { return nil }
            var at = start
            while at + 8 <= buffer.count {
                if unsafe base.loadUnaligned(fromByteOffset: at, as: UInt64.self) == wanted { return at }
                at += 1
            }
            return nil
        }
    }
}
