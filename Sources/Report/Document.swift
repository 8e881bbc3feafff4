// SPDX-License-Identifier: MIT

// A report as its reader sees it, before it becomes HTML or Markdown: both are made
// from this, so that they say the same. All text here is plain text; whoever writes
// a format escapes it.

/// Text, tables and plots in sections.
public struct Document: Sendable {
    /// One of the few numbers that stand at the top.
    public struct Fact: Sendable {
        public let value: String
        public let label: String
    }

    public struct Section: Sendable {
        public let title: String
        public let blocks: [Block]
    }

    public enum Block: Sendable {
        case text(String)
        case list([String])
        case table(Table)
        case figure(Figure)
        case dots(DotFigure)
        case intervals(IntervalFigure)
    }

    public struct Table: Sendable {
        public let caption: String
        public let columns: [Column]
        public let rows: [Row]

        /// Without columns in whose every row there is a dash.
        var withoutEmptyColumns: Self {
            let kept = columns.indices.filter { column in
                rows.contains { row in
                    if case .cells(let cells) = row { cells[column].text != "-" } else { false }
                }
            }
            return Self(
                caption: caption, columns: kept.map { columns[$0] },
                rows: rows.map { row in
                    if case .cells(let cells) = row { .cells(kept.map { cells[$0] }) } else { row }
                })
        }
    }

    public struct Column: Sendable {
        public let title: String
        public let isNumeric: Bool

        static func words(_ title: String) -> Self { Self(title: title, isNumeric: false) }
        static func number(_ title: String) -> Self { Self(title: title, isNumeric: true) }
    }

    public enum Row: Sendable {
        case heading(String)
        case cells([Cell])
    }

    public struct Cell: Sendable, ExpressibleByStringLiteral {
        public let text: String
        /// The limits around the number.
        public let limits: String?
        /// From the smallest to the largest.
        public let range: String?

        init(_ text: String, limits: String? = nil, range: String? = nil) {
            (self.text, self.limits, self.range) = (text, limits, range)
        }

        public init(stringLiteral text: String) { self.init(text) }
    }

    /// Plots side by side that share a legend.
    public struct Figure: Sendable {
        public let caption: String
        /// The names of the series, as all plots number them.
        public let legend: [String]
        public let hasMarks: Bool
        public let plots: [Plot]
    }

    public let title: String
    public let subtitle: String
    /// What is to be read before any number.
    public var first: Section?
    public let facts: [Fact]
    public let sections: [Section]
}

/// Curves over one pair of axes.
public struct Plot: Sendable {
    public struct Point: Sendable {
        let x, y, low, high: Double

        init(_ x: Double, _ y: Double) { self.init(x, y, low: y, high: y) }

        init(_ x: Double, _ y: Double, low: Double, high: Double) {
            (self.x, self.y, self.low, self.high) = (x, y, low, high)
        }
    }

    public struct Series: Sendable {
        /// In the figure's legend.
        let number: Int
        let points: [Point]
    }

    public let title: String
    let xLabel: String
    let yLabel: String
    /// The x axis is logarithmic over this range; nil: linear over all points.
    var logarithmicX: ClosedRange<Double>?
    /// Where the x axis has marks, if not where they fall by themselves; what they are called must be plain ASCII.
    var xMarks: [(name: String, place: Double)] = []
    /// Marks at the top.
    var topMarks: [(name: String, place: Double)] = []
    /// Points with limits and marks, or lines alone.
    let hasMarks: Bool
    /// Where the y axis ends; nil: at 1 with lines alone, and behind all points with marks.
    var yEnd: Double?
    let series: [Series]

    /// The most series that can be told apart.
    public static let mostSeries = 8
}

extension Plot {
    /// Points without limits, joined by lines; axes linear. Labels and names must be plain ASCII without quotes.
    public init(title: String, xLabel: String, yLabel: String, series: [[(x: Double, y: Double)]]) {
        self.init(
            title: title, xLabel: xLabel, yLabel: yLabel, hasMarks: true,
            series: series.enumerated().map { number, points in
                Series(number: number, points: points.map { Point($0.x, $0.y) })
            })
    }
}
