// SPDX-License-Identifier: MIT

// capstone, open for one processor, with the memory that it puts an instruction
// in: one at a time, so nothing is allocated while code is decoded.

import Addressing
import CCapstone
import Glibc

@safe
struct Capstone: ~Copyable {
    private var handle: csh = 0
    private let scratch: UnsafeMutablePointer<cs_insn>

    init(_ architecture: cs_arch, _ mode: cs_mode) {
        let status = unsafe cs_open(architecture, mode, &handle)
        precondition(status == CS_ERR_OK, "capstone is built with x86 and arm64")
        cs_option(handle, CS_OPT_DETAIL, Int(CS_OPT_ON.rawValue))
        guard let scratch = unsafe cs_malloc(handle) else { fatalError("no memory for an instruction") }
        unsafe self.scratch = scratch
    }

    deinit {
        var handle = handle
        unsafe cs_free(scratch, 1)
        unsafe cs_close(&handle)
    }

    /// What `translate` makes of the instruction that begins the bytes, or nil when they are none that capstone knows.
    func decode<Instruction>(
        _ bytes: RawSpan, at address: VirtualAddress, _ translate: (UnsafeMutablePointer<cs_insn>) -> Instruction
    ) -> Instruction? {
        // In memory that is not clear, capstone 4 leaves operands of the last instruction.
        if let detail = unsafe scratch.pointee.detail { unsafe memset(detail, 0, MemoryLayout<cs_detail>.size) }
        return unsafe bytes.withUnsafeBytes { buffer in
            var code = unsafe buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
            var size = buffer.count
            var next = address.rawValue
            guard unsafe cs_disasm_iter(handle, &code, &size, &next, scratch) else { return nil }
            return unsafe translate(scratch)
        }
    }

    /// The name of a register, empty when it has none.
    func name(of register: UInt32) -> String {
        unsafe cs_reg_name(handle, register).map { unsafe String(cString: $0) } ?? ""
    }
}
