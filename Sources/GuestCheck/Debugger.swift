// SPDX-License-Identifier: MIT

// GDB's remote protocol, as much of it as one hardware breakpoint takes, and a
// write to physical memory. A software breakpoint would write into the very bytes
// that are to be compared.

import Addressing

struct Debugger: ~Copyable {
    private var channel: Channel

    init(_ channel: consuming Channel) { self.channel = channel }

    /// Runs the guest from its halt at the start until it is about to execute `address`.
    ///
    /// - Parameter isHalted: asked every second whether it will never come there.
    mutating func run(
        to address: VirtualAddress, until deadline: ContinuousClock.Instant, isHalted: () -> Bool = { false }
    ) async throws(Interruption) {
        let place = "1,\(String(address.rawValue, radix: 16)),1"
        try await demandOK("Z" + place, until: deadline)
        try send("c")
        var arrived: String?
        while arrived == nil {
            do throws(Interruption) {
                arrived = try await receive(until: min(deadline, .now + .seconds(1)))
            } catch {
                guard error == .timedOut, ContinuousClock.now < deadline else { throw error }
                if isHalted() { throw .halted }
            }
        }
        guard let reply = arrived, reply.hasPrefix("T05") || reply.hasPrefix("S05") else {
            throw .malformed(arrived ?? "")
        }
        try await demandOK("z" + place, until: deadline)
    }

    /// Makes sure that somebody is there, and has the guest halted.
    mutating func greet(until deadline: ContinuousClock.Instant) async throws(Interruption) {
        try send("?")
        try await receiveHalt(until: deadline)
    }

    /// Lets the guest run on; `interrupt` stops it again.
    func go() throws(Interruption) { try send("c") }

    /// Stops a guest that runs.
    mutating func interrupt(until deadline: ContinuousClock.Instant) async throws(Interruption) {
        try channel.send("\u{3}")
        try await receiveHalt(until: deadline)
    }

    private mutating func receiveHalt(until deadline: ContinuousClock.Instant) async throws(Interruption) {
        let reply = try await receive(until: deadline)
        guard reply.hasPrefix("T") || reply.hasPrefix("S") else { throw .malformed(reply) }
    }

    /// Writes into the memory of a stopped guest, at a guest physical address: past every mapping of the guest's own.
    mutating func write(
        _ bytes: [UInt8], at address: PhysicalAddress, until deadline: ContinuousClock.Instant
    ) async throws(Interruption) {
        try await demandOK("Qqemu.PhyMemMode:1", until: deadline)
        let digits = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let place = String(address.rawValue, radix: 16)
        try await demandOK("M\(place),\(String(bytes.count, radix: 16)):\(digits)", until: deadline)
    }

    /// Lets the guest run on, with no debugger.
    mutating func detach(until deadline: ContinuousClock.Instant) async throws(Interruption) {
        try await demandOK("D", until: deadline)
    }

    private mutating func demandOK(
        _ packet: String, until deadline: ContinuousClock.Instant
    ) async throws(Interruption) {
        try send(packet)
        let reply = try await receive(until: deadline)
        guard reply == "OK" else { throw .malformed("\(packet): \(reply)") }
    }

    private func send(_ packet: String) throws(Interruption) { try channel.send(debuggerFrame(packet)) }

    private mutating func receive(until deadline: ContinuousClock.Instant) async throws(Interruption) -> String {
        let text = try await channel.take(through: UInt8(ascii: "#"), extra: 2, until: deadline)
        try channel.send("+")
        guard let start = text.firstIndex(of: "$") else { throw .malformed(text) }
        return String(text[text.index(after: start)...].dropLast(3))
    }
}

/// `$packet#checksum`.
func debuggerFrame(_ packet: String) -> String {
    let sum = packet.utf8.reduce(UInt8(0), &+)
    return "$\(packet)#" + (sum < 16 ? "0" : "") + String(sum, radix: 16)
}
