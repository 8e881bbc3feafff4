// SPDX-License-Identifier: MIT

// The few dozen symbols of a kernel that rules speak of, looked up in one pass
// over the symbol table. A name that a plan depends on must be there, once.

public import Addressing
import KernelImage

/// Named symbols of one kernel.
public struct KernelSymbols: Sendable {
    /// An address and a size in bytes.
    public struct Place: Equatable, Sendable {
        public let address: VirtualAddress
        public let size: UInt64
        public var range: Range<VirtualAddress> { address..<address + size }
    }

    let file: String
    private let places: [String: [Place]]

    init(_ table: SymbolTable, of image: borrowing KernelImage, names: Set<String>) {
        file = image.path
        places = table.find(names, in: image).mapValues { symbols in
            symbols.map { Place(address: $0.value, size: $0.size) }
        }
    }

    /// All symbols of a name, those with a compiler's suffix included.
    func all(_ name: String) -> [Place] { places[name] ?? [] }

    /// The names that begin so.
    func names(beginning prefix: String) -> [String] { places.keys.filter { $0.hasPrefix(prefix) }.sorted() }

    /// The symbol of a name, or nil when there is none or more than one place bears it.
    func optional(_ name: String) -> Place? {
        guard let found = places[name], let first = found.first, found.allSatisfy({ $0.address == first.address })
        else { return nil }
        return found.max { $0.size < $1.size }
    }

    /// The symbol of a name that the plan cannot do without.
    func require(_ name: String, for purpose: String) throws(RewriteError) -> Place {
        if let place = optional(name) { return place }
        let what = places[name] == nil ? "has no symbol" : "has several symbols"
        throw .unsupported(file: file, "the kernel \(what) \(name), which is needed \(purpose)")
    }
}
