// SPDX-License-Identifier: MIT

// Each rule fires where it must and keeps silent beside it: the same few
// instructions with an object that crosses a page and with one that does not,
// and with a length, a flag or a field that makes the difference.

import Testing

@testable import HazardAudit

/// What a fixture shows.
private struct RuleCase: Sendable, CustomTestStringConvertible {
    let rule: String
    let code: String
    /// Of each object, in a permuted kernel; objects that are not named are not found.
    let image: [String: Rule.Severity]
    /// In a module.
    let module: [String: Rule.Severity]
    var testDescription: String { "\(rule) \(image)" }

    init(
        _ rule: String, _ code: String, image: [String: Rule.Severity], module: [String: Rule.Severity]
    ) {
        self.rule = rule
        self.code = code
        self.image = image
        self.module = module
    }

    private static let both: [String: Rule.Severity] = ["crossing": .hazard, "inside": .hazard]
    private static let found: [String: Rule.Severity] = ["crossing": .hazard, "inside": .safe]
    private static let harmless: [String: Rule.Severity] = ["crossing": .safe, "inside": .safe]

    /// The same function for each of two objects: `OBJECT` stands for them.
    private static func each(_ code: String) -> String {
        ["crossing", "inside"].map { object in
            "FUNCTION(use_\(object)): \(code.replacing("OBJECT", with: object)); ret; END(use_\(object))"
        }.joined(separator: "\n")
    }

    /// %rax becomes an object's physical address, as the kernel's own inline code does it.
    private static let translate = "mov $0x80000000, %eax; add $OBJECT, %rax; add phys_base(%rip), %rax"
    /// And then its struct page.
    private static let page = translate + "; shr $12, %rax; shl $6, %rax; add vmemmap_base(%rip), %rax"

    static let all: [RuleCase] = [
        RuleCase(
            "dma_map_page",
            each(
                page + "; mov %rax, %rsi; mov $OBJECT, %rdx; and $0xfff, %edx; mov $200, %ecx; "
                    + "call dma_map_page_attrs"), image: found, module: both),
        RuleCase(
            "dma_map_page", each(page + "; mov %rax, %rsi; xor %edx, %edx; mov $4096, %ecx; call dma_map_page_attrs"),
            image: harmless, module: both),
        RuleCase(
            "sg_init_one", each("mov $OBJECT, %rsi; mov $200, %edx; call sg_init_one"), image: found, module: both),
        RuleCase(
            "sg_init_one", each("mov $OBJECT, %rsi; mov $96, %edx; call sg_init_one"), image: harmless, module: both),
        RuleCase(
            "sg_init_one", each("mov $OBJECT, %rsi; call sg_init_one"),
            image: ["crossing": .suspicious, "inside": .safe], module: both),
        RuleCase(
            "scatterlist",
            each(
                page + "; mov %rax, (%rdi); movl $200, 12(%rdi); mov $OBJECT, %rcx; and $0xfff, %ecx; "
                    + "mov %ecx, 8(%rdi)"), image: found, module: both),
        RuleCase("page list", each(page + "; mov %rax, (%rdi)"), image: harmless, module: both),
        RuleCase("physical address", each(translate + "; mov %rax, 0x40(%rdi)"), image: found, module: both),
        RuleCase("physical address", each(translate + "; mov %rax, %rbx; vmcall"), image: found, module: both),
        RuleCase("physical address", each(translate + "; push %rax; pop %rbx"), image: [:], module: [:]),
        RuleCase(
            "remap_pfn_range", each(translate + "; shr $12, %rax; mov %rax, %rdx; call remap_pfn_range"), image: found,
            module: both),
        RuleCase("dma_map_page", each(translate + "; mov %rax, %rsi; call dma_map_phys"), image: found, module: both),
        RuleCase("memremap", each(translate + "; mov %rax, %rdi; call memremap"), image: found, module: both),
        RuleCase("memremap", each(translate + "; mov %rax, %rdx; call memremap"), image: [:], module: [:]),
        RuleCase("iommu_map", each(translate + "; mov %rax, %rdx; call iommu_map"), image: found, module: both),
        RuleCase(
            "remap_pfn_range", each(translate + "; shr $12, %rax; mov %rax, %rdx; call vmf_insert_pfn"), image: found,
            module: both),
        RuleCase(
            "bio_add_page", each("mov $OBJECT, %rsi; mov $200, %edx; call bio_add_virt_nofail"), image: found,
            module: both),
        RuleCase(
            "blk_rq_map_kern", each("mov $OBJECT, %rsi; mov $200, %edx; call blk_rq_map_kern"), image: harmless,
            module: both),
        RuleCase("vm_insert_page", each(page + "; mov %rax, %rdx; call vm_insert_page"), image: harmless, module: both),
        RuleCase(
            "usb_control_msg", each("push $1000; push $200; push $OBJECT; call usb_control_msg; add $24, %rsp"),
            image: found, module: both),
        RuleCase(
            "usb_control_msg", each("push $1000; push $8; push $OBJECT; call usb_control_msg; add $24, %rsp"),
            image: harmless, module: both),
        RuleCase(
            "usb_bulk_msg", each("mov $OBJECT, %rdx; mov $200, %ecx; call usb_bulk_msg"), image: found, module: both),
        RuleCase("usb_bulk_msg", each("mov $OBJECT, %rsi; mov $200, %ecx; call usb_bulk_msg"), image: [:], module: [:]),
        RuleCase(
            "usb_submit_urb",
            each(
                "push %rbx; mov %rdi, %rbx; movl $7, 0x50(%rbx); movq $OBJECT, 0x60(%rbx); "
                    + "movl $200, 0x80(%rbx); movq $0, 0xa8(%rbx); movq $use_inside, 0xb0(%rbx); call usb_submit_urb; "
                    + "pop %rbx"), image: found, module: both),
        RuleCase(
            "usb_submit_urb",
            each(
                "movq $0, 0x60(%rdi); movl $0, 0x80(%rdi); movq $OBJECT+90, 0x88(%rdi); "
                    + "movq $0, 0xa8(%rdi); movq $use_inside, 0xb0(%rdi); call usb_submit_urb"), image: found,
            module: both),
        RuleCase(
            "usb_submit_urb",
            each(
                "movq $0, 0x60(%rdi); movl $200, 0x80(%rdi); movq $OBJECT, 0xa8(%rdi); "
                    + "movq $use_inside, 0xb0(%rdi); call usb_submit_urb"), image: [:], module: [:]),
        RuleCase(
            "usb_control_msg_send", each("push $0; push $200; push $OBJECT; call usb_control_msg_send; add $24, %rsp"),
            image: harmless, module: harmless),
        RuleCase(
            "hid_hw_raw_request", each("mov $OBJECT, %rdx; mov $200, %ecx; call hid_hw_raw_request"),
            image: ["crossing": .suspicious, "inside": .safe],
            module: ["crossing": .suspicious, "inside": .suspicious]),
        RuleCase(
            "spi_sync",
            each(
                "sub $256, %rsp; movq $OBJECT, 128(%rsp); movl $200, 144(%rsp); mov %rsp, %rsi; "
                    + "call spi_sync; add $256, %rsp"), image: found, module: both),
        RuleCase(
            "spi_sync",
            each(
                "sub $256, %rsp; movq $OBJECT, 136(%rsp); movl $8, 144(%rsp); mov %rsp, %rsi; "
                    + "call spi_sync; add $256, %rsp"), image: harmless, module: both),
        RuleCase(
            "spi_write_then_read", each("mov $OBJECT, %rsi; mov $200, %edx; call spi_write_then_read"), image: harmless,
            module: harmless),
        RuleCase(
            "i2c_transfer",
            each(
                "sub $24, %rsp; movl $0x02000010, (%rsp); movw $200, 4(%rsp); movq $OBJECT, 8(%rsp); "
                    + "mov %rsp, %rsi; mov $1, %edx; call i2c_transfer; add $24, %rsp"), image: found, module: both),
        RuleCase(
            "i2c_transfer",
            each(
                "sub $24, %rsp; movl $0x00010010, (%rsp); movw $200, 4(%rsp); movq $OBJECT, 8(%rsp); "
                    + "mov %rsp, %rsi; mov $1, %edx; call i2c_transfer; add $24, %rsp"), image: [:], module: [:]),
        // The client's address size, stored together with the address; then a flag that promises besides.
        RuleCase(
            "i2c_transfer",
            each(
                "sub $24, %rsp; movzwl (%rdi), %eax; and $16, %eax; or $1, %eax; shl $16, %eax; movzwl 2(%rdi), %ecx; "
                    + "or %ecx, %eax; mov %eax, (%rsp); movw $200, 4(%rsp); movq $OBJECT, 8(%rsp); "
                    + "mov %rsp, %rsi; mov $1, %edx; call i2c_transfer; add $24, %rsp"), image: [:], module: [:]),
        RuleCase(
            "i2c_transfer",
            each(
                "sub $24, %rsp; movzwl (%rdi), %eax; and $16, %eax; or $2, %ah; shl $16, %eax; movzwl 2(%rdi), %ecx; "
                    + "or %ecx, %eax; mov %eax, (%rsp); movw $200, 4(%rsp); movq $OBJECT, 8(%rsp); "
                    + "mov %rsp, %rsi; mov $1, %edx; call i2c_transfer; add $24, %rsp"), image: found, module: both),
        // The flag is in a message behind the only one.
        RuleCase(
            "i2c_transfer",
            each(
                "sub $40, %rsp; movl $0x10, (%rsp); movw $200, 4(%rsp); movq $OBJECT, 8(%rsp); "
                    + "movl $0x02000010, 16(%rsp); movw $200, 20(%rsp); movq $OBJECT, 24(%rsp); "
                    + "mov %rsp, %rsi; mov $1, %edx; call i2c_transfer; add $40, %rsp"), image: [:], module: [:]),
        // Copied with more bytes than were written at once: nothing is known of the flags, least of all that they are 0.
        RuleCase(
            "i2c_transfer",
            each(
                "sub $40, %rsp; movw $0x10, (%rsp); movw $0x200, 2(%rsp); movl $200, 4(%rsp); mov (%rsp), %rax; "
                    + "mov %rax, 16(%rsp); movq $OBJECT, 24(%rsp); "
                    + "lea 16(%rsp), %rsi; mov $1, %edx; call i2c_transfer; add $40, %rsp"),
            image: ["crossing": .suspicious, "inside": .safe],
            module: ["crossing": .suspicious, "inside": .suspicious]),
        RuleCase(
            "i2c_transfer_buffer_flags",
            each(
                "mov $OBJECT, %rsi; mov $200, %edx; mov $0x200, %ecx; "
                    + "call i2c_transfer_buffer_flags"), image: found, module: both),
        RuleCase(
            "i2c_transfer_buffer_flags",
            each(
                "mov $OBJECT, %rsi; mov $200, %edx; mov $1, %ecx; "
                    + "call i2c_transfer_buffer_flags"), image: [:], module: [:]),
        RuleCase(
            "bio_add_page",
            each(
                page + "; mov %rax, %rsi; mov $200, %edx; mov $OBJECT, %rcx; and $0xfff, %ecx; "
                    + "call bio_add_page"), image: found, module: both),
        RuleCase(
            "bio_add_pc_page",
            each(
                page + "; mov %rax, %rdx; mov $200, %ecx; mov $OBJECT, %r8; and $0xfff, %r8d; "
                    + "call bio_add_pc_page"), image: found, module: both),
        RuleCase(
            "blk_rq_map_kern", each("mov $OBJECT, %rdx; mov $200, %ecx; call blk_rq_map_kern"), image: harmless,
            module: both),
        RuleCase("slow_virt_to_phys", each("mov $OBJECT, %rdi; call slow_virt_to_phys"), image: found, module: found),
        RuleCase("vmalloc_to_page", each("mov $OBJECT, %rdi; call vmalloc_to_page"), image: harmless, module: harmless),
        RuleCase(
            "crypto_setkey", each("mov $OBJECT, %rsi; mov $200, %edx; call crypto_skcipher_setkey"), image: harmless,
            module: harmless),
        RuleCase("memcpy_toio", each("mov $OBJECT, %rsi; call memcpy_toio"), image: harmless, module: harmless),
        RuleCase("memcpy_fromio", each("mov $OBJECT, %rdi; call memcpy_fromio"), image: harmless, module: harmless),
        RuleCase(
            "print", each(translate + "; push %rax; mov %rsp, %rsi; call _printk; pop %rax"), image: harmless,
            module: ["crossing": .suspicious, "inside": .suspicious]),
    ]
}

struct RuleTests {
    @Test(arguments: RuleCase.all)
    private func firesWhereItMust(fixture: RuleCase) throws {
        let subject = try module(fixture.code)
        #expect(subject.module?.skipped == 0)
        #expect(subject.verdicts(as: .image) == fixture.image)
        #expect(subject.verdicts(as: .module) == fixture.module)
        let found = DataFlows(subject, as: .module)
        #expect(found.skipped.isEmpty)
        #expect(found.findings.allSatisfy { $0.rule.name == fixture.rule })
    }

    @Test func everyRuleHasAFixture() {
        #expect(Set(Rule.all.map(\.name)) == Set(RuleCase.all.map(\.rule)))
        for rule in Rule.all {
            #expect(!rule.reason.isEmpty && rule.evidence.contains("/"), "\(rule.name)")
        }
    }

    /// A translation that is not rewritten is wrong for a single byte, too.
    @Test func untranslated() throws {
        let subject = try module("FUNCTION(use): mov $inside, %rsi; mov $1, %edx; call sg_init_one; ret; END(use)")
        #expect(subject.verdicts(as: .image) == ["inside": .safe])
        #expect(subject.verdicts(as: .untranslated) == ["inside": .hazard])
    }

    @Test func stacksAreSuspicious() throws {
        let subject = try module(
            "FUNCTION(use): sub $16, %rsp; mov %rsp, %rsi; mov $8, %edx; call sg_init_one; add $16, %rsp; ret; END(use)"
        )
        for reading in FlowReading.allCases { #expect(subject.verdicts(as: reading) == ["-": .suspicious]) }
    }
}
