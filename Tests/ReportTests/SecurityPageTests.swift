// SPDX-License-Identifier: MIT

// What the report of security says, in which order, and of which numbers it is made.

import Foundation
import Report
import SecurityEvaluation
import Testing

struct SecurityPageTests {
    /// What is not protected stands before any number, in both.
    @Test func limitsFirst() async throws {
        let document = try SampleSecurity.make().document
        let page = try await document.html()
        let markdown = document.markdown
        for text in [page, markdown] {
            let title = try #require(text.range(of: "What it does not protect"))
            for limit in ["first limit", "second limit", "123,456", "Pinned, so no harder"] {
                let place = try #require(text.range(of: limit), "\(limit)")
                #expect(title.lowerBound < place.lowerBound)
                for later in ["10.64 bits", "Threat by threat"] {
                    let number = try #require(text.range(of: later), "\(later)")
                    #expect(place.lowerBound < number.lowerBound, "\(limit) behind \(later)")
                }
            }
        }
    }

    /// log2 1600 is 10.64; of 0 hits in 50, Wilson's limit is z² / (50 + z²).
    @Test func content() async throws {
        let document = try SampleSecurity.make().document
        let page = try await document.html()
        let markdown = document.markdown
        for text in [
            "1 in 1,600", "1 in 1,599", "0 of 50", "10 of 10", "0 % to 7.13 %", "72.2 % to 100 %", "0.0625 %",
            "6 of 50",
            "800.5", "1,600.0", "one of 1,600 frames", "write-only DMA", "physical reads and writes",
            "write through the linear map at a computed address", "Rowhammer aimed at a frame",
            "one leaked virtual address, then virtual gadgets", "Linux KASLR, physical", "FGKASLR", "OpenBSD KARL",
            "kperm with physical KASLR", "every address stands in a public file", "pages stay in their class",
            "first, second, third, and 1 more", "drawn at boot", "5eed", "100,000 orders", "one page of 3",
            "2 of 6 files of results do not name their kernel", "410 of 5,000",
        ] {
            #expect(page.contains(text), "\(text)")
            #expect(markdown.contains(text), "\(text)")
        }
        // Two of guesses, two of leaks, two maps, and the intervals.
        #expect(page.occurrences(of: "<div class=\"plot\">") == 7)
        for label in ["guesses", "chance of success", "leaked pages of the class", "bits left", "page of the image"] {
            #expect(page.contains(">\(label)<"), "\(label)")
        }
        #expect(!page.contains("rgb("), "a colour that does not follow the page's")
    }

    /// A dot for each page of the map, before and after, and each where it belongs.
    @Test func map() async throws {
        let report = try SampleSecurity.make()
        let page = try await report.document.html()
        let dots = page.matches(of: /M([0-9.]+) ([0-9.]+)h0/).map { (Double($0.1) ?? -1, Double($0.2) ?? -1) }
        #expect(dots.count == 2 * report.map.frames.count)
        let (before, after) = (dots.prefix(dots.count / 2), dots.suffix(dots.count / 2))
        // Before, all are on the diagonal; after, those of each class share its places.
        let sums = before.map { $0.0 + $0.1 }
        #expect(try #require(sums.max()) - #require(sums.min()) < 0.25)
        #expect(after.count { abs($0.0 + $0.1 - sums[0]) > 1 } > 1500)
        #expect(Set(after.map(\.0)) == Set(before.map(\.0)))
    }

    @Test func sameAgain() async throws {
        let report = try SampleSecurity.make()
        let again = try JSONDecoder().decode(SecurityReport.self, from: JSONEncoder().encode(report))
        #expect(again == report)
        #expect(again.document.markdown == report.document.markdown)
    }

    @Test func quick() async throws {
        let markdown = try SampleSecurity.make(attacks: [], isQuick: true, state: "drawn at build").document.markdown
        #expect(markdown.contains("Left out (--quick)") && !markdown.contains("123,456"))
        #expect(markdown.contains("No attack was run for this report: its figures are computed."))
        #expect(markdown.contains("kperm evaluate attack boots the kernel"))
        #expect(markdown.contains("This image has one order, the same at every boot"))
        #expect(!markdown.contains("really run"))
    }

    /// What does not agree is said first, and is what the command fails by.
    @Test func failures() throws {
        #expect(try SampleSecurity.make().failures.isEmpty)
        #expect(try SampleSecurity.make(played: 1490).failures.count == 1)
        let contradiction = SampleSecurity.attack(
            "text", isPermuted: true, hits: 0, of: 10, prediction: 0.1, contradictions: 2)
        let wrong = SampleSecurity.attack("text", isPermuted: true, hits: 20, of: 50, prediction: 1.0 / 1600)
        let report = try SampleSecurity.make(attacks: [contradiction, wrong])
        #expect(report.failures.count == 2)
        let markdown = report.document.markdown
        let said = try #require(markdown.range(of: "text attack on target: 2 boots contradict themselves"))
        #expect(try said.lowerBound < #require(markdown.range(of: "first limit")).lowerBound)
        #expect(markdown.contains("text attack on target: 20 hits of 50 are not what 0.000625 predicts"))
    }

    /// Hits that no boots can have are no report.
    @Test(arguments: ["51, \"trials\":50", "-1, \"trials\":50", "0, \"trials\":0"]) func damaged(count: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let text = String(decoding: try encoder.encode(SampleSecurity.make()), as: UTF8.self)
        let spoilt = text.replacing(#""hits":6,"trials":50"#, with: "\"hits\":\(count)")
        #expect(spoilt != text)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(SecurityReport.self, from: Data(spoilt.utf8))
        }
    }
}
