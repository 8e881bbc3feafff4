// SPDX-License-Identifier: MIT

// Images for tests: text in Tests/Fixtures that `yaml2obj` (Debian's package
// llvm) makes into ELF files, held in a file without a name that a test can
// change byte by byte.

import Glibc
import KernelImage
import Subprocess
import Testing

/// The four formats of ELF.
enum Format: CaseIterable, Sendable {
    case elf64Little, elf32Little, elf64Big, elf32Big

    var is64Bit: Bool { self == .elf64Little || self == .elf64Big }
    var isLittleEndian: Bool { self == .elf64Little || self == .elf32Little }

    /// A machine of this format, with its number.
    var machine: (name: String, number: UInt16) {
        switch self {
        case .elf64Little: ("EM_X86_64", 62)
        case .elf32Little: ("EM_386", 3)
        case .elf64Big: ("EM_PPC64", 21)
        case .elf32Big: ("EM_PPC", 20)
        }
    }
}

/// What yaml2obj makes of Tests/Fixtures/`name`.yaml.
func fixture(_ name: String, _ format: Format = .elf64Little) async throws -> [UInt8] {
    let directory = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    let result = try await run(
        .name("yaml2obj"),
        arguments: [
            "/\(directory)/Fixtures/\(name).yaml", "-o", "-", "-DBITS=\(format.is64Bit ? 64 : 32)",
            "-DORDER=\(format.isLittleEndian ? "LSB" : "MSB")", "-DMACHINE=\(format.machine.name)",
        ],
        output: .bytes(limit: 1 << 20), error: .string(limit: 1 << 16))
    try #require(result.terminationStatus.isSuccess, "yaml2obj: \(result.standardError)")
    return result.standardOutput
}

/// A part of a fixture is not there.
struct Missing: Error {}

/// A file that is gone with its value; `name` stands for it in messages.
struct ScratchFile: ~Copyable {
    let name: String
    private let descriptor: CInt

    init(_ bytes: [UInt8], name: String = "some.elf") throws {
        self.name = name
        var path = Array("/tmp/kperm-test-XXXXXX\u{0}".utf8).map { CChar($0) }
        descriptor = unsafe mkstemp(&path)
        try #require(descriptor >= 0)
        _ = unsafe unlink(path)
        write(bytes, at: 0)
    }

    func write(_ bytes: [UInt8], at offset: Int) {
        let written = unsafe pwrite(descriptor, bytes, bytes.count, off_t(offset))
        precondition(written == bytes.count, "no memory for a test file")
    }

    /// A little-endian number.
    func put<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        write((0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }, at: offset)
    }

    func cut(to length: Int) { _ = ftruncate(descriptor, off_t(length)) }

    func open() throws(ImageError) -> KernelImage {
        try KernelImage(MappedFile.map(descriptor: descriptor, name: name))
    }

    deinit { close(descriptor) }
}
