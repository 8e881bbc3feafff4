// SPDX-License-Identifier: MIT

// The claims about speed and memory, each measured against its limit. Where
// the limit is a ratio, the two programs run in turn, A B A B, in the same
// run, and the ratio is taken of each pair: what else the machine does then
// hits both alike. `tools/bench/run` builds everything and calls this.

import Addressing
import Glibc
import PagePermutation
import SecureRandom
import TranslationSimulator

/// One measured claim.
struct Finding {
    let claim: String
    /// In ascending order; the middle one counts.
    let values: [Double]
    let unit: String
    /// What the middle value must not exceed, or, if `atLeast`, must reach.
    let limit: Double
    var atLeast = false
    /// What was measured beside it.
    var note = ""

    var median: Double { values[values.count / 2] }
    var holds: Bool { atLeast ? median >= limit : median <= limit }

    var row: String {
        let range = "\(values[0].rounded(2)) to \(values[values.count - 1].rounded(2))"
        let bound = "\(atLeast ? "at least" : "at most") \(limit.rounded(2)) \(unit)"
        let verdict = holds ? "holds" : "MISSED"
        return "| \(claim) | \(median.rounded(2)) \(unit) | \(range) | \(bound) | \(verdict) | \(note) |"
    }
}

extension Double {
    func rounded(_ digits: Int) -> String {
        let scale = pow(10, Double(digits))
        return "\((self * scale).rounded() / scale)"
    }
}

extension [Double] {
    var median: Double { sorted()[count / 2] }
}

/// Runs two programs in turn and keeps what each cost. Both write `output`, which is gone before each run, since
/// replacing a file costs the time of freeing the old one.
func pairs(_ count: Int, _ first: [String], _ second: [String], output: String) throws(RunFailure) -> [(Cost, Cost)] {
    func fresh(_ command: [String]) throws(RunFailure) -> Cost {
        remove(output)
        return try run(command)
    }
    // Reads the programs and their inputs into memory.
    for _ in 0..<3 { _ = try (fresh(first), fresh(second)) }
    var costs: [(Cost, Cost)] = []
    for _ in 0..<count { costs.append(try (fresh(first), fresh(second))) }
    return costs
}

func ratio(_ claim: String, _ costs: [(Cost, Cost)], limit: Double) -> Finding {
    Finding(
        claim: claim, values: costs.map { $0.0.cpu / $0.1.cpu }.sorted(), unit: "x", limit: limit,
        note: "\((costs.map(\.0.cpu).median * 1000).rounded(1)) against "
            + "\((costs.map(\.1.cpu).median * 1000).rounded(1)) ms of CPU time")
}

/// The time in milliseconds of drawing a permutation of 16,384 pages in one class.
func drawing(_ count: Int) throws -> Finding {
    let pages = 16_384
    let problem = try PermutationProblem(
        pageCount: pages, classes: [PageClass(name: "all", ranges: [0..<pages])])
    var times: [Double] = []
    for _ in 0..<count {
        let seed = try Seed.random()
        let start = ContinuousClock.now
        let drawn = try Permutation.draw(problem, seed: seed)
        times.append((ContinuousClock.now - start) / .milliseconds(1))
        precondition(drawn.forward.count == pages)
    }
    return Finding(claim: "draw 16,384 pages", values: times.sorted(), unit: "ms", limit: 1)
}

/// What looking an address up costs, as ratios within a run: of a table of as many pages as the cloud kernel's.
func lookups(_ count: Int) throws -> [Finding] {
    let pages = 10_288
    let problem = try PermutationProblem(pageCount: pages, classes: [PageClass(name: "all", ranges: [0..<pages])])
    var runs: [[LookupCheck]] = []
    var numbers: [Double] = []
    for _ in 0..<count {
        let seed = try Seed.random()
        let table = TranslationTable(
            try Permutation.draw(problem, seed: seed), virtualBase: VirtualAddress(0xffff_ffff_8100_0000),
            physicalBase: PhysicalAddress(0x100_0000))
        let bench = try LookupBench(table, clock: TickClock(), seed: seed)
        let patterns = try AccessPattern.all(LookupBench.patternLength, of: pages, seed: seed)
        for pattern in patterns where pattern.name == "uniform" {
            let timings = try bench.measureSteady(pattern, .quick)
            func time(_ strategy: String) -> LookupTiming? {
                timings.first { $0.strategy == strategy && $0.kind == .throughput && $0.caches == .warm }
            }
            if let flat = time("flat table, 32-bit"), let linear = time("linear offset") {
                numbers.append(flat.ratio(to: linear))
            }
            runs.append(LookupCheck.all(timings, try bench.compareWithC(pattern, .quick)))
        }
    }
    return runs[0].indices.map { i in
        let check = runs[0][i]
        return Finding(
            claim: check.claim, values: runs.map { $0[i].ratio }.sorted(), unit: "x", limit: check.limit,
            atLeast: check.atLeast,
            note: check.claim.contains("against the linear offset")
                ? "as numbers of 32 bits, the form that an image carries: \(numbers.median.rounded(2)) x"
                : "random pages, caches warm")
    }
}

func size(of path: String) throws(RunFailure) -> Double {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { throw RunFailure(description: "\(path): \(errorText(errno))") }
    return Double(status.st_size)
}

func measure(kperm: String, stripped: String, debug: String, work: String) throws -> [Finding] {
    let out = work + "/out"
    let copy = { (image: String) in ["cp", "--reflink=never", image, out] }
    let permute = { (image: String, encoding: String) in
        [kperm, "permute", image, "-o", out, "--encoding", encoding]
    }
    let objcopy = ["objcopy", stripped, out]
    var findings: [Finding] = []

    for (encoding, limit) in [("segments", 2.0), ("contents", 3.0)] {
        let againstCopy = try pairs(41, permute(stripped, encoding), copy(stripped), output: out)
        findings.append(ratio("permute, \(encoding), against cp", againstCopy, limit: limit))
        let againstObjcopy = try pairs(9, permute(stripped, encoding), objcopy, output: out)
        findings.append(ratio("permute, \(encoding), against objcopy", againstObjcopy, limit: 1))
        let bytes = try size(of: stripped)
        findings.append(
            Finding(
                claim: "permute, \(encoding), peak memory against the file",
                values: againstCopy.map { Double($0.0.peakMemory) / bytes }.sorted(), unit: "x", limit: 1.5))
    }
    findings.append(
        ratio(
            "permute with debug sections against cp",
            try pairs(5, permute(debug, "segments"), copy(debug), output: out), limit: 2))

    for (name, image, count) in [("", stripped, 15), (" with debug sections", debug, 5)] {
        let bytes = try size(of: image)
        remove(out)
        _ = try run(permute(image, "segments"))
        _ = try run([kperm, "verify", image, out])
        var speeds: [Double] = []
        for _ in 0..<count { speeds.append(bytes / 1e9 / (try run([kperm, "verify", image, out])).elapsed) }
        findings.append(
            Finding(claim: "verify\(name)", values: speeds.sorted(), unit: "GB/s", limit: 1, atLeast: true))
    }
    remove(out)
    findings.append(try drawing(101))
    findings += try lookups(11)
    findings += try simulating(kperm: kperm, work: work)
    findings += try evaluating()
    return findings
}

@main
enum Bench {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count == 5 else {
            print("usage: bench KPERM STRIPPED-VMLINUX DEBUG-VMLINUX WORK-DIRECTORY")
            exit(2)
        }
        do {
            let findings = try measure(
                kperm: arguments[1], stripped: arguments[2], debug: arguments[3], work: arguments[4])
            print("| Claim | Median | Range | Limit | | Measured |\n|---|---:|---:|---:|---|---|")
            for finding in findings { print(finding.row) }
            exit(findings.allSatisfy(\.holds) ? 0 : 1)
        } catch {
            print("bench: \(error)")
            exit(2)
        }
    }
}
