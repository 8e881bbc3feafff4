// SPDX-License-Identifier: MIT

// By which a file is known again, whatever it is called. It guards against
// mistakes and damage; who can write where such a hash is kept can write another.

import CSodium

/// The BLAKE2b-256 hash of bytes, as 64 hexadecimal digits.
public func contentHash(_ bytes: RawSpan) -> String {
    var hash = [UInt8](repeating: 0, count: 32)
    let status = unsafe bytes.withUnsafeBytes { buffer in
        unsafe crypto_generichash(
            &hash, hash.count, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(buffer.count), nil, 0)
    }
    precondition(status == 0, "BLAKE2b takes every message")
    return hexadecimalDigits(of: hash)
}

/// Two lower-case digits a byte.
func hexadecimalDigits(of bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

/// The same of bytes in an array.
public func contentHash(_ bytes: [UInt8]) -> String { unsafe contentHash(bytes.span.bytes) }
