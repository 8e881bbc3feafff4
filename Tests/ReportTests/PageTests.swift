// SPDX-License-Identifier: MIT

// The page as text, the Markdown, and both as a browser or a reader would take
// what was meant as text.

import Foundation
import Report
import Testing

struct PageTests {
    @Test(arguments: Sample.allCases) func needsNothingElse(sample: Sample) async throws {
        let page = try await sample.document().html()
        #expect(page.hasPrefix("<!DOCTYPE html>") && page.hasSuffix("</html>\n"))
        #expect(!page.contains("<script") && !page.contains("<link") && !page.contains("@import"))
        #expect(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""))
        // Names of XML's, not places.
        let places = page.matches(of: /(https?:|\/\/)[^\s"'<]*/).map { String($0.0) }
        #expect(Set(places).isSubset(of: ["http://www.w3.org/2000/svg"]), "\(places)")
        for reference in page.matches(of: /(href|src)=["']([^"']*)/) {
            #expect(reference.2.hasPrefix("#"), "\(reference.0)")
        }
    }

    /// What links and pictures point at is there, once.
    @Test(arguments: Sample.allCases) func names(sample: Sample) async throws {
        let page = try await sample.document().html()
        let names = page.matches(of: /\bid=["']([^"']*)/).map { String($0.1) }
        #expect(Set(names).count == names.count)
        for reference in page.matches(of: /(?:href=["']|url\()#([^"')]*)/) {
            #expect(names.contains(String(reference.1)), "\(reference.0)")
        }
    }

    @Test(arguments: Sample.allCases) func hostileText(sample: Sample) async throws {
        let page = try await sample.document().html()
        let escaped = "a&lt;b&gt;&amp;amp;&quot;\u{301}&#39;|&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
        #expect(page.occurrences(of: escaped) > 10)
        #expect(page.unicodeScalars.count { $0 == "\u{301}" } == page.occurrences(of: "&quot;\u{301}"))
        let markdown = try sample.document().markdown
        #expect(!markdown.contains("<") && markdown.contains("a&lt;b&gt;"))
        for line in markdown.split(separator: "\n") where line.hasPrefix("|") {
            let borders = line.replacing(/\\\|/, with: "").count { $0 == "|" }
            #expect(borders >= 3, "\(line)")
        }
    }

    /// The columns that a report of overhead must have, and a plot of each kind.
    @Test func content() async throws {
        let report = SampleReport.make()
        let page = try await report.document.html()
        let markdown = report.document.markdown
        for text in [
            "Granule", "May move, pages", "Runs of frames", "80,040 bytes for the translation table",
            "21 pages of page tables", "1,000,000", "1,012,345", "+12,345", "zstd, level 3", "Latency, p50", "p99.9",
            "Evicted, p50", "Lookups a system call", "Lookups a second", "Walk cycles", "Fetch misses", "seed9",
            "Drawing an order from its seed takes", "95 %",
        ] {
            #expect(page.contains(text), "\(text)")
            #expect(markdown.contains(text), "\(text)")
        }
        // What was measured of no way has no column.
        #expect(!page.contains("Evicted, p99.9"))
        // Two of latencies, and two of each processor.
        #expect(page.occurrences(of: "<div class=\"plot\">") == 6)
        for label in [
            "nanoseconds a lookup", "share of batches", "granule", "walks / 1000 instructions", "bits a page",
            "slowdown, %",
        ] { #expect(page.contains(">\(label)<"), "\(label)") }
        #expect(!page.contains("rgb("), "a colour that does not follow the page's")
    }

    @Test func sameAgain() async throws {
        let report = SampleReport.make()
        let again = try JSONDecoder().decode(OverheadReport.self, from: JSONEncoder().encode(report))
        #expect(again == report)
        let (page, second) = (try await report.document.html(), try await again.document.html())
        #expect(page == second)
    }

    /// More workloads than can be told apart: the plots have the first eight, the tables all.
    @Test func manyWorkloads() async throws {
        let names = (1...11).map { "load\($0)" }
        let page = try await SampleReport.make(workloads: names).document.html()
        #expect(page.contains("The first 8 workloads; the others are in the tables."))
        #expect(names.allSatisfy { page.contains("<th scope=\"row\">\($0)</th>") })
    }
}
