// SPDX-License-Identifier: MIT

// Results of attacks, as `kperm evaluate attack --json` printed them, held against
// the kernel that a report is of: target, class, frames, place in the page and
// prediction must be what its plan gives, and the kernel's name, where the file has
// it. Files of one attack are added up; the same boots are not counted twice.

import Addressing
import FoundationEssentials
import GuestCheck
import KernelImage
import KernelRewrite
import Report
import SecurityEvaluation

struct AttackFiles {
    private struct File {
        let path: String
        let report: AttackReport
    }

    private var files: [File] = []

    /// - Throws: `CommandFailure` for a file that is none, or does not agree with itself, or comes twice.
    init(_ paths: [String]) throws {
        for path in paths {
            let report = try Self.read(path)
            if let problem = report.problem { throw CommandFailure.input("\(path): \(problem)") }
            if let twin = files.first(where: { $0.report.results == report.results }) {
                throw CommandFailure.input("\(path): the same boots as \(twin.path): give them once")
            }
            files.append(File(path: path, report: report))
        }
    }

    private static func read(_ path: String) throws -> AttackReport {
        let bytes = try readAll(path, atMost: 1 << 26)
        do { return try JSONDecoder().decode(AttackReport.self, from: Data(bytes)) } catch {
            throw CommandFailure.input("\(path): not what kperm evaluate attack --json prints")
        }
    }

    /// One for each attack: stock kernels first, blind writes before others.
    ///
    /// - Throws: `CommandFailure` for a file that is not of this kernel and plan.
    func attacks(of subject: borrowing EvaluationSubject) throws -> [SecurityReport.Attack] {
        var groups: [(planned: PlannedAttack, files: [File])] = []
        for file in files {
            let same = groups.firstIndex { $0.files[0].report.isSameAttack(as: file.report) }
            let planned = try same.map { groups[$0].planned } ?? Self.planned(file, in: subject)
            try Self.check(file, against: planned, subject)
            if let same { groups[same].files.append(file) } else { groups.append((planned, [file])) }
        }
        let kinds = EvaluateAttack.Kind.allCases.map(\.rawValue)
        return [false, true].flatMap { isPermuted in
            kinds.flatMap { kind in
                groups.filter {
                    $0.files[0].report.isPermuted == isPermuted && $0.files[0].report.kind == kind
                }.map(Self.attack)
            }
        }
    }

    private static func attack(_ planned: PlannedAttack, _ files: [File]) -> SecurityReport.Attack {
        let first = files[0].report
        let results = files.flatMap(\.report.results)
        func count(_ outcome: AttackResult.Outcome) -> Int { results.count { $0.outcome == outcome } }
        return SecurityReport.Attack(
            kind: first.kind, words: planned.attack.words, target: first.target, pageClass: first.pageClass,
            isPermuted: first.isPermuted, frames: first.frames, leaked: first.leaked, reads: first.reads,
            prediction: planned.attack.prediction, isExact: planned.attack.spreadsEvenly,
            count: HitCount(count(.hit), of: results.count), crashed: count(.crashed), refused: count(.refused),
            notFound: count(.notFound), contradictions: results.count { $0.contradiction != nil },
            secondsPerBoot: results.reduce(0) { $0 + $1.seconds } / Double(results.count),
            files: files.map { lastComponent($0.path) }, namesKernel: files.allSatisfy { $0.report.release != nil })
    }

    /// The same attack, as this kernel's plan has it.
    private static func planned(_ file: File, in subject: borrowing EvaluationSubject) throws -> PlannedAttack {
        let (path, report) = (file.path, file.report)
        guard let kind = EvaluateAttack.Kind(rawValue: report.kind) else {
            throw CommandFailure.input("\(path): an attack of kind \(report.kind), which this kperm does not know")
        }
        /// By its symbol, else where the file says it is.
        let places =
            [nil] + [report.address.flatMap { parseNumber($0) }.map { VirtualAddress($0) }].filter { $0 != nil }
        var failure: (any Error)?
        for aim in kind.aim.map({ [$0] }) ?? AttackAim.allCases {
            for place in places {
                let way = AttackWay(
                    kind: kind, aim: aim, leaked: report.leaked, leaksTarget: report.knowsTarget, reads: report.reads,
                    address: place)
                do {
                    let planned = try PlannedAttack(
                        way, in: subject.kernel, subject.analysis, report.isPermuted ? subject.problem : nil)
                    if planned.attack.target.name == report.target { return planned }
                } catch {
                    failure = failure ?? error
                }
            }
        }
        let why = (failure as? CommandFailure)?.message ?? "\(subject.kernel.path) has no such target"
        throw CommandFailure.input("\(path): attack \(report.kind) on \(report.target) does not fit: \(why)")
    }

    private static func check(
        _ file: File, against planned: PlannedAttack, _ subject: borrowing EvaluationSubject
    ) throws {
        let (report, attack, image) = (file.report, planned.attack, subject.kernel.path)
        func refuse(_ its: String, _ here: String) -> CommandFailure {
            CommandFailure.input("\(file.path): \(its); in \(image) \(here): of another kernel or plan")
        }
        if let release = report.release, release != planned.release || report.build != planned.build {
            throw refuse(
                "of Linux \(release), \(report.build ?? "no build")",
                "it is \(planned.release), \(planned.build ?? "no build")")
        }
        guard report.pageClass == planned.pageClass, report.frames == attack.frames.count else {
            throw refuse(
                "\(report.target) is in one of \(report.frames) frames of class \(report.pageClass)",
                "in one of \(attack.frames.count) of \(planned.pageClass)")
        }
        let address = attack.target.address
        let offsets = Set(report.results.compactMap(\.offsetInFrame))
        guard report.address.map({ $0 == address.description }) ?? true, offsets.isSubset(of: [address.offsetInPage])
        else {
            let its = report.address ?? "byte \(offsets.sorted().map(\.hex).joined(separator: ", ")) of a page"
            throw refuse("\(report.target) is at \(its)", "at \(address)")
        }
        guard abs(report.prediction - attack.prediction) < 1e-9 else {
            throw refuse("it works with a chance of \(report.prediction)", "of \(attack.prediction)")
        }
    }
}

extension AttackReport {
    fileprivate var leaked: Int { results.first?.leaked ?? 0 }
    fileprivate var reads: Int { results.first?.reads ?? 0 }

    /// Whether the target's own page is one of those whose place is known; before files said so, nothing else was left
    /// to guess then.
    fileprivate var knowsTarget: Bool { leaksTarget ?? (leaked > 0 && results.first?.frames != frames - leaked) }

    fileprivate func isSameAttack(as other: AttackReport) -> Bool {
        kind == other.kind && target == other.target && isPermuted == other.isPermuted && leaked == other.leaked
            && reads == other.reads && knowsTarget == other.knowsTarget
            && (address == nil || other.address == nil || address == other.address)
    }

    /// What the file says of itself and cannot be.
    fileprivate var problem: String? {
        let counted = results.count { $0.outcome == .hit }
        guard boots == results.count, hits == counted, let first = results.first else {
            return
                "\(hits) hits of \(boots), but its boots say \(counted) of \(results.count): changed since it was printed"
        }
        let isOne = results.allSatisfy {
            $0.target == target && $0.leaked == first.leaked && $0.reads == first.reads && $0.frames == first.frames
        }
        return isOne ? nil : "its boots are not all of one attack: changed since it was printed"
    }
}
