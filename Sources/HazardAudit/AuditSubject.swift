// SPDX-License-Identifier: MIT

// What an audit looks at: sections with their bytes at the addresses where the
// code believes them to be, and symbols. A kernel image has both; a module gets
// addresses here, and its relocations are carried out.

public import Addressing
public import KernelImage
public import KernelRewrite
import PagePermutation

/// A kernel or a module, laid out for an audit.
public struct AuditSubject: Sendable {
    /// A stretch of memory.
    public struct Section: Sendable {
        public let name: String
        public let address: VirtualAddress
        /// In bytes, with what has none in the file.
        public let size: UInt64
        /// What the file has of it.
        public let bytes: [UInt8]
        public let isExecutable: Bool
        public let isWritable: Bool
        public var range: Range<VirtualAddress> { address..<address + size }
    }

    public let file: String
    /// Ascending by address.
    public let sections: [Section]
    public let symbols: [Symbol]
    public let index: AddressIndex
    private let names: [String]
    /// The kernel's own page map and pins; nil for a module.
    public let kernel: KernelAnalysis?
    /// What a module's relocations left open; nil for a kernel.
    public let module: ModuleRemarks?
    /// Where sections of a module were put, by number; empty for a kernel.
    let placement: [Int: VirtualAddress]
    /// Pages that no permutation moves.
    private let still: Set<Int>

    init(
        file: String, sections: [Section], symbols: [Symbol], names: [String], index: AddressIndex,
        kernel: KernelAnalysis?, module: ModuleRemarks? = nil, placement: [Int: VirtualAddress] = [:]
    ) {
        self.file = file
        self.sections = sections.sorted { $0.address < $1.address }
        self.symbols = symbols
        self.names = names
        self.index = index
        self.kernel = kernel
        self.module = module
        self.placement = placement
        still =
            kernel.map { kernel in
                var still = Set(kernel.pins.flatMap(\.pages))
                var counted: Set<Int> = []
                for range in kernel.classes.flatMap(\.ranges) { counted.formUnion(range) }
                for page in 0..<kernel.map.pageCount where !counted.contains(page) { still.insert(page) }
                return still
            } ?? []
    }

    /// Whether what lies at an address keeps its frame in every permutation. The end of a range, where nothing lies,
    /// and the last byte of one name the frames before as a set, which stays.
    public func stays(_ address: VirtualAddress) -> Bool {
        guard let kernel else { return false }
        guard let page = kernel.map.page(of: address) else { return address == kernel.map.virtualRange.upperBound }
        if still.contains(page) || isLast(address, kernel) { return true }
        let isMarker = index.covering(address).allSatisfy { $0.size == 0 }
        return isMarker
            && kernel.classes.contains { pageClass in
                pageClass.ranges.contains { $0.lowerBound == page || $0.upperBound == page }
            }
    }

    /// Whether an address is where the image or a set of its pages begins or ends, and no object begins there that it
    /// could mean.
    func bounds(_ address: VirtualAddress) -> Bool {
        guard let kernel else { return false }
        if address == kernel.map.virtualBase || address == kernel.map.virtualRange.upperBound { return true }
        if isLast(address, kernel) { return true }
        let sets = kernel.classes.flatMap(\.ranges) + kernel.exclusions.map(\.pages)
        guard let page = kernel.map.page(of: address), address.offsetInPage == 0 else { return false }
        return sets.contains { $0.lowerBound == page || $0.upperBound == page }
            && !index.covering(address).contains { $0.size > 0 && $0.value == address }
    }

    /// Whether a section, or the pages of a class, end with an address.
    private func isLast(_ address: VirtualAddress, _ kernel: KernelAnalysis) -> Bool {
        let end = address + 1
        if section(at: address)?.range.upperBound == end { return true }
        return end.offsetInPage == 0
            && kernel.classes.contains { pageClass in
                pageClass.ranges.contains { kernel.map.virtualBase + UInt64($0.upperBound * pageSize) == end }
            }
    }

    /// Whether no permutation moves any page of an object.
    func isStill(_ object: Range<VirtualAddress>) -> Bool {
        guard let kernel else { return false }
        let pages = kernel.map.pages(of: object)
        return !pages.isEmpty
            && pages.allSatisfy { page in
                stays(max(object.lowerBound, kernel.map.virtualBase + UInt64(page * pageSize)))
            }
    }

    /// A kernel image, laid out as it is linked.
    ///
    /// - Throws: `RewriteError` when the kernel is not one that kperm knows, or has no symbols.
    public static func kernel(_ image: borrowing KernelImage) throws(RewriteError) -> AuditSubject {
        let analysis = try KernelAnalysis.ofRunnable(image)
        guard image.header.machine == 62 else {
            throw .unsupported(
                file: image.path,
                "the code of \(analysis.architecture.name) kernels is not followed, only that of x86-64 ones")
        }
        let table = try symbols(image)
        return AuditSubject(
            file: image.path, sections: sections(image) { analysis.map.page(of: $0) != nil },
            symbols: Array(table.symbols), names: table.symbols.map { table.name(of: $0, in: image) },
            index: analysis.index, kernel: analysis)
    }

    /// A kernel image of an architecture of which kperm knows no more than how it translates, laid out as it is linked.
    ///
    /// - Throws: `RewriteError` when it has no symbols, or no sections.
    public static func unmapped(_ image: borrowing KernelImage) throws(RewriteError) -> AuditSubject {
        let table = try symbols(image)
        let sections = sections(image) { $0.rawValue != 0 }
        guard let first = sections.map(\.range.lowerBound).min(), let last = sections.map(\.range.upperBound).max(),
            last - first < 1 << 32
        else { throw .unsupported(file: image.path, "its sections make no kernel: none, or 4 GiB apart") }
        return AuditSubject(
            file: image.path, sections: sections, symbols: Array(table.symbols),
            names: table.symbols.map { table.name(of: $0, in: image) }, index: table.index(over: first..<last),
            kernel: nil)
    }

    private static func symbols(_ image: borrowing KernelImage) throws(RewriteError) -> SymbolTable {
        let table: SymbolTable?
        do { table = try image.symbols() } catch { throw .image(error) }
        guard let table else { throw .unsupported(file: image.path, "no symbols") }
        return table
    }

    private static func sections(
        _ image: borrowing KernelImage, where belongs: (VirtualAddress) -> Bool
    ) -> [Section] {
        var sections: [Section] = []
        for section in image.sections where section.isAllocated && section.size > 0 && belongs(section.address) {
            var bytes: [UInt8] = []
            if !section.isNoBits {
                let source = image.file.bytes.extracting(Int(section.offset)..<Int(section.offset + section.size))
                bytes = unsafe source.withUnsafeBytes { unsafe Array($0) }
            }
            sections.append(
                Section(
                    name: section.name, address: section.address, size: section.size, bytes: bytes,
                    isExecutable: section.isExecutable, isWritable: section.flags & 1 != 0))
        }
        return sections
    }

    public func name(of symbol: Symbol) -> String {
        Int(symbol.index) < names.count ? names[Int(symbol.index)] : ""
    }

    /// The section that holds an address.
    public func section(at address: VirtualAddress) -> Section? {
        var low = 0
        var high = sections.count
        while low < high {
            let middle = (low + high) / 2
            if sections[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low < sections.count && sections[low].range.contains(address) ? sections[low] : nil
    }

    /// The symbols of a name, without what a compiler adds behind a dot.
    public func symbols(named name: String) -> [Symbol] {
        let count = name.utf8.count
        return symbols.filter { symbol in
            let own = self.name(of: symbol).utf8
            return own.starts(with: name.utf8)
                && (own.count == count || own[own.index(own.startIndex, offsetBy: count)] == UInt8(ascii: "."))
        }
    }

    /// Where what has a name lies: by symbols, or recovered where a kernel names its functions only.
    func addresses(named name: String) -> [VirtualAddress] {
        let named = symbols(named: name).map(\.value)
        return named.isEmpty ? kernel?.address(of: name).map { [$0] } ?? [] : named
    }

    /// Whether a function is a part of another that the compiler moved away.
    func isPart(_ symbol: Symbol) -> Bool { name(of: symbol).contains(".cold") }

    /// `symbol+0x10` for an address, or the address.
    public func describe(_ address: VirtualAddress) -> String {
        guard let symbol = index.covering(address).first else { return address.description }
        let name = name(of: symbol)
        return address == symbol.value ? name : "\(name)+\((address - symbol.value).hex)"
    }
}
