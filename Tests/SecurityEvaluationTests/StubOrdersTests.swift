// SPDX-License-Identifier: MIT

// The orders that the boot stub's own code draws, run in an ordinary process; and
// that code with a well-known mistake in it, which must be caught.

#if arch(x86_64)
    import Foundation
    import SecureRandom
    import TestSupport
    import Testing

    @testable import SecurityEvaluation

    struct StubOrdersTests {
        /// Has the driver draw orders and counts them.
        private func tally(_ driver: BootStubDriver, pages: Int, draws: Int) throws -> UniformityTally {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: driver.path)
            process.arguments = ["orders", "\(pages)", "\(draws)", try Seed.forTest().hexadecimal]
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            let data = try output.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
            #expect(data.count == 4 * pages * draws)
            var tally = UniformityTally(pageCount: pages)
            var order = [UInt32](repeating: 0, count: pages)
            unsafe data.withUnsafeBytes { bytes in
                for draw in 0..<bytes.count / (4 * pages) {
                    for page in 0..<pages {
                        order[page] = unsafe bytes.loadUnaligned(
                            fromByteOffset: 4 * (draw * pages + page), as: UInt32.self)
                    }
                    _ = tally.add(order)
                }
            }
            #expect(tally.draws == draws)
            return tally
        }

        @Test(arguments: [(4, 100_000), (64, 20_000)])
        func theStubsOrdersPass(pages: Int, draws: Int) throws {
            for test in try tally(try BootStubDriver.shared.get(), pages: pages, draws: draws).tests {
                #expect(test.passes, TestRandom.comment("\(test)"))
            }
        }

        /// Every slot swapped with any slot, not with those that are left.
        @Test func aWrongShuffleIsCaught() throws {
            let right = "stream_uniform(&secrets->stream, i)"
            let driver = try BootStubDriver { source in
                #expect(source.contains(right))
                return source.replacingOccurrences(of: right, with: "stream_uniform(&secrets->stream, count)")
            }
            #expect(try tally(driver, pages: 64, draws: 20_000).tests.contains { !$0.passes })
        }
    }
#endif
