// SPDX-License-Identifier: MIT

// A seed decides a permutation, so it is as secret as the permutation itself.
// It lives in memory that libsodium guards, is wiped when it goes, and has no
// description: there is no way to log one by accident.

import CSodium

/// Why text or bytes are not a seed.
public enum SeedError: Error, Equatable, Sendable {
    case length(digits: Int)
    case notHexadecimal
    case outOfMemory
}

extension SeedError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .length(let digits):
            "a seed is \(Seed.byteCount) bytes, \(2 * Seed.byteCount) hexadecimal digits; this one has \(digits)"
        case .notHexadecimal: "a seed is written in hexadecimal digits (0-9, a-f)"
        case .outOfMemory: "no locked memory for a seed"
        }
    }
}

/// 32 secret bytes.
@safe
public struct Seed: ~Copyable {
    /// The length of a seed, in bytes.
    public static let byteCount = 32

    let memory: UnsafeMutableRawPointer

    private init(memory: UnsafeMutableRawPointer) { unsafe self.memory = memory }

    private static func allocate() throws(SeedError) -> UnsafeMutableRawPointer {
        guard sodium_init() >= 0, let memory = unsafe sodium_malloc(byteCount) else { throw .outOfMemory }
        return unsafe memory
    }

    /// A fresh seed from the operating system's generator, by libsodium.
    public static func random() throws(SeedError) -> Seed {
        let memory = unsafe try allocate()
        unsafe randombytes_buf(memory, byteCount)
        return unsafe Seed(memory: memory)
    }

    /// A seed written as 64 hexadecimal digits; white space at either end is ignored.
    public static func parse(hexadecimal text: some StringProtocol) throws(SeedError) -> Seed {
        let digits = text.utf8.drop { $0 <= 0x20 }.reversed().drop { $0 <= 0x20 }.reversed()
        guard digits.count == 2 * byteCount else { throw .length(digits: digits.count) }
        let memory = unsafe try allocate()
        let seed = unsafe Seed(memory: memory)
        var i = 0
        for digit in digits {
            guard let nibble = Character(UnicodeScalar(digit)).hexDigitValue else { throw .notHexadecimal }
            let old = i % 2 == 0 ? 0 : unsafe memory.load(fromByteOffset: i / 2, as: UInt8.self)
            unsafe memory.storeBytes(of: old << 4 | UInt8(nibble), toByteOffset: i / 2, as: UInt8.self)
            i += 1
        }
        return seed
    }

    /// A copy of the secret, for an image that is given its seed: as secret as that image.
    public var bytes: [UInt8] {
        (0..<Self.byteCount).map { unsafe memory.load(fromByteOffset: $0, as: UInt8.self) }
    }

    /// The same as text that `parse` reads.
    public var hexadecimal: String { hexadecimalDigits(of: bytes) }

    deinit { unsafe sodium_free(memory) }
}

extension Seed {
    /// A seed that follows from another and a number: the first words of the other's stream for "kperm/derived/" and
    /// the number.
    public static func derived(from root: borrowing Seed, number: Int) throws(SeedError) -> Seed {
        var stream = try RandomStream(seed: root, domain: "kperm/derived/\(number)")
        let seed = unsafe Seed(memory: try allocate())
        for offset in stride(from: 0, to: byteCount, by: 4) {
            let word = stream.next().littleEndian
            unsafe seed.memory.storeBytes(of: word, toByteOffset: offset, as: UInt32.self)
        }
        return seed
    }
}
