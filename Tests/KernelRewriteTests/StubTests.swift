// SPDX-License-Identifier: MIT

// The stub that kperm carries is the one whose source stands under images/stub.

import Foundation
import TestSupport
import Testing

@testable import KernelRewrite

struct StubTests {
    @Test func committedBytesComeFromTheSource() throws {
        let scratch = try Scratch()
        try runTool("\(checkout)/tools/build-stub", scratch["StubCode.swift"])
        let committed = try readBytes("\(checkout)/Sources/KernelRewrite/X86_64/StubCode.swift")
        #expect(try readBytes(scratch["StubCode.swift"]) == committed, "run tools/build-stub")
    }

    /// The tool fills in the parameters; they are zero before, and the code follows them.
    @Test func entriesLieBehindTheParameters() {
        let parameters = 11 * 8
        #expect(StubCode.bytes.prefix(parameters).allSatisfy { $0 == 0 })
        #expect(parameters <= StubCode.reserve && StubCode.reserve < StubCode.announce)
        #expect(StubCode.announce < StubCode.bytes.count)
    }
}
