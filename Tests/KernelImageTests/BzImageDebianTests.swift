// SPDX-License-Identifier: MIT

// Debian's cloud kernel, as tools/fetch-kernel finds or fetches it: what holds
// for the sample holds for what a distribution built and signed.

import Addressing
import Glibc
import KernelImage
import Subprocess
import Testing

private let isOffline: Bool = {
    let offline = unsafe getenv("KPERM_OFFLINE") != nil
    if offline { print("NOT TESTED: Debian's vmlinuz was left out, because KPERM_OFFLINE is set.") }
    return offline
}()

@Suite(.enabled(if: !isOffline, "KPERM_OFFLINE is set"))
struct BzImageDebianTests {
    private func vmlinuz() async throws -> String {
        let checkout = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let result = try await run(
            .name("bash"), arguments: ["/\(checkout)/tools/fetch-kernel", "--flavour", "cloud", "--image"],
            output: .string(limit: 1 << 16), error: .string(limit: 1 << 16))
        let line = result.standardOutput.split(separator: "\n").first { $0.hasPrefix("vmlinuz=") }
        return String(try #require(line, "fetch-kernel: \(result.standardError)").dropFirst(8))
    }

    @Test func onePageChanged() async throws {
        let image = try BzImage(MappedFile.open(try await vmlinuz()))
        var kernel = try image.decode()
        let relocations = try KASLRRelocations(kernel, file: image.file.path)
        #expect(relocations.listCount >= 2)
        #expect(relocations.words32.count > 10_000 && relocations.words64.count > 10_000)
        #expect(relocations.encoded == Array(kernel[relocations.start...]))

        for i in 0..<4096 { kernel[0x50_0000 + i] = UInt8(truncatingIfNeeded: i &* 7) }
        let new = try SampleBzImage.open(try image.replacing(kernel))
        #expect(try new.decode() == kernel)
        #expect(new.payload.upperBound <= image.payload.upperBound)
        let signed = new.isSigned
        #expect(!signed)
    }
}
