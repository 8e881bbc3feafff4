// SPDX-License-Identifier: MIT

// The boot area of an x86-64 kernel: header, stub and constraints, put into the
// memory behind the image that Linux keeps for AMD's memory encryption
// (`.init.scratch`), which every loader provides and which only that encryption
// uses. images/stub/x86_64/boot.h describes the layout for the other side.
//
//     header | code | class records | manifest | status | translation table | page tables | work memory
//
// A trampoline in a page of padding leads there: code behind the image is not in
// the kernel's own mapping any more when the stub runs.

import Addressing
import Disassembly
import KernelImage
import PagePermutation

enum BootArea {
    static let magic = Array("KPERMBT1".utf8)
    static let version: UInt32 = 1
    static let headerBytes = 0x200
    private static let seedIsGiven: UInt32 = 1
    private static let section = ".init.scratch"
    private static let statusBytes = 512
    /// Where the trampoline keeps a note: behind its parameters.
    private static let noteOffset = 8 * 10
    /// Offsets in the header.
    private enum Field {
        static let version = 0x08
        static let provided = 0x0c
        static let checksum = 0x10
        static let size = 0x18
        static let seed = 0x30
        static let constants = 0x100
        static let manifest = 0x168
        static let copy = 0x170
        static let front = 0x178
        static let lookup = 0x180
    }

    static func plant(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ problem: PermutationProblem, _ seed: [UInt8]?,
        _ manifest: [UInt8], _ instrumentation: Instrumentation?, _ rewriting: Rewriting?
    ) throws(RewriteError) -> Planted {
        let symbols = analysis.symbols
        let hooks = KernelHooks(analysis: analysis)
        let home = try place(image)
        // The decompressor unpacks the file to where the image begins, and copies its segments down from there.
        let copy = home.offset &- (home.address.rawValue &- analysis.map.virtualBase.rawValue)
        let bytes = try contents(
            analysis, problem, seed, manifest,
            front: instrumentation.map { home.address - $0.range.lowerBound } ?? 0, room: home.size,
            lookup: rewriting.map { $0.table.lowerBound - analysis.map.virtualBase } ?? 0,
            copy: copy < home.size &- UInt64(headerBytes) || copy > 1 << 30 ? 0 : copy)
        var planted = Planted()
        planted.changes.append(
            Change(
                fileOffset: Int(home.offset), address: home.address,
                before: [UInt8](repeating: 0, count: bytes.count), after: bytes,
                reason: "the boot area: the stub, the page classes, what may move",
                evidence: "\(section): \(home.size) bytes of zeros behind the image"))

        let reserve = try symbols.require("memblock_reserve", for: "to reserve the boot area")
        let start = try symbols.require("start_kernel", for: "to run the boot stub before it")
        let call = try hooks.callSite(of: start.address, image)
        let gap = try hooks.gap(image)
        let initcall = hooks.announcement(image, gap.address + UInt64(BootStubCode.trampolineAnnounce))
        if let initcall { planted.changes.append(initcall.change) }
        if initcall == nil || hooks.printk == nil {
            planted.remarks.append("the kernel log will not say that the kernel is permuted: no printk or initcalls")
        }
        let blob = symbols.optional("debugfs_create_blob")
        if initcall == nil || blob == nil {
            planted.remarks.append("no debugfs file will say that the kernel is permuted: no debugfs or initcalls")
        }
        let targets: [VirtualAddress?] = [
            home.address, reserve.address, start.address, hooks.printk?.address, initcall?.address, blob?.address,
            try symbols.require("page_offset_base", for: "to reach the boot area").address,
            try symbols.require("phys_base", for: "to reach the boot area").address, analysis.map.virtualBase,
            try symbols.require("boot_command_line", for: "to read the options of the boot stub").address,
        ]
        var trampoline = BootStubCode.trampoline
        for (i, target) in targets.enumerated() {
            trampoline.store(littleEndian: target.map { $0.rawValue &- gap.address.rawValue } ?? 0, at: 8 * i)
        }
        guard trampoline.count <= gap.room else {
            throw .unsupported(
                file: symbols.file, "no room for the trampoline: \(trampoline.count) bytes, \(gap.room) in the padding")
        }
        planted.changes.append(gap.change(to: trampoline, "the way to the boot area", image))
        planted.changes.append(try hooks.lead(call, to: gap.address + UInt64(BootStubCode.trampolineRun), image))
        if let poke = try TextPoke.change(image, analysis.map, symbols) { planted.changes.append(poke) }
        planted.changes += try IsolationFlag.changes(image, analysis.map, symbols)
        planted.changes += instrumentation?.changes ?? []
        planted.changes += rewriting?.changes ?? []
        return planted
    }

    /// The section that the area goes into, page aligned, all zeros.
    private static func place(_ image: borrowing KernelImage) throws(RewriteError) -> Section {
        guard let found = image.sections.first(where: { $0.name == section && $0.isAllocated && !$0.isNoBits }) else {
            throw .unsupported(
                file: image.path,
                "no section \(section), so there is no memory behind the image for the boot stub: this kernel was built "
                    + "without support for AMD's memory encryption")
        }
        guard found.address.offsetInPage == 0 else {
            throw .unsupported(file: image.path, "\(section) at \(found.address) does not begin on a page")
        }
        for offset in Int(found.offset)..<Int(found.offset + found.size)
        where image.file.bytes.load(offset, as: UInt8.self) != 0 {
            throw .unsupported(
                file: image.path, "\(section) holds something at byte \(offset.hex) of the unpacked kernel")
        }
        return found
    }

    /// The area's first bytes: all that is not work memory.
    private static func contents(
        _ analysis: KernelAnalysis, _ problem: PermutationProblem, _ seed: [UInt8]?, _ manifest: [UInt8],
        front: UInt64, room: UInt64, lookup: UInt64, copy: UInt64
    ) throws(RewriteError) -> [UInt8] {
        let symbols = analysis.symbols
        let map = analysis.map
        func offset(_ name: String) throws(RewriteError) -> UInt64 {
            let place = try symbols.require(name, for: "by the boot stub").address
            guard place >= map.virtualBase else {
                throw .unsupported(file: symbols.file, "\(name) at \(place) lies outside the image")
            }
            return place - map.virtualBase
        }
        let commandLine = try symbols.require("boot_command_line", for: "to read the options of the boot stub")

        var area = [UInt8](repeating: 0, count: headerBytes)
        area += BootStubCode.code
        area.pad(to: 8)
        let records = area.count
        let drawings = problem.drawings
        area += [UInt8](repeating: 0, count: 24 * drawings.count)
        for (i, drawing) in drawings.enumerated() {
            let domain = area.count
            area += Array(drawing.domain.utf8)
            area.pad(to: 4)
            let ranges = area.count
            for range in drawing.granules + drawing.runs {
                area.append(littleEndian: UInt32(range.lowerBound))
                area.append(littleEndian: UInt32(range.count))
            }
            let fields = [
                domain, drawing.domain.utf8.count, ranges, drawing.granules.count,
                ranges + 8 * drawing.granules.count, drawing.runs.count,
            ]
            for (j, field) in fields.enumerated() {
                area.store(littleEndian: UInt32(field), at: records + 24 * i + 4 * j)
            }
        }
        area.pad(to: 8)
        let manifestAt = area.count
        area += manifest + [0]
        area.pad(to: 8)
        let provided = area.count

        let largePages = (map.virtualRange.upperBound.rawValue - 1) >> 21 - map.virtualBase.rawValue >> 21 + 1
        let status = provided
        let table = status + statusBytes
        let tables = (table + TableLookup.byteCount(pages: map.pageCount)).roundedUpToPage
        let work = tables + Int(largePages) * pageSize
        let workBytes = BootStubCode.workBytes(pages: map.pageCount).roundedUpToPage
        let size = work + workBytes
        guard size <= room else {
            throw .unsupported(file: symbols.file, "the boot area takes \(size) bytes, \(section) has \(room)")
        }

        area.replaceSubrange(0..<magic.count, with: magic)
        area.store(littleEndian: version, at: Field.version)
        area.store(littleEndian: UInt32(provided), at: Field.provided)
        area.store(littleEndian: UInt64(size), at: Field.size)
        if let seed { area.replaceSubrange(Field.seed..<Field.seed + seed.count, with: seed) }
        var at = Field.constants
        func put32(_ values: Int...) {
            for value in values {
                area.store(littleEndian: UInt32(value), at: at)
                at += 4
            }
        }
        func put64(_ values: UInt64...) {
            for value in values {
                area.store(littleEndian: value, at: at)
                at += 8
            }
        }
        put32(
            seed == nil ? 0 : Int(seedIsGiven), map.pageCount, analysis.countedPages, problem.granule.pages)
        put64(
            map.virtualBase.rawValue, map.physicalBase.rawValue, try offset("level2_kernel_pgt"),
            try offset("phys_base"), try offset("page_offset_base"), try offset("boot_params"),
            try offset("boot_command_line"))
        put32(
            Int(commandLine.size), drawings.count, records, table, tables, status, work, workBytes, manifestAt,
            headerBytes + BootStubCode.entry)
        area.store(littleEndian: copy, at: Field.copy)
        area.store(littleEndian: front, at: Field.front)
        area.store(littleEndian: lookup, at: Field.lookup)
        area.store(littleEndian: checksum(area), at: Field.checksum)
        return area
    }

    /// The sum of the 64-bit words behind what changes at run time.
    private static func checksum(_ area: [UInt8]) -> UInt64 {
        stride(from: Field.constants, to: area.count, by: 8).reduce(UInt64(0)) { sum, at in
            sum &+ (0..<8).reduce(UInt64(0)) { $0 | UInt64(area[at + $1]) << UInt64(8 * $1) }
        }
    }

    /// Where the trampoline notes what it found, in a kernel that has one.
    static func notes(_ analysis: KernelAnalysis, _ image: borrowing KernelImage) -> [Range<VirtualAddress>] {
        let code = BootStubCode.trampoline
        let body = BootStubCode.trampolineRun
        return KernelHooks(analysis: analysis).startCalls(image).compactMap { call -> Range<VirtualAddress>? in
            guard let target = call.target,
                let found = analysis.map.bytes(at: target, count: code.count - body, in: image),
                found.elementsEqual(code[body...])
            else { return nil }
            let start = VirtualAddress(target.rawValue &- UInt64(body) &+ UInt64(noteOffset))
            return start..<start + 8
        }
    }

    static func read(_ image: borrowing KernelImage) throws(RewriteError) -> AreaNotes? {
        guard let found = image.sections.first(where: { $0.name == section && !$0.isNoBits }),
            found.size >= headerBytes
        else { return nil }
        let bytes = image.file.bytes.extracting(Int(found.offset)..<Int(found.offset + found.size))
        func read(_ range: Range<Int>) -> [UInt8] { range.map { bytes.load($0, as: UInt8.self) } }
        guard read(0..<magic.count) == magic else { return nil }
        let provided = Int(bytes.load(Field.provided, as: UInt32.self))
        let manifestAt = Int(bytes.load(Field.manifest, as: UInt32.self))
        guard bytes.load(Field.version, as: UInt32.self) == version, provided % 8 == 0, provided >= headerBytes,
            provided <= bytes.byteCount, manifestAt < provided,
            checksum(read(0..<provided)) == bytes.load(Field.checksum, as: UInt64.self)
        else { throw .unsupported(file: image.path, "damaged: the boot area's header or checksum is wrong") }
        let seed = bytes.load(Field.constants, as: UInt32.self) & seedIsGiven != 0
        let lookup = bytes.load(Field.lookup, as: UInt64.self)
        return AreaNotes(
            manifest: Array(read(manifestAt..<provided).prefix { $0 != 0 }),
            seed: seed ? read(Field.seed..<Field.seed + 32) : nil, lookup: lookup == 0 ? nil : lookup)
    }
}

extension Int {
    fileprivate var roundedUpToPage: Int { (self + pageSize - 1) & ~(pageSize - 1) }
}
