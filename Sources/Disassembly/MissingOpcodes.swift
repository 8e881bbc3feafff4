// SPDX-License-Identifier: MIT

// Instructions that kernels use and that capstone 4, which Debian 12 ships,
// does not know. None refers to memory or changes the flow of control.

/// An instruction by its bytes.
struct MissingOpcode {
    let bytes: [UInt8]
    let mnemonic: String

    /// Encodings from the AMD64 Architecture Programmer's Manual volume 3 and the Intel SDM volume 2.
    static let all = [
        MissingOpcode(bytes: [0xf2, 0x0f, 0x01, 0xff], mnemonic: "pvalidate"),
        MissingOpcode(bytes: [0xf3, 0x0f, 0x01, 0xff], mnemonic: "psmash"),
        MissingOpcode(bytes: [0xf3, 0x0f, 0x01, 0xfe], mnemonic: "rmpadjust"),
        MissingOpcode(bytes: [0xf2, 0x0f, 0x01, 0xfe], mnemonic: "rmpupdate"),
        MissingOpcode(bytes: [0xf3, 0x0f, 0x01, 0xd9], mnemonic: "vmgexit"),
        MissingOpcode(bytes: [0xf2, 0x0f, 0x01, 0xd9], mnemonic: "vmgexit"),
        MissingOpcode(bytes: [0x66, 0x0f, 0x01, 0xcc], mnemonic: "tdcall"),
        MissingOpcode(bytes: [0x66, 0x0f, 0x01, 0xcf], mnemonic: "seamcall"),
        MissingOpcode(bytes: [0x0f, 0x01, 0xe8], mnemonic: "serialize"),
        MissingOpcode(bytes: [0x0f, 0x01, 0xee], mnemonic: "rdpkru"),
        MissingOpcode(bytes: [0x0f, 0x01, 0xef], mnemonic: "wrpkru"),
        MissingOpcode(bytes: [0x0f, 0x01, 0xca], mnemonic: "clac"),
        MissingOpcode(bytes: [0x0f, 0x01, 0xcb], mnemonic: "stac"),
    ]

    static func begins(_ code: RawSpan) -> MissingOpcode? {
        all.first { opcode in
            code.byteCount >= opcode.bytes.count
                && opcode.bytes.indices.allSatisfy {
                    unsafe code.unsafeLoad(fromByteOffset: $0, as: UInt8.self) == opcode.bytes[$0]
                }
        }
    }
}
