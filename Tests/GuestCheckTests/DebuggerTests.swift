// SPDX-License-Identifier: MIT

// The debugger's side of the conversation, with answers that were written down
// beforehand. That QEMU takes it so, every attack shows.

import Addressing
import Glibc
import Testing

@testable import GuestCheck

struct DebuggerTests {
    private let theirs: Int32
    private let ours: Int32

    init() throws {
        var ends: [Int32] = [0, 0]
        try #require(unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        (ours, theirs) = (ends[0], ends[1])
    }

    private func answer(_ packets: String...) throws {
        let text = Array(packets.map { "+" + debuggerFrame($0) }.joined().utf8)
        try #require(unsafe send(theirs, text, text.count, 0) == text.count)
    }

    /// What was said to the other end, which is closed by this.
    private func said() -> String {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe recv(theirs, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        close(theirs)
        return String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
    }

    private var soon: ContinuousClock.Instant { .now + .seconds(100) }

    /// By physical addresses, which is said before.
    @Test func writesToPhysicalMemory() async throws {
        try answer("OK", "OK")
        var debugger = Debugger(Channel(descriptor: ours))
        try await debugger.write([0xb8, 0x01, 0xff], at: PhysicalAddress(0x1_0260_0640), until: soon)
        #expect(said() == debuggerFrame("Qqemu.PhyMemMode:1") + "+" + debuggerFrame("M102600640,3:b801ff") + "+")
    }

    /// A debugger port that knows no physical addresses would write to virtual ones.
    @Test func writesNothingWhereThatIsUnknown() async throws {
        try answer("", "OK")
        var debugger = Debugger(Channel(descriptor: ours))
        await #expect(throws: Interruption.malformed("Qqemu.PhyMemMode:1: ")) {
            try await debugger.write([1], at: PhysicalAddress(0x1000), until: soon)
        }
        #expect(!said().contains("M1000"))
    }

    @Test func stopsWhatRuns() async throws {
        try answer("T05thread:01;", "T02thread:01;")
        var debugger = Debugger(Channel(descriptor: ours))
        try await debugger.greet(until: soon)
        try debugger.go()
        try await debugger.interrupt(until: soon)
        #expect(said() == debuggerFrame("?") + "+" + debuggerFrame("c") + "\u{3}+")
    }

    @Test func noAnswer() async throws {
        var debugger = Debugger(Channel(descriptor: ours))
        await #expect(throws: Interruption.timedOut) {
            try await debugger.greet(until: ContinuousClock.now + .milliseconds(20))
        }
        close(theirs)
    }
}
