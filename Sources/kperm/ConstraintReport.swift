// SPDX-License-Identifier: MIT

// Pins and glue as they are printed, each with the bits that it costs: by
// `permute` of what holds for a permutation, by `audit` of what it asks for.

import FoundationEssentials
import HazardAudit
import KernelImage
import KernelRewrite
import PagePermutation

/// What holds for a permutation, and what it costs.
struct EntropyReport: Encodable {
    struct Constraint: Encodable {
        let first: Int
        let last: Int
        let reason: String
        let evidence: String?
        let cost: [ClassEntropy]

        init(_ pages: Range<Int>, _ reason: String, _ evidence: String?, _ cost: [ClassEntropy]) {
            first = pages.lowerBound
            last = pages.upperBound - 1
            self.reason = reason
            self.evidence = evidence
            self.cost = cost.map(\.rounded)
        }

        func print() {
            let shown = evidence.map { " [\($0)]" } ?? ""
            Swift.print("  pages \(first)-\(last): \(reason)\(shown): \(cost.costs)")
        }
    }

    /// What is left.
    let left: [ClassEntropy]
    /// The kernel's own pins, all together, against none.
    let costOfKernel: [ClassEntropy]
    /// What was asked for besides, all together, against the kernel's own.
    let costOfRequest: [ClassEntropy]
    /// Each of the kernel's own against none; when the plan is printed in full.
    let kernel: [Constraint]?
    /// Each that was asked for, against the kernel's own.
    let pins: [Constraint]
    let glue: [Constraint]

    init(_ problem: PermutationProblem, _ analysis: KernelAnalysis, _ request: Request, complete: Bool) throws {
        do {
            let free = try problem.withoutConstraints()
            let bare = try free.with(pins: analysis.pins)
            left = problem.entropy.map(\.rounded)
            costOfKernel = bare.entropyLost(since: free).map(\.rounded)
            costOfRequest = problem.entropyLost(since: bare).map(\.rounded)
            kernel =
                complete
                ? analysis.pins.map {
                    Constraint($0.pages, $0.reason, $0.evidence, free.entropyLost(adding: $0))
                } : nil
            pins = request.pins.map {
                Constraint($0.pages, $0.reason, $0.evidence, bare.entropyLost(adding: $0))
            }
            glue = try request.glue.map {
                Constraint(
                    $0.pages, $0.reason, nil, try bare.with(pins: [], glue: [$0]).entropyLost(since: bare))
            }
        } catch {
            throw CommandFailure.input("\(error)")
        }
    }

    func print() {
        Swift.print(
            "entropy:   bits of a page's place and of the order of all; lost by pins, and by what was asked for")
        for one in left {
            let lost = [costOfKernel, costOfRequest].map { lost in
                lost.first { $0.name == one.name }.map(\.bits) ?? "nothing"
            }
            Swift.print("  \(one.name): \(one.bits); lost \(lost[0]), \(lost[1])")
        }
        Swift.print("pins:")
        for one in (kernel ?? []) + pins { one.print() }
        if !glue.isEmpty { Swift.print("glue:") }
        for one in glue { one.print() }
    }
}

extension ClassEntropy {
    var bits: String { "\(target.decimals(4)) and \(joint.decimals(1))" }
}

extension [ClassEntropy] {
    /// What a constraint costs, in words.
    var costs: String {
        if isEmpty { return "costs nothing" }
        let parts = map { "\($0.target.decimals(4)) bits of \($0.name) (\($0.joint.decimals(1)) of its order)" }
        return "costs " + parts.joined(separator: ", ")
    }
}

extension Double {
    /// With so many decimals, rounded.
    func decimals(_ count: Int) -> String {
        let scale = (0..<count).reduce(1) { number, _ in number * 10 }
        let whole = Int((magnitude * Double(scale)).rounded())
        let rest = String(whole % scale)
        let sign = self < 0 && whole > 0 ? "-" : ""
        return "\(sign)\(whole / scale)." + String(repeating: "0", count: count - rest.count) + rest
    }
}

extension AuditConstraints {
    /// As options of `permute`.
    func printOptions() {
        if isEmpty {
            print("asks of permute: nothing besides what it pins by itself")
            return
        }
        print("asks of permute (--audit full adds these): \((cost ?? []).costs)")
        for (option, constraints) in [("--pin", pins), ("--glue", glue)] {
            for one in constraints {
                print("  \(option) \(one.pages)")
                print("    \(one.object ?? "-"): \(one.reason ?? "-") [\(one.evidence ?? "-")]")
                print("    \((one.cost ?? []).costs)")
            }
        }
    }

    /// Reads what `kperm audit --json` printed of one kernel, or its `constraints` alone.
    static func read(_ path: String) throws -> AuditConstraints {
        struct Report: Decodable {
            let constraints: AuditConstraints?
        }
        let file: MappedFile
        do { file = try MappedFile.open(path) } catch { throw CommandFailure.input("\(error)") }
        guard file.byteCount < 64 << 20 else { throw CommandFailure.input("\(path): too long for constraints") }
        let bytes = unsafe file.bytes.withUnsafeBytes { unsafe Data($0) }
        if let found = (try? JSONDecoder().decode(Report.self, from: bytes))?.constraints { return found }
        if let found = try? JSONDecoder().decode(AuditConstraints.self, from: bytes) { return found }
        throw CommandFailure.input("\(path): holds no constraints: give what `kperm audit --json` prints of one kernel")
    }
}
