// SPDX-License-Identifier: MIT

// A vmlinuz around any kernel: as much of the x86 boot protocol as says where the
// payload is, the payload compressed by gzip, and the two lengths that stand for
// the decompressor.

import Foundation
import Testing

/// The bytes of a vmlinuz that unpacks to `kernel`.
func smallVmlinuz(_ kernel: [UInt8]) async throws -> [UInt8] {
    let place = try Workplace()
    try place.write(kernel, to: "kernel")
    let outcome = try await execute("gzip", ["-9n", "kernel"], in: place.path)
    try #require(outcome.status == 0, "\(outcome.error)")
    let stream = try place.bytes("kernel.gz")
    var bytes = [UInt8](repeating: 0, count: 1024 + 24)
    func put(_ value: Int, _ count: Int, at offset: Int) {
        for i in 0..<count { bytes[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * i)) }
    }
    put(1, 1, at: 0x1f1)  // sectors of setup code
    bytes.replaceSubrange(0x202..<0x206, with: Array("HdrS".utf8))
    put(0x20f, 2, at: 0x206)
    put(24, 4, at: 0x248)
    put(stream.count, 4, at: 0x24c)
    put(0x100_0000, 8, at: 0x258)
    put(0x400_0000, 4, at: 0x260)
    bytes += stream
    let end = bytes.count
    bytes += [UInt8](repeating: 0, count: 64)
    put(stream.count, 4, at: end + 3)
    put(kernel.count, 4, at: end + 7)
    return bytes
}

extension Workplace {
    /// Adds `vmlinuz`, made of one of its files.
    func addVmlinuz(of name: String) async throws { try write(try await smallVmlinuz(bytes(name)), to: "vmlinuz") }
}

/// Debian's vmlinuz, as tools/fetch-kernel finds or fetches it.
enum DebianVmlinuz {
    static let isOffline: Bool = {
        let offline = ProcessInfo.processInfo.environment["KPERM_OFFLINE"] != nil
        if offline { print("NOT TESTED: Debian's vmlinuz was left out, because KPERM_OFFLINE is set.") }
        return offline
    }()

    static func path() async throws -> String {
        let arguments = ["--flavour", "cloud", "--image"]
        let outcome = try await execute("\(checkout)/tools/fetch-kernel", arguments, in: checkout)
        let line = outcome.output.split(separator: "\n").first { $0.hasPrefix("vmlinuz=") }
        return String(try #require(line, "fetch-kernel: \(outcome.error)").dropFirst("vmlinuz=".count))
    }
}
