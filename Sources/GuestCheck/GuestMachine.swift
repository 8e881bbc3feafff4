// SPDX-License-Identifier: MIT

// The machines that kernels are booted in, by the architecture that a kernel is
// made for.

/// What QEMU is to emulate.
public enum GuestMachine: String, Sendable {
    /// A PC.
    case pc = "x86-64"
    /// The machine `virt`, whose firmware is OpenSBI.
    case virt = "riscv64"

    var emulator: String {
        switch self {
        case .pc: "qemu-system-x86_64"
        case .virt: "qemu-system-riscv64"
        }
    }

    var cpuModel: String {
        switch self {
        case .pc: "max"
        case .virt: "rv64"
        }
    }

    /// QEMU's name for it.
    var name: String {
        switch self {
        case .pc: "pc"
        case .virt: "virt"
        }
    }
}

/// How much of an address RISC-V translates.
public enum PagingMode: String, CaseIterable, Sendable {
    case sv39, sv48, sv57

    var levels: Int {
        switch self {
        case .sv39: 3
        case .sv48: 4
        case .sv57: 5
        }
    }

    var bits: Int { 12 + 9 * levels }

    /// What keeps a kernel from a deeper mode: words that Linux knows from 6.4 on, and so does the sample kernel.
    var words: [String] {
        switch self {
        case .sv39: ["no4lvl"]
        case .sv48: ["no5lvl"]
        case .sv57: []
        }
    }
}
