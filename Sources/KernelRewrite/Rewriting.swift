// SPDX-License-Identifier: MIT

// A kernel whose translations ask the table: which do, and which are left as they
// are and why.

public import Addressing
public import Disassembly

/// What is changed for it.
public struct Rewriting: Sendable {
    /// A place that asks the table.
    public struct Place: Equatable, Sendable {
        /// The instructions that read the offset which is added here.
        public let sites: [VirtualAddress]
        /// The instruction that adds it, as the original has it.
        public let place: VirtualAddress
        /// What holds the address.
        public let register: GeneralRegister
    }

    let code: DetourCode
    public let lookups: KernelLookups
    /// Where the table lies, as linked.
    public let table: Range<VirtualAddress>
    let changes: [Change]

    public var places: [Place] {
        code.led.flatMap(\.detour.looks).map { Place(sites: $0.sites, place: $0.place, register: $0.register) }
    }

    /// Sites of which a place was left, ascending, and why.
    public var left: [(address: VirtualAddress, reason: String)] { code.left }

    /// Bytes of code and table.
    public var byteCount: Int { code.bytes.count }
}
