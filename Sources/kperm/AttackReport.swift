// SPDX-License-Identifier: MIT

// The boots of `kperm evaluate attack`, counted and held against the prediction.

import Addressing
import GuestCheck
import PagePermutation
import SecurityEvaluation

/// Attacks one boot after the other.
struct AttackRun {
    private let command: EvaluateAttack
    private let planned: PlannedAttack
    private var results: [AttackResult] = []

    init(_ command: EvaluateAttack, _ planned: PlannedAttack) {
        self.command = command
        self.planned = planned
    }

    private func introduce() {
        let target = planned.attack.target
        print("kernel:     \(planned.release), \(planned.isPermuted ? "permuted" : "not permuted")")
        print("attack:     \(planned.attack.words)")
        print("predicted:  \(AttackReport.percent(planned.attack.prediction)): \(planned.reason)")
        if !planned.attack.spreadsEvenly {
            print("note:       glued pages fit in fewer places, so this is an approximation")
        }
        print("target:     byte \(target.address.offsetInPage.hex) of its page, class \(planned.pageClass)")
    }

    mutating func attack(_ expectation: GuestExpectation, _ options: GuestOptions) async throws {
        let number = results.count + 1
        progress("boot \(number) of \(command.boots)")
        let result: AttackResult
        do {
            result = try await attackGuest(expectation, planned.attack, options: options) { progress("  \($0)") }
        } catch {
            throw CommandFailure.input("boot \(number): \(error)")
        }
        results.append(result)
        if command.json { return }
        if number == 1 { introduce() }
        let seen = result.seen.map { "userspace sees \($0)" } ?? "userspace said nothing"
        let detail = result.detail.map { ", \($0)" } ?? ""
        print("boot \(number): \(result.outcome.rawValue)\(detail); \(seen) (\(result.seconds.oneDecimal) s)")
        if let contradiction = result.contradiction { print("  CONTRADICTION: \(contradiction)") }
    }

    func finish() throws {
        let report = AttackReport(command.image, command.kind, planned, results)
        if command.json { try printJSON(report) } else { report.print() }
        let wrong = results.count { $0.contradiction != nil }
        if wrong > 0 {
            throw CommandFailure.check("\(command.image): \(wrong) of \(results.count) boots contradict themselves")
        }
        if report.chance < HitCount.unbelievable {
            throw CommandFailure.check(
                "\(command.image): \(report.hits) hits of \(results.count) are not what \(report.prediction) predicts")
        }
    }
}

struct AttackReport: Codable {
    let image: String
    /// Of the kernel; nil in what was printed before kperm named it.
    let release: String?
    let build: String?
    let kind: String
    let target: String
    /// Of the first byte that is written, as linked; nil with `release`.
    let address: String?
    let pageClass: String
    let isPermuted: Bool
    let frames: Int
    /// Whether the target's own page is one of those whose place is known; nil with `release`.
    let leaksTarget: Bool?
    let prediction: Double
    let predictionIsExact: Bool
    let boots: Int
    let hits: Int
    let crashed: Int
    let rate: Double
    let low: Double
    let high: Double
    let holdsPrediction: Bool
    /// Of so many hits or more, or so many or fewer, at the predicted rate.
    let chance: Double
    let secondsPerBoot: Double
    let results: [AttackResult]

    init(_ image: String, _ kind: EvaluateAttack.Kind, _ planned: PlannedAttack, _ results: [AttackResult]) {
        let count = HitCount(results.count { $0.outcome == .hit }, of: results.count)
        self.image = image
        release = planned.release
        build = planned.build
        self.kind = kind.rawValue
        target = planned.attack.target.name
        pageClass = planned.pageClass
        isPermuted = planned.isPermuted
        address = planned.attack.target.address.description
        frames = planned.attack.frames.count
        leaksTarget = planned.attack.leaksTarget
        prediction = planned.attack.prediction
        predictionIsExact = planned.attack.spreadsEvenly
        boots = results.count
        hits = count.hits
        crashed = results.count { $0.outcome == .crashed }
        rate = Double(count.hits) / Double(count.trials)
        (low, high) = (count.interval.lowerBound, count.interval.upperBound)
        holdsPrediction = count.interval.contains(prediction)
        chance = count.chance(at: prediction)
        secondsPerBoot = results.reduce(0) { $0 + $1.seconds } / Double(results.count)
        self.results = results
    }

    func print() {
        let interval = "\(Self.percent(low)) to \(Self.percent(high))"
        let verdict = holdsPrediction ? "holds the prediction" : "does not hold the prediction"
        Swift.print("hits:       \(hits) of \(boots), \(Self.percent(rate)); 95 % interval \(interval), \(verdict)")
        if crashed > 0 { Swift.print("crashed:    \(crashed) of the others") }
        Swift.print("seconds:    \(secondsPerBoot.oneDecimal) a boot")
    }

    /// With three decimals: a page of a class is one in thousands.
    static func percent(_ rate: Double) -> String {
        let thousandths = Int((rate * 1e5).rounded())
        let digits = String(thousandths % 1000)
        return "\(thousandths / 1000).\(String(repeating: "0", count: 3 - digits.count))\(digits) %"
    }
}

extension PlannedAttack {
    /// Where the prediction comes from.
    fileprivate var reason: String {
        let count = attack.frames.count
        if attack.method == .alias, attack.target.isReadOnly { return "the kernel's linear map has the page read-only" }
        if !isPermuted { return "a stock kernel lies as the public image says" }
        if count == 1 { return "the page is pinned" }
        let frames = "\(count) frames of class \(pageClass) may hold the page"
        return switch attack.method {
        case .blind, .alias: "1 of \(count): \(frames)"
        case .leak(let pages, includingTarget: false):
            "1 of \(count - pages): \(frames), \(pages) are known to hold others"
        case .leak(_, includingTarget: true): "the page's place is known"
        case .fingerprint(let reads): "\(reads) of \(count): \(frames), \(reads) are read"
        }
    }
}

extension Attack {
    var leaksTarget: Bool { if case .leak(_, includingTarget: true) = method { true } else { false } }

    var words: String {
        switch method {
        case .blind: "blind write to \(target.name)"
        case .alias: "write to \(target.name) through the linear map"
        case .leak(let pages, includingTarget: false): "guess where \(target.name) is, \(pages) other pages known"
        case .leak(let pages, includingTarget: true):
            "write to \(target.name), \(pages) pages known, its own among them"
        case .fingerprint(let reads): "read \(reads) frames and write to the one that holds \(target.name)"
        }
    }
}
