// SPDX-License-Identifier: MIT

// Plots by gnuplot, as SVG that stands in a page. gnuplot is given numbers and our
// own words only: what a report was told by others stays outside the picture. The
// colours it writes are placeholders for the page's own, so that a plot is light
// or dark as the page is.

import Subprocess

/// Why there is no plot.
public struct PlotError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
}

/// The program that draws.
public enum Gnuplot {
    /// Draws a plot.
    ///
    /// - Parameter name: what tells its parts from those of other plots in the page; letters and digits.
    /// - Throws: `PlotError` when gnuplot is not there or fails.
    public static func svg(_ plot: Plot, name: String) async throws(PlotError) -> String {
        try embedded(await run(script(plot)), name: name)
    }

    /// Draws a plot as a file of its own, with its legend and in the colours of a light page.
    ///
    /// - Parameter legend: the names of the series.
    /// - Throws: `PlotError` when gnuplot is not there or fails.
    public static func picture(_ plot: Plot, legend: [String]) async throws(PlotError) -> String {
        var text = script(plot, legend: legend)
        let colours = ["#2a78d6", "#d9601f", "#14906a", "#b98100", "#c2508a", "#4a3aa7", "#7a6a53", "#cf3a39"]
        for (placeholder, colour) in zip(colours.indices.map(Self.colour), colours) {
            text.replace(placeholder, with: colour)
        }
        for (placeholder, colour) in [(ink, "#5c5b57"), (grid, "#e5e3dd"), (axis, "#c9c7c0")] {
            text.replace(placeholder, with: colour)
        }
        return try await run(text)
    }

    /// Sees whether there is a gnuplot, before anything takes long.
    ///
    /// - Throws: `PlotError` when there is none.
    public static func check() async throws(PlotError) { _ = try await run("set terminal svg\n") }

    private static func run(_ script: String) async throws(PlotError) -> String {
        let said: (output: String, error: String, isDone: Bool)
        do {
            let result = try await Subprocess.run(
                .name("gnuplot"), arguments: ["-"], input: .string(script), output: .string(limit: 1 << 24),
                error: .string(limit: 1 << 16))
            said = (result.standardOutput, result.standardError, result.terminationStatus.isSuccess)
        } catch {
            throw PlotError(
                description: "gnuplot cannot be run: install Debian's package gnuplot-nox, or write Markdown or JSON, "
                    + "which need no plots (\(error))")
        }
        guard said.isDone else {
            throw PlotError(description: "gnuplot: " + said.error.split(separator: "\n").joined(separator: "; "))
        }
        return said.output
    }

    private static let ink = "#010101"
    private static let grid = "#020202"
    private static let axis = "#030303"
    private static func colour(_ series: Int) -> String { "#0a000\(series % Plot.mostSeries + 1)" }
    /// Filled marks that differ in form.
    private static let marks = [7, 5, 9, 11, 13, 15, 6, 4]

    static func script(_ plot: Plot, legend: [String] = []) -> String {
        func list(_ marks: [(name: String, place: Double)]) -> String {
            "(" + marks.map { "'\($0.name)' \($0.place)" }.joined(separator: ", ") + ")"
        }
        var lines = [
            "set terminal svg size \(plot.hasMarks ? "440,290" : "440,270") dynamic noenhanced font 'sans-serif,11'",
            "set encoding utf8", legend.isEmpty ? "set key off" : "set key top right textcolor rgb '\(ink)'",
            "set samples 2", "set border 3 lc rgb '\(axis)' lw 0.8",
            "set tics nomirror out scale 0.6,0.3 textcolor rgb '\(ink)'",
            "set grid ytics \(plot.logarithmicX == nil ? "" : "xtics ")lt 1 lw 0.7 lc rgb '\(grid)'",
            "set xlabel '\(plot.xLabel)' textcolor rgb '\(ink)'", "set ylabel '\(plot.yLabel)' textcolor rgb '\(ink)'",
            "set yrange [0:\(plot.yEnd.map { "\($0)" } ?? (plot.hasMarks ? "*" : "1"))]",
            "set offsets \(plot.hasMarks ? "0.15, 0.15" : "0, 0"), 0, 0",
        ]
        if let range = plot.logarithmicX {
            lines += ["set logscale x", "set xrange [\(range.lowerBound):\(range.upperBound)]"]
        }
        if !plot.xMarks.isEmpty { lines.append("set xtics \(list(plot.xMarks))") }
        if !plot.topMarks.isEmpty {
            lines.append("set x2tics \(list(plot.topMarks)) scale 0")
            lines.append("set link x2")
            lines.append("set grid x2tics")
        }
        for (index, series) in plot.series.enumerated() {
            lines.append("$s\(index) << EOD")
            for point in series.points { lines.append("\(point.x) \(point.y) \(point.low) \(point.high)") }
            lines.append("EOD")
        }
        let curves = plot.series.enumerated().map { index, series in
            let colour = "lc rgb '\(colour(series.number))'"
            if plot.hasMarks {
                let mark = marks[series.number % marks.count]
                let title = index < legend.count ? " title '\(legend[index])'" : ""
                return "$s\(index) using 1:2:3:4 with yerrorlines lw 1.6 pt \(mark) ps 0.55 \(colour)\(title)"
            }
            return "$s\(index) using 1:2 with lines lw 2.2 dt \(series.number < 4 ? 1 : 2) \(colour)"
        }
        lines.append("plot " + curves.joined(separator: ", "))
        return lines.joined(separator: "\n") + "\n"
    }

    /// The picture without what a file needs and a page must not have twice.
    static func embedded(_ svg: String, name: String) throws(PlotError) -> String {
        guard let start = svg.firstRange(of: "<svg"), let end = svg.firstRange(of: "</svg>") else {
            throw PlotError(description: "gnuplot drew nothing")
        }
        var text = String(svg[start.lowerBound..<end.upperBound])
        text.replace(/<title>.*?<\/title>\s*/.dotMatchesNewlines(), with: "")
        text.replace(/<desc>.*?<\/desc>\s*/.dotMatchesNewlines(), with: "")
        text.replace(/\bid=(['"])/) { "id=\($0.1)\(name)-" }
        text.replace(/xlink:href=(['"])#/) { "href=\($0.1)#\(name)-" }
        text.replace(/url\(#/, with: "url(#\(name)-")
        text.replace(" xmlns:xlink=\"http://www.w3.org/1999/xlink\"", with: "")
        text.replace(/rgb\(\s*(\d+),\s*(\d+),\s*(\d+)\)/) { match in
            switch (match.1, match.2, match.3) {
            case ("1", "1", "1"): "var(--soft)"
            case ("2", "2", "2"): "var(--grid)"
            case ("3", "3", "3"): "var(--line)"
            case ("10", "0", let series): "var(--s\(series))"
            default: String(match.0)
            }
        }
        text.replace(/(['"])(black|gray)\1/) { "\($0.1)var(--line)\($0.1)" }
        return text
    }
}
