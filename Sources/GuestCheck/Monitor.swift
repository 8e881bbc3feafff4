// SPDX-License-Identifier: MIT

// QEMU's machine protocol: one JSON object a line. kperm needs little of it,
// to stop the guest and to ask the human monitor about registers and memory.

import FoundationEssentials

struct Monitor: ~Copyable {
    private var channel: Channel

    /// Takes the greeting, which comes only when QEMU has accepted its options and the kernel.
    init(_ channel: consuming Channel, until deadline: ContinuousClock.Instant) async throws(Interruption) {
        self.channel = channel
        _ = try await self.channel.take(through: UInt8(ascii: "\n"), until: deadline)
        _ = try await execute(#"{"execute":"qmp_capabilities"}"#, until: deadline)
    }

    mutating func stop(until deadline: ContinuousClock.Instant) async throws(Interruption) {
        _ = try await execute(#"{"execute":"stop"}"#, until: deadline)
    }

    /// Lets a stopped guest run on.
    mutating func resume(until deadline: ContinuousClock.Instant) async throws(Interruption) {
        _ = try await execute(#"{"execute":"cont"}"#, until: deadline)
    }

    /// A human monitor command; gives the text it prints.
    mutating func ask(_ line: String, until deadline: ContinuousClock.Instant) async throws(Interruption) -> String {
        let command = #"{"execute":"human-monitor-command","arguments":{"command-line":"\#(line)"}}"#
        return try await execute(command, until: deadline)
    }

    /// Notices that QEMU has gone.
    mutating func stillThere() throws(Interruption) { try channel.pull() }

    private mutating func execute(
        _ command: String, until deadline: ContinuousClock.Instant
    ) async throws(Interruption) -> String {
        try channel.send(command + "\n")
        while true {
            let line = try await channel.take(through: UInt8(ascii: "\n"), until: deadline)
            guard let message = try? JSONDecoder().decode(Message.self, from: Data(line.utf8)) else {
                throw .malformed(line)
            }
            if message.event != nil { continue }
            if let failure = message.error { throw .malformed(failure.desc) }
            return message.text ?? ""
        }
    }
}

private struct Message: Decodable {
    struct Failure: Decodable { var desc: String }
    var event: String?
    var error: Failure?
    var text: String?

    enum CodingKeys: String, CodingKey {
        case event, error
        case text = "return"
    }

    init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        event = try fields.decodeIfPresent(String.self, forKey: .event)
        error = try fields.decodeIfPresent(Failure.self, forKey: .error)
        text = try? fields.decodeIfPresent(String.self, forKey: .text)
    }
}
