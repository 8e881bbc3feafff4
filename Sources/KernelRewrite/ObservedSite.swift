// SPDX-License-Identifier: MIT

// Which translations an instrumented kernel notes, as the audit hands them over:
// where the addresses are that the offset between virtual and physical ones is
// added to, and which instructions there can give way to a jump.

public import Addressing
public import Disassembly

/// An instruction that reads the offset, and all places where what it translates can be seen.
public struct ObservedSite: Equatable, Sendable {
    /// The bytes that a jump takes.
    public static let jumpBytes = 5

    /// A place where a register holds an address that will be translated.
    public struct Look: Equatable, Sendable {
        /// Run one after the other, and entered at the first only; at least `jumpBytes` long.
        public let instructions: [Instruction]
        /// The instruction, one of these or the next, before which the register holds the address.
        public let place: VirtualAddress
        public let register: GeneralRegister
        /// What is added to it besides, in bytes.
        public let displacement: Int64

        public init(
            instructions: [Instruction], before place: VirtualAddress, register: GeneralRegister, displacement: Int64
        ) {
            self.instructions = instructions
            self.place = place
            self.register = register
            self.displacement = displacement
        }
    }

    public let address: VirtualAddress
    public let looks: [Look]

    public init(address: VirtualAddress, looks: [Look]) {
        self.address = address
        self.looks = looks
    }
}
