// SPDX-License-Identifier: MIT

// The stub that permutes at boot: its committed bytes, and its random numbers
// against those that others publish.

import Foundation
import TestSupport
import Testing

@testable import KernelRewrite

struct BootStubTests {
    /// Assembly gives the same bytes everywhere; C only from the same compiler.
    @Test(arguments: [("BootStubCode", "let code:"), ("RecordCode", "static let entry")])
    func committedBytesComeFromTheSource(name: String, compiled: String) throws {
        let scratch = try Scratch()
        try runTool("\(checkout)/tools/build-stub", scratch["StubCode.swift"])
        func lines(_ path: String) throws -> [Substring] {
            String(decoding: try readBytes(path), as: UTF8.self).split(separator: "\n")
        }
        let built = try lines(scratch["\(name).swift"])
        let committed = try lines("\(checkout)/Sources/KernelRewrite/X86_64/\(name).swift")
        let isSameCompiler = built.contains { $0.contains("compiler = \"\(BootStubCode.compiler)\"") }
        func upToCode(_ lines: [Substring]) -> [Substring] {
            lines.prefix { !$0.contains(compiled) }.filter { !$0.contains("compiler = ") }
        }
        #expect(upToCode(built) == upToCode(committed), "run tools/build-stub")
        if isSameCompiler { #expect(built == committed, "run tools/build-stub") }
    }

    /// The tool fills in ten parameters, and one word is the trampoline's own; the code follows them.
    @Test func trampolineFitsIntoAPage() {
        let parameters = 11 * 8
        #expect(BootStubCode.trampoline.prefix(parameters).allSatisfy { $0 == 0 })
        #expect(parameters <= BootStubCode.trampolineRun)
        let endbranch: [UInt8] = [0xf3, 0x0f, 0x1e, 0xfa]
        for entry in [BootStubCode.trampolineRun, BootStubCode.trampolineAnnounce] {
            #expect(Array(BootStubCode.trampoline[entry..<entry + 4]) == endbranch)
        }
        #expect(BootStubCode.trampoline.count <= 4096)
        #expect(BootStubCode.entry < BootStubCode.code.count)
    }
}

#if arch(x86_64)
    struct BootStubRandomTests {
        private func run(_ name: String, _ first: String, _ second: String) throws -> String {
            try runTool(BootStubDriver.shared.get().path, name, first, second).trimmingCharacters(in: .newlines)
        }

        /// Messages 00 01 02 ... of lengths around the block size, without a key and with 00 01 ... 1f for a key;
        /// digests by Python's hashlib.
        @Test(arguments: [
            (
                0, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8",
                "4e51e7a913fc80137da52880fecca175bf81e117d5c68126dc2774033517ea0d"
            ),
            (
                1, "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314",
                "41ff93a4eaeebd3b78a93438a6f62a92ab5959c859e682b72c7def406197ca4d"
            ),
            (
                127, "f2fe67ff342e21b8f45e8f2e0bcd1d9243245d50ee6c78042e9c491388791c72",
                "12879e69734944f25f9ed95cbfdbb3659a307e485ed8ec118ce7c60f107357f1"
            ),
            (
                128, "c3582f71ebb2be66fa5dd750f80baae97554f3b015663c8be377cfcb2488c1d1",
                "138893f1631ef3165629515d6ed800da3771b7926dced294205c7507351deebc"
            ),
            (
                129, "f7f3c46ba2564ff4c4c162da1f5b605f9f1c4aa6a20652a9f9a337c1a2f5b9c9",
                "ca60f75cbb714330c046d8f28b4ed351a3ee81776bb02a96abb646fe573e3d5c"
            ),
            (
                257, "45f7f084c30bac7cbae2e1963bc6e6b0d8cb227a12927e97fb941d288fb1f9a3",
                "ef25ff378b8fd2009994d6e9a66470a059ca66aeac707b3742be5fe9bc578e58"
            ),
        ])
        func digest(length: Int, plain: String, keyed: String) throws {
            func counting(_ count: Int) -> String { (0..<count).map { hexadecimal(UInt8($0 & 255)) }.joined() }
            let message = length == 0 ? "-" : counting(length)
            #expect(try run("blake2b", "-", message) == plain)
            #expect(try run("blake2b", counting(32), message) == keyed)
        }

        /// RFC 8439, section 2.3.2 and the first vector of appendix A.1: key, counter and nonce, the block.
        @Test(arguments: [
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "01000000000000090000004a00000000",
                "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
                    + "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
            ),
            (
                String(repeating: "0", count: 64), String(repeating: "0", count: 32),
                "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                    + "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
            ),
        ])
        func keyStream(key: String, counter: String, block: String) throws {
            #expect(try run("chacha20", key, counter) == block)
        }
    }

    /// The trampoline among pretended functions of the kernel.
    struct TrampolineTests {
        private func run(_ spoilt: String, _ commandLine: String) throws -> String {
            let scratch = try Scratch()
            try Data(BootStubCode.trampoline).write(to: URL(fileURLWithPath: scratch["code"]))
            return try runTool(
                BootStubDriver.shared.get().path, "trampoline", scratch["code"], "\(BootStubCode.trampolineRun)",
                "\(BootStubCode.trampolineAnnounce)", spoilt, commandLine)
        }

        @Test(arguments: ["", "kperm=require"]) func wholeArea(commandLine: String) throws {
            #expect(
                try run("nothing", commandLine) == """
                    reserve area
                    start_kernel 1, registers kept
                    entry called
                    area mapped
                    printk 1 6 kperm: pretended status
                    blob kperm 400 at the top whole
                    initcall 42

                    """)
        }

        @Test(arguments: ["magic", "version", "size", "provided", "checksum", "level2"]) func spoiltArea(field: String)
            throws
        {
            #expect(
                try run(field, "quiet kperm=off") == """
                    start_kernel 1, registers kept
                    entry not called
                    area not mapped
                    printk 1 6 kperm: not permuted: the boot area was overwritten or cannot be mapped
                    initcall 42

                    """)
            // It would print on the serial port and halt: an ordinary process may not, and ends there.
            #expect(throws: ToolFailure.self) { try run(field, "quiet kperm=require") }
        }
    }

    func hexadecimal(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }
#endif
