// SPDX-License-Identifier: MIT

// What static memory may hold: what the file has there, and what any function
// was seen to store there. Tables of pointers, lists and variables that keep an
// address are followed through it, without regard to order.

import Addressing
import Disassembly
import KernelImage

/// Where in static memory a function reads.
final class ReadPlaces {
    var addresses: Set<UInt64> = []
}

struct StaticMemory {
    private let subject: AuditSubject
    private let offsets: [UInt64: Translation]
    /// What was stored, by address.
    private(set) var cells: [UInt64: [Root]] = [:]
    /// Where to note what is read.
    var reads: ReadPlaces?
    /// So many elements of a table are read.
    private static let limit = 64

    init(_ subject: AuditSubject) {
        self.subject = subject
        var offsets: [UInt64: Translation] = [:]
        for (name, translation) in Rule.offsets {
            for address in subject.addresses(named: name) { offsets[address.rawValue] = translation }
        }
        self.offsets = offsets
    }

    /// What a load gives.
    func read(_ place: Value, _ instruction: Instruction) -> Value {
        if let address = place.constant, let translation = offsets[address] { return Value(translation: translation) }
        var found = Value()
        for root in place.roots where root.form == .address {
            switch root.origin {
            case .number where root.isExact: found = found.merged(read(root.offset, instruction))
            case .number: found = found.merged(table(root, instruction))
            case .many: found = found.merged(.other)
            default:
                let field = root.isExact ? root.offset : Root.unbounded
                let loaded = Root(origin: .loaded(instruction.address.rawValue, field: field), offset: 0)
                found = found.merged(Value(roots: [loaded]))
            }
        }
        if place.isOther || found.roots.isEmpty { found.isOther = true }
        return found
    }

    private func read(_ address: UInt64, _ instruction: Instruction) -> Value {
        guard let section = subject.section(at: VirtualAddress(address)) else { return .other }
        reads?.addresses.insert(address)
        var value = Value(roots: cells[address] ?? [], isOther: section.isWritable)
        if let number = initial(address, instruction.width) {
            if !section.isWritable || subject.section(at: VirtualAddress(number)) != nil {
                value = value.merged(.constant(number))
            }
        }
        if value.roots.isEmpty {
            value.roots = [Root(origin: .loaded(instruction.address.rawValue, field: address), offset: 0)]
        }
        return value
    }

    /// What is in a table that is read by an index: everything, if nobody writes it, or else the addresses.
    private func table(_ root: Root, _ instruction: Instruction) -> Value {
        // Elements that follow one another downwards do so upwards, too.
        let step = root.span == Root.unbounded ? min(root.step, 0 &- root.step) : root.step
        guard step >= 4, step < 1 << 32, let object = subject.object(at: VirtualAddress(root.offset)),
            let section = subject.section(at: object.lowerBound)
        else { return .other }
        var value = Value(isOther: section.isWritable)
        let span = root.span == Root.unbounded ? object.upperBound.rawValue &- root.offset : root.span + 1
        if span / step > Self.limit { value.isOther = true }
        for distance in stride(from: 0, to: min(span, step * UInt64(Self.limit)), by: Int(step)) {
            let address = root.offset &+ distance
            guard object.contains(VirtualAddress(address)) else { break }
            reads?.addresses.insert(address)
            if let number = initial(address, instruction.width),
                !section.isWritable || subject.section(at: VirtualAddress(number)) != nil
            {
                value = value.merged(.constant(number))
            }
            for root in cells[address] ?? [] { value = value.merged(Value(roots: [root])) }
        }
        return value
    }

    /// What the file has at an address.
    func initial(_ address: UInt64, _ width: Int) -> UInt64? {
        guard width > 0, let section = subject.section(at: VirtualAddress(address)) else { return nil }
        let start = Int(VirtualAddress(address) - section.address)
        guard start + width <= section.bytes.count else { return nil }
        return section.bytes[start..<start + width].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Takes in what functions store; gives the addresses of what is new.
    mutating func learn(_ stores: [StoreEvent]) -> Set<UInt64> {
        var new: Set<UInt64> = []
        for store in stores where store.width == 8 {
            let kept = store.value.roots.filter { root in
                switch root.origin {
                case .number: root.form == .address && subject.section(at: VirtualAddress(root.offset)) != nil
                case .result: root.form == .address
                default: false
                }
            }
            guard !kept.isEmpty else { continue }
            for place in store.place.roots where place.origin == .number && place.form == .address && place.isExact {
                guard subject.section(at: VirtualAddress(place.offset)) != nil else { continue }
                let known = cells[place.offset] ?? []
                let all = Value.union(known, kept)
                if all != known {
                    cells[place.offset] = all
                    new.insert(place.offset)
                }
            }
        }
        return new
    }
}

extension AuditSubject {
    /// Where the object, or the function, at an address lies: by its symbol.
    func object(at address: VirtualAddress) -> Range<VirtualAddress>? {
        guard let symbol = index.covering(address).first(where: { $0.size > 0 }) else { return nil }
        return symbol.value..<symbol.end
    }
}
