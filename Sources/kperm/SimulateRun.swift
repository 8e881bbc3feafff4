// SPDX-License-Identifier: MIT

import Addressing
import ArgumentParser
import KernelImage
import KernelRewrite
import PagePermutation
import SecureRandom
import TranslationSimulator

struct SimulateRun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Lead a trace of a kernel past the caches of a processor, with each granule.",
        discussion: """
            TRACE is what a kernel fetched, read and wrote. Its image is laid out once for each granule, and all \
            layouts are simulated in one pass: 2M is the kernel as it is, in its linear order in blocks of 2M; 64K, \
            16K and 4K are permuted in pieces of that size and mapped in single pages, which the processor takes as \
            one where it can (Zen 3 coalesces 16K; Neoverse N1 takes 16K and 64K by contpte; Skylake and U74 do not).

            For each granule: misses of the first-level translation buffers (iTLB, dTLB), walks (misses of the second \
            level, too) and how many of them were for the image, entries of page tables that walks read, cycles that \
            walks took, each for 1000 instructions, and how much slower than with the first granule that makes the \
            kernel. That last number is an estimate, at the upper end: walks, and hits in the second level, are taken \
            to hold up everything, and an instruction to cost without them what the model says.

              kperm simulate trace.zst --model zen3
              kperm simulate run trace.zst --model all --table vmlinux.kperm
              kperm simulate run trace.zst --granules 2M,4K --no-caches --json

            --table gives a permutation that was drawn: OUT, or its table. It stands for its own \
            granule; the others are drawn from --seed, in one class of all pages.

            Memory outside the image is laid out as x86-64 does without KASLR: record traces with nokaslr, or say \
            where the linear map was (--linear-map). It is mapped by --linear-mapping, all else in single pages.

            Buffers and caches are empty when a trace begins, and of a short one that is most of what is counted: with             --warm-up N the first N references fill them and are not counted.

            With --no-caches an entry of a page table costs what the model says (walkReference), and the simulation \
            takes a fraction of the time.
            """)

    @Argument(help: "A trace.", completion: .file())
    var trace: String

    @Option(help: "A permuted image, or a translation table as `kperm table` writes it.", completion: .file())
    var table: String?

    @Option(
        help: "\(ProcessorModel.known.map(\.name).joined(separator: ", ")), all of them, or a file.",
        completion: .file())
    var model = "skylake"

    @Option(help: "Granules, separated by commas: 2M, 64K, 16K, 4K.")
    var granules = "2M,64K,16K,4K"

    @Option(help: "64 hexadecimal digits to draw permutations from; no secret here.")
    var seed = String(repeating: "0", count: 64)

    @Option(help: ArgumentHelp("Where all memory shows in order, in whole gigabytes.", valueName: "start..end"))
    var linearMap: String?

    @Option(help: ArgumentHelp("How the linear map is mapped: 4K, 2M or 1G.", valueName: "size"))
    var linearMapping = "2M"

    @Option(help: ArgumentHelp("References at the beginning that are not counted.", valueName: "n"))
    var warmUp = 0

    @Flag(inversion: .prefixedNo, help: "Simulate caches, too.")
    var caches = true

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let names = model == "all" ? ProcessorModel.known.map(\.name) : [model]
        let models = try names.map { try kperm.model(named: $0) }
        let granules = try parsedGranules()
        let space = try parsedSpace()
        guard warmUp >= 0 else { throw ValidationError("--warm-up takes a number of references, not \(warmUp)") }
        do {
            var reader = try TraceReader(trace)
            let header = reader.header
            if let obstacle = space.obstacle(toImageAt: header.virtualBase, bytes: header.imageBytes) {
                throw CommandFailure.input("\(trace): at byte 16 of the uncompressed trace: \(obstacle)")
            }
            let (layouts, sources) = try layouts(granules, header)
            var simulation = Simulation(
                models: models, layouts: layouts, space: space, withCaches: caches, sites: header.sites.count)
            var batch = TraceBatch()
            var isWarm = warmUp == 0
            var told = ContinuousClock.now
            while try reader.next(&batch) {
                do { try simulation.consume(batch) } catch {
                    throw TraceError(trace, at: reader.offset, "cannot be simulated: \(error)")
                }
                if !isWarm, simulation.totals.references >= warmUp {
                    simulation.forgetCounts()
                    isWarm = true
                }
                if ContinuousClock.now - told > .seconds(2) {
                    told = .now
                    progress("\(trace): \(Int(reader.progress * 100)) %, \(simulation.totals.references) references")
                }
            }
            guard simulation.totals.references > 0 || warmUp == 0, isWarm else {
                throw CommandFailure.input("\(trace): no more than --warm-up \(warmUp) references")
            }
            let report = SimulationReport(
                trace: trace, header, simulation.totals, simulation.results, names: names, models: models,
                layouts: layouts, sources: sources, command: self)
            if json { try printJSON(report) } else { report.print() }
        } catch let error as TraceError {
            throw CommandFailure.input("\(error)")
        }
    }

    private func parsedGranules() throws -> [Granule] {
        var found: [Granule] = []
        for name in granules.split(separator: ",") {
            guard let granule = Granule(rawValue: String(name)), !found.contains(granule) else {
                throw ValidationError("--granules takes each of 2M, 64K, 16K, 4K once, not '\(granules)'")
            }
            found.append(granule)
        }
        guard !found.isEmpty else { throw ValidationError("--granules takes at least one of 2M, 64K, 16K, 4K") }
        return found
    }

    private func parsedSpace() throws -> AddressSpace {
        guard let mapping = MappingSize(name: linearMapping), [.size4K, .size2M, .size1G].contains(mapping) else {
            throw ValidationError("--linear-mapping takes 4K, 2M or 1G, not '\(linearMapping)'")
        }
        guard let linearMap else { return AddressSpace(linearMapping: mapping) }
        let ends = linearMap.split(separator: "..", omittingEmptySubsequences: false).map { parseNumber($0) }
        guard ends.count == 2, let start = ends[0], let end = ends[1], start < end, (start | end) & (1 << 30 - 1) == 0,
            start >> 63 == 1
        else {
            throw ValidationError(
                "--linear-map takes START..END in the kernel's half, both multiples of 0x40000000, not '\(linearMap)'")
        }
        return AddressSpace(linearMap: VirtualAddress(start)..<VirtualAddress(end), linearMapping: mapping)
    }

    /// What each layout's order comes from.
    private func layouts(_ granules: [Granule], _ header: TraceHeader) throws -> ([Layout], [String]) {
        let table = try table.map { try translationTable($0, fitting: trace, header) }
        let within = header.virtualBase.rawValue & (1 << 21 - 1)
        let physical = table?.physicalBase ?? PhysicalAddress(0x100_0000 + within)
        let tableGranule = table.map { Self.granule(of: $0.forward) }
        if let tableGranule, !granules.contains(tableGranule) {
            throw CommandFailure.input(
                "\(self.table ?? ""): its granule is \(tableGranule.rawValue), which --granules leaves out")
        }
        var layouts: [Layout] = []
        var sources: [String] = []
        for granule in granules {
            if granule == .page2M {
                do {
                    layouts.append(
                        try Layout(
                            blocksOf: header.pageCount, virtualBase: header.virtualBase, physicalBase: physical))
                } catch { throw CommandFailure.input("\(trace): \(error); leave 2M out of --granules") }
                sources.append("linear")
                continue
            }
            let isTable = granule == tableGranule
            let forward = isTable ? table?.forward ?? [] : try drawn(granule, header.pageCount)
            layouts.append(
                Layout(
                    name: granule.rawValue, forward: forward, virtualBase: header.virtualBase, physicalBase: physical))
            sources.append(isTable ? "table" : "drawn")
        }
        return (layouts, sources)
    }

    private func drawn(_ granule: Granule, _ pages: Int) throws -> [UInt32] {
        do {
            let all = PageClass(name: "all", ranges: [0..<pages])
            let problem = try PermutationProblem(pageCount: pages, classes: [all], granule: granule)
            return try Permutation.draw(problem, seed: try Seed.parse(hexadecimal: seed)).forward
        } catch {
            throw CommandFailure.input("--seed: \(error)")
        }
    }

    /// The largest pieces that stayed together; those at the end that are not whole stay where they were.
    private static func granule(of forward: [UInt32]) -> Granule {
        for granule in [Granule.page64K, .page16K] {
            let size = granule.pages
            let isWhole = stride(from: 0, to: forward.count, by: size).allSatisfy { first in
                let end = min(first + size, forward.count)
                return Int(forward[first]) % size == 0
                    && (first..<end).allSatisfy { forward[$0] == forward[first] + UInt32($0 - first) }
            }
            if isWhole { return granule }
        }
        return .page4K
    }
}
