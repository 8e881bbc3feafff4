// SPDX-License-Identifier: MIT

// Kernels that lack what a plan needs, or have it in a form kperm does not
// know: each is refused in one line that names file and symbol, and nothing is
// written.

import Addressing
import Disassembly
import KernelImage
import PagePermutation
import TestSupport
import Testing

@testable import KernelRewrite

struct RefusalTests {
    /// What permuting a variant of the sample is refused with.
    private func refused(_ path: String, _ scratch: Scratch, _ encoding: Encoding = .segments) throws -> String {
        let before = try scratch.files
        var said = "not refused"
        do throws(RewriteError) {
            let image = try wrapping(RewriteError.image) { () throws(ImageError) in try KernelImage.open(path) }
            try RewritePlan.draw(image, Request(encoding: encoding)).apply(
                to: scratch["out"], from: image, tool: "test")
        } catch {
            said = "\(error)"
        }
        #expect(try scratch.files == before)
        #expect(said.hasPrefix("\(path): "))
        #expect(!said.contains("\n"))
        return said
    }

    @Test(arguments: [
        "_text", "_end", "_etext", "__start_rodata", "__end_rodata", "_sdata", "__init_begin", "__init_end",
        "__bss_start", "__bss_stop", "init_top_pgt", "level2_kernel_pgt", "start_kernel",
        "memblock_reserve",
    ])
    func symbolMissing(name: String) throws {
        let scratch = try Scratch()
        let path = try Sample.edited("--redefine-sym=\(name)=renamed", in: scratch)
        #expect(try refused(path, scratch).contains("the kernel has no symbol \(name), which is needed to "))
    }

    @Test(arguments: ["_text", "_etext", "start_kernel", "memblock_reserve", "level2_kernel_pgt"])
    func symbolTwice(name: String) throws {
        let scratch = try Scratch()
        let path = try Sample.edited("--add-symbol=\(name)=0xffffffff81001000,global", in: scratch)
        #expect(try refused(path, scratch).contains("the kernel has several symbols \(name), which is needed to "))
    }

    @Test func strippedCompletely() throws {
        let scratch = try Scratch()
        let path = try Sample.edited("--strip-all", in: scratch)
        #expect(
            try refused(path, scratch) == "\(path): no symbols: "
                + "give the vmlinux of the debug package, or one that was not stripped")
    }

    /// The call of start_kernel becomes five no-operations: the stub has no place to hook.
    @Test func nothingCallsStartKernel() throws {
        let scratch = try Scratch()
        let call = try callOfStartKernel()
        let path = try Sample.patched(
            "x86_64_start_kernel", plus: call, with: [UInt8](repeating: 0x90, count: 5), in: scratch)
        #expect(try refused(path, scratch).contains("0 calls of start_kernel in "))
    }

    @Test func twoCallsOfStartKernel() throws {
        let scratch = try Scratch()
        let call = try callOfStartKernel()
        // A second call in front of the first, over what stands there.
        let offset = Int32(try target(ofCallAt: call)) + 5
        let bytes = [0xe8] + (0..<4).map { UInt8(truncatingIfNeeded: offset >> (8 * $0)) }
        let path = try Sample.patched("x86_64_start_kernel", plus: call - 5, with: bytes, in: scratch)
        #expect(try refused(path, scratch).contains("2 calls of start_kernel in "))
    }

    /// Where in x86_64_start_kernel the call stands, in bytes.
    private func callOfStartKernel() throws -> Int {
        let image = try KernelImage.open(try Sample.path)
        let (function, start) = (
            try address(of: "x86_64_start_kernel", in: image), try address(of: "start_kernel", in: image)
        )
        let analysis = try KernelAnalysis.of(image)
        guard let code = analysis.map.bytes(at: function, count: 64, in: image) else { return 0 }
        let call = Decoder(.x86Bits64).all(code, at: function).first { $0.target == start }
        return Int(try #require(call).address - function)
    }

    /// The relative target of the call at an offset in x86_64_start_kernel.
    private func target(ofCallAt offset: Int) throws -> Int {
        let image = try KernelImage.open(try Sample.path)
        let function = try address(of: "x86_64_start_kernel", in: image)
        let start = try address(of: "start_kernel", in: image)
        return Int(Int64(bitPattern: start.rawValue &- (function + UInt64(offset + 5)).rawValue))
    }

    /// A pointer to a table, another frame, nothing at all.
    @Test(arguments: [[0x63, 0, 0, 1], [0xe3, 1, 0x40, 1], [0, 0, 0, 0]] as [[UInt8]])
    func notALargePage(entry: [UInt8]) throws {
        let scratch = try Scratch()
        let path = try Sample.patched("level2_kernel_pgt", plus: 8 * 8, with: entry, in: scratch)
        let said = try refused(path, scratch)
        #expect(said.contains("level2_kernel_pgt: the entry for 0xffffffff81000000 is 0x"))
        #expect(said.hasSuffix(", not a large page at 0x1000000"))
    }

    /// A table that shows the image, too, and that nothing known leads to: as the PVH entry's, when its root has no name.
    @Test func anotherTableShowsTheImage() throws {
        let scratch = try Scratch()
        let image = try KernelImage.open(try Sample.path)
        let map = try KernelAnalysis.of(image).map
        let table = try #require(map.page(of: try address(of: "level2_kernel_pgt", in: image)))
        let from = map.entries[table]
        var contents = try readBytes(try Sample.path)
        let free = map.entries.indices.last { page in
            let entry = map.entries[page]
            return entry.fileBytes == pageSize
                && contents[entry.fileOffset..<entry.fileOffset + pageSize].allSatisfy { $0 == 0 }
        }
        let page = try #require(free)
        let to = map.entries[page].fileOffset
        contents.replaceSubrange(
            to..<to + from.fileBytes, with: contents[from.fileOffset..<from.fileOffset + from.fileBytes])
        let path = try write(contents, to: scratch["patched"])
        let place = map.virtualBase + UInt64(page * pageSize)
        #expect(try refused(path, scratch).contains("the page at \(place) shows the image as level2_kernel_pgt does"))
    }

    /// Without a gap behind text the stub goes into the padding inside it.
    @Test func paddingInsideTextServes() throws {
        let scratch = try Scratch()
        let image = try KernelImage.open(try Sample.path)
        let rodata = try address(of: "__start_rodata", in: image)
        let renamed = try Sample.edited("--redefine-sym=_etext=renamed", in: scratch)
        try runTool("llvm-objcopy", "--add-symbol=_etext=\(rodata),global", renamed, scratch["moved"])
        let moved = try KernelImage.open(scratch["moved"])
        let plan = try RewritePlan.draw(moved, Request())
        let stub = try #require(plan.changes.first { $0.reason == "the boot stub" }?.address)
        let text = try #require(plan.analysis.classes.first { $0.name == "text" })
        #expect(text.ranges.contains { $0.contains(plan.analysis.map.page(of: stub) ?? -1) })
        try plan.apply(to: scratch["out"], from: moved, tool: "test")
        let proof = try PermutedImage.open(scratch["out"]).verify(against: moved)
        #expect(proof.passed)
    }

    @Test func noRoomForTheStub() throws {
        let scratch = try Scratch()
        let image = try KernelImage.open(try Sample.path)
        let pages = Int(try address(of: "__start_rodata", in: image) - address(of: "_etext", in: image)) / 4096
        let full = (0...pages).flatMap { _ in [1] + [UInt8](repeating: 0, count: 4095) }.dropLast(4096)
        let path = try Sample.patched("_etext", plus: 0, with: Array(full), in: scratch)
        #expect(try refused(path, scratch).contains("no room for the boot stub: no unused page in text"))
    }

    @Test func earlyCodeUnreadable() throws {
        let scratch = try Scratch()
        let path = try Sample.patched("startup_64", with: [0x06], in: scratch)
        #expect(try refused(path, scratch).contains("early code at 0xffffffff81000000 does not decode"))
    }

    @Test(arguments: [UInt8(0x28), 0xb7]) func wrongArchitecture(machine: UInt8) throws {
        let scratch = try Scratch()
        var bytes = try readBytes(Sample.path)
        bytes[18] = machine
        let path = try write(bytes, to: scratch["other"])
        #expect(try refused(path, scratch).contains("wrong architecture: ELF machine \(machine), 64 bits"))
    }

    /// Program headers with absurd addresses and sizes are refused or, where the number means nothing to a loader (a
    /// virtual address), give an image that is proved.
    @Test(arguments: 0..<4, [UInt64.max, .max - 4095, 1 << 63, 1 << 40, 4097] as [UInt64])
    func absurdSegments(header: Int, value: UInt64) throws {
        let scratch = try Scratch()
        for field in [8, 16, 24, 32, 40] {
            var bytes = try readBytes(Sample.path)
            bytes.put(value, at: 64 + 56 * header + field)
            let path = try write(bytes, to: scratch["absurd"])
            do throws(RewriteError) {
                let image = try wrapping(RewriteError.image) { () throws(ImageError) in try KernelImage.open(path) }
                try RewritePlan.draw(image, Request()).apply(to: scratch["out"], from: image, tool: "test")
                let proof = try PermutedImage.open(scratch["out"]).verify(against: image)
                #expect(proof.findings.isEmpty)
            } catch {
                #expect("\(error)".hasPrefix("\(path): ") && !"\(error)".contains("\n"))
            }
        }
    }

    /// Sizes that overflow only when they are rounded up to pages.
    @Test func sizeOfAllMemory() throws {
        let scratch = try Scratch()
        var bytes = try readBytes(Sample.path)
        bytes.put(UInt64(0), at: 64 + 24)
        bytes.put(UInt64(0), at: 64 + 56 + 16)
        bytes.put(UInt64(0), at: 64 + 56 + 24)
        bytes.put(UInt64.max, at: 64 + 56 + 40)
        _ = try refused(try write(bytes, to: scratch["absurd"]), scratch)
    }
}
