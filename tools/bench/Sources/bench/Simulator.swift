// SPDX-License-Identifier: MIT

// How fast a trace is simulated: the whole command, from the file to its report,
// in references a second of CPU time. The trace is synthetic, in the shape of a
// kernel's (SyntheticWorkload), always the same; what decompressing it costs, which
// depends on how well it compresses, is measured apart.

import TranslationSimulator

private let shortTrace = 20_000_000
private let longTrace = 100_000_000

private func writeTrace(_ path: String, _ references: Int, isCompressed: Bool) throws(TraceError) {
    var workload = SyntheticWorkload(seed: 1)
    var writer = try TraceWriter(path, workload.header, isCompressed: isCompressed)
    try workload.write(references, to: &writer)
}

func simulating(kperm: String, work: String) throws -> [Finding] {
    let (plain, short, long) = (work + "/plain.trace", work + "/short.trace", work + "/long.trace")
    try writeTrace(plain, shortTrace, isCompressed: false)
    try writeTrace(short, shortTrace, isCompressed: true)
    try writeTrace(long, longTrace, isCompressed: true)
    defer { for path in [plain, short, long] { remove(path) } }
    func costs(_ trace: String, _ options: [String], _ count: Int) throws(RunFailure) -> [Cost] {
        var costs: [Cost] = []
        for _ in 0..<count { costs.append(try run([kperm, "simulate", "run", trace, "--json"] + options)) }
        return costs
    }
    let million = Double(shortTrace) / 1e6
    func nanoseconds(_ costs: [Cost]) -> String { (costs.map(\.cpu).median * 1000 / million).rounded(1) }

    let one = try costs(plain, ["--no-caches", "--granules", "4K"], 11)
    let compressed = try costs(short, ["--no-caches", "--granules", "4K"], 11)
    let three = try costs(plain, ["--no-caches", "--granules", "2M,16K,4K"], 11)
    let cached = try costs(plain, ["--granules", "4K"], 5)
    let cachedThree = try costs(plain, ["--granules", "2M,16K,4K"], 5)
    let granule = (three.map(\.cpu).median - one.map(\.cpu).median) / 2 * 1000 / million
    let cachedGranule = (cachedThree.map(\.cpu).median - cached.map(\.cpu).median) / 2 * 1000 / million
    let peak = try costs(short, ["--no-caches"], 1)[0].peakMemory
    let peaks = try costs(long, ["--no-caches"], 3).map { Double($0.peakMemory) / Double(peak) }.sorted()
    return [
        Finding(
            claim: "simulate, Skylake, 4K", values: one.map { million / $0.cpu }.sorted(), unit: "M references/s",
            limit: 50, atLeast: true,
            note: "\(nanoseconds(one)) ns a reference, \(nanoseconds(compressed)) with zstd"),
        Finding(
            claim: "simulate, Skylake, 3 granules in one pass", values: three.map { million / $0.cpu }.sorted(),
            unit: "M references/s", limit: 50 / 3, atLeast: true,
            note: "\(nanoseconds(three)) ns a reference, \(granule.rounded(1)) ns for each further granule"),
        Finding(
            claim: "simulate, Skylake with caches, 4K", values: cached.map { million / $0.cpu }.sorted(),
            unit: "M references/s", limit: 10, atLeast: true,
            note: "\(nanoseconds(cached)) ns a reference, \(cachedGranule.rounded(1)) ns for each further granule"),
        Finding(
            claim: "simulate, peak memory of \(longTrace / 1_000_000) against \(shortTrace / 1_000_000) M references",
            values: peaks, unit: "x", limit: 1.05, note: "\((Double(peak) / 1e6).rounded(1)) MB"),
    ]
}
