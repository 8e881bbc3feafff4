// SPDX-License-Identifier: MIT

// What debug sections (DWARF) say of variables and functions: type, file, line.
// A kernel has 160 MB of them, in which an entry stands for each type of each
// header in each file. So the addresses asked for are first looked for as bytes,
// and entries are read only on the way to where one was found. Addresses of code
// that lies in several pieces stand elsewhere; for them the units are read that
// the table of address ranges names. All through libdw, but not through its
// libdwfl, which loads another library when a program starts: relocations of a
// relocatable object are carried out here, in pages that are ours alone.

public import Addressing
import CDW

/// Where the source says what is at an address.
public struct SourcePlace: Sendable, Equatable {
    /// In C, without a name: `struct foo *[4]`. Nil for code, and where there is no entry.
    public let type: String?
    public let file: String?
    /// From 1.
    public let line: Int?

    /// As compilers print it.
    public var fileAndLine: String? { file.map { file in line.map { "\(file):\($0)" } ?? file } }
}

/// The debug sections of an image.
@safe
public struct DebugInformation: ~Copyable {
    private let elf: OpaquePointer
    private let dwarf: OpaquePointer
    private let units: [Unit]
    private let entries: UnsafeRawBufferPointer
    private var firstProblem: String?
    private var damagedUnits = 0

    /// What is damaged, if anything that was asked for.
    public var problem: String? {
        firstProblem.map { damagedUnits > 1 ? "\($0), and \(damagedUnits - 1) more like that" : $0 }
    }

    private struct Unit {
        /// From its header on.
        let range: Range<Int>
        let root: Int
        /// Its entries hold indices of addresses, which are elsewhere.
        let hasIndices: Bool
    }

    /// Nil for an image without debug sections, and for what is not 64-bit and little-endian.
    ///
    /// - Parameter placement: where sections of a relocatable object were put, by number.
    /// - Throws: `ImageError` of kind `.malformed` when nothing of them can be read.
    public init?(
        _ image: borrowing KernelImage, placement: [Int: VirtualAddress] = [:]
    ) throws(ImageError) {
        guard let section = image.section(named: ".debug_info"), section.size > 0, !section.isNoBits,
            image.header.is64Bit, image.header.isLittleEndian
        else { return nil }
        func damaged(_ what: String) -> ImageError {
            ImageError(.malformed, file: image.path, offset: section.offset, "debug sections: \(what)")
        }
        guard let elf = unsafe elf_begin(image.file.descriptor, ELF_C_READ_MMAP_PRIVATE, nil) else {
            throw damaged("cannot be mapped")
        }
        guard let dwarf = unsafe dwarf_begin_elf(elf, DWARF_C_READ, nil) else {
            let message = Self.lastError
            unsafe elf_end(elf)
            throw damaged(message)
        }
        unsafe Self.relocate(elf, image, placement)
        let data = unsafe elf_getscn(elf, section.index).flatMap { unsafe elf_getdata($0, nil) }
        unsafe entries =
            data.map { unsafe UnsafeRawBufferPointer(start: $0.pointee.d_buf, count: $0.pointee.d_size) }
            ?? UnsafeRawBufferPointer(start: nil, count: 0)
        let (units, problem) = unsafe Self.units(dwarf)
        firstProblem = problem
        damagedUnits = problem == nil ? 0 : 1
        self.units = units
        unsafe self.elf = elf
        unsafe self.dwarf = dwarf
    }

    deinit {
        unsafe dwarf_end(dwarf)
        unsafe elf_end(elf)
    }

    private static var lastError: String {
        let message = unsafe dwarf_errmsg(-1)
        return unsafe message.map { unsafe String(cString: $0) } ?? "unknown error"
    }

    /// The headers of all units, up to one that is damaged.
    private static func units(_ dwarf: OpaquePointer) -> ([Unit], problem: String?) {
        var units: [Unit] = []
        var next: Dwarf_Off = 0
        while true {
            let start = next
            var headerSize = 0
            let result = unsafe dwarf_next_unit(dwarf, start, &next, &headerSize, nil, nil, nil, nil, nil, nil)
            if result > 0 { return (units, nil) }
            guard result == 0, next > start else {
                return (units, "the unit at \(start.hex) of .debug_info: \(lastError)")
            }
            let root = Int(start) + headerSize
            var die = unsafe Dwarf_Die()
            let isThere = unsafe dwarf_offdie(dwarf, Dwarf_Off(root), &die) != nil
            let hasIndices = unsafe isThere && dwarf_hasattr(&die, UInt32(DW_AT_addr_base)) != 0
            units.append(Unit(range: Int(start)..<Int(next), root: root, hasIndices: hasIndices))
        }
    }

    /// Carries out what relocations ask for in debug sections. Types: R_X86_64_64, R_X86_64_32 and R_X86_64_32S.
    private static func relocate(
        _ elf: OpaquePointer, _ image: borrowing KernelImage, _ placement: [Int: VirtualAddress]
    ) {
        guard image.header.type == 1, image.header.machine == 62 else { return }
        for section in image.sections where section.type == 4 && section.info < image.sections.count {
            let home = image.sections[section.info]
            guard home.name.hasPrefix(".debug_"), !home.isAllocated, section.link < image.sections.count,
                let entries = unsafe elf_getscn(elf, section.index).flatMap({ unsafe elf_getdata($0, nil) }),
                let symbols = unsafe elf_getscn(elf, section.link).flatMap({ unsafe elf_getdata($0, nil) }),
                let bytes = unsafe elf_getscn(elf, home.index).flatMap({ unsafe elf_getdata($0, nil) }),
                let start = unsafe bytes.pointee.d_buf
            else { continue }
            for index in 0..<Int(section.size) / 24 {
                var entry = GElf_Rela()
                var symbol = GElf_Sym()
                guard unsafe gelf_getrela(entries, CInt(index), &entry) != nil,
                    unsafe gelf_getsym(symbols, CInt(truncatingIfNeeded: entry.r_info >> 32), &symbol) != nil
                else { continue }
                let size = [1: 8, 10: 4, 11: 4][UInt32(truncatingIfNeeded: entry.r_info)] ?? 0
                guard size > 0, let offset = Int(exactly: entry.r_offset),
                    unsafe offset <= bytes.pointee.d_size - size
                else { continue }
                let base = placement[Int(symbol.st_shndx)]?.rawValue ?? 0
                let value = base &+ symbol.st_value &+ UInt64(bitPattern: entry.r_addend)
                if size == 8 {
                    unsafe start.storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt64.self)
                } else {
                    unsafe start.storeBytes(
                        of: UInt32(truncatingIfNeeded: value).littleEndian, toByteOffset: offset, as: UInt32.self)
                }
            }
        }
    }
}

extension DebugInformation {
    /// What begins at these addresses, as far as it is known.
    public mutating func places(at addresses: [VirtualAddress]) -> [VirtualAddress: SourcePlace] {
        guard let lowest = addresses.min(), let highest = addresses.max() else { return [:] }
        var search = Search(wanted: Set(addresses.map(\.rawValue)), hits: [])
        let span = highest - lowest
        for at in unsafe 0..<max(entries.count - 7, 0) {
            let word = unsafe UInt64(littleEndian: entries.loadUnaligned(fromByteOffset: at, as: UInt64.self))
            if word &- lowest.rawValue <= span, search.wanted.contains(word) { search.hits.append(at) }
        }
        for unit in units where unit.hasIndices || search.hasHit(in: unit.range) {
            search.readsAll = unit.hasIndices
            read(unit, &search)
        }
        search.readsAll = false
        search.readsRanges = true
        let roots = units(of: search.wanted.filter { search.found[VirtualAddress($0)] == nil })
        for unit in units where roots.contains(unit.root) && !unit.hasIndices { read(unit, &search) }
        return search.found
    }

    /// Roots of the units that the table of address ranges names.
    private func units(of addresses: Set<UInt64>) -> Set<Int> {
        var aranges: OpaquePointer?
        var count = 0
        guard !addresses.isEmpty, unsafe dwarf_getaranges(dwarf, &aranges, &count) == 0 else { return [] }
        var roots: Set<Int> = []
        for address in addresses {
            var root: Dwarf_Off = 0
            guard let range = unsafe dwarf_getarange_addr(aranges, address),
                unsafe dwarf_getarangeinfo(range, nil, nil, &root) == 0
            else { continue }
            roots.insert(Int(root))
        }
        return roots
    }

    private mutating func read(_ unit: Unit, _ search: inout Search) {
        var root = unsafe Dwarf_Die()
        if unsafe dwarf_offdie(dwarf, Dwarf_Off(unit.root), &root) != nil,
            unsafe search.read(&root, until: unit.range.upperBound, depth: 0)
        {
            return
        }
        damagedUnits += 1
        firstProblem = firstProblem ?? "the unit at \(unit.range.lowerBound.hex) of .debug_info: \(Self.lastError)"
    }

    /// The line that an instruction was made from.
    public func line(of address: VirtualAddress) -> SourcePlace? {
        var unit = unsafe Dwarf_Die()
        guard unsafe dwarf_addrdie(dwarf, address.rawValue, &unit) != nil,
            let line = unsafe dwarf_getsrc_die(&unit, address.rawValue)
        else { return nil }
        var number: CInt = 0
        let file = unsafe dwarf_linesrc(line, nil, nil)
        return SourcePlace(
            type: nil, file: unsafe file.map { unsafe Search.path(String(cString: $0), &unit) },
            line: unsafe dwarf_lineno(line, &number) == 0 && number > 0 ? Int(number) : nil)
    }
}

/// Entries on the way to what is looked for.
private struct Search {
    let wanted: Set<UInt64>
    /// Where in .debug_info one of them is written, ascending.
    var hits: [Int]
    var readsAll = false
    var readsRanges = false
    var found: [VirtualAddress: SourcePlace] = [:]

    func hasHit(in range: Range<Int>) -> Bool {
        var (low, high) = (0, hits.count)
        while low < high {
            let middle = (low + high) / 2
            if hits[middle] < range.lowerBound { low = middle + 1 } else { high = middle }
        }
        return low < hits.count && hits[low] < range.upperBound
    }

    /// Reads the entries below one; false when they are damaged.
    mutating func read(_ parent: UnsafeMutablePointer<Dwarf_Die>, until end: Int, depth: Int) -> Bool {
        guard depth < 64 else { return true }
        var die = unsafe Dwarf_Die()
        var result = unsafe dwarf_child(parent, &die)
        while result == 0 {
            var next = unsafe Dwarf_Die()
            let offset = unsafe Int(dwarf_dieoffset(&die))
            result = unsafe dwarf_siblingof(&die, &next)
            let behind = result == 0 ? unsafe Int(dwarf_dieoffset(&next)) : end
            guard behind > offset else { return false }
            if readsAll || hasHit(in: offset..<behind) {
                unsafe examine(&die)
                if unsafe dwarf_haschildren(&die) == 1, unsafe !read(&die, until: behind, depth: depth + 1) {
                    return false
                }
            } else if readsRanges, depth == 0, unsafe dwarf_tag(&die) == CInt(DW_TAG_subprogram) {
                unsafe examine(&die)
            }
            unsafe die = next
        }
        return result > 0
    }

    private mutating func examine(_ die: UnsafeMutablePointer<Dwarf_Die>) {
        let tag = unsafe Int(dwarf_tag(die))
        let addresses: [UInt64]
        switch tag {
        case Int(DW_TAG_variable): addresses = unsafe [Self.address(die)].compactMap { $0 }
        case Int(DW_TAG_subprogram): addresses = unsafe Self.starts(die)
        default: return
        }
        guard addresses.contains(where: wanted.contains) else { return }
        var line: CInt = 0
        var attribute = unsafe Dwarf_Attribute()
        var type: String?
        if tag == Int(DW_TAG_variable) {
            if unsafe dwarf_attr_integrate(die, UInt32(DW_AT_type), &attribute) != nil {
                var target = unsafe Dwarf_Die()
                type = unsafe dwarf_formref_die(&attribute, &target) == nil ? nil : SourceType.text(&target, "", 0)
            }
        }
        let place = SourcePlace(
            type: type, file: unsafe Self.file(die),
            line: unsafe dwarf_decl_line(die, &line) == 0 && line > 0 ? Int(line) : nil)
        for address in addresses where wanted.contains(address) {
            // Of several entries the first that says anything counts.
            if found[VirtualAddress(address)]?.line == nil { found[VirtualAddress(address)] = place }
        }
    }

    /// Where the pieces of a function begin.
    private static func starts(_ die: UnsafeMutablePointer<Dwarf_Die>) -> [UInt64] {
        var found: [UInt64] = []
        var (base, start, end): (Dwarf_Addr, Dwarf_Addr, Dwarf_Addr) = (0, 0, 0)
        var next = 0
        while found.count < 16 {
            next = unsafe dwarf_ranges(die, next, &base, &start, &end)
            guard next > 0 else { break }
            found.append(start)
        }
        return found
    }

    /// Where a variable is, if it has a fixed place.
    private static func address(_ die: UnsafeMutablePointer<Dwarf_Die>) -> UInt64? {
        var attribute = unsafe Dwarf_Attribute()
        var expression: UnsafeMutablePointer<Dwarf_Op>?
        var count = 0
        guard unsafe dwarf_attr(die, UInt32(DW_AT_location), &attribute) != nil,
            unsafe dwarf_getlocation(&attribute, &expression, &count) == 0, count == 1,
            let expression = unsafe expression
        else { return nil }
        switch unsafe Int(expression.pointee.atom) {
        case Int(DW_OP_addr): return unsafe expression.pointee.number
        case Int(DW_OP_addrx), Int(DW_OP_GNU_addr_index):
            var indexed = unsafe Dwarf_Attribute()
            var address: Dwarf_Addr = 0
            guard unsafe dwarf_getlocation_attr(&attribute, expression, &indexed) == 0,
                unsafe dwarf_formaddr(&indexed, &address) == 0
            else { return nil }
            return address
        default: return nil
        }
    }

    /// The file of a declaration. libdw's own function for that takes number 0 for none, which DWARF 5 counts from.
    private static func file(_ die: UnsafeMutablePointer<Dwarf_Die>) -> String? {
        var attribute = unsafe Dwarf_Attribute()
        var number: Dwarf_Word = 0
        var unit = unsafe Dwarf_Die()
        var files: OpaquePointer?
        var count = 0
        guard unsafe dwarf_attr_integrate(die, UInt32(DW_AT_decl_file), &attribute) != nil,
            unsafe dwarf_formudata(&attribute, &number) == 0, unsafe dwarf_diecu(die, &unit, nil, nil) != nil,
            unsafe dwarf_getsrcfiles(&unit, &files, &count) == 0, number < count,
            let name = unsafe dwarf_filesrc(files, Int(number), nil, nil).map({ unsafe String(cString: $0) }),
            name != "???"
        else { return nil }
        return unsafe path(name, &unit)
    }

    /// A file's path, from where its compiler ran on.
    static func path(_ file: String, _ unit: UnsafeMutablePointer<Dwarf_Die>) -> String {
        var attribute = unsafe Dwarf_Attribute()
        guard unsafe dwarf_attr(unit, UInt32(DW_AT_comp_dir), &attribute) != nil,
            let directory = unsafe dwarf_formstring(&attribute).map({ unsafe String(cString: $0) + "/" }),
            file.hasPrefix(directory)
        else { return file }
        return String(file.dropFirst(directory.count))
    }
}

/// Types as C writes them, without their members.
private enum SourceType {
    /// A declaration of `declared`, which may be empty.
    static func text(_ die: UnsafeMutablePointer<Dwarf_Die>, _ declared: String, _ depth: Int) -> String? {
        guard depth < 16 else { return nil }
        func named(_ word: String) -> String {
            let name = unsafe dwarf_diename(die).map { unsafe String(cString: $0) } ?? "{}"
            return word + name + (declared.isEmpty ? "" : " \(declared)")
        }
        func target(_ declared: String) -> String? {
            var attribute = unsafe Dwarf_Attribute()
            guard unsafe dwarf_attr_integrate(die, UInt32(DW_AT_type), &attribute) != nil else {
                return declared.isEmpty ? "void" : "void \(declared)"
            }
            var type = unsafe Dwarf_Die()
            guard unsafe dwarf_formref_die(&attribute, &type) != nil else { return nil }
            let isGroup = [Int(DW_TAG_array_type), Int(DW_TAG_subroutine_type)].contains(unsafe Int(dwarf_tag(&type)))
            return unsafe text(&type, declared.hasPrefix("*") && isGroup ? "(\(declared))" : declared, depth + 1)
        }
        func qualified(_ word: String) -> String? {
            var attribute = unsafe Dwarf_Attribute()
            var type = unsafe Dwarf_Die()
            let isPointer =
                unsafe dwarf_attr_integrate(die, UInt32(DW_AT_type), &attribute) != nil
                && dwarf_formref_die(&attribute, &type) != nil && dwarf_tag(&type) == CInt(DW_TAG_pointer_type)
            if isPointer { return target(declared.isEmpty ? word : "\(word) \(declared)") }
            // Of a constant array its elements are constant, too, and both say so.
            return target(declared).map { $0.hasPrefix(word + " ") ? $0 : "\(word) \($0)" }
        }
        switch unsafe Int(dwarf_tag(die)) {
        case Int(DW_TAG_structure_type): return named("struct ")
        case Int(DW_TAG_union_type): return named("union ")
        case Int(DW_TAG_enumeration_type): return named("enum ")
        case Int(DW_TAG_pointer_type): return target("*\(declared)")
        case Int(DW_TAG_const_type): return qualified("const")
        case Int(DW_TAG_volatile_type): return qualified("volatile")
        case Int(DW_TAG_array_type): return unsafe bounds(die).flatMap { target(declared + $0) }
        case Int(DW_TAG_subroutine_type): return target("\(declared)(…)")
        default: return named("")
        }
    }

    private static func bounds(_ die: UnsafeMutablePointer<Dwarf_Die>) -> String? {
        var text = ""
        var range = unsafe Dwarf_Die()
        var result = unsafe dwarf_child(die, &range)
        while result == 0 {
            if unsafe dwarf_tag(&range) == CInt(DW_TAG_subrange_type) {
                var attribute = unsafe Dwarf_Attribute()
                var number: Dwarf_Word = 0
                if unsafe dwarf_attr_integrate(&range, UInt32(DW_AT_count), &attribute) != nil,
                    unsafe dwarf_formudata(&attribute, &number) == 0
                {
                    text += "[\(number)]"
                } else if unsafe dwarf_attr_integrate(&range, UInt32(DW_AT_upper_bound), &attribute) != nil,
                    unsafe dwarf_formudata(&attribute, &number) == 0
                {
                    text += "[\(number &+ 1)]"
                } else {
                    text += "[]"
                }
            }
            var next = unsafe Dwarf_Die()
            result = unsafe dwarf_siblingof(&range, &next)
            unsafe range = next
        }
        return result < 0 ? nil : text
    }
}
