// SPDX-License-Identifier: MIT

// Files that are no images, and what is said of them: the file's name, the byte
// where one is to blame, and what to do.

import KernelImage
import Testing

struct NotAnImageTests {
    private func error(opening path: String) -> ImageError? {
        do {
            _ = try KernelImage.open(path)
            return nil
        } catch { return error }
    }

    private func error(opening bytes: [UInt8]) throws -> ImageError? {
        let file = try ScratchFile(bytes)
        do {
            _ = try file.open()
            return nil
        } catch { return error }
    }

    @Test func absentFile() {
        let error = error(opening: "/nonexistent/vmlinux")
        #expect(error?.kind == .io && error?.file == "/nonexistent/vmlinux")
        #expect(error?.description == "/nonexistent/vmlinux: cannot open: No such file or directory")
    }

    @Test(arguments: ["/", "/dev/null"])
    func notARegularFile(path: String) {
        let error = error(opening: path)
        #expect(error?.kind == .io)
        #expect(error?.description == "\(path): not a regular file")
    }

    @Test func emptyFile() throws {
        let error = try error(opening: [])
        #expect(error?.kind == .notELF)
        #expect(error?.description == "some.elf: the file is empty")
    }

    static let otherFiles: [[UInt8]] = [
        [0], Array("\u{7f}ELF".utf8), Array("\u{7f}ELG".utf8) + [UInt8](repeating: 0, count: 100),
        Array("not a kernel, only some text that is long enough".utf8), [UInt8](repeating: 0, count: 5000),
    ]

    @Test(arguments: otherFiles)
    func notELF(bytes: [UInt8]) throws {
        let error = try error(opening: bytes)
        #expect(error?.kind == .notELF)
        #expect(error?.description == "some.elf: at byte 0x0: not an ELF file")
    }

    /// The header of the x86 boot protocol.
    @Test(arguments: [0x206, 0x207, 0x1000])
    func compressedKernel(byteCount: Int) throws {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        bytes.replaceSubrange(0x202..<0x206, with: Array("HdrS".utf8))
        let error = try error(opening: bytes)
        #expect(error?.kind == .notELF)
        #expect(error?.message == "a bzImage (vmlinuz), not an ELF file: give the vmlinux it was made from")
    }

    @Test func messageNamesFileAndByte() {
        #expect(ImageError(.malformed, file: "a/b", offset: 0x1f0, "odd").description == "a/b: at byte 0x1f0: odd")
        #expect(ImageError(.malformed, file: "a/b", "odd").description == "a/b: odd")
    }
}
