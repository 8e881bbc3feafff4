// SPDX-License-Identifier: MIT

// Debian's vmlinuz, as tools/fetch-kernel finds or fetches it, and what kperm
// makes of it, once a run: unpacking it is quick, planning takes seconds.

import Foundation
import KernelImage
import PagePermutation
import SecureRandom
import Synchronization
import TestSupport
import Testing

@testable import KernelRewrite

enum DebianVmlinuz {
    static let isOffline: Bool = {
        let offline = ProcessInfo.processInfo.environment["KPERM_OFFLINE"] != nil
        if offline { print("NOT TESTED: Debian's vmlinuz was left out, because KPERM_OFFLINE is set.") }
        return offline
    }()

    private static let fetched = Result { try fetch("cloud") }

    /// A flavour's vmlinuz.
    static func fetch(_ flavour: String) throws -> String {
        try #require(try fetchKernel(flavour, "--image")["vmlinuz"])
    }

    /// A permuted kernel beside its original, and the plan that made it.
    struct Made: Sendable {
        let plan: BootPlan
        let original: String
        let permuted: String
        private let scratch: Scratch

        /// The original is a copy with a mode of its own.
        fileprivate init(_ request: Request, seed: borrowing Seed?) throws {
            scratch = try Scratch()
            original = scratch["vmlinuz"]
            permuted = scratch["permuted"]
            try FileManager.default.copyItem(atPath: try fetched.get(), toPath: original)
            try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: original)
            let kernel = try CompressedKernel.open(original)
            plan = try BootPlan.make(kernel, request, seed: seed, tool: "test")
            try plan.apply(to: permuted, from: kernel)
        }

        /// The unpacked bytes that the plan wants.
        func unpacked() throws -> [UInt8] { try CompressedKernel.open(original).unpacked(with: plan.changes) }

        /// The same container with other bytes in it.
        func repacked(_ unpacked: [UInt8], in scratch: Scratch) throws -> String {
            try write(try CompressedKernel.open(original).container.replacing(unpacked), to: scratch["repacked"])
        }

        fileprivate func remove() { try? FileManager.default.removeItem(atPath: scratch.path) }
    }

    static let requests: [When: Request] = [
        .boot: Request(
            pins: [Pin(pages: 300..<302, reason: "asked for", evidence: "--pin page:300-301")],
            glue: [Glue(pages: 1000..<1004, reason: "--glue page:1000-1003")], seedSource: "boot"),
        .build: Request(seedSource: "given"),
    ]

    private static let atBoot = make { try Made(requests[.boot]!, seed: nil) }
    private static let atBuild = make { try Made(requests[.build]!, seed: try seedNumber(7)) }

    static func made(_ when: When) throws -> Made { try (when == .boot ? atBoot : atBuild).get() }

    private static func make(_ body: () throws -> Made) -> Result<Made, any Error> {
        let result = Result { try body() }
        if case .success(let made) = result { leftovers.withLock { $0.append(made) } }
        return result
    }

    private static let leftovers: Mutex<[Made]> = {
        atexit { DebianVmlinuz.leftovers.withLock { for made in $0 { made.remove() } } }
        return Mutex([])
    }()
}
