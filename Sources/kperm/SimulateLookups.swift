// SPDX-License-Identifier: MIT

import ArgumentParser
import TranslationSimulator

struct SimulateLookups: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lookups",
        abstract: "How often a kernel translates addresses, by place, for each system call and second.",
        discussion: """
            COUNTS is what `tools/trace WORKLOAD -o X.kpt` writes beside a trace, X.json: how often each place that turns \
            an address into a physical one ran in the whole workload. Of each kind, and of the places that ran most \
            often, it prints how often that is for each system call, and for each second.

              image     an address of the image, known only as the kernel runs: what a table would be asked for
              linear    an address of the linear map, which stays an addition
              unclear   either of the two: at most so many more of the image
              constant  an address of an object of the image; kperm pins its page, and nothing is looked up
              reverse   a physical address, turned into one of the image
              offset    the offset alone, for what else it may serve

            A second is one of the guest's clock. It ran in QEMU without hardware acceleration, at one instruction a \
            nanosecond, so a second is a thousand million instructions, user mode among them, idle time left out; on a \
            processor that executes twice as many a second, double the rates. A system call is one of x86-64's \
            `syscall` instruction; what no system call asked for (interrupts, kernel threads) is shared out among them.

            With --audit, the record of `kperm boot --audit --json` of the same kernel: the objects whose addresses a \
            place was seen to translate. It is another run: what it did not reach it does not name, and it notes no \
            addresses of the linear map.

              kperm simulate lookups Tests/Fixtures/traces/fork.json
              kperm boot --audit vmlinux --json > audit.json && kperm simulate lookups fork.json --audit audit.json
            """)

    @Argument(help: "Counts, as tools/trace writes them.", completion: .file())
    var counts: String

    @Option(help: "What `kperm boot --audit --json` printed.", completion: .file())
    var audit: String?

    @Option(help: ArgumentHelp("List so many places.", valueName: "n"))
    var places = 12

    @Flag(help: "Print JSON, with all places.")
    var json = false

    func run() throws {
        guard places >= 0 else { throw ValidationError("--places takes a number, not \(places)") }
        do {
            let limit = 1 << 26
            let counts = try TranslationCounts(json: readAll(counts, atMost: limit), file: counts)
            let seen = try audit.map { try AuditRecord.decoded(json: readAll($0, atMost: limit), file: $0) }
            let report = LookupReport(file: self.counts, counts, seen)
            if json { try printJSON(report) } else { report.print(places) }
        } catch let error as ModelError {
            throw CommandFailure.input("\(error)")
        }
    }
}

/// What of the record of `kperm boot --audit` says which addresses a place translates.
struct AuditRecord: Decodable {
    struct Translations: Decodable {
        let entries: [Entry]
    }

    struct Entry: Decodable {
        /// Places, as counts call them.
        let sites: [String]
        let object: String
        let count: Int
    }

    let translations: Translations
}

/// Rates of translations.
struct LookupReport: Encodable {
    struct Rate: Encodable {
        let executions: Int
        /// Nil where there was no system call.
        let perSystemCall: Double?
        let perSecond: Double
    }

    struct Kind: Encodable {
        let translates: String
        let places: Int
        let rate: Rate
    }

    struct Place: Encodable {
        let address: String
        let place: String
        let translates: String
        let rate: Rate
        /// Of the image; nil without the record of an audit.
        let objects: [String]?
    }

    let file: String
    let workload: String
    let release: String
    let buildID: String
    let kernelInstructions: Int
    let userInstructions: Int
    let instructionsPerSecond: Int
    let seconds: Double
    let systemCalls: Int
    let kinds: [Kind]
    /// The most frequent first.
    let places: [Place]

    init(file: String, _ counts: TranslationCounts, _ audit: AuditRecord?) {
        func rate(_ executions: Int) -> Rate {
            let times = Double(executions)
            return Rate(
                executions: executions,
                perSystemCall: counts.systemCalls > 0 ? (times / Double(counts.systemCalls)).toDigits(6) : nil,
                perSecond: (times / counts.seconds).toDigits(3))
        }
        self.file = file
        workload = counts.workload
        release = counts.release
        buildID = counts.buildID
        kernelInstructions = counts.kernelInstructions
        userInstructions = counts.userInstructions
        instructionsPerSecond = counts.instructionsPerSecond
        seconds = counts.seconds.toDigits(6)
        systemCalls = counts.systemCalls
        kinds = TranslationCounts.Kind.allCases.map { kind in
            Kind(
                translates: kind.rawValue, places: counts.sites.count { $0.translates == kind },
                rate: rate(counts.executions(kind)))
        }
        places = counts.sites.sorted { ($1.executions, $0.address) < ($0.executions, $1.address) }.map { site in
            Place(
                address: site.address, place: site.place, translates: site.translates.rawValue,
                rate: rate(site.executions),
                objects: audit.map { record in
                    Set(record.translations.entries.filter { $0.sites.contains(site.place) }.map(\.object)).sorted()
                })
        }
    }

    func print(_ count: Int) {
        Swift.print("workload:  \(workload), Linux \(release), \(systemCalls) system calls")
        Swift.print(
            "           \(kernelInstructions) instructions in the kernel, \(userInstructions) outside; a second is "
                + "\(instructionsPerSecond) of them")
        var rows = [["", "places", "times", "a system call", "a second"]]
        func cells(_ rate: Rate) -> [String] {
            ["\(rate.executions)", rate.perSystemCall.map { $0.fixed(3) } ?? "-", rate.perSecond.oneDecimal]
        }
        for kind in kinds { rows.append([kind.translates, "\(kind.places)"] + cells(kind.rate)) }
        rows.append([""])
        for place in places.prefix(count) {
            rows.append([place.place, place.translates] + cells(place.rate) + [place.seen])
        }
        let widths = (0..<5).map { column in rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
        for row in rows {
            let line = row.enumerated().map { column, cell in
                let pad = String(repeating: " ", count: column < 5 ? widths[column] - cell.count : 0)
                return column < 2 || column == 5 ? cell + pad : pad + cell
            }
            Swift.print(("  " + line.joined(separator: "  ")).trimmingEnd())
        }
        if places.count > count { Swift.print("  and \(places.count - count) places more (--places)") }
    }
}

extension LookupReport.Place {
    /// Some of the objects, in words.
    fileprivate var seen: String {
        guard let objects, translates == "image" || translates == "unclear" else { return "" }
        if objects.isEmpty { return "not seen by the audit" }
        let rest = objects.count > 3 ? ", and \(objects.count - 3) more" : ""
        return objects.prefix(3).joined(separator: ", ") + rest
    }
}

extension String {
    fileprivate func trimmingEnd() -> String {
        String(self[..<(lastIndex { $0 != " " }.map(index(after:)) ?? startIndex)])
    }
}
