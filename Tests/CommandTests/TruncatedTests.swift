// SPDX-License-Identifier: MIT

// Files cut off anywhere: refused in one line, or whole enough.

import Foundation
import Testing

struct TruncatedTests {
    /// Forty lengths, the same ones each time.
    private func lengths(of size: Int) -> [Int] {
        (0..<40).map { ($0 * 2_654_435_761 + 12_345) % size } + [1, 15, 16, 63, 64, 65, size - 1]
    }

    private func check(_ place: Workplace, _ arguments: [String]) async throws {
        let before = try place.files
        let outcome = try await place.kperm(arguments)
        #expect(outcome.status == 0 || outcome.status == 2, "\(arguments): \(outcome.error)")
        #expect(outcome.status == 0 || outcome.error.hasPrefix("kperm: cut: "), "\(arguments): \(outcome.error)")
        #expect(outcome.error.count { $0 == "\n" } == (outcome.status == 0 ? 0 : 1), "\(arguments): \(outcome.error)")
        if outcome.status != 0 { #expect(try place.files == before) }
    }

    @Test func sample() async throws {
        let place = try await Workplace("sample")
        let bytes = try place.bytes("sample")
        for length in lengths(of: bytes.count) {
            try place.write(Array(bytes.prefix(length)), to: "cut")
            try await check(place, ["inspect", "cut"])
            try await check(place, ["permute", "cut", "-o", "out"])
        }
    }

    @Test(arguments: ["permuted-segments", "permuted-contents"]) func permuted(name: String) async throws {
        let place = try await Workplace("sample", name)
        let bytes = try place.bytes(name)
        for length in lengths(of: bytes.count) {
            try place.write(Array(bytes.prefix(length)), to: "cut")
            try await check(place, ["verify", "sample", "cut"])
            try await check(place, ["restore", "cut", "-o", "out"])
        }
    }
}
