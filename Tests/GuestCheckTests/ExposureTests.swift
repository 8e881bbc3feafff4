// SPDX-License-Identifier: MIT

// What a guest hands out, and what is made of it. Each check must fail on a guest
// that exposes one thing. Real guests are looked at by tools/check.

import Addressing
import PagePermutation
import Testing

@testable import GuestCheck

struct ExposureTests {
    private static func stream(user: [(String, Int, [UInt8])], root: [(String, Int, [UInt8])]) -> [UInt8] {
        [user, root].flatMap { files in
            ([("reading as", 0, [])] + files + [("read", 0, [])]).flatMap { path, error, bytes in
                Array("\(path)\t\(error)\t444\t\(bytes.count)\n".utf8) + bytes
            }
        }
    }

    private static func table() throws -> TableSearch {
        var forward = (0..<64).map { UInt32($0) }
        for page in stride(from: 8, to: 64, by: 1) { forward[page] = UInt32(8 + (page - 8) * 25 % 56) }
        return try SyntheticOrder.search(forward)
    }

    @Test func tableThatRootReads() throws {
        let search = try Self.table()
        let files = try ExposedFiles(
            parsing: Self.stream(
                user: [
                    ("/proc/iomem", 0, Array("\t\n".utf8)), ("/proc/kcore", 13, []), ("/sys/a", 13, []),
                    ("/sys/b", 0, [1]),
                ],
                root: [("/proc/iomem", 0, []), ("/proc/kcore (memory)", 0, search.table.bytes)]))
        let views = files.views(search)
        let core = try #require(views.first { $0.path == "/proc/kcore (memory)" })
        #expect(core.root.pages > 40 && core.root.telling == ["/proc/kcore (memory)"] && core.user.files == 0)
        let headers = try #require(views.first { $0.path == "/proc/kcore" })
        #expect(headers.user.files == 1 && headers.user.open == 0)
        let others = try #require(views.first { $0.path == "/sys/" })
        #expect(others.user.files == 2 && others.user.open == 1 && others.user.bytes == 1)
        #expect(!views.contains { $0.user.isTelling })
    }

    @Test func whatAnyUserMustNotRead() throws {
        let search = try Self.table()
        let seed = Array("kperm.seed=\(String(repeating: "1", count: 64))\n".utf8)
        for (path, bytes) in [
            ("/proc/cmdline", seed), ("/sys/kernel/debug/kperm", search.table.bytes), ("/sys/x", seed),
        ] {
            let files = try ExposedFiles(parsing: Self.stream(user: [(path, 0, bytes)], root: []))
            let result = ExposureResult(
                movedPages: 56, interfaces: files.views(search), aliases: AliasFigures(), tablePlace: nil,
                seedsInMemory: nil)
            #expect(result.isExposed)
            #expect(result.interfaces.filter(\.user.isTelling).flatMap(\.user.telling) == [path])
        }
    }

    /// Where the file itself says where the image begins, a number that looks like it tells nobody anything.
    @Test func beginningThatIsNoSecret() throws {
        let table = try SyntheticOrder.table((0..<64).map { UInt32($0) }, physicalBase: 0x100_0000)
        for isSecret in [true, false] {
            let search = TableSearch(
                table, linkedBase: VirtualAddress(0xffff_ffff_8100_0000), isBaseSecret: isSecret)
            for text in ["1000000\n", "01000000-02000000 : Kernel code\n", "NUMBER(phys_base)=0\n"] {
                #expect(search.look(at: Array(text.utf8)[...]).base == isSecret)
            }
        }
    }

    @Test func streamThatIsNotWhole() throws {
        let whole = Self.stream(user: [("/a", 0, [1, 2, 3])], root: [("/b", 0, [10, 10])])
        #expect(try ExposedFiles(parsing: whole).files.map(\.path) == ["/a", "/b"])
        for count in 0..<whole.count {
            #expect(throws: ExposureFlaw.self) { try ExposedFiles(parsing: Array(whole.prefix(count))) }
        }
        let refused = Array("becoming another user\t1\t0\t0\n".utf8)
        #expect(throws: ExposureFlaw("becoming another user: error 1")) { try ExposedFiles(parsing: refused) }
    }

    @Test(arguments: [
        ("/proc/kcore", "/proc/kcore"), ("/proc/kcore (memory)", "/proc/kcore (memory)"),
        ("/proc/self/stat", "/proc/self/"),
        ("/proc/1/stat", "/proc/"), ("/sys/kernel/debug/kperm", "/sys/kernel/debug/kperm"),
        ("/sys/kernel/debug/sched/features", "/sys/kernel/debug"), ("/sys/kernel/notes", "/sys/kernel/notes"),
        ("/sys/power/state", "/sys/"), ("/dev/mem", "/dev/mem"),
    ])
    func everyFileHasARule(path: String, rule: String) {
        #expect(Interface.index(of: path).map { Interface.all[$0].path } == rule)
    }

    // MARK: Other mappings

    private func aliases(_ guest: SyntheticGuest) throws -> AliasFigures {
        guest.expectation.aliases(guest.builder.tables, try guest.memory())
    }

    @Test func aliasesOfARightGuest() throws {
        let figures = try aliases(SyntheticGuest())
        #expect(figures.moved == AliasFigures.Pages(count: 2, shown: 2))
        #expect(figures.unmoved == AliasFigures.Pages(count: 2, shown: 2))
        #expect(
            figures.elsewhere == 0 && figures.elsewhereInImage == 0 && figures.wide == 0 && figures.examples.isEmpty)
    }

    @Test func linearMapTooWide() throws {
        for (flags, isWritable) in [(TableBuilder.noExecute | TableBuilder.writable, true), (0, false)] {
            var guest = try SyntheticGuest()
            guest.builder.map(SyntheticGuest.linearMap + SyntheticGuest.frames, to: SyntheticGuest.frames, flags: flags)
            let figures = try aliases(guest)
            #expect(figures.moved.writable == (isWritable ? 1 : 0) && figures.moved.executable == (isWritable ? 0 : 1))
            #expect(figures.wide == 1 && figures.unmoved.writable == 0)
            guest = try SyntheticGuest()
            let pinned = SyntheticGuest.frames + 0x2000
            guest.builder.map(SyntheticGuest.linearMap + pinned, to: pinned, flags: flags)
            #expect(try aliases(guest).unmoved.writable == (isWritable ? 1 : 0))
        }
    }

    /// The page that a stock kernel has in the frame of another one, freed but still mapped there and writable.
    @Test func aliasWhereAStockKernelHasThePage() throws {
        var guest = try SyntheticGuest()
        let flags = TableBuilder.noExecute | TableBuilder.writable
        guest.builder.map(SyntheticGuest.base + 0x7000, to: SyntheticGuest.frames + 0x2000, flags: flags)
        let figures = try aliases(guest)
        #expect(figures.elsewhereInImage == 1 && figures.wide == 1)
        #expect(figures.examples == ["rodata page 2 (0xffffffff81002000) is writable at 0xffffffff81007000"])
        #expect(try guest.userspaceFailures() == ["aliases"])
    }

    // MARK: The guest

    @Test func secondSerialPort() throws {
        var options = GuestOptions()
        options.secondSerialPort = "/a,b"
        let words = Machine.arguments(
            options, try SyntheticGuest().expectation, directory: "/d", console: "/console", ram: "/ram")
        let serial = words.indices.filter { words[$0] == "-serial" }.map { words[$0 + 1] }
        #expect(serial == ["chardev:console", "chardev:second"])
        #expect(words.contains("file,id=second,path=/a,,b"))
    }

    @Test func guestMemoryIsSearched() throws {
        let guest = try SyntheticGuest()
        let memory = try guest.memory()
        memory.write([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], atOffset: 0x5123)
        #expect(memory.offsets(of: [1, 2, 3, 4, 5]).filter { $0 < 0x10_0000 } == [0x5123, 0x5128])
        let map = MemoryMap(pieces: [
            MemoryMap.Piece(guest: 0..<0x1000, offset: 0), MemoryMap.Piece(guest: 0x10_000..<0x11_000, offset: 0x1000),
        ])
        #expect(map.address(ofOffset: 0x1234) == PhysicalAddress(0x10_234))
        #expect(map.address(ofOffset: 0x2000) == nil)
    }
}
