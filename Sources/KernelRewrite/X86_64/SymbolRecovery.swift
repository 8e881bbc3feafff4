// SPDX-License-Identifier: MIT

// Names for the data of a kernel that lists its functions only, by the rules of
// RecoveryRules.swift. Every address comes from the code that uses it; the
// linker's markers come from the sections, too, and both must agree. What is not
// found, or found twice where one is expected, is refused by name: a pin or a
// class that silently went missing would show as damage in a running kernel.

import Addressing
import Disassembly
import KernelImage

struct SymbolRecovery {
    typealias Found = (name: String, address: VirtualAddress, size: UInt64)

    private let file: String
    let map: PageMap
    let code: CodeReferences
    private let symbols: KernelSymbols
    let sections: [KernelSection]
    var found: [Found] = []

    /// A section where the kernel has it.
    struct KernelSection {
        let name: String
        let isExecutable: Bool
        let range: Range<VirtualAddress>
        /// In the file; nil where it has no bytes.
        let offset: Int?
    }

    private static let functions = Set(
        Rules.markers.flatMap(\.users) + Rules.usedObjects.flatMap(\.users) + Rules.exported.flatMap(\.users)
            + Rules.countedLists.flatMap(\.users) + [
                "static_call_init", "_text", "__startup_64", "mem_encrypt_free_decrypted_mem", "cleanup_highmap",
                "arch_setup_additional_pages", "start_kernel", "setup_arch",
            ])

    /// The table with all names that rules speak of.
    ///
    /// - Throws: `RewriteError.unsupported` when one that is needed cannot be recovered, or in more than one way.
    static func complete(_ table: SymbolTable, _ image: borrowing KernelImage) throws(RewriteError) -> SymbolTable {
        let recovery = try SymbolRecovery(table, image)
        return table.adding(recovery.found, in: image)
    }

    private init(_ table: SymbolTable, _ image: borrowing KernelImage) throws(RewriteError) {
        file = image.path
        symbols = KernelSymbols(table, of: image, names: Self.functions)
        let start = try symbols.require("_text", for: "to find the image").address
        sections = Self.sections(image, from: start)
        guard let end = Self.place(.pageEnd([".brk"]), in: sections) else {
            throw Self.refuse(image.path, "_end", "there is no section .brk")
        }
        map = try wrapping(RewriteError.image) { () throws(ImageError) in try PageMap(image, from: start, to: end) }
        code = CodeReferences(map, symbols)
        for rule in Rules.markers { try marker(rule, image) }
        perCPU(image)
        if let vvar = sections.first(where: { $0.name == ".vvar" })?.range {
            found.append(("__vvar_page", vvar.lowerBound, vvar.upperBound - vvar.lowerBound))
        }
        try decrypted(image)
        for rule in Rules.exported { try exported(rule.symbol, rule.size, rule.users, image) }
        for rule in Rules.usedObjects { try object(rule, image) }
        try imageTable(image)
        try userImages(image)
        lists(image)
        banner(image)
    }

    private static func refuse(_ file: String, _ symbol: String, _ why: String) -> RewriteError {
        .unsupported(
            file: file,
            "the kernel lists functions only (it has no KALLSYMS_ALL), and \(symbol) cannot be recovered: \(why)")
    }

    func refuse(_ symbol: String, _ why: String) -> RewriteError { Self.refuse(file, symbol, why) }

    // MARK: Sections

    private static func sections(_ image: borrowing KernelImage, from start: VirtualAddress) -> [KernelSection] {
        let loads = image.segments.filter { $0.type == Segment.load }
        guard let first = loads.first(where: { $0.virtualAddress == start }) else { return [] }
        return image.sections.filter { $0.isAllocated && $0.size > 0 }.map { section in
            var address = section.address
            if address < start,
                let home = loads.first(where: {
                    $0.offset <= section.offset && section.offset < $0.offset + $0.fileSize
                        && $0.virtualAddress == section.address
                }), home.physicalAddress >= first.physicalAddress
            {
                // The template of per-CPU variables is linked at 0 and lies where its physical address says.
                address = start + (home.physicalAddress - first.physicalAddress)
            }
            return KernelSection(
                name: section.name, isExecutable: section.isExecutable, range: address..<address + section.size,
                offset: section.isNoBits ? nil : Int(section.offset))
        }
    }

    private static func place(_ place: Rules.SectionPlace, in sections: [KernelSection]) -> VirtualAddress? {
        func first(_ names: [String]) -> Range<VirtualAddress>? {
            names.lazy.compactMap { name in sections.first { $0.name == name }?.range }.first
        }
        func rounded(_ address: VirtualAddress) -> VirtualAddress? {
            address.rawValue.roundedUp(to: UInt64(pageSize)).map { VirtualAddress($0) }
        }
        switch place {
        case .start(let names): return first(names)?.lowerBound
        case .end(let names): return first(names)?.upperBound
        case .pageEnd(let names): return first(names).flatMap { rounded($0.upperBound) }
        case .pageEndBefore(let name):
            guard let limit = first([name])?.lowerBound else { return nil }
            return sections.map(\.range.upperBound).filter { $0 <= limit }.max().flatMap(rounded)
        }
    }

    func section(at address: VirtualAddress) -> KernelSection? {
        sections.first { $0.range.contains(address) }
    }

    func isData(_ address: VirtualAddress) -> Bool { section(at: address).map { !$0.isExecutable } ?? false }

    // MARK: Markers

    private mutating func marker(_ rule: Rules.MarkerRule, _ image: borrowing KernelImage) throws(RewriteError) {
        guard let address = Self.place(rule.place, in: sections) else {
            if rule.isOptional { return }
            throw refuse(rule.symbol, "the section that it marks is not there")
        }
        let named = code.functions(rule.users, in: image)
        // Code that rounds an address to pages names it with 4095 more; what marks the last byte, with 1 less.
        let forms = [address, address + 0xfff, address + UInt64.max]
        let agrees = named.contains { function in function.contains { $0.named.contains { forms.contains($0.address) } }
        }
        guard agrees || named.isEmpty && (rule.isOptional || rule.users.isEmpty) else {
            throw refuse(
                rule.symbol,
                "by the sections it is \(address), and "
                    + (named.isEmpty
                        ? "there is no \(rule.users.joined(separator: " or ")) to confirm it"
                        : "\(rule.users.joined(separator: " and ")) name no such address"))
        }
        found.append((rule.symbol, address, 0))
    }

    func address(_ symbol: String) -> VirtualAddress? { found.first { $0.name == symbol }?.address }

    /// Per-CPU variables are linked at 0 or, in newer kernels, where their template lies.
    private mutating func perCPU(_ image: borrowing KernelImage) {
        guard let section = image.section(named: ".data..percpu") else { return }
        found.append(("__per_cpu_start", section.address, 0))
        found.append(("__per_cpu_end", section.end, 0))
    }

    /// What is shared with a hypervisor: whole large pages of .bss, which the start visits one by one.
    private mutating func decrypted(_ image: borrowing KernelImage) throws(RewriteError) {
        let user = ["mem_encrypt_free_decrypted_mem"]
        let freed = Set(code.references(of: user, in: image).map(\.address))
        guard !code.functions(user, in: image).isEmpty else { return }
        let bss = sections.first { $0.name == ".bss" }?.range ?? map.virtualRange
        let visited = Set(
            code.references(of: ["__startup_64"], in: image).filter {
                $0.isValue && $0.address.rawValue % (1 << 21) == 0 && bss.lowerBound <= $0.address
                    && $0.address <= bss.upperBound
            }.map(\.address)
        ).sorted()
        guard visited.count == 2, freed.contains(visited[1]) else {
            throw refuse(
                "__start_bss_decrypted",
                "__startup_64 names \(visited.count) borders of large pages in .bss where two are expected, the second "
                    + "of which mem_encrypt_free_decrypted_mem names, too")
        }
        found.append(("__start_bss_decrypted", visited[0], 0))
        found.append(("__end_bss_decrypted", visited[1], 0))
    }

    // MARK: Objects

    /// What the kernel lists for modules: three 32-bit offsets an entry, each relative to itself: value, name, namespace.
    private mutating func exported(
        _ symbol: String, _ size: UInt64, _ users: [String], _ image: borrowing KernelImage
    ) throws(RewriteError) {
        var places: Set<VirtualAddress> = []
        let name = Array(symbol.utf8) + [0]
        for list in sections where ["__ksymtab", "__ksymtab_gpl"].contains(list.name) {
            let count = Int(list.range.upperBound - list.range.lowerBound)
            guard let start = list.offset, count % 12 == 0 else { continue }
            for entry in stride(from: start, to: start + count, by: 12) {
                let at = list.range.lowerBound + UInt64(entry - start)
                func target(_ field: Int) -> VirtualAddress {
                    at + UInt64(bitPattern: Int64(field) + Int64(image.file.bytes.load(entry + field, as: Int32.self)))
                }
                guard map.bytes(at: target(4), count: name.count, in: image) == name else { continue }
                places.insert(target(0))
            }
        }
        guard places.count == 1, let place = places.first else {
            throw refuse(symbol, "the kernel exports \(places.count) symbols of that name")
        }
        let named = code.references(of: users, in: image).map(\.address)
        guard users.isEmpty || named.contains(place) else {
            throw refuse(symbol, "it is exported at \(place), and \(users.joined(separator: " and ")) do not name it")
        }
        found.append((symbol, place, size))
    }

    private mutating func object(_ rule: Rules.UsedObjectRule, _ image: borrowing KernelImage) throws(RewriteError) {
        let functions = code.functions(rule.users, in: image)
        if functions.isEmpty, !rule.isNeeded { return }
        let all = functions.compactMap { candidates(rule, $0, image) }
        if all.isEmpty, !functions.isEmpty { return }
        let places = Set(all.flatMap { $0 }).sorted { $0.address < $1.address }
        let mayBeSeveral: Bool
        switch rule.sign {
        case .page, .any: mayBeSeveral = true
        default: mayBeSeveral = false
        }
        guard !places.isEmpty, mayBeSeveral || places.count == 1 else {
            throw refuse(
                rule.symbol,
                "\(rule.users.joined(separator: " and ")) name \(places.count) objects that it may be (\(rule.reason))")
        }
        found += places.map { (rule.symbol, $0.address, $0.size) }
    }

    private struct Candidate: Hashable {
        let address: VirtualAddress
        let size: UInt64
    }

    /// What may be the object; nil where the function needs none.
    private func candidates(
        _ rule: Rules.UsedObjectRule, _ function: CodeReferences.Function, _ image: borrowing KernelImage
    ) -> [Candidate]? {
        let named = function.flatMap(\.named)
        let values = named.filter(\.isValue).map(\.address)
        func isPage(_ address: VirtualAddress) -> Bool { address.offsetInPage == 0 && isData(address) }
        func sized(_ places: [VirtualAddress]) -> [Candidate] { places.map { Candidate(address: $0, size: rule.size) } }
        switch rule.sign {
        case .rootTable:
            return sized(named.map(\.address).filter { isPage($0) && secondLevel(from: $0, image) != nil })
        case .page:
            let pointed = named.filter { !$0.isValue && isData($0.address) }.compactMap {
                map.words(at: $0.address, count: 1, in: image).map { VirtualAddress($0[0]) }
            }
            return sized((named.map(\.address) + pointed).filter(isPage))
        case .any: return sized(named.map(\.address).filter(isData))
        case .perCPUBase:
            guard let load = function.firstIndex(where: { $0.instruction.operands.contains(.immediate(0xc000_0101)) })
            else { return [] }
            // The code names itself, too, on the way.
            let next = function[load...].flatMap(\.named).first { section(at: $0.address)?.isExecutable == false }
            return next.map { $0.isValue ? nil : sized([$0.address]) } ?? []
        case .bootParameters:
            let all = Set(named.map(\.address))
            return sized(values.filter { isData($0) && all.contains($0 + 0x228) })
        case .initData:
            guard let begin = address("__init_begin"), let end = address("__init_end") else { return [] }
            let also = Set(code.references(of: ["setup_arch"], in: image).map(\.address))
            return sized(values.filter { begin <= $0 && $0 < end && isData($0) && also.contains($0) })
        case .countedPages:
            let counts = Set(
                function.compactMap { entry -> Int64? in
                    guard entry.instruction.mnemonic == "cmp",
                        case .immediate(let last) = entry.instruction.operands.last, 0 < last, last < 512
                    else { return nil }
                    return last
                })
            // Named right behind the shift that makes a number of pages an offset.
            let bases = function.indices.dropFirst().flatMap { at -> [VirtualAddress] in
                let shifted = function[max(0, at - 3)..<at].contains {
                    $0.instruction.mnemonic == "shl" && $0.instruction.operands.last == .immediate(12)
                }
                return shifted ? function[at].named.filter(\.isValue).map(\.address).filter(isPage) : []
            }
            guard counts.count == 1, let last = counts.first else { return [] }
            return bases.map { Candidate(address: $0, size: UInt64(last + 1) * UInt64(pageSize)) }
        case .initcalls:
            return sized(named.map(\.address).filter { levels(at: $0, image) != nil }.min().map { [$0] } ?? [])
        case .memoryRanges:
            return values.compactMap { list in
                // Count, limit, total, pointer to the ranges, pointer to the name.
                guard let words = map.words(at: list, count: 5, in: image),
                    let name = map.bytes(at: VirtualAddress(words[4]), count: 9, in: image)
                else { return nil }
                let memory = name.starts(with: Array("memory\0".utf8))
                guard memory || name == Array("reserved\0".utf8) else { return nil }
                return Candidate(address: list + (0 &- (memory ? 0x10 : 0x38)), size: 0x60)
            }
        }
    }

    /// The levels of initcalls and their end: ascending, within the init pages.
    private func levels(at address: VirtualAddress, _ image: borrowing KernelImage) -> [VirtualAddress]? {
        guard let begin = self.address("__init_begin"), let end = self.address("__init_end"),
            let words = map.words(at: address, count: 9, in: image)?.map({ VirtualAddress($0) }),
            words.allSatisfy({ begin <= $0 && $0 < end }), zip(words, words.dropFirst()).allSatisfy({ $0 < $1 })
        else { return nil }
        return words
    }

    // MARK: Page tables

    /// The table of large pages that a root table shows the start of the image through, if it does.
    private func secondLevel(from root: VirtualAddress, _ image: borrowing KernelImage) -> VirtualAddress? {
        var table = root
        for shift: UInt64 in [39, 30] {
            guard let entry = entry(of: table, shift, image), entry & 0x81 == 1 else { return nil }
            let physical = PhysicalAddress(entry & 0x000f_ffff_ffff_f000)
            guard map.physicalRange.contains(physical) else { return nil }
            table = map.virtualBase + (physical - map.physicalBase)
        }
        guard let large = entry(of: table, 21, image), large & 0x81 == 0x81,
            large & 0x000f_ffff_ffe0_0000 == map.physicalBase.rawValue & ~0x1f_ffff
        else { return nil }
        return table
    }

    private func entry(of table: VirtualAddress, _ shift: UInt64, _ image: borrowing KernelImage) -> UInt64? {
        map.words(at: table + 8 * (map.virtualBase.rawValue >> shift & 511), count: 1, in: image)?.first
    }

    private mutating func imageTable(_ image: borrowing KernelImage) throws(RewriteError) {
        let used = code.references(of: ["cleanup_highmap"], in: image).map(\.address)
        guard let table = address("init_top_pgt").flatMap({ secondLevel(from: $0, image) }), used.contains(table) else {
            throw refuse("level2_kernel_pgt", "cleanup_highmap does not name the table that init_top_pgt leads to")
        }
        found.append(("level2_kernel_pgt", table, UInt64(pageSize)))
        if let place = address("initcall_levels"), let levels = levels(at: place, image) {
            found.append(("__initcall7_start", levels[7], 0))
            found.append(("__initcall_end", levels[8], 0))
        }
        if let memblock = address("memblock") {
            for (name, list) in [("memblock_memory_init_regions", 0x10), ("memblock_reserved_init_regions", 0x38)] {
                guard let words = map.words(at: memblock + UInt64(list), count: 4, in: image), words[1] < 1 << 16,
                    isData(VirtualAddress(words[3]))
                else { continue }
                // A range is at most four words: address, size, flags, node.
                found.append((name, VirtualAddress(words[3]), 32 * words[1]))
            }
        }
    }
}
