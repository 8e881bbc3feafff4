// SPDX-License-Identifier: MIT

// The two looks from outside. Each walks the guest's page tables itself, goes
// to the memory they lead to, and holds both against the table and the bytes
// that the image was loaded with. The guest is stopped meanwhile and is not
// asked.

import Addressing
import PagePermutation

/// Collects failures of one check: all are counted, the first are told.
private struct Findings {
    private(set) var count = 0
    private(set) var examples: [String] = []

    mutating func add(_ text: @autoclosure () -> String, count: Int = 1) {
        self.count += count
        if examples.count < 20 { examples.append(text()) }
    }

    func check(_ name: String, passed: String, failed: String) -> GuestResult.Check {
        GuestResult.Check(
            name: name, outcome: count == 0 ? .pass : .fail, detail: count == 0 ? passed : "\(count) \(failed)",
            examples: examples)
    }
}

extension GuestExpectation {
    private func address(of page: Int) -> VirtualAddress { table.virtualBase + UInt64(page * pageSize) }

    /// Just after the stub: every page, every byte.
    func lookAtStub(
        _ tables: PageTables, _ memory: borrowing GuestMemory
    ) -> (look: GuestResult.Look, checks: [GuestResult.Check]) {
        var look = GuestResult.Look(name: "stub", cpus: 1)
        let demanded = pages.indices.filter { pages[$0] != .unmapped }
        let checks = [
            compareMapping("stub-mapping", demanded, [tables], memory, &look),
            compareBytes("stub-bytes", demanded, mayDifferAtStub, tables, memory, &look),
        ]
        return (look, checks)
    }

    /// At userspace: what the running kernel must have kept, on each CPU (at least one).
    func lookAtUserspace(
        _ roots: [PageTables], _ memory: borrowing GuestMemory, name: String = "userspace"
    ) -> (look: GuestResult.Look, checks: [GuestResult.Check]) {
        var look = GuestResult.Look(name: name, cpus: roots.count)
        var tables: [PageTables] = []
        for root in roots { tables.append(root.kernelRoot(topLevel: topLevelPageTable, in: memory)) }
        let mapped = pages.indices.filter { [.text, .rodata, .data, .bss].contains(pages[$0]) }
        let constant = pages.indices.filter { [.text, .rodata].contains(pages[$0]) }
        var checks = [
            compareMapping("\(name)-mapping", mapped, tables, memory, &look),
            compareBytes("\(name)-bytes", constant, patchSites, tables[0], memory, &look),
        ]
        if tables[0].format == .riscv { checks.append(comparePaging(tables)) }
        if protectsItself {
            checks.append(compareRights(mapped, tables, memory))
            checks.append(searchAliases(tables[0], memory))
        }
        return (look, checks)
    }

    private func comparePaging(_ tables: [PageTables]) -> GuestResult.Check {
        let modes = Set(tables.map { "Sv\(12 + 9 * $0.levels)" }).sorted().joined(separator: ", ")
        let isDemanded = tables.allSatisfy { $0.levels == demandedLevels ?? $0.levels }
        return GuestResult.Check(
            name: "paging-mode", outcome: isDemanded ? .pass : .fail, detail: "\(modes) on \(tables.count) CPUs")
    }

    private func compareMapping(
        _ name: String, _ demanded: [Int], _ tables: [PageTables], _ memory: borrowing GuestMemory,
        _ look: inout GuestResult.Look
    ) -> GuestResult.Check {
        var findings = Findings()
        look.mappedPages = demanded.count
        for (cpu, tables) in tables.enumerated() {
            for page in demanded {
                let expected = table.physicalBase + UInt64(table.forward[page]) * UInt64(pageSize)
                let found = tables.translate(address(of: page), in: memory)?.physical
                if found != expected {
                    let found = found.map { "is at \($0)" } ?? "is not mapped"
                    findings.add("page \(page) (\(address(of: page))) \(found), the table says \(expected)")
                }
                if cpu == 0, let found, found != table.physicalBase + UInt64(page * pageSize) { look.movedPages += 1 }
            }
        }
        return findings.check(
            name, passed: "\(demanded.count) pages as the table says, \(look.movedPages) of them moved",
            failed: "pages are not where the table says")
    }

    private func compareBytes(
        _ name: String, _ demanded: [Int], _ excused: [Range<VirtualAddress>], _ tables: PageTables,
        _ memory: borrowing GuestMemory, _ look: inout GuestResult.Look
    ) -> GuestResult.Check {
        var findings = Findings()
        for page in demanded {
            let start = address(of: page)
            guard let physical = tables.translate(start, in: memory)?.physical else {
                findings.add("\(start) is not mapped")
                continue
            }
            look.comparedPages += 1
            let expected = contents(Page(page))
            if memory.holds(expected, at: physical) == true { continue }
            guard let found = memory.bytes(at: physical, count: expected.count) else {
                findings.add("\(start) leads to \(physical), which is no memory")
                continue
            }
            let different = found.indices.filter { found[$0] != expected[$0] }
            let unexplained = different.filter { !excused.holds(start + UInt64($0)) }
            look.explainedBytes += different.count - unexplained.count
            look.unexplainedBytes += unexplained.count
            for run in consecutive(unexplained) {
                let (there, wanted) = (found[run].prefix(16), expected[run].prefix(16))
                findings.add(
                    "\(start + UInt64(run.lowerBound)): \(run.count) bytes, \(hexadecimal(there)), the image has \(hexadecimal(wanted))",
                    count: run.count)
            }
        }
        return findings.check(
            name, passed: "\(look.comparedPages) pages equal, \(look.explainedBytes) bytes changed where they may",
            failed: "bytes differ with no reason")
    }

    private func compareRights(
        _ demanded: [Int], _ tables: [PageTables], _ memory: borrowing GuestMemory
    ) -> GuestResult.Check {
        var findings = Findings()
        for tables in tables {
            for page in demanded {
                guard let found = tables.translate(address(of: page), in: memory) else { continue }
                let kind = pages[page]
                if found.writable && (kind == .text || kind == .rodata) {
                    findings.add("\(kind) page \(page) (\(address(of: page))) is writable")
                }
                if found.executable && kind != .text {
                    findings.add("\(kind) page \(page) (\(address(of: page))) is executable")
                }
            }
        }
        return findings.check(
            "rights", passed: "no text or rodata page is writable, only text is executable",
            failed: "pages have rights they must not have")
    }

    /// Other addresses of the kernel's that show text or rodata.
    private func searchAliases(_ tables: PageTables, _ memory: borrowing GuestMemory) -> GuestResult.Check {
        let aliases = aliases(tables, memory)
        return GuestResult.Check(
            name: "aliases", outcome: aliases.wide == 0 ? .pass : .fail,
            detail: aliases.wide == 0
                ? "\(aliases.seen) other mappings of text and rodata, none writable or executable"
                : "\(aliases.wide) other mappings of text and rodata are writable or executable",
            examples: aliases.examples)
    }
}

/// Ascending numbers as ranges without holes.
func consecutive(_ numbers: [Int]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for number in numbers {
        if let last = runs.last, last.upperBound == number {
            runs[runs.count - 1] = last.lowerBound..<number + 1
        } else {
            runs.append(number..<number + 1)
        }
    }
    return runs
}

private func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
}

extension [Range<VirtualAddress>] {
    /// Whether one of these ascending ranges holds `address`.
    func holds(_ address: VirtualAddress) -> Bool {
        var low = startIndex
        var high = endIndex
        while low < high {
            let middle = (low + high) / 2
            if self[middle].upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low < endIndex && self[low].contains(address)
    }
}
