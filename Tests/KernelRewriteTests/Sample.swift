// SPDX-License-Identifier: MIT

// What the tests of this target share: a directory that goes when they end, the
// programs they call, and the embedded sample kernel, built once a run. Its
// variants are made from it by objcopy or by bytes written at a symbol.

import Addressing
import Foundation
import KernelImage
import TestSupport
import Testing

@testable import KernelRewrite

/// The embedded sample kernel.
enum Sample {
    private static let directory = Result { try Scratch() }
    private static let built = Result {
        let directory = try Sample.directory.get()
        atexit {
            if case .success(let made) = Sample.directory { try? FileManager.default.removeItem(atPath: made.path) }
        }
        try runTool("\(checkout)/images/guest/build", directory.path)
        try runTool(
            "llvm-objcopy", "--remove-section=.rela*", directory["sample-x86_64"], directory["without-relocations"])
        return directory
    }

    static var path: String { get throws { try built.get()["sample-x86_64"] } }

    private static let builtRISCV64 = Result {
        let directory = try built.get()
        try runTool("\(checkout)/images/guest/build", directory.path, "riscv64")
        return directory["sample-riscv64"]
    }

    static var riscv64: String { get throws { try builtRISCV64.get() } }

    static var withoutRelocations: String { get throws { try built.get()["without-relocations"] } }

    /// A copy with other bytes at a symbol.
    static func patched(_ symbol: String, plus offset: Int = 0, with bytes: [UInt8], in scratch: Scratch) throws
        -> String
    {
        let image = try KernelImage.open(try path)
        let analysis = try KernelAnalysis.of(image)
        let place = try address(of: symbol, in: image) + UInt64(offset)
        let at = try #require(analysis.map.fileOffset(of: place))
        var contents = try readBytes(path)
        contents.replaceSubrange(at..<at + bytes.count, with: bytes)
        return try write(contents, to: scratch["patched"])
    }

    /// A copy that llvm-objcopy changed.
    static func edited(_ option: String, in scratch: Scratch) throws -> String {
        try runTool("llvm-objcopy", option, path, scratch["edited"])
        return scratch["edited"]
    }
}

/// The address of a symbol that is there.
func address(of symbol: String, in image: borrowing KernelImage) throws -> VirtualAddress {
    let found = try image.symbolTable()?.find([symbol], in: image)[symbol]?.first?.value
    return try #require(found, "no symbol \(symbol)")
}

extension [UInt8] {
    /// A little-endian number.
    func number<T: FixedWidthInteger>(_ offset: Int, as: T.Type) -> T {
        self[offset..<offset + T.bitWidth / 8].reversed().reduce(0) { $0 << 8 | T($1) }
    }

    mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
        for i in 0..<value.bitWidth / 8 { self[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * i)) }
    }

    mutating func swap(_ a: Int, _ b: Int, bytes: Int) {
        for i in 0..<bytes { swapAt(a + i, b + i) }
    }
}
