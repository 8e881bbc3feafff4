// SPDX-License-Identifier: MIT

// A device with one segment, in cases small enough to work out by hand, and
// against a model that goes byte by byte.

import Addressing
import PagePermutation
import TestSupport
import Testing

@testable import TranslationSimulator

private let base = VirtualAddress(0xffff_ffff_8100_0000)
private let frames = PhysicalAddress(0x100_0000)

func makeTable(
    _ order: [UInt32], at virtual: VirtualAddress = base, _ physical: PhysicalAddress = frames
) throws -> TranslationTable {
    let problem = try PermutationProblem(
        pageCount: order.count, classes: [PageClass(name: "all", ranges: [0..<order.count])])
    return TranslationTable(
        try Permutation(forward: order, for: problem), virtualBase: virtual, physicalBase: physical)
}

private func transfer(_ offset: Int64, _ count: UInt64) throws -> Transfer {
    try #require(
        Transfer(
            address: VirtualAddress(base.rawValue &+ UInt64(bitPattern: offset)), byteCount: count, direction: .from))
}

struct DMAEngineTests {
    /// Pages 0 and 1 trade places; 2 and 3 go together, to the end; 4 and 5 come before them.
    private let engine: DMAEngine

    init() throws { engine = try #require(DMAEngine(makeTable([1, 0, 4, 5, 2, 3]))) }

    @Test(
        arguments: [
            (0x000, 4096, 1, 0),  // one page
            (0xfff, 1, 1, 0),
            (0xfff, 2, 2, 1),  // its last byte and the next page's first
            (0xf00, 512, 2, 256),
            (0x2f00, 512, 1, 0),  // glued
            (0x1f00, 0x1200, 2, 0x1100),  // all but the first 256 bytes
            (0x000, 0x6000, 4, 0x5000),  // no page but the first
            (0x2000, 0x3000, 2, 0x1000),
        ] as [(Int64, UInt64, Int, UInt64)])
    func inside(offset: Int64, count: UInt64, segments: Int, wrong: UInt64) throws {
        let outcome = engine.outcome(of: try transfer(offset, count))
        #expect(outcome == DMAEngine.Outcome(place: .inside, segments: segments, wrongBytes: wrong))
    }

    /// Where neighbours trade places, every other page lies where a device goes that began with one of them.
    @Test(
        arguments: [
            (0x000, 0x3000, 3, 0x1000), (0x000, 0x6000, 6, 0x3000), (0xf00, 0x1200, 3, 0x1000),
            (0x1f00, 0x2200, 4, 0x1100),
        ] as [(Int64, UInt64, Int, UInt64)])
    func comesBackToTheTransfer(offset: Int64, count: UInt64, segments: Int, wrong: UInt64) throws {
        let engine = try #require(DMAEngine(makeTable([1, 0, 3, 2, 5, 4])))
        let outcome = engine.outcome(of: try transfer(offset, count))
        #expect(outcome == DMAEngine.Outcome(place: .inside, segments: segments, wrongBytes: wrong))
    }

    /// Who begins where the page would be unpermuted is right in pages that did not move, and nowhere else.
    @Test(
        arguments: [
            (0x000, 16, 1, 16), (0x2000, 0x1000, 1, 0), (0x1f00, 512, 2, 256), (0x0ff0, 0x3020, 5, 0x2020),
            (-0x10, 0x20, 2, 0x10),
        ] as [(Int64, UInt64, Int, UInt64)])
    func linearStart(offset: Int64, count: UInt64, segments: Int, wrong: UInt64) throws {
        let engine = try #require(DMAEngine(makeTable([1, 0, 2, 4, 3]), start: .linear))
        let outcome = engine.outcome(of: try transfer(offset, count))
        #expect(outcome.segments == segments && outcome.wrongBytes == wrong)
    }

    @Test func identityNeedsOneSegment() throws {
        let engine = try #require(DMAEngine(makeTable([0, 1, 2, 3])))
        for (offset, count) in [(0, 0x4000), (-0x1000, 0x6000), (-0x8000_0000, 0x9000_0000)] as [(Int64, UInt64)] {
            let outcome = engine.outcome(of: try transfer(offset, count))
            #expect(outcome.segments == 1 && outcome.wrongBytes == 0)
        }
    }

    @Test func saysWhereTheTransferLies() throws {
        let image = 0x6000 as Int64
        let cases: [(Int64, UInt64, DMAEngine.Place)] = [
            (-4096, 4096, .outside), (-4096, 4097, .partly), (image - 1, 1, .inside), (image - 1, 2, .partly),
            (image, 1, .outside), (-1, 0x6002, .partly),
        ]
        for (offset, count, place) in cases {
            #expect(engine.outcome(of: try transfer(offset, count)).place == place, "\(offset) \(count)")
        }
        #expect(engine.outcome(of: try transfer(image, 1 << 20)).wrongBytes == 0)
        // The last page of the image lies in frame 3; what follows it does not.
        let leaving = engine.outcome(of: try transfer(image - 16, 4096))
        #expect(leaving == DMAEngine.Outcome(place: .partly, segments: 2, wrongBytes: 4080))
    }

    @Test func namesWhatIsHit() throws {
        let names = { (address: VirtualAddress) in
            let half = VirtualAddress(address.rawValue & ~0x7ff)
            return NamedStretch(name: "object \((half - base) / 0x800)", range: half..<half + 0x800)
        }
        let both = try transfer(0xf00, 0x1000)
        // Behind frame 1, page 0's, comes frame 2, page 4's.
        let victims = engine.victims(of: both, atMost: 8, name: names)
        #expect(victims.map(\.object?.name) == ["object 8", "object 9"])
        #expect(victims.map(\.stray.byteCount) == [0x800, 0x700])
        #expect(victims.map(\.stray.address) == [base + 0x1000, base + 0x1800])
        #expect(victims.map(\.stray.physical) == [frames, frames + 0x800])
        #expect(victims.map(\.touched) == [frames + 0x2000, frames + 0x2800])
        #expect(victims.map(\.address) == [base + 0x4000, base + 0x4800])
        #expect(engine.victims(of: both, atMost: 1, name: names) == Array(victims.prefix(1)))
        #expect(engine.victims(of: try transfer(0x2000, 0x2000), atMost: 8, name: names).isEmpty)

        // Behind the last frame, page 3's, comes memory that is nobody's.
        let beyond = engine.victims(of: try transfer(0x3ff0, 32), atMost: 8, name: names)
        #expect(beyond.map(\.object) == [nil] && beyond.map(\.touched) == [frames + 0x6000])
        // A name that does not cover its address stops nothing.
        let nonsense = NamedStretch(name: "elsewhere", range: base..<base + 1)
        #expect(engine.victims(of: both, atMost: 8) { _ in nonsense }.map(\.stray.byteCount) == [0xf00])
    }

    @Test func hugeTransfersCostNothing() throws {
        let all = try #require(Transfer(address: VirtualAddress(0), byteCount: .max, direction: .both))
        let outcome = engine.outcome(of: all)
        #expect(outcome == DMAEngine.Outcome(place: .partly, segments: 6, wrongBytes: 0x6000))
        let end = try #require(
            Transfer(address: base + 0x5000, byteCount: 0 &- (base.rawValue + 0x5000), direction: .to))
        #expect(end.last.rawValue == .max)
        #expect(engine.outcome(of: end).wrongBytes == end.byteCount - 0x1000)
        #expect(engine.strays(of: end, atMost: 100).reduce(0) { $0 + $1.run.byteCount } == end.byteCount - 0x1000)
        #expect(Transfer(address: base, byteCount: 0, direction: .to) == nil)
        #expect(Transfer(address: VirtualAddress(.max), byteCount: 2, direction: .to) == nil)
        #expect(Transfer(address: VirtualAddress(.max), byteCount: 1, direction: .to) != nil)
    }

    @Test(
        arguments: [
            (0x1001, 0x1000), (0x1000, 0x1001), (0xffff_ffff_ffff_f000, 0x1000), (0x1000, 0xffff_ffff_ffff_f000),
        ] as [(UInt64, UInt64)])
    func tablesThatDoNotFit(virtual: UInt64, physical: UInt64) throws {
        #expect(DMAEngine(try makeTable([1, 0], at: VirtualAddress(virtual), PhysicalAddress(physical))) == nil)
    }

    /// Each byte by itself: where it lies, and where the device goes.
    @Test func agreesWithBytes() throws {
        var random = TestRandom()
        for round in 0..<30 {
            let pages = Int.random(in: 1...12, using: &random)
            var order = (0..<UInt32(pages)).map { $0 }
            // Some orders keep long runs, and some have few shifts.
            if round % 3 == 0 {
                let cut = Int.random(in: 0..<pages, using: &random)
                order = Array(order[cut...] + order[..<cut])
            } else if round % 3 == 1 {
                order.shuffle(using: &random)
            } else {
                for page in stride(from: 0, to: pages - 1, by: 2) where Int.random(in: 0..<4, using: &random) > 0 {
                    order.swapAt(page, page + 1)
                }
            }
            let table = try makeTable(order)
            let isLinear = Bool.random(using: &random)
            let engine = try #require(DMAEngine(table, start: isLinear ? .linear : .table))
            for _ in 0..<8 {
                let offset = Int64.random(in: -9000...Int64(pages * 4096 + 9000), using: &random)
                let wanted = try transfer(offset, UInt64.random(in: 1...12000, using: &random))
                let model = Model(table, wanted, isLinear)
                let outcome = engine.outcome(of: wanted)
                let note = TestRandom.comment("\(order) \(wanted)")
                #expect(outcome.segments == model.runs.count, note)
                #expect(outcome.wrongBytes == UInt64(model.wrong.count), note)
                let runs = engine.runs(of: wanted, atMost: .max)
                #expect(runs.map(\.physical) == model.runs.map { PhysicalAddress($0) }, note)
                #expect(runs.reduce(0) { $0 + $1.byteCount } == wanted.byteCount, note)

                var strayed: [UInt64: UInt64] = [:]
                for stray in engine.strays(of: wanted, atMost: .max) {
                    for byte in 0..<stray.run.byteCount {
                        strayed[stray.run.address.rawValue + byte] = stray.touched.map { $0.rawValue + byte }
                        let victim = stray.touched.flatMap { table.virtualAddress(of: $0 + byte) }
                        #expect(victim == stray.victim.map { $0 + byte }, note)
                    }
                }
                #expect(strayed == model.wrong, note)
            }
        }
    }

    private struct Model {
        /// Where each run begins.
        var runs: [UInt64] = []
        /// Where the device goes, for each address for which that is wrong.
        var wrong: [UInt64: UInt64] = [:]

        init(_ table: TranslationTable, _ transfer: Transfer, _ isLinear: Bool) {
            func linear(_ address: VirtualAddress) -> UInt64 {
                address.rawValue &- table.virtualBase.rawValue &+ table.physicalBase.rawValue
            }
            func truth(_ address: VirtualAddress) -> UInt64 {
                table.physicalAddress(of: address)?.rawValue ?? linear(address)
            }
            let start = isLinear ? linear(transfer.address) : truth(transfer.address)
            for i in 0..<transfer.byteCount {
                let here = truth(transfer.address + i)
                if i == 0 || here != truth(transfer.address + (i - 1)) &+ 1 { runs.append(here) }
                if here != start + i { wrong[(transfer.address + i).rawValue] = start + i }
            }
        }
    }
}
