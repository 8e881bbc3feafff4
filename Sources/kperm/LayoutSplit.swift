// SPDX-License-Identifier: MIT

// `kperm layout --bits 32`: what a split wastes, and what a better one costs.

import AddressSpaces
import FoundationEssentials
import Report

struct SplitReport: Encodable {
    struct Figures: Encodable {
        let split: String
        let userMB: UInt64
        let linearMB: UInt64
        let vmallocMB: UInt64
        let takesTurns: Bool
        let kernelBytes: UInt64
        let wastedOfSpacePercent: Double
        let wastedOfVmallocPercent: Double
        let vmallocLeftBytes: UInt64
        let lowmemBytes: UInt64
        let highmemBytes: UInt64
        let switchesPerEntry: Double
        let cyclesPerEntry: Double
        let percentOfTime: Double

        init(_ split: AddressSplit, ram: UInt64, _ cost: SwitchCost) {
            self.split = split.name
            (userMB, linearMB, vmallocMB) = (split.user >> 20, split.linear >> 20, split.vmalloc >> 20)
            takesTurns = split.isSwitched
            kernelBytes = split.kernel
            wastedOfSpacePercent = split.wastedOfSpace
            wastedOfVmallocPercent = split.wastedOfVmalloc
            vmallocLeftBytes = split.vmallocLeft
            lowmemBytes = split.lowmem(ram: ram)
            highmemBytes = split.highmem(ram: ram)
            switchesPerEntry = split.isSwitched ? cost.switchesPerEntry : 0
            cyclesPerEntry = split.isSwitched ? cost.cyclesPerEntry : 0
            percentOfTime = split.isSwitched ? cost.percentOfTime : 0
        }
    }

    struct Place: Encodable {
        let region: String
        let first: String
        let last: String
    }

    struct Parameters: Encodable {
        let ramBytes: UInt64
        let cyclesPerSwitch: Double
        let refillCycles: Double
        let copiesPerEntry: Double
        let entriesPerSecond: Double
        let clockMHz: Double
        let source: String
    }

    /// Vmalloc wasted by size of the kernel, in percent.
    struct SizeRow: Encodable {
        let kernelMB: UInt64
        let wastedOfSpacePercent: Double
        /// By vmalloc's size in MB; none where the kernel does not fit.
        let wastedOfVmallocPercent: [String: Double]
    }

    let figures: Figures
    let regions: [Place]
    let parameters: Parameters
    var splits: [Figures]?
    var sizes: [SizeRow]?
}

extension AddressSplit {
    fileprivate var name: String {
        (isSwitched ? [user, vmalloc] : [user, linear, vmalloc]).map { "\($0 >> 20)" }.joined(separator: "/")
    }
}

extension LayoutCommand {
    /// Splits beside the one asked for: the mail's, ARM's (CONFIG_VMSPLIT_*, vmalloc's usual 240 MB), the proposal.
    private static let otherSplits: [[UInt64]] = [
        [3072, 768, 256], [3072, 784, 240], [2816, 1040, 240], [2048, 1808, 240], [1024, 2832, 240], [3840, 256],
    ]
    private static let kernelSizes: [UInt64] = [1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32]
    private static let vmallocSizes: [UInt64] = [128, 240, 256, 512, 1024]

    func runSplit() async throws {
        guard let split, let kernel = kernelSize?.bytes else { return }
        let asked = try make(try Self.parts(split), kernel)
        let ram = ram?.bytes ?? 1 << 30
        guard ram > kernel else {
            throw CommandFailure.input("--ram: \(bytesText(ram)) do not hold a kernel of \(bytesText(kernel))")
        }
        // What 32-bit processors address physically at most: 40 bits, by LPAE.
        guard ram <= 1 << 40 else { throw CommandFailure.input("--ram: \(bytesText(ram)): at most 1024G, by LPAE") }
        let cost = SwitchCost(
            cyclesPerSwitch: switchCycles ?? SwitchCost.usualCycles, refillCycles: refillCycles ?? 0,
            userCopies: copies ?? 1, entriesPerSecond: entries ?? 100_000, cyclesPerSecond: 1e6 * (clock ?? 1000))
        var report = SplitReport(
            figures: SplitReport.Figures(asked, ram: ram, cost),
            regions: asked.regions.map {
                SplitReport.Place(
                    region: $0.kind.rawValue, first: $0.range.lowerBound.hexadecimal.suffixText,
                    last: $0.range.upperBound.hexadecimal.suffixText)
            },
            parameters: SplitReport.Parameters(
                ramBytes: ram, cyclesPerSwitch: cost.cyclesPerSwitch, refillCycles: cost.refillCycles,
                copiesPerEntry: cost.userCopies, entriesPerSecond: cost.entriesPerSecond,
                clockMHz: cost.cyclesPerSecond / 1e6,
                source: switchCycles == nil ? SwitchCost.source : "--switch-cycles"))
        if sweep {
            report.splits = Self.otherSplits.compactMap { parts in
                let split = try? make(parts.map { $0 << 20 }, kernel)
                return split.map { SplitReport.Figures($0, ram: ram, cost) }
            }
            report.sizes = Self.kernelSizes.map { size in
                let wasted = Self.vmallocSizes.compactMap { vmalloc -> (String, Double)? in
                    let split = try? AddressSplit(
                        user: (3840 - vmalloc) << 20, linear: 256 << 20, vmalloc: vmalloc << 20, kernel: size << 20)
                    return split.map { ("\(vmalloc)", $0.wastedOfVmalloc) }
                }
                return SplitReport.SizeRow(
                    kernelMB: size, wastedOfSpacePercent: 100 * Double(size << 20) / Double(AddressSplit.spaceBytes),
                    wastedOfVmallocPercent: Dictionary(uniqueKeysWithValues: wasted))
            }
        }
        if let svg { try await draw(report, to: svg) }
        if json { try printJSON(report) } else { report.print(vmallocSizes: Self.vmallocSizes) }
    }

    private func make(_ parts: [UInt64], _ kernel: UInt64) throws -> AddressSplit {
        do {
            return parts.count == 2
                ? try AddressSplit(either: parts[0], vmalloc: parts[1], kernel: kernel)
                : try AddressSplit(user: parts[0], linear: parts[1], vmalloc: parts[2], kernel: kernel)
        } catch {
            throw CommandFailure.input("--split: \(error)")
        }
    }

    /// "3072/768/256": megabytes; other units by their letter.
    private static func parts(_ text: String) throws -> [UInt64] {
        let words = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (2...3).contains(words.count) else {
            throw CommandFailure.input(
                "--split \(text): give USER/LINEAR/VMALLOC, or EITHER/VMALLOC, in MB, as 3072/768/256")
        }
        return try words.map { word in
            let size = ByteSize(argument: word.last?.isNumber == true ? word + "M" : String(word))
            guard let size else { throw CommandFailure.input("--split \(text): '\(word)' is not a number of MB") }
            return size.bytes
        }
    }

    private func draw(_ report: SplitReport, to file: String) async throws {
        let sizes = report.sizes ?? []
        let series = Self.vmallocSizes.map { vmalloc in
            sizes.compactMap { row in
                row.wastedOfVmallocPercent["\(vmalloc)"].map { (x: Double(row.kernelMB), y: $0) }
            }
        }
        let plot = Plot(
            title: "", xLabel: "kernel, MB", yLabel: "vmalloc taken by the kernel, percent", series: series)
        let text: String
        do {
            text = try await Gnuplot.picture(plot, legend: Self.vmallocSizes.map { "vmalloc \($0) MB" })
        } catch {
            throw CommandFailure.input("\(error)")
        }
        do {
            try Data(text.utf8).write(to: URL(filePath: file), options: .atomic)
        } catch {
            throw CommandFailure.input("\(file): cannot write: \(error)")
        }
    }
}

extension SplitReport {
    func print(vmallocSizes: [UInt64]) {
        Swift.print("split:     \(figures.split) MB\(figures.takesTurns ? ", user space and linear map by turns" : "")")
        printTable(["region", "first", "last"], regions.map { [$0.region, $0.first, $0.last] }, leftColumns: 3)
        Swift.print(
            "wasted:    \(bytesText(figures.kernelBytes)) of kernel, mapped twice: "
                + "\(figures.wastedOfSpacePercent.text(2)) % of the address space, "
                + "\(figures.wastedOfVmallocPercent.text(2)) % of vmalloc, which keeps "
                + bytesText(figures.vmallocLeftBytes))
        Swift.print(
            "RAM:       \(bytesText(parameters.ramBytes)): lowmem \(bytesText(figures.lowmemBytes)), "
                + "highmem \(bytesText(figures.highmemBytes))")
        if figures.takesTurns {
            Swift.print(
                "switching: \(figures.switchesPerEntry.text(1)) switches an entry, \(figures.cyclesPerEntry.text(0)) "
                    + "cycles; at \(parameters.entriesPerSecond.text(0)) entries a second and "
                    + "\(parameters.clockMHz.text(0)) MHz \(figures.percentOfTime.text(2)) % of the time")
            Swift.print("           a switch: \(parameters.cyclesPerSwitch.text(0)) cycles, by \(parameters.source)")
        }
        if let splits {
            Swift.print("other splits, the same kernel and RAM:")
            printTable(
                ["split", "lowmem", "highmem", "% of space", "% of vmalloc", "vmalloc left", "% of time"],
                splits.map {
                    [
                        $0.split, bytesText($0.lowmemBytes), bytesText($0.highmemBytes),
                        $0.wastedOfSpacePercent.text(2), $0.wastedOfVmallocPercent.text(2),
                        bytesText($0.vmallocLeftBytes), $0.percentOfTime.text(2),
                    ]
                })
        }
        if let sizes {
            Swift.print("other kernels: percent of the address space, and of vmalloc by its size:")
            printTable(
                ["kernel", "% of space"] + vmallocSizes.map { "\($0) MB" },
                sizes.map { row in
                    ["\(row.kernelMB) MB", row.wastedOfSpacePercent.text(2)]
                        + vmallocSizes.map { row.wastedOfVmallocPercent["\($0)"]?.text(2) ?? "-" }
                })
        }
    }
}

extension String {
    /// The eight digits of a 32-bit address.
    fileprivate var suffixText: String { String(suffix(8)) }
}
