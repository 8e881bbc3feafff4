// SPDX-License-Identifier: MIT

// Pictures that no plotting program draws: a map with a dot a page, and rates
// with their intervals. Colours are the page's own, so that they are light or dark
// as it is. Text is escaped where it enters.

/// Maps of dots side by side that share a legend.
public struct DotFigure: Sendable {
    /// A dot for each page, its place by page and frame.
    struct Map: Sendable {
        let title: String
        /// By their number in the legend.
        let dots: [Int: [(page: Int, frame: Int)]]
    }

    let caption: String
    /// The names of the series, as all maps number them.
    let legend: [String]
    /// Whether the last of them is what stands back.
    let lastIsPale: Bool
    let xLabel: String
    let yLabel: String
    /// Pages, and frames, of the whole.
    let size: Int
    let maps: [Map]

    private static let side = 372.0
    private static let left = 56.0
    private static let top = 6.0
    private static let below = 40.0
    /// Of a dot.
    private static let width = 2.0

    private func colour(_ number: Int) -> String {
        lastIsPale && number == legend.count - 1 ? "var(--soft)" : "var(--s\(number % Plot.mostSeries + 1))"
    }

    var htmlLegend: String {
        let items = legend.enumerated().map { number, name in
            "<li><svg width=\"12\" height=\"12\" viewBox=\"0 0 12 12\" aria-hidden=\"true\">"
                + "<rect x=\"1\" y=\"1\" width=\"10\" height=\"10\" fill=\"\(colour(number))\"/></svg>"
                + "\(Document.html(name))</li>\n"
        }
        return "<ul class=\"legend\">\n" + items.joined() + "</ul>\n"
    }

    func svg(_ map: Map) -> String {
        let scale = Self.side / Double(max(size, 1))
        let bottom = Self.top + Self.side
        func x(_ page: Double) -> String { (Self.left + page * scale).tenths }
        func y(_ frame: Double) -> String { (bottom - frame * scale).tenths }
        var out =
            "<svg viewBox=\"0 0 \((Self.left + Self.side + 12).tenths) \((bottom + Self.below).tenths)\" role=\"img\">"
        for mark in Double(size).marks {
            out += "<path d=\"M\(Self.left) \(y(mark))h\(Self.side)\" stroke=\"var(--grid)\" stroke-width=\"0.7\"/>"
            out += Document.svg(mark.fixed(0), x: Self.left - 6, y: bottom - mark * scale + 4, anchor: "end")
            out += Document.svg(mark.fixed(0), x: Self.left + mark * scale, y: bottom + 15, anchor: "middle")
        }
        for (number, dots) in map.dots.sorted(by: { $0.key < $1.key }) {
            let path = dots.map { "M\(x(Double($0.page) + 0.5)) \(y(Double($0.frame) + 0.5))h0" }.joined()
            out += "<path d=\"\(path)\" fill=\"none\" stroke=\"\(colour(number))\" "
            out += "stroke-width=\"\(Self.width)\" stroke-linecap=\"square\"/>"
        }
        out += "<path d=\"M\(Self.left) \(Self.top)V\(bottom)H\(Self.left + Self.side)\" fill=\"none\" "
        out += "stroke=\"var(--line)\" stroke-width=\"0.8\"/>"
        out += Document.svg(xLabel, x: Self.left + Self.side / 2, y: bottom + 33, anchor: "middle")
        out += "<g transform=\"rotate(-90 11 \((Self.top + Self.side / 2).tenths))\">"
        out += Document.svg(yLabel, x: 11, y: Self.top + Self.side / 2, anchor: "middle") + "</g>"
        return out + "</svg>"
    }
}

/// Rates between 0 and 1 with their intervals, one below the other.
public struct IntervalFigure: Sendable {
    struct Row: Sendable {
        let label: String
        let rate: Double
        let interval: ClosedRange<Double>
        let prediction: Double
        /// In the page's colours.
        let colour: Int
    }

    let title: String
    let caption: String
    let rows: [Row]

    private static let left = 270.0
    private static let width = 520.0
    private static let step = 22.0
    private static let top = 8.0

    var svg: String {
        let bottom = Self.top + Double(rows.count) * Self.step
        func x(_ rate: Double) -> Double { Self.left + rate * Self.width }
        var out = "<svg viewBox=\"0 0 \((Self.left + Self.width + 30).tenths) \((bottom + 26).tenths)\" role=\"img\">"
        for percent in [0, 25, 50, 75, 100] {
            let place = x(Double(percent) / 100)
            out += "<path d=\"M\(place.tenths) \(Self.top)V\(bottom)\" stroke=\"var(--grid)\" stroke-width=\"0.7\"/>"
            out += Document.svg("\(percent) %", x: place, y: bottom + 16, anchor: "middle")
        }
        for (index, row) in rows.enumerated() {
            let y = Self.top + (Double(index) + 0.5) * Self.step
            let colour = "var(--s\(row.colour % Plot.mostSeries + 1))"
            let (low, high) = (x(row.interval.lowerBound).tenths, x(row.interval.upperBound).tenths)
            out += Document.svg(row.label, x: Self.left - 12, y: y + 4, anchor: "end")
            out += "<path d=\"M\(low) \((y - 4).tenths)v8m0-4H\(high)m0-4v8\" fill=\"none\" stroke=\"\(colour)\" "
            out += "stroke-width=\"1.8\"/><circle cx=\"\(x(row.rate).tenths)\" cy=\"\(y.tenths)\" r=\"3.4\" "
            out += "fill=\"\(colour)\"/>"
            out += "<path d=\"M\(x(row.prediction).tenths) \((y - 8).tenths)v16\" stroke=\"var(--ink)\" "
            out += "stroke-width=\"1.6\"/>"
        }
        return out + "</svg>"
    }
}

extension Document {
    fileprivate static func svg(_ text: String, x: Double, y: Double, anchor: String) -> String {
        "<text x=\"\(x.tenths)\" y=\"\(y.tenths)\" text-anchor=\"\(anchor)\" fill=\"var(--soft)\">\(html(text))</text>"
    }
}

extension Double {
    fileprivate var tenths: String {
        let tenths = Int((self * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths < 0 ? "-" : "")\(abs(tenths) / 10).\(abs(tenths) % 10)"
    }

    /// Round numbers from 0 on, up to this one, seven at the most.
    fileprivate var marks: [Double] {
        let factors = [2, 2.5, 2]
        var (step, power) = (1.0, 0)
        while self / step > 6 {
            step *= factors[power % factors.count]
            power += 1
        }
        return Array(stride(from: 0, through: self, by: step))
    }
}
