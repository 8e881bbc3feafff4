// SPDX-License-Identifier: MIT

// Tables for people who read them in a terminal.

/// Columns as wide as what is in them; the first ones to the left, the others to the right, as numbers stand.
func printTable(_ head: [String], _ rows: [[String]], leftColumns: Int = 1) {
    let widths = head.indices.map { column in ([head] + rows).map { $0[column].count }.max() ?? 0 }
    for row in [head] + rows {
        let cells = row.enumerated().map { column, text in
            let space = String(repeating: " ", count: widths[column] - text.count)
            return column < leftColumns ? text + space : space + text
        }
        var line = "  " + cells.joined(separator: "  ")
        while line.last == " " { line.removeLast() }
        print(line)
    }
}

extension Double {
    /// With so many decimals.
    func text(_ decimals: Int) -> String {
        guard isFinite else { return "none" }
        let scale = (0..<decimals).reduce(1.0) { scale, _ in scale * 10 }
        let digits = String(Int((self * scale).rounded().magnitude))
        let padded = String(repeating: "0", count: max(decimals + 1 - digits.count, 0)) + digits
        let whole = (self < 0 ? "-" : "") + padded.dropLast(decimals)
        return decimals == 0 ? whole : "\(whole).\(padded.suffix(decimals))"
    }
}
