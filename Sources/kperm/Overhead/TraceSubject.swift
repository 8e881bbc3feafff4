// SPDX-License-Identifier: MIT

// A trace that a report is made from, and how often the kernel translated while it
// was recorded: from what tools/trace counted beside it, or from the trace.

import Addressing
import FoundationEssentials
import Glibc
import KernelImage
import KernelRewrite
import PagePermutation
import Report
import TranslationSimulator

struct TraceSubject {
    /// What tools/trace writes beside a trace.
    struct Counts: Decodable {
        struct Site: Decodable {
            let place: String
            let translates: String
            let executions: Int
        }

        let workload: String
        let buildID: String
        let kernelInstructions: Int
        let userInstructions: Int
        let instructionsPerSecond: Double
        let systemCalls: Int
        let image: Int
        let linear: Int
        let unclear: Int
        let constant: Int
        let sites: [Site]
    }

    let path: String
    let header: TraceHeader
    let counts: Counts?
    /// The workload's, unless two traces have the same.
    let name: String

    init(_ path: String, among all: [String]) throws {
        self.path = path
        do {
            header = try TraceReader(path).header
            let workloads = try all.map { try TraceReader($0).header.workload }
            let isAlone = !header.workload.isEmpty && workloads.count { [header] in $0 == header.workload } == 1
            name = isAlone ? header.workload : path
        } catch { throw CommandFailure.input("\(error)") }
        guard all.count(where: { $0 == path }) == 1 else { throw CommandFailure.input("\(path): given twice") }
        let beside = (path.hasSuffix(".kpt") ? String(path.dropLast(4)) : path) + ".json"
        guard unsafe access(beside, F_OK) == 0 else {
            counts = nil
            return
        }
        let counts: Counts
        do { counts = try JSONDecoder().decode(Counts.self, from: Data(try readAll(beside))) } catch let error
            as DecodingError
        {
            throw CommandFailure.input(
                "\(beside): not what tools/trace counts beside \(path): \(Self.what(error)); move it away to count in the trace"
            )
        }
        guard counts.workload == header.workload, counts.buildID == header.buildID.hexadecimal else {
            throw CommandFailure.input(
                "\(beside): counts of workload \(counts.workload), build id \(counts.buildID), but \(path) is of "
                    + "\(header.workload), \(header.buildID.hexadecimal)")
        }
        let numbers = [
            counts.kernelInstructions, counts.userInstructions, counts.systemCalls, counts.image, counts.linear,
            counts.unclear, counts.constant,
        ]
        guard numbers.allSatisfy({ (0..<1 << 53).contains($0) }), counts.instructionsPerSecond > 0,
            counts.kernelInstructions > 0
        else { throw CommandFailure.input("\(beside): damaged: a count is negative, absurd or zero") }
        self.counts = counts
    }

    private static func what(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, _): "no \(key.stringValue)"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "\(context.codingPath.map(\.stringValue).joined(separator: ".")): not a value of its kind"
        default: "damaged JSON"
        }
    }

    /// Refuses a trace of another kernel.
    func check(against subject: KernelSubject) throws {
        let map = subject.analysis.map
        if let id = subject.buildID, !header.buildID.isEmpty, id != header.buildID {
            throw CommandFailure.input(
                "\(path): at byte 48 of the uncompressed trace: build id \(header.buildID.hexadecimal): recorded from "
                    + "another kernel than \(subject.path), whose build id is \(id.hexadecimal)")
        }
        guard header.pageCount == map.pageCount else {
            throw CommandFailure.input(
                "\(path): its image has \(header.pageCount) pages, and \(subject.path) has \(map.pageCount): recorded from "
                    + "another kernel")
        }
        guard (header.virtualBase.rawValue ^ map.virtualBase.rawValue) & (1 << 21 - 1) == 0 else {
            throw CommandFailure.input(
                "\(path): its image is at \(header.virtualBase), and \(subject.path) is linked at \(map.virtualBase): KASLR "
                    + "moves in steps of 2M, so it was recorded from another kernel")
        }
        let linear = AddressSpace().linearMap
        let gigabyte: UInt64 = 1 << 30
        guard
            header.virtualBase.rawValue + header.imageBytes <= linear.lowerBound.rawValue
                || header.virtualBase.rawValue & ~(gigabyte - 1) >= linear.upperBound.rawValue
        else { throw CommandFailure.input("\(path): its image lies within the linear map") }
    }

    /// The image's layouts: 2M as the kernel is, then each granule's orders.
    func layouts(_ subject: KernelSubject) throws -> [Layout] {
        let physical = subject.analysis.map.physicalBase
        var layouts: [Layout]
        do {
            layouts = [
                try Layout(blocksOf: header.pageCount, virtualBase: header.virtualBase, physicalBase: physical)
            ]
        } catch { throw CommandFailure.input("\(subject.path): \(error)") }
        for orders in subject.orders {
            layouts += orders.drawn.map {
                Layout(
                    name: orders.granule.rawValue, forward: $0.forward, virtualBase: header.virtualBase,
                    physicalBase: physical)
            }
        }
        return layouts
    }

    /// The rate of tools/trace's guests, for traces without counts.
    private static let instructionsPerSecond = 1e9

    /// How often the kernel translated.
    func workload(_ totals: TraceTotals, _ subject: KernelSubject) throws -> OverheadReport.Workload {
        guard totals.instructions > 0 else { throw CommandFailure.input("\(path): no instruction was executed in it") }
        let file = lastComponent(path)
        if let counts {
            return OverheadReport.Workload(
                trace: file, name: name, counted: "the whole workload", references: totals.references,
                instructions: counts.kernelInstructions, userInstructions: counts.userInstructions,
                instructionsPerSecond: counts.instructionsPerSecond, systemCalls: counts.systemCalls,
                image: counts.image, linear: counts.linear, constants: counts.constant, unclear: counts.unclear,
                sites: counts.sites.filter { $0.executions > 0 }.map {
                    OverheadReport.Site(place: $0.place, translates: $0.translates, executions: $0.executions)
                })
        }
        let slide = header.virtualBase.rawValue &- subject.analysis.map.virtualBase.rawValue
        var sums: [KernelSubject.TranslationCount: Int] = [:]
        var sites: [OverheadReport.Site] = []
        for (address, executions) in zip(header.sites, totals.siteExecutions) where executions > 0 {
            let linked = VirtualAddress(address.rawValue &- slide)
            guard let site = subject.sites[linked] else {
                throw CommandFailure.input(
                    "\(path): \(subject.path) translates nothing at \(linked), which the trace names: recorded from another "
                        + "kernel")
            }
            sums[site.translates, default: 0] += executions
            sites.append(
                OverheadReport.Site(
                    place: site.place, translates: site.translates.rawValue, executions: executions))
        }
        return OverheadReport.Workload(
            trace: file, name: name, counted: "the trace", references: totals.references,
            instructions: Int(totals.instructions), userInstructions: 0,
            instructionsPerSecond: Self.instructionsPerSecond, systemCalls: totals.systemCalls,
            image: sums[.image] ?? 0, linear: nil, constants: sums[.constant] ?? 0, unclear: sums[.unclear] ?? 0,
            sites: sites.sorted { $0.executions > $1.executions })
    }
}
