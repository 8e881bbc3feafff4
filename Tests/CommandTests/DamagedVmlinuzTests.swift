// SPDX-License-Identifier: MIT

// A vmlinuz cut anywhere, or with a bit flipped anywhere: kperm inspects it or
// refuses it in one line, and never crashes. Places are drawn afresh in each run;
// a failure prints KPERM_TEST_SEED, which set to that number draws the same.

import Foundation
import Testing

/// SplitMix64, started from the environment or by chance.
private struct Draw: RandomNumberGenerator {
    static let runSeed =
        ProcessInfo.processInfo.environment["KPERM_TEST_SEED"].flatMap { UInt64($0) } ?? .random(in: .min ... .max)
    private var state = runSeed

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}

/// A copy of a vmlinuz that is cut, or has one bit flipped at a time.
private final class Damaged {
    let place: Workplace
    let size: Int
    private let file: FileHandle

    init(_ place: Workplace) throws {
        self.place = place
        file = try FileHandle(forUpdating: URL(fileURLWithPath: place["vmlinuz"]))
        size = Int(try file.seekToEnd())
    }

    /// The status of kperm inspect.
    @discardableResult
    func inspect(_ what: String) async throws -> Int32 {
        let outcome = try await place.kperm("inspect", "vmlinuz")
        let comment = Comment(rawValue: "KPERM_TEST_SEED=\(Draw.runSeed): \(what): \(outcome.error)")
        #expect(outcome.status == 0 || outcome.status == 2, comment)
        #expect(outcome.error.isEmpty == (outcome.status == 0), comment)
        if outcome.status != 0 {
            #expect(outcome.error.hasPrefix("kperm: vmlinuz: ") && outcome.output.isEmpty, comment)
            #expect(outcome.error.count { $0 == "\n" } == 1 && outcome.error.hasSuffix("\n"), comment)
        }
        return outcome.status
    }

    func cut(to length: Int) async throws -> Int32 {
        try file.truncate(atOffset: UInt64(length))
        return try await inspect("\(length) of \(size) bytes")
    }

    func flip(_ bit: Int, at offset: Int) async throws -> Int32 {
        try file.seek(toOffset: UInt64(offset))
        let byte = try #require(try file.read(upToCount: 1)?.first)
        func put(_ byte: UInt8) throws {
            try file.seek(toOffset: UInt64(offset))
            try file.write(contentsOf: [byte])
        }
        try put(byte ^ UInt8(1 << bit))
        let status = try await inspect("bit \(bit) of byte \(offset.description)")
        try put(byte)
        return status
    }
}

struct DamagedVmlinuzTests {
    /// Half of the flips in what is parsed: the setup header, the start and the end of the payload.
    @Test func bits() async throws {
        let place = try await Workplace("sample")
        try await place.addVmlinuz(of: "sample")
        let vmlinuz = try Damaged(place)
        var random = Draw()
        var statuses: [Int32] = []
        for i in 0..<200 {
            let parsed = [0x1f0..<0x270, 1048..<1100, vmlinuz.size - 90..<vmlinuz.size]
            let range = i < 100 ? 0..<vmlinuz.size : parsed[i % 3]
            statuses.append(
                try await vmlinuz.flip(.random(in: 0..<8, using: &random), at: .random(in: range, using: &random)))
        }
        // gzip has a checksum, the setup header has fields that nobody reads.
        #expect(Set(statuses) == [0, 2])
        #expect(try await vmlinuz.inspect("whole again") == 0)
    }

    /// What is inside, where no checksum of the container tells first.
    @Test func bitsOfTheKernelInside() async throws {
        let place = try await Workplace("sample")
        let kernel = try place.bytes("sample")
        var random = Draw()
        for _ in 0..<15 {
            var spoilt = kernel
            let header = Bool.random(using: &random)
            let offset = Int.random(in: header ? 0..<600 : 0..<kernel.count, using: &random)
            spoilt[offset] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            try place.write(try await smallVmlinuz(spoilt), to: "vmlinuz")
            try await Damaged(place).inspect("byte \(offset) of the kernel")
        }
    }

    @Test(.enabled(if: !DebianVmlinuz.isOffline, "KPERM_OFFLINE is set")) func cuts() async throws {
        let place = try Workplace()
        try FileManager.default.copyItem(atPath: try await DebianVmlinuz.path(), toPath: place["vmlinuz"])
        let vmlinuz = try Damaged(place)
        var random = Draw()
        // Behind the payload there is only the decompressor; in front of its end every cut is seen.
        let behind = 200_000
        try #require(vmlinuz.size > behind)
        let drawn = (0..<36).map { _ in Int.random(in: 1..<vmlinuz.size - behind, using: &random) }
        _ = try await vmlinuz.cut(to: vmlinuz.size - 1)
        for length in (drawn + [1, 0x206, 0x268]).sorted(by: >) {
            let status = try await vmlinuz.cut(to: length)
            #expect(status == 2, "KPERM_TEST_SEED=\(Draw.runSeed): \(length) bytes")
        }
    }
}
