// SPDX-License-Identifier: MIT

// kperm audit of modules: what it prints, and how it ends.

import Foundation
import Testing

struct AuditCommandTests {
    private static let source = """
        .globl use; .type use, @function
        use: mov $buffer, %rdx; mov $200, %ecx; call usb_bulk_msg; ret
        .size use, . - use
        .bss
        .balign 4096
        .zero 4000
        .type buffer, @object; .size buffer, 200
        buffer: .zero 200
        """

    private func workplace(_ source: String = source, target: String = "x86_64-unknown-none-elf") async throws
        -> Workplace
    {
        let place = try Workplace()
        try (source + "\n").write(toFile: place["module.S"], atomically: true, encoding: .utf8)
        let result = try await execute(
            "clang", ["--target=\(target)", "-c", "module.S", "-o", "module.ko"], in: place.path)
        try #require(result.status == 0, "\(result.error)")
        return place
    }

    private func audit(_ place: Workplace, _ arguments: String...) async throws -> Outcome {
        try await execute(product, ["audit"] + arguments, in: place.path)
    }

    @Test func printsFindings() async throws {
        let place = try await workplace()
        let text = try await audit(place, "module.ko")
        #expect(text.status == 0)
        #expect(
            text.output.contains("flows to devices: 1 hazard, 0 suspicious, 0 safe, in 1 functions, read as module"))
        #expect(text.output.contains("hazard: buffer (200 bytes)"))
        let image = try await audit(place, "module.ko", "--as", "image")
        #expect(image.output.contains("200 bytes begin 96 bytes before the end of a page"))

        let json = try await audit(place, "module.ko", "--json", "--objects")
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        let flows = try #require(object["flows"] as? [String: Any])
        let findings = try #require(flows["findings"] as? [[String: Any]])
        #expect(findings.count == 1)
        #expect(findings[0]["severity"] as? String == "hazard" && findings[0]["rule"] as? String == "usb_bulk_msg")
        #expect(object["sites"] == nil)
        let crossing = try #require(object["crossing"] as? [String: Any])
        #expect((crossing["objects"] as? [[String: Any]])?.map { $0["name"] as? String } == ["buffer"])
    }

    /// Of a kernel for arm64 its translation sites are listed; what is not looked for there is said, and refused when
    /// asked for.
    @Test func kernelOfAnotherArchitecture() async throws {
        let place = try await workplace(
            """
            .globl start; .type start, @function
            start: adrp x1, kimage_voffset; ldr x1, [x1, :lo12:kimage_voffset]; sub x0, x0, x1; ret
            .size start, . - start
            .data
            kimage_voffset: .quad 0
            """, target: "aarch64-linux-gnu")
        let linked = try await execute(
            "ld.lld", ["-static", "-e", "start", "module.ko", "-o", "vmlinux"], in: place.path)
        try #require(linked.status == 0, "\(linked.error)")
        let text = try await audit(place, "vmlinux", "--sites")
        #expect(text.status == 0)
        #expect(text.output.contains("translation sites: 1, 1 of them understood"))
        #expect(text.output.contains("start+0x4") && text.output.contains("register x0, address, returned"))
        #expect(text.output.contains("note: arm64: translation sites only"))
        #expect(!text.output.contains("flows to devices: "))
        let json = try await audit(place, "vmlinux", "--json")
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(object["architecture"] as? String == "arm64" && object["flows"] == nil)
        let refused = try await audit(place, "vmlinux", "--fail-on", "hazard")
        #expect(refused.status == 2 && refused.error.contains("leave out --fail-on"))
    }

    @Test func failsWhenAskedTo() async throws {
        let bad = try await workplace()
        #expect(try await audit(bad, "module.ko", "--fail-on", "hazard").status == 1)
        #expect(try await audit(bad, "module.ko", "--fail-on", "suspicious").status == 1)
        let good = try await workplace(Self.source.replacingOccurrences(of: "$200", with: "$64"))
        #expect(try await audit(good, "module.ko", "--as", "image", "--fail-on", "suspicious").status == 0)
        #expect(try await audit(good, "module.ko", "--fail-on", "safe").status == 2)
    }

    @Test func explainsRules() async throws {
        let place = try Workplace()
        let one = try await audit(place, "--explain", "usb_bulk_msg")
        #expect(one.status == 0 && one.output.contains("evidence:  drivers/usb/core/message.c"))
        #expect(try await audit(place, "--explain", "all").output.contains("bio_add_page"))
        let none = try await audit(place, "--explain", "nonsense")
        #expect(none.status == 2 && none.error.contains("no rule 'nonsense'"))
    }

    @Test func refusesWhatIsNoModule() async throws {
        let place = try await workplace("ret", target: "aarch64-none-elf")
        let other = try await audit(place, "module.ko")
        #expect(other.status == 2 && other.error.contains("a module for machine 183"))
        #expect(try await audit(place, "module.S").status == 2)
        #expect(try await audit(place).status == 2)
    }

    @Test func namesTypesAndLines() async throws {
        let place = try Workplace()
        let source = """
            char buffer[5000];
            int usb_bulk_msg(void *, unsigned, void *, int, int *, int);
            int use(void *device) {
                return usb_bulk_msg(device, 0, buffer, 200, 0, 0) + 1;
            }

            """
        try source.write(toFile: place["module.c"], atomically: true, encoding: .utf8)
        let compiled = try await execute(
            "clang",
            [
                "--target=x86_64-unknown-none-elf", "-mcmodel=kernel", "-O1", "-g", "-gdwarf-aranges", "-c", "module.c",
                "-o", "module.ko",
            ],
            in: place.path)
        try #require(compiled.status == 0, "\(compiled.error)")
        let text = try await audit(place, "module.ko", "--objects")
        #expect(text.output.contains("; char [5000]; module.c:1\n"))
        #expect(text.output.contains("(module.c:4)\n"))
        #expect(!text.output.contains("note:"))

        // The first entry of .debug_info is of a kind that .debug_abbrev does not have.
        let sections = try await execute("llvm-readelf", ["-SW", "module.ko"], in: place.path)
        let words = sections.output.split(whereSeparator: \.isWhitespace)
        let name = try #require(words.firstIndex(of: ".debug_abbrev"))
        let offset = try #require(Int(words[name + 3], radix: 16))
        var bytes = Array(try Data(contentsOf: URL(fileURLWithPath: place["module.ko"])))
        bytes[offset] = 0x7f
        try Data(bytes).write(to: URL(fileURLWithPath: place["damaged.ko"]))
        let damaged = try await audit(place, "damaged.ko", "--objects")
        #expect(damaged.status == 0 && damaged.output.contains("1 hazard"))
        #expect(damaged.output.contains("note: types and lines are missing: its debug sections are damaged: "))
    }
}
