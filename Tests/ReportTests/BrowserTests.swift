// SPDX-License-Identifier: MIT

// The page in a browser: what it makes of it, in light, in dark and on paper.

import Foundation
import Report
import TestSupport
import Testing

@Suite(.serialized) struct BrowserTests {
    private let place = NSTemporaryDirectory() + "kperm-browser-\(UUID().uuidString)"

    /// Opens the page, which may not take longer than the browser's patience.
    private func browse(_ sample: Sample, _ options: String...) async throws -> String {
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        let page = "\(place)/page.html"
        try Data(try await sample.document().html().utf8).write(to: URL(fileURLWithPath: page))
        do {
            return try runTool(
                [
                    "timeout", "60", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
                    "--hide-scrollbars", "--user-data-dir=\(place)/profile", "--window-size=1200,900",
                ] + options + ["file://\(page)"])
        } catch {
            Issue.record("chromium cannot be run: install Debian's package chromium (tools/setup does): \(error)")
            throw error
        }
    }

    private func remove() { try? FileManager.default.removeItem(atPath: place) }

    /// The first pixel, in hexadecimal digits.
    private func corner(_ picture: String) throws -> String {
        try runTool(
            "python3", "-c",
            """
            import struct, sys, zlib
            data, at, pixels = open(sys.argv[1], "rb").read(), 8, b""
            while at < len(data):
                length, kind = struct.unpack(">I4s", data[at:at + 8])
                if kind == b"IDAT": pixels += data[at + 8:at + 8 + length]
                at += length + 12
            print(zlib.decompress(pixels)[1:4].hex())
            """, picture
        ).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @Test func elements() async throws {
        defer { remove() }
        let tree = try await browse(.overhead, "--dump-dom")
        #expect(!tree.contains("<script") && tree.contains("<td>a&lt;b&gt;&amp;amp;\"\u{301}'|&lt;/td&gt;&lt;script"))
        #expect(tree.occurrences(of: "<section") == 8)
        #expect(tree.occurrences(of: "<svg viewBox=") == 6)
        #expect(tree.occurrences(of: "</table>") == 13)
        // Tables that a browser had to mend would have rows in other places.
        #expect(tree.occurrences(of: "<tbody>") == tree.occurrences(of: "</tbody>"))
        #expect(tree.contains("<figcaption>") && tree.contains("<caption>"))
    }

    /// In both schemes the same elements, limits before facts.
    @Test func security() async throws {
        defer { remove() }
        let tree = try await browse(.security, "--dump-dom")
        let dark = try await browse(.security, "--force-dark-mode", "--dump-dom")
        #expect(dark == tree)
        #expect(!tree.contains("<script") && tree.contains("&lt;script&gt;alert(1)"))
        #expect(tree.occurrences(of: "<section") == 9)
        #expect(tree.occurrences(of: "<svg viewBox=") == 7)
        #expect(tree.occurrences(of: "</table>") == 13)
        #expect(tree.occurrences(of: "<tbody>") == tree.occurrences(of: "</tbody>"))
        let first = try #require(tree.range(of: "<section class=\"first\">"))
        #expect(try first.upperBound < #require(tree.range(of: "<dl class=\"facts\">")).lowerBound)
        #expect(tree.contains("<td class=\"n\">0 % to 7.13 %</td>"))
    }

    @Test(arguments: Sample.allCases) func lightAndDark(sample: Sample) async throws {
        defer { remove() }
        _ = try await browse(sample, "--screenshot=\(place)/light.png")
        _ = try await browse(sample, "--force-dark-mode", "--screenshot=\(place)/dark.png")
        #expect(try corner("\(place)/light.png") == "fbfbf9")
        #expect(try corner("\(place)/dark.png") == "171716")
    }

    @Test(arguments: Sample.allCases) func paper(sample: Sample) async throws {
        defer { remove() }
        _ = try await browse(sample, "--no-pdf-header-footer", "--print-to-pdf=\(place)/page.pdf")
        let file = try Data(contentsOf: URL(fileURLWithPath: "\(place)/page.pdf"))
        #expect(file.starts(with: Array("%PDF-".utf8)) && file.count > 20_000)
    }
}
