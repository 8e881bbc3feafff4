// SPDX-License-Identifier: MIT

// The random numbers a permutation is drawn from. Part of drawing algorithm 1,
// whose test vectors pin it down: nothing here may change without a new number.
//
//   key    = BLAKE2b-256(message: domain in UTF-8, key: seed)
//   words  = ChaCha20 key stream (64-bit nonce 0, counter from 0), little-endian 32-bit
//   below n: the first word w < floor(2^32 / n) * n, modulo n
//
// Every class of pages has a domain of its own, so what one class draws tells
// nothing of another. The stream is taken in blocks: one call a number would
// cost fifty times as much.

import CSodium

/// An endless stream of unbiased random numbers, fixed by a seed and a domain.
@safe
public struct RandomStream: ~Copyable {
    private static let blockBytes = 4096

    private let key: UnsafeMutableRawPointer
    private let block: UnsafeMutableRawPointer
    private var nextBlock: UInt64 = 0
    private var offset = blockBytes

    public init(seed: borrowing Seed, domain: String) throws(SeedError) {
        guard let memory = unsafe sodium_malloc(Seed.byteCount + Self.blockBytes) else { throw .outOfMemory }
        unsafe key = memory
        unsafe block = memory + Seed.byteCount
        let message = Array(domain.utf8)
        let status = unsafe crypto_generichash(
            key.assumingMemoryBound(to: UInt8.self), Int(crypto_stream_chacha20_KEYBYTES), message,
            UInt64(message.count), seed.memory.assumingMemoryBound(to: UInt8.self), Seed.byteCount)
        precondition(status == 0, "BLAKE2b takes every message")
    }

    private mutating func refill() {
        let bytes = unsafe block.assumingMemoryBound(to: UInt8.self)
        unsafe block.initializeMemory(as: UInt8.self, repeating: 0, count: Self.blockBytes)
        let nonce = [UInt8](repeating: 0, count: Int(crypto_stream_chacha20_NONCEBYTES))
        let chachaBlocks = UInt64(Self.blockBytes / 64)
        unsafe crypto_stream_chacha20_xor_ic(
            bytes, bytes, UInt64(Self.blockBytes), nonce, nextBlock * chachaBlocks,
            key.assumingMemoryBound(to: UInt8.self))
        nextBlock += 1
        offset = 0
    }

    /// The next 32 bits.
    public mutating func next() -> UInt32 {
        if offset == Self.blockBytes { refill() }
        defer { offset += 4 }
        return UInt32(littleEndian: unsafe block.load(fromByteOffset: offset, as: UInt32.self))
    }

    /// A number from 0 up to `bound` - 1, each as likely as any other. `bound` must not be 0.
    public mutating func uniform(below bound: UInt32) -> UInt32 {
        while true {
            let word = next()
            // Fewer than `bound` words are rejected, the highest: how many takes a division, which few words need.
            if word <= UInt32.max - bound { return word % bound }
            let rejected = (UInt32.max % bound + 1) % bound
            if word <= UInt32.max - rejected { return word % bound }
        }
    }

    deinit { unsafe sodium_free(key) }
}
