// SPDX-License-Identifier: MIT

// Where does the kernel turn virtual addresses of its image into physical ones?
// On x86-64 each such place reads phys_base: the offset between x -
// __START_KERNEL_map and the physical address. The value that was read is
// followed along every path to the instructions that add it to something, and a
// site is understood when all of them are known, with the register that holds
// the address, and with a way to have the table answer instead.

public import Addressing
import Disassembly
import KernelImage
public import KernelRewrite

/// An instruction that reads the offset between virtual and physical addresses.
public struct TranslationSite: Sendable {
    public enum Kind: String, CaseIterable, Codable, Sendable {
        /// The address is a constant: an object of the image, whose pages are pinned.
        case constant
        /// One register holds the address from the read to every place that uses it: the read itself can look it up.
        case register
        /// What was read is used in several places, or of several addresses: each use can look its own up.
        case shared
        /// From a physical address back to a virtual one.
        case reverse
        /// The offset itself is wanted: set, printed, stored or handed on.
        case offset
        case notUnderstood
    }

    public let address: VirtualAddress
    /// The function, with the offset in it.
    public let place: String
    public let instruction: String
    public let kind: Kind
    /// What is translated: a register, a stack slot, or the object's name.
    public let translated: String
    /// Where it is added.
    public let consumers: [VirtualAddress]
    /// Where the physical address goes first.
    public let result: String
    /// For what is not understood, why.
    public let remark: String
    /// The addresses that are translated, where they are known.
    public let constants: [VirtualAddress]
    /// For constants of a kernel: whether all they name stays in its place.
    public let isPinned: Bool?
    /// How a kernel can note what it translates here; nil where nothing is translated that is not known anyway, and
    /// where `whyNotObserved` says why it cannot.
    public let observed: ObservedSite?
    public let whyNotObserved: String?
    /// Where a kernel can ask a table for what it translates here; nil where `whyNotRewritten` says why it cannot.
    public let rewritten: ObservedSite?
    public let whyNotRewritten: String?
    /// Why it translates nothing that moves, where it does not ask and need not.
    public let proof: String?

    public var isUnderstood: Bool { kind != .notUnderstood }
}

/// All sites of a kernel.
public struct TranslationSites: Sendable {
    public private(set) var sites: [TranslationSite] = []
    /// Reads of the offset by instructions that no function holds, or that do not decode.
    public private(set) var skipped: [(address: VirtualAddress, reason: String)] = []

    /// Where code names a page by its physical address, and the sites that are all that comes of it and can ask a table.
    private var askers: [VirtualAddress: Set<VirtualAddress>] = [:]

    /// What a plan needs that has them ask a table.
    public var translations: Translations {
        var constants: [VirtualAddress: [VirtualAddress]] = [:]
        for site in sites where !site.constants.isEmpty { constants[site.address] = site.constants }
        return Translations(
            rewritable: sites.compactMap(\.rewritten), askers: askers, constants: constants,
            left: sites.filter { $0.rewritten == nil && $0.proof == nil }.map(\.address) + skipped.map(\.address))
    }

    /// Those that can be noted where they are: all, or those that cannot ask a table.
    public func observable(asking: Bool) -> [ObservedSite] {
        sites.filter { !asking || $0.rewritten == nil }.compactMap(\.observed)
    }

    init(sites: [TranslationSite], skipped: [(address: VirtualAddress, reason: String)]) {
        self.sites = sites.sorted { $0.address < $1.address }
        self.skipped = skipped
    }

    public init(_ subject: AuditSubject) {
        guard let base = subject.addresses(named: "phys_base").first else { return }
        let reader = CodeReader(subject)
        var units: [VirtualAddress: CodeUnit] = [:]
        var last: CodeUnit?
        var seen: Set<VirtualAddress> = []
        var open: [(unit: VirtualAddress, site: VirtualAddress)] = []
        for candidate in References.candidates(to: base, in: subject) {
            if last?.function.contains(candidate) != true { last = reader.unit(around: candidate) }
            guard let unit = last else { continue }
            let key = unit.function.lowerBound
            if units[key] == nil { units[key] = unit }
            guard let instruction = unit.instruction(holding: candidate), instruction.refers(to: base) else {
                if unit.undecoded.contains(where: { $0 <= candidate && candidate < $0 + 16 }) {
                    skipped.append((candidate, "the code there does not decode"))
                }
                continue
            }
            guard seen.insert(instruction.address).inserted else { continue }
            open.append((key, instruction.address))
        }
        for (key, group) in Dictionary(grouping: open, by: \.unit).sorted(by: { $0.key < $1.key }) {
            guard let unit = units[key] else { continue }
            let found = SiteFinder(unit, subject, base: base, reads: group.map(\.site).sorted()).sites
            sites += found
            let places = (subject.kernel?.namedPlaces ?? []).filter { unit.function.contains($0) }
            if places.isEmpty { continue }
            let names = NamedAddresses(unit, found)
            for place in places {
                guard let number = unit.instruction(holding: place).flatMap({ unit.number(at: $0.address) }) else {
                    continue
                }
                askers[place] = names.askers(of: number, reader)
            }
        }
        sites.sort { $0.address < $1.address }
    }
}

extension CodeUnit {
    /// The instruction whose bytes cover an address.
    func instruction(holding address: VirtualAddress) -> Instruction? {
        var low = 0
        var high = instructions.count
        while low < high {
            let middle = (low + high) / 2
            if instructions[middle].address <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0, address < instructions[low - 1].next else { return nil }
        return instructions[low - 1]
    }
}

extension Instruction {
    /// Whether an operand is, or lies at, an address.
    func refers(to address: VirtualAddress) -> Bool {
        if relativeReference == address { return true }
        return operands.contains { operand in
            switch operand {
            case .memory(_, _, let displacement): UInt64(bitPattern: displacement) == address.rawValue
            case .immediate(let value): UInt64(bitPattern: value) == address.rawValue
            default: false
            }
        }
    }
}
