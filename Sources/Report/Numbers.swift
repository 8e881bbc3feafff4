// SPDX-License-Identifier: MIT

// Numbers as people read them: as many digits as mean something, thousands apart.

import Glibc

extension Double {
    /// Rounded to so many decimals, thousands apart.
    func fixed(_ decimals: Int) -> String {
        guard isFinite, magnitude < 1e15 else { return "\(self)" }
        let scale = pow(10, Double(decimals))
        let digits = String(UInt64((magnitude * scale).rounded()))
        let padded = String(repeating: "0", count: Swift.max(0, decimals + 1 - digits.count)) + digits
        let whole = Array(padded.dropLast(decimals))
        var text = ""
        for (i, digit) in whole.enumerated() {
            if i > 0, (whole.count - i) % 3 == 0 { text += "," }
            text.append(digit)
        }
        let isZero = digits.allSatisfy { $0 == "0" }
        return (self < 0 && !isZero ? "-" : "") + text + (decimals > 0 ? "." + padded.suffix(decimals) : "")
    }

    /// The decimals that three digits take.
    var usualDecimals: Int {
        guard self != 0, isFinite else { return 0 }
        return Swift.min(6, Swift.max(0, 2 - Int(log10(magnitude).rounded(.down))))
    }

    /// With three digits, or all of those before the point.
    var short: String { fixed(usualDecimals) }

    /// A share as a percentage, with three digits.
    var percent: String { (100 * self).short + " %" }
}

extension Int {
    /// Thousands apart.
    var grouped: String { Double(self).fixed(0) }
}

extension Estimate {
    /// The value, its limits and the range, all with the same decimals.
    var cell: Document.Cell { cell(decimals: Swift.min(value.usualDecimals, 4)) }

    func cell(decimals: Int) -> Document.Cell {
        let text = value.fixed(decimals)
        let (first, last) = (least.fixed(decimals), most.fixed(decimals))
        return Document.Cell(text, limits: limits(decimals), range: first == last ? nil : "\(first) … \(last)")
    }

    /// Nil where there is nothing to say.
    private func limits(_ decimals: Int) -> String? {
        guard varies else { return nil }
        let (below, above) = (value - low, high - value)
        if abs(below - above) <= 1e-6 * (below + above) {
            let step = pow(10, -Double(decimals))
            return below < step / 2 ? "±<" + step.fixed(decimals) : "±" + below.fixed(decimals)
        }
        let (first, last) = (low.fixed(decimals), high.fixed(decimals))
        return first == last ? nil : "[\(first)–\(last)]"
    }

    /// The value with its limits, in a sentence.
    var words: String {
        let cell = cell
        return cell.limits.map { "\(cell.text) \($0)" } ?? cell.text
    }
}
