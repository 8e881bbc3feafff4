// SPDX-License-Identifier: MIT

// The configuration in an image: found, read, and told to be damaged.

import KernelImage
import Testing

struct KernelConfigTests {
    private static let text = """
        # Linux/x86 6.1.0 Kernel Configuration
        CONFIG_64BIT=y
        # CONFIG_IKCONFIG_PROC is not set
        CONFIG_NR_CPUS=8
        CONFIG_CMDLINE_BOOL=y
        CONFIG_CMDLINE="console=ttyS0 kperm=off name=\\"a\\\\b\\""
        CONFIG_LOG_BUF_SHIFT=17

        """

    /// An image whose .rodata ends with a configuration, behind the words of a message that speaks of one.
    private func image(_ change: (inout [UInt8]) -> Void = { _ in }) throws -> [UInt8] {
        var config = Array("IKCFG_ST".utf8)
        config += try Codec.gzip.encode(Array(Self.text.utf8))
        config += Array("IKCFG_ED".utf8)
        change(&config)
        return TinyKernel(TableForm(symbolCount: 3), behind: Array("no IKCFG_ST here ".utf8) + config).bytes
    }

    private func config(_ bytes: [UInt8]) throws -> KernelConfig? { try ScratchFile(bytes).open().config() }

    @Test func isRead() throws {
        let config = try #require(try config(try image()))
        #expect(config.count == 5)
        #expect(config["64BIT"] == "y" && config["NR_CPUS"] == "8")
        #expect(config["IKCONFIG_PROC"] == nil && config["BIT"] == nil)
        #expect(config.commandLine == #"console=ttyS0 kperm=off name="a\b""#)
        #expect(!config.ignoresLoader)
    }

    @Test func commandLines() {
        let set = "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"quiet\"\n"
        #expect(KernelConfig(set).commandLine == "quiet")
        #expect(KernelConfig(set + "CONFIG_CMDLINE_OVERRIDE=y").ignoresLoader)
        #expect(KernelConfig("CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"\"\n").commandLine == nil)
        #expect(KernelConfig("CONFIG_CMDLINE=\"quiet\"\nCONFIG_CMDLINE_OVERRIDE=y").ignoresLoader == false)
    }

    @Test func isAbsent() throws {
        let bytes = try image { $0[0] ^= 1 }
        #expect(try config(bytes) == nil)
        #expect(try config(TinyKernel(TableForm()).bytes) == nil)
    }

    @Test(arguments: [
        ("end", "it has no end"), ("size", "it claims to hold "), ("size 0", "it claims to hold 0 bytes"),
        ("data", ""), ("cut", ""), ("short", ""),
    ])
    func damageIsTold(what: String, says: String) throws {
        let bytes = try image { config in
            let end = config.count - 8
            switch what {
            case "end": config[end] ^= 1
            case "size": config.replaceSubrange(end - 1..<end, with: [0xff])
            case "size 0": config.replaceSubrange(end - 4..<end, with: [0, 0, 0, 0])
            case "data": config[40] ^= 0x55
            case "cut": config.removeSubrange(60..<90)
            default: config.removeSubrange(14..<end)
            }
        }
        let error = #expect(throws: ImageError.self) { try config(bytes) }
        #expect(error?.kind == .malformed && error?.offset != nil)
        #expect(
            error?.message.hasPrefix("the kernel's configuration is damaged: \(says)") == true,
            "\(error?.message ?? "")")
    }
}
