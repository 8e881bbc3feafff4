// SPDX-License-Identifier: MIT

// What debug sections say, against the source that they were made of: in a
// relocatable object and in a linked file, with addresses written out (DWARF 4)
// and by index (DWARF 5), and damaged in every way that one byte can.

import Addressing
import KernelImage
import TestSupport
import Testing

struct DebugInformationTests {
    private static let source = """
        typedef unsigned char byte;
        struct record { int a, b; };
        struct record records[3][4];
        const char *const names[2] = {"one", "two"};
        static volatile byte *cursor;
        void (*handlers[5])(int);
        union { int a; char b; } either;
        int count(void) {
            static long counts[7];
            cursor = (byte *)names[1];
            return counts[1]++;
        }

        """
    private static let expected: [String: String] = [
        "records": "struct record [3][4]; source.c:3",
        "names": "const char *const [2]; source.c:4",
        "cursor": "volatile byte *; source.c:5",
        "handlers": "void (*[5])(…); source.c:6",
        "either": "union {}; source.c:7",
        "count": "source.c:8",
        "count.counts": "long [7]; source.c:9",
    ]

    /// Compiles the source; `flags` choose what becomes of it.
    private func compile(_ scratch: Scratch, _ flags: [String]) throws -> String {
        try write(Array(Self.source.utf8), to: scratch["source.c"])
        let words = flags.joined(separator: " ")
        try runTool(
            "sh", "-c",
            "cd '\(scratch.path)' && clang --target=x86_64-unknown-none-elf -O0 -mcmodel=kernel \(words) -c source.c -o made.o"
        )
        return scratch["made.o"]
    }

    /// What is said of every symbol, when section `n` of a relocatable object lies at `n` times 64 KB.
    private func said(of path: String) throws -> [String: String] {
        let image = try KernelImage.open(path)
        let isRelocatable = image.header.type == 1
        var placement: [Int: VirtualAddress] = [:]
        for section in image.sections where isRelocatable && section.isAllocated {
            placement[section.index] = VirtualAddress(0xffff_ffff_c000_0000) + UInt64(section.index) << 16
        }
        let table = try #require(try image.symbolTable())
        var addresses: [String: VirtualAddress] = [:]
        for symbol in table.symbols where symbol.size > 0 {
            addresses[table.name(of: symbol, in: image)] =
                placement[Int(symbol.section)].map { $0 + symbol.value.rawValue } ?? symbol.value
        }
        let opened = try DebugInformation(image, placement: placement)
        guard var information = opened else { return [:] }
        let places = information.places(at: Array(addresses.values))
        #expect(information.problem == nil)
        if let start = addresses["count"] {
            let found = information.line(of: start)
            let line = try #require(found)
            #expect(line.file == "source.c" && (8...11).contains(line.line ?? 0))
        }
        return addresses.compactMapValues { address in
            places[address].map { [$0.type, $0.fileAndLine].compactMap { $0 }.joined(separator: "; ") }
        }
    }

    @Test(arguments: ["-gdwarf-4", "-gdwarf-5", "-gdwarf-5 -gz", "-gdwarf-4 -ffunction-sections -fdata-sections"])
    func saysWhatTheSourceSays(flags: String) throws {
        let scratch = try Scratch()
        let object = try compile(scratch, [flags, "-gdwarf-aranges"])
        let ofObject = try said(of: object)
        try runTool("ld.lld", "-Ttext=0xffffffff81000000", "-e", "count", object, "-o", scratch["linked"])
        let ofLinked = try said(of: scratch["linked"])
        for (name, text) in Self.expected {
            #expect(ofObject[name] == text)
            #expect(ofLinked[name] == text)
        }
    }

    @Test func saysNothingWithoutDebugSections() throws {
        let scratch = try Scratch()
        #expect(try said(of: try compile(scratch, ["-g0"])).isEmpty)
    }

    @Test func survivesDamage() throws {
        let scratch = try Scratch()
        let whole = try readBytes(try compile(scratch, ["-gdwarf-4", "-gdwarf-aranges"]))
        var random = TestRandom()
        var (problems, same) = (0, 0)
        for _ in 0..<400 {
            var bytes = whole
            let range: Range<Int> = try { () throws -> Range<Int> in
                let image = try KernelImage.open(scratch["made.o"])
                let debug = image.sections.filter { $0.name.hasPrefix(".debug_") }
                let section = debug[Int.random(in: debug.indices, using: &random)]
                return Int(section.offset)..<Int(section.offset + section.size)
            }()
            for _ in 0..<4 { bytes[Int.random(in: range, using: &random)] = UInt8.random(in: 0...255, using: &random) }
            try write(bytes, to: scratch["damaged.o"])
            let image = try KernelImage.open(scratch["damaged.o"])
            let table = try #require(try image.symbolTable())
            do {
                let opened = try DebugInformation(image)
                guard var information = opened else { continue }
                let places = information.places(at: table.symbols.filter { $0.size > 0 }.map(\.value))
                _ = information.line(of: VirtualAddress(0))
                if information.problem != nil { problems += 1 }
                if !places.isEmpty { same += 1 }
            } catch {
                problems += 1
                #expect(error.message.hasPrefix("debug sections: "))
            }
        }
        #expect(problems > 10 && same > 10)
    }
}
