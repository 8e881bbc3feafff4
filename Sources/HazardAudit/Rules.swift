// SPDX-License-Identifier: MIT

// What the audit knows of the kernel's interfaces: by which call, and by which
// of its arguments, memory gets to somebody who goes by physical addresses. One
// line a rule, apart from the engine that follows values to it. Arguments are
// counted from 0.

/// A way out of the kernel's virtual memory.
public struct Rule: Sendable {
    /// How long what goes out is.
    public enum Length: Sendable, Equatable {
        case argument(Int)
        case bytes(UInt64)
        case unknown
    }

    /// Which argument leads to the memory, and how.
    public enum Reach: Sendable, Equatable {
        /// A virtual address, translated once.
        case buffer(Int, Length)
        /// A virtual address, when an argument with flags has this bit.
        case flagged(Int, Length, flags: Int, bit: UInt64)
        /// A `struct page`, and an offset in the page if there is an argument for it.
        case page(Int, offset: Int?, Length)
        /// A virtual address, of which the callee translates each page.
        case eachPage(Int, Length)
        /// A physical address or a frame number.
        case physical(Int)
        /// An array of `struct i2c_msg`, and how many there are.
        case messages(Int, count: Int)
        /// A `struct spi_message`.
        case transfers(Int)
        /// A `struct urb`.
        case request(Int)
        /// A virtual address whose page tables are asked for the physical one.
        case walk(Int)
        /// The same, for no more than its page.
        case walkPage(Int)
        /// An address that only the CPU follows, or that is copied from first.
        case copied(Int)
        /// Prints what its arguments point to.
        case prints
        /// No call: a `struct page` is stored with an offset and a length, as in a `struct scatterlist`.
        case entry
        /// No call: a `struct page` is stored alone.
        case pages
        /// No call: a physical address is stored outside the stack, or in a register when a hypervisor is called.
        case handedOut
    }

    /// What the worst is that follows from it.
    public enum Severity: String, Sendable, Codable, Comparable, CaseIterable {
        case safe, suspicious, hazard

        private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
        public static func < (a: Severity, b: Severity) -> Bool { a.rank < b.rank }
    }

    public let name: String
    public let functions: [String]
    public let reach: Reach
    public let severity: Severity
    public let reason: String
    /// Where the kernel's sources or documentation say so.
    public let evidence: String

    private init(
        _ name: String, _ functions: [String], _ reach: Reach, _ severity: Severity, _ reason: String,
        _ evidence: String
    ) {
        self.name = name
        self.functions = functions
        self.reach = reach
        self.severity = severity
        self.reason = reason
        self.evidence = evidence
    }
}

// One line a rule, however long.
// swift-format-ignore
extension Rule {
    private static let dma = "Documentation/core-api/dma-api-howto.rst, What memory is DMA'able?"

    public static let all: [Rule] = [
        Rule("dma_map_page", ["dma_map_page_attrs"], .page(1, offset: 2, .argument(3)), .hazard, "a device accesses the bytes behind one bus address", "\(dma); include/linux/dma-mapping.h: dma_map_single_attrs"),
        Rule("sg_init_one", ["sg_init_one"], .buffer(1, .argument(2)), .hazard, "a scatterlist entry is one physical address and a length", "lib/scatterlist.c: sg_init_one"),
        Rule("scatterlist", [], .entry, .hazard, "a scatterlist entry is one physical address and a length", "include/linux/scatterlist.h: sg_set_buf, sg_set_page"),
        Rule("page list", [], .pages, .hazard, "each page is found by its own struct page", "mm/vmalloc.c: vmap"),
        Rule("physical address", [], .handedOut, .hazard, "whoever gets a physical address takes what follows it for what follows the object", "arch/x86/include/asm/page.h: __pa; Documentation/core-api/bus-virt-phys-mapping.rst"),
        Rule("dma_map_page", ["dma_map_phys"], .physical(1), .hazard, "a device accesses the bytes behind one bus address", "include/linux/dma-mapping.h: dma_map_phys"),
        Rule("memremap", ["memremap", "ioremap_cache"], .physical(0), .hazard, "maps the frames behind the first one", "kernel/iomem.c: memremap"),
        Rule("iommu_map", ["iommu_map"], .physical(2), .hazard, "maps the frames behind the first one for a device", "drivers/iommu/iommu.c: iommu_map"),
        Rule("remap_pfn_range", ["remap_pfn_range", "io_remap_pfn_range", "vmf_insert_pfn", "vmf_insert_pfn_prot"], .physical(2), .hazard, "maps the frames behind the first one", "mm/memory.c: remap_pfn_range"),
        Rule("vm_insert_page", ["vm_insert_page", "vmf_insert_page"], .page(2, offset: nil, .bytes(4096)), .hazard, "maps one page by its struct page", "mm/memory.c: vm_insert_page"),
        Rule("usb_control_msg", ["usb_control_msg"], .buffer(6, .argument(7)), .hazard, "the host controller driver maps the data", "drivers/usb/core/message.c: usb_control_msg; drivers/usb/core/hcd.c: usb_hcd_map_urb_for_dma"),
        Rule("usb_bulk_msg", ["usb_bulk_msg", "usb_interrupt_msg"], .buffer(2, .argument(3)), .hazard, "the host controller driver maps the data", "drivers/usb/core/message.c: usb_bulk_msg; drivers/usb/core/hcd.c: usb_hcd_map_urb_for_dma"),
        Rule("usb_submit_urb", ["usb_submit_urb"], .request(0), .hazard, "transfer_buffer and setup_packet are mapped", "include/linux/usb.h: struct urb; drivers/usb/core/hcd.c: usb_hcd_map_urb_for_dma"),
        Rule("usb_control_msg_send", ["usb_control_msg_send", "usb_control_msg_recv"], .copied(6), .safe, "copies the data to the heap", "drivers/usb/core/message.c: usb_control_msg_send"),
        Rule("hid_hw_raw_request", ["hid_hw_raw_request"], .buffer(2, .argument(3)), .suspicious, "a transport may map the report", "drivers/hid/usbhid/hid-core.c: usbhid_set_raw_report"),
        Rule("spi_sync", ["spi_sync", "spi_async", "spi_sync_locked"], .transfers(1), .hazard, "the controller maps tx_buf and rx_buf", "drivers/spi/spi.c: __spi_map_msg, spi_map_buf_attrs"),
        Rule("spi_write_then_read", ["spi_write_then_read"], .copied(1), .safe, "copies what is sent", "drivers/spi/spi.c: spi_write_then_read"),
        Rule("spi_write_then_read", ["spi_write_then_read"], .copied(3), .safe, "copies what is received", "drivers/spi/spi.c: spi_write_then_read"),
        Rule("i2c_transfer", ["i2c_transfer", "__i2c_transfer"], .messages(1, count: 2), .hazard, "messages with I2C_M_DMA_SAFE may be mapped", "Documentation/i2c/dma-considerations.rst; include/uapi/linux/i2c.h: struct i2c_msg"),
        Rule("i2c_transfer_buffer_flags", ["i2c_transfer_buffer_flags"], .flagged(1, .argument(2), flags: 3, bit: 0x200), .hazard, "a buffer with I2C_M_DMA_SAFE may be mapped", "include/linux/i2c.h: i2c_master_send_dmasafe"),
        Rule("bio_add_page", ["bio_add_virt_nofail"], .buffer(1, .argument(2)), .hazard, "a segment is one physical address and a length", "block/bio.c: bio_add_virt_nofail"),
        Rule("bio_add_page", ["bio_add_page", "__bio_add_page", "bio_add_folio", "bio_add_folio_nofail"], .page(1, offset: 3, .argument(2)), .hazard, "a segment is one physical address and a length", "block/bio.c: bio_add_page"),
        Rule("bio_add_pc_page", ["bio_add_pc_page"], .page(2, offset: 4, .argument(3)), .hazard, "a segment is one physical address and a length", "block/bio.c: bio_add_pc_page"),
        Rule("blk_rq_map_kern", ["blk_rq_map_kern"], .eachPage(1, .argument(2)), .hazard, "adds each page of the buffer by its own struct page", "block/blk-map.c: blk_rq_map_kern without a queue among its arguments (since 6.16)"),
        Rule("blk_rq_map_kern", ["blk_rq_map_kern"], .eachPage(2, .argument(3)), .hazard, "adds each page of the buffer by its own struct page", "block/blk-map.c: bio_map_kern"),
        Rule("slow_virt_to_phys", ["slow_virt_to_phys"], .walk(0), .hazard, "page tables say where the first byte is, and nothing of the next page", "arch/x86/mm/pat/set_memory.c: slow_virt_to_phys"),
        Rule("vmalloc_to_page", ["vmalloc_to_page", "vmalloc_to_pfn"], .walkPage(0), .safe, "page tables say where each page is", "mm/vmalloc.c: vmalloc_to_page"),
        Rule("crypto_setkey", ["crypto_skcipher_setkey", "crypto_ahash_setkey", "crypto_aead_setkey", "crypto_shash_setkey"], .copied(1), .safe, "setkey copies the key or expands it", "Documentation/crypto/api-skcipher.rst"),
        Rule("memcpy_toio", ["memcpy_toio", "__memcpy_toio", "iowrite32_rep", "iowrite16_rep", "iowrite8_rep"], .copied(1), .safe, "the CPU reads it by its virtual address", "lib/iomap_copy.c, lib/iomap.c"),
        Rule("memcpy_fromio", ["memcpy_fromio", "__memcpy_fromio"], .copied(0), .safe, "the CPU writes it by its virtual address", "arch/x86/lib/iomem.c: memcpy_fromio"),
        Rule("print", ["_printk", "_dev_info", "_dev_err", "_dev_warn", "_dev_notice", "_dev_printk", "__dynamic_dev_dbg", "__dynamic_pr_debug", "seq_printf", "snprintf", "scnprintf"], .prints, .suspicious, "only shows a physical address", "Documentation/core-api/printk-formats.rst: Physical addresses types phys_addr_t"),
    ]

    /// Functions that give back their first argument.
    static let givesBackFirst: Set<String> = ["memcpy", "__memcpy", "memmove", "__memmove", "memset", "__memset", "strcpy", "strncpy", "strcat"]

    /// Functions that a compiler calls at the beginning of others, with all registers in use.
    static let leavesRegisters: Set<String> = ["__fentry__", "mcount", "__sanitizer_cov_trace_pc"]

    /// Variables that hold what is added to translate.
    static let offsets: [String: Translation] = ["phys_base": .physical, "page_offset_base": .linear, "vmemmap_base": .page]

    /// Instructions that call a hypervisor, and the registers that it reads.
    static let hypercalls: Set<String> = ["vmcall", "vmmcall"]
}

/// Structures with fields that lead to memory. Their beginnings have not changed since they exist.
// swift-format-ignore
enum Layout {
    /// include/uapi/linux/i2c.h, part of the interface to user space: addr, flags, len, buf.
    enum Message { static let flags: UInt64 = 2, length: UInt64 = 4, buffer: UInt64 = 8, size: UInt64 = 16, isSafe: UInt64 = 0x200 }
    /// include/linux/spi/spi.h: tx_buf, rx_buf, len.
    enum Transfer { static let sent: UInt64 = 0, received: UInt64 = 8, length: UInt64 = 16 }
    /// include/linux/scatterlist.h: page_link, offset, length.
    enum Entry { static let offset: UInt64 = 8, length: UInt64 = 12 }
    /// include/linux/usb.h. Where fields are is read off the code that fills them: complete is where a function's address is
    /// stored and context right before it, transfer_buffer_length is the first 32-bit field behind transfer_buffer, and
    /// setup_packet comes right behind that length and actual_length. include/uapi/linux/usb/ch9.h: 8 bytes of setup.
    enum Request { static let contextBeforeComplete: UInt64 = 8, lengthBeforeSetup: UInt64 = 8, setup: UInt64 = 8 }
}
