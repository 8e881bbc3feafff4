// SPDX-License-Identifier: MIT

// Modules of a few instructions, assembled from text.

import KernelImage
import TestSupport

@testable import HazardAudit

/// Objects that fixtures pass around: `crossing` over a page, `inside` one, both 200 bytes; `wide` over three pages.
let moduleObjects = """

    #define FUNCTION(name) .globl name; .type name, @function; name
    #define END(name) .size name, . - name
    .bss
    .balign 4096
    room: .zero 4000
    .type crossing, @object; .size crossing, 200; crossing: .zero 200
    .balign 4096
    .type wide, @object; .size wide, 12288; wide: .zero 12288
    .type inside, @object; .size inside, 200; inside: .zero 200
    .balign 64
    .type urb, @object; .size urb, 8; urb: .zero 8
    .text

    """

/// A relocatable object, as bytes.
func assemble(_ text: String, target: String = "x86_64-unknown-none-elf") throws -> [UInt8] {
    let scratch = try Scratch()
    _ = try write(Array((text + "\n").utf8), to: scratch["module.S"])
    try runTool("clang", "--target=\(target)", "-c", scratch["module.S"], "-o", scratch["module.o"])
    return try readBytes(scratch["module.o"])
}

/// Lays out a relocatable object.
func module(_ bytes: [UInt8]) throws -> AuditSubject {
    let scratch = try Scratch()
    try write(bytes, to: scratch["module.o"])
    let image = try KernelImage.open(scratch["module.o"])
    return try AuditSubject.module(image)
}

/// Lays out code with the objects above.
func module(_ assembler: String) throws -> AuditSubject { try module(assemble(moduleObjects + assembler)) }

extension AuditSubject {
    /// The worst that is said of each object.
    func verdicts(as reading: FlowReading) -> [String: Rule.Severity] {
        DataFlows(self, as: reading).findings.reduce(into: [:]) { verdicts, finding in
            verdicts[finding.symbol] = max(verdicts[finding.symbol] ?? .safe, finding.severity)
        }
    }
}
