// SPDX-License-Identifier: MIT

// Debian's vmlinuz made to permute itself: what it then says of itself, that it
// is proved, and that the proof sees each byte which is not what the plan says.

import Addressing
import Foundation
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import KernelRewrite

@Suite(.serialized, .enabled(if: !DebianVmlinuz.isOffline, "KPERM_OFFLINE is set"))
struct BootPlanTests {
    @Test(arguments: When.allCases) func saysWhatWasAsked(when: When) throws {
        let made = try DebianVmlinuz.made(when)
        let request = try #require(DebianVmlinuz.requests[when])
        let kernel = try CompressedKernel.open(made.permuted)
        let manifest = try #require(try kernel.manifest())
        #expect(manifest == BootManifest(request, isDrawnAtBoot: when == .boot, tool: "test"))
        #expect(manifest.when == when)
        #expect(manifest.algorithm == Permutation.algorithm)
        let asked = try manifest.request(file: "file")
        #expect(asked == request)
        let area = try #require(try BootArea.read(kernel.kernel))
        #expect(area.seed == (when == .boot ? nil : [UInt8](repeating: 0, count: 31) + [7]))
        let ofOriginal = try CompressedKernel.open(made.original).manifest()
        #expect(ofOriginal == nil)
    }

    @Test(arguments: When.allCases) func isProved(when: When) throws {
        let made = try DebianVmlinuz.made(when)
        let original = try CompressedKernel.open(made.original)
        // Once with all that `kperm verify` does, once with what is known of the original.
        let known = when == .boot ? nil : made.plan.analysis
        let proof = try CompressedKernel.open(made.permuted).verify(against: original, analysis: known)
        #expect(proof.passed && proof.findings.isEmpty)
        #expect(proof.changes == made.plan.changes.count)
        #expect(proof.bytesCompared == original.container.decodedSize)
        #expect(proof.moved == made.plan.permutation?.movedCount ?? 0)
    }

    @Test func nearlyAllPagesMayMove() throws {
        let (atBoot, atBuild) = (try DebianVmlinuz.made(.boot).plan, try DebianVmlinuz.made(.build).plan)
        for plan in [atBoot, atBuild] {
            #expect(Double(plan.movablePages) >= 0.97 * Double(plan.analysis.countedPages))
            #expect(plan.movablePages <= plan.analysis.countedPages - plan.analysis.pinnedPages)
        }
        // Two pages were pinned for it, and four glued ones may move together.
        #expect(atBoot.movablePages == atBuild.movablePages - 2)
        #expect(atBoot.permutation == nil)
        let permutation = try #require(atBuild.permutation)
        #expect(permutation.movedCount >= atBuild.movablePages - 40)
        #expect(permutation.movedCount <= atBuild.movablePages)
    }

    /// The seed is in the output, and nothing else of chance.
    @Test func sameSeedSameBytes() throws {
        let made = try DebianVmlinuz.made(.build)
        let kernel = try CompressedKernel.open(made.original)
        let request = try #require(DebianVmlinuz.requests[.build])
        let again = try BootPlan.make(
            kernel, request, seed: try seedNumber(7), tool: "test", analysis: made.plan.analysis)
        #expect(again.changes == made.plan.changes)
        let bytes = try again.image(from: kernel)
        #expect(try bytes == readBytes(made.permuted))
        let other = try BootPlan.make(
            kernel, request, seed: try seedNumber(8), tool: "test", analysis: made.plan.analysis)
        let different = zip(other.changes, made.plan.changes).filter { $0 != $1 }.map { $0.0.reason.prefix(13) }
        #expect(different == ["the boot area"])
    }

    @Test(arguments: [(When.boot, 0o640), (.build, 0o600)]) func mode(when: When, mode: Int) throws {
        let attributes = try FileManager.default.attributesOfItem(atPath: try DebianVmlinuz.made(when).permuted)
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == mode)
    }

    /// The vmlinux of the debug package has symbols with sizes: a vmlinuz may pin more than it needs, never less.
    @Test func pinsWhatTheVmlinuxPins() throws {
        let own = try DebianVmlinuz.made(.build).plan.analysis
        let lines = try runTool("\(checkout)/tools/fetch-kernel", "--flavour", "cloud", "--debug")
        let line = try #require(lines.split(separator: "\n").first { $0.hasPrefix("vmlinux_stripped=") })
        let known = try KernelAnalysis.of(try KernelImage.open(String(line.dropFirst("vmlinux_stripped=".count))))
        try #require(own.release == known.release, "fetch-kernel gave two releases")
        #expect(own.map.virtualRange == known.map.virtualRange)
        #expect(own.classes == known.classes)
        #expect(own.exclusions == known.exclusions)
        let (pinned, pinnedByOwn) = (Set(known.pins.flatMap(\.pages)), Set(own.pins.flatMap(\.pages)))
        #expect(pinned.subtracting(pinnedByOwn) == [])
        #expect(pinned.count > 100)
    }

    @Test(arguments: When.allCases) func refusesItsOwnOutput(when: When) throws {
        let kernel = try CompressedKernel.open(try DebianVmlinuz.made(when).permuted)
        let said = refusal { () throws(RewriteError) in
            _ = try BootPlan.make(kernel, Request(seedSource: "boot"), seed: nil, tool: "test")
        }
        #expect(said?.contains(": .init.scratch holds something at byte 0x") == true, "\(said ?? "not refused")")
    }
}

/// Kernels that are not what their plan says: each difference is in a page of its own, and each is found.
@Suite(.serialized, .enabled(if: !DebianVmlinuz.isOffline, "KPERM_OFFLINE is set"))
struct BootVerifyTests {
    private func findings(_ path: String, _ made: DebianVmlinuz.Made) throws -> [String] {
        let original = try CompressedKernel.open(made.original)
        return try CompressedKernel.open(path).verify(against: original, analysis: made.plan.analysis).findings
    }

    private func finding(for offset: Int) -> String {
        let page = offset & ~4095
        return "unpacked bytes \(page.hex)…\((page + 4096).hex) are not what the plan says"
    }

    /// All in one kernel: what the area's checksum covers is changed so that it still holds.
    @Test func seesEveryChangedByte() throws {
        let scratch = try Scratch()
        let made = try DebianVmlinuz.made(.boot)
        let kernel = try CompressedKernel.open(made.original)
        var bytes = try made.unpacked()
        let changes = made.plan.changes
        let area = try #require(changes.first { $0.reason.hasPrefix("the boot area") })
        var spoilt: [Int] = []
        // The seed, which the stub must find empty.
        bytes[area.fileOffset + 0x30] ^= 1
        spoilt.append(area.fileOffset + 0x30)
        let records = Int(area.after.number(0x150, as: UInt32.self))
        #expect(records > 4096, "the stub's code and the records would share a finding with the header")
        for place in [0x1200, max(records, 0x2000) & ~7] {
            let at = area.fileOffset + place
            bytes.put(bytes.number(at, as: UInt64.self) &+ 1, at: at)
            bytes.put(bytes.number(at + 8, as: UInt64.self) &- 1, at: at + 8)
            spoilt.append(at)
        }
        // Each of the other changes undone: trampoline, hook, initcall, __text_poke, page-table isolation.
        #expect(changes.contains { $0.reason == "the way to the boot area" })
        #expect(changes.contains { $0.evidence.hasPrefix("__text_poke") })
        for change in changes where change.fileOffset != area.fileOffset {
            bytes.replaceSubrange(change.fileOffset..<change.fileOffset + change.before.count, with: change.before)
            spoilt.append(change.fileOffset)
        }
        // Text, read-only data, the end of the ELF, an entry of a relocation list.
        let map = made.plan.analysis.map
        for name in ["text", "rodata"] {
            let found = try #require(made.plan.analysis.classes.first { $0.name == name })
            let page = try #require(found.ranges.first?.lowerBound) + 30
            bytes[map.entries[page].fileOffset + 5] ^= 0x80
            spoilt.append(map.entries[page].fileOffset + 5)
        }
        bytes[kernel.relocations.start - 1] ^= 1
        spoilt.append(kernel.relocations.start - 1)
        let entry = kernel.relocations.start + 4 * 70_000
        bytes[entry] ^= 4
        spoilt.append(entry)

        let found = try findings(try made.repacked(bytes, in: scratch), made)
        #expect(Set(found) == Set(spoilt.map { finding(for: $0) }))
        #expect(found.count > 10 && found.count < 20)
    }

    /// Bytes of the setup code, the PE header, the decompressor and the end of the file.
    @Test func seesEveryByteOutsideThePayload() throws {
        let scratch = try Scratch()
        let made = try DebianVmlinuz.made(.build)
        let payload = try CompressedKernel.open(made.permuted).container.payload
        var bytes = try readBytes(made.permuted)
        let places = [0x2, 0x1f0, 0x236, 0x400, payload.upperBound + 20, bytes.count - 5]
        for place in places { bytes[place] ^= 1 }
        let found = try findings(try write(bytes, to: scratch["spoilt"]), made)
        // The PE checksum, which sums up the others, may be told to differ with them.
        let checksum = Int(bytes.number(0x3c, as: UInt32.self)) + 24 + 64
        let others = found.filter { finding in
            !(checksum..<checksum + 4).contains { finding.hasPrefix("bytes \($0.hex)…") }
        }
        #expect(others == places.map { "bytes \($0.hex)…\(($0 + 1).hex) of the file differ" })
    }

    /// A kernel whose constraints or source of the seed are others than it says.
    @Test(arguments: ["pins", "seed"]) func seesFalseManifest(what: String) throws {
        let scratch = try Scratch()
        let made = try DebianVmlinuz.made(.build)
        let kernel = try CompressedKernel.open(made.original)
        let analysis = made.plan.analysis
        var request = try #require(DebianVmlinuz.requests[.build])
        let says = BootManifest(request, isDrawnAtBoot: false, tool: "test").encoded()
        if what == "pins" { request.pins = [Pin(pages: 300..<310, reason: "silently", evidence: "")] }
        let seed = what == "seed" ? nil : [UInt8](repeating: 7, count: 32)
        let changes = try analysis.architecture.plant(
            analysis, kernel.kernel, try RewritePlan.problem(analysis, request), seed, says, nil, nil
        ).changes
        let area = try #require(changes.first { $0.reason.hasPrefix("the boot area") })
        let found = try findings(try made.repacked(try kernel.unpacked(with: changes), in: scratch), made)
        #expect(!found.isEmpty)
        let pages = stride(from: area.fileOffset, to: area.fileOffset + area.after.count + 8192, by: 4096)
        #expect(Set(found).isSubset(of: Set(pages.map { finding(for: $0) })))
    }

    /// What looks like an area and is none is told before anything is compared.
    @Test(arguments: [
        ("version", 8), ("provided, above the section", 0xf), ("checksum", 0x10),
        ("flags", 0x100), ("manifest", 0x168), ("code", 0x200), ("code", 0x1234),
    ])
    func refusesDamagedArea(field: String, offset: Int) throws {
        let made = try DebianVmlinuz.made(.boot)
        #expect(
            try readArea(made, flipping: offset)
                == "\(made.original): damaged: the boot area's header or checksum is wrong")
    }

    @Test func withoutItsMagicThereIsNoArea() throws {
        let made = try DebianVmlinuz.made(.boot)
        #expect(try readArea(made, flipping: 0) == "none")
        #expect(try readArea(made, flipping: nil) == "whole")
        let original = try CompressedKernel.open(made.original)
        let said = refusal { () throws(RewriteError) in
            _ = try CompressedKernel.open(made.original).verify(against: original)
        }
        #expect(said == "\(made.original): not a permuted kernel: it has no boot area of kperm's")
    }

    /// What reading the area gives with a byte of it changed.
    private func readArea(_ made: DebianVmlinuz.Made, flipping offset: Int?) throws -> String {
        var bytes = try made.unpacked()
        let area = try #require(made.plan.changes.first { $0.reason.hasPrefix("the boot area") })
        if let offset { bytes[area.fileOffset + offset] ^= 0x40 }
        let memory = try OutputFile.inMemory(made.original)
        try memory.write(bytes, at: 0)
        let image = try memory.image()
        var found = "none"
        let said = refusal { () throws(RewriteError) in if try BootArea.read(image) != nil { found = "whole" } }
        return said ?? found
    }
}

/// The manifest on its own.
struct BootManifestTests {
    private let request = Request(
        granule: .page64K, pins: [Pin(pages: 3..<5, reason: "a", evidence: "b")],
        glue: [Glue(pages: 7..<9, reason: "c")], seedSource: "given")

    @Test(arguments: Granule.allCases, [true, false]) func comesBack(granule: Granule, isDrawnAtBoot: Bool) throws {
        var request = request
        request.granule = granule
        if isDrawnAtBoot { request.seedSource = "boot" }
        let manifest = BootManifest(request, isDrawnAtBoot: isDrawnAtBoot, tool: "tool")
        let again = try BootManifest.decode(manifest.encoded(), file: "file")
        #expect(again == manifest)
        #expect(again.when == (isDrawnAtBoot ? .boot : .build))
        #expect(try again.request(file: "file") == request)
    }

    @Test(arguments: [
        (#""when":"build""#, #""when":"later""#, "the manifest of the boot area does not parse"),
        (#""tool":"#, #""fool":"#, "the manifest of the boot area does not parse"),
        ("}", "", "the manifest of the boot area does not parse"),
        (#""granule":"64K""#, #""granule":"8K""#, "the boot area's manifest: granule or a page range"),
        (#""first":3"#, #""first":6"#, "the boot area's manifest: granule or a page range"),
        (#""first":7"#, #""first":-7"#, "the boot area's manifest: granule or a page range"),
    ])
    func refusesDamage(what: String, with: String, message: String) throws {
        let manifest = BootManifest(request, isDrawnAtBoot: false, tool: "tool")
        let text = String(decoding: manifest.encoded(), as: UTF8.self)
        try #require(text.contains(what))
        let said = refusal { () throws(RewriteError) in
            let spoilt = Array(text.replacing(what, with: with).utf8)
            _ = try BootManifest.decode(spoilt, file: "file").request(file: "file")
        }
        #expect(said == "file: damaged: \(message)")
    }
}
