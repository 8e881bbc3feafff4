// SPDX-License-Identifier: MIT

// What `kperm simulate dma` says of transfers, as JSON and as text.

import Addressing
import TranslationSimulator

struct DMAReport: Encodable {
    let file: String
    let totals: TransferTotals
    let transfers: [TransferReport]
    let problems: [ProblemReport]
}

/// A line of the list that was skipped.
struct ProblemReport: Encodable {
    let line: Int
    let problem: String

    init(_ problem: TransferList.Problem) {
        line = problem.line
        self.problem = problem.what
    }
}

struct TransferReport: Encodable {
    struct Run: Encodable {
        let address: String
        let physical: String?
        let bytes: UInt64
    }

    /// A part that one segment gets wrong.
    struct Miss: Encodable {
        /// Counted from the transfer's beginning.
        let offset: UInt64
        let bytes: UInt64
        /// Where it should go.
        let physical: String?
        /// Where the device goes.
        let touched: String?
        /// What is there; none outside the image.
        let address: String?
        let object: String?

        init(_ victim: Victim, _ transfer: Transfer) {
            offset = victim.stray.address - transfer.address
            bytes = victim.stray.byteCount
            physical = victim.stray.physical?.description
            touched = victim.touched?.description
            address = victim.address?.description
            if let object = victim.object, let name = object.name, let address = victim.address {
                let distance = address - object.range.lowerBound
                self.object = distance == 0 ? name : "\(name)+\(distance.hex)"
            } else {
                object = nil
            }
        }
    }

    let line: Int
    let what: String
    let address: String
    let bytes: UInt64
    let direction: Transfer.Direction
    let place: DMAEngine.Place
    let segments: Int
    let wrongBytes: UInt64
    /// The first ones.
    let runs: [Run]
    let misses: [Miss]

    init(
        _ entry: TransferList.Entry, _ engine: DMAEngine, limit: Int, name: (VirtualAddress) -> NamedStretch
    ) {
        let transfer = entry.transfer
        let outcome = engine.outcome(of: transfer)
        line = entry.line
        what = entry.text
        address = transfer.address.description
        bytes = transfer.byteCount
        direction = transfer.direction
        place = outcome.place
        segments = outcome.segments
        wrongBytes = outcome.wrongBytes
        let isKnown = outcome.place != .outside
        runs = engine.runs(of: transfer, atMost: limit).map {
            Run(
                address: $0.address.description, physical: isKnown ? $0.physical?.description : nil,
                bytes: $0.byteCount)
        }
        misses =
            outcome.wrongBytes == 0
            ? [] : engine.victims(of: transfer, atMost: limit, name: name).map { Miss($0, transfer) }
    }

    func print() {
        let way = [.to: "to the device", .from: "from the device", .both: "both ways"][direction] ?? ""
        let place = what == address ? address : "\(what) (\(address))"
        let verdict =
            switch self.place {
            case .outside: "outside the image, taken as linear: 1 segment"
            case .partly, .inside:
                (self.place == .partly ? "partly outside the image; " : "")
                    + (segments == 1 ? "1 segment" : "\(segments) segments")
                    + (wrongBytes == 0 ? "" : "; as one, \(wrongBytes) bytes are wrong")
            }
        Swift.print("line \(line): \(place), \(bytes) bytes \(way): \(verdict)")
        let verb = [.to: "reads", .from: "overwrites", .both: "reads and overwrites"][direction] ?? ""
        for miss in misses {
            let victim = miss.object ?? (miss.address == nil ? "memory outside the image" : "nothing with a name")
            let there = miss.address.map { "\(victim) (\($0))" } ?? victim
            Swift.print(
                "  \(miss.bytes) bytes from byte \(miss.offset) on: \(verb) \(there) at \(miss.touched ?? "no address")"
                    + (miss.physical.map { " instead of \($0)" } ?? ""))
        }
        let told = misses.reduce(0) { $0 + $1.bytes }
        if told < wrongBytes { Swift.print("  … \(wrongBytes - told) bytes more") }
    }
}

struct TransferTotals: Encodable {
    private(set) var transfers = 0
    private(set) var outside = 0
    private(set) var wrong = 0
    /// Stops at the largest number there is.
    private(set) var wrongBytes: UInt64 = 0
    private(set) var segments = 0
    let skippedLines: Int

    init(skipped: Int) { skippedLines = skipped }

    mutating func add(_ report: TransferReport) {
        transfers += 1
        if report.place == .outside { outside += 1 }
        if report.wrongBytes > 0 { wrong += 1 }
        let (sum, overflow) = wrongBytes.addingReportingOverflow(report.wrongBytes)
        wrongBytes = overflow ? .max : sum
        segments += report.segments
    }

    func print() {
        Swift.print(
            "transfers: \(transfers), \(wrong) wrong as one segment (\(wrongBytes) bytes), \(outside) outside the "
                + "image; a correct mapping has \(segments) segments"
                + (skippedLines > 0 ? "; skipped: \(skippedLines) lines" : ""))
    }
}
