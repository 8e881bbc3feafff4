// SPDX-License-Identifier: MIT

import Addressing

extension [Range<VirtualAddress>] {
    /// The same places, ascending, those that overlap or touch made one.
    var mergedRanges: [Range<VirtualAddress>] {
        var out: [Range<VirtualAddress>] = []
        for range in sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = out.last, range.lowerBound <= last.upperBound {
                out[out.count - 1] = last.lowerBound..<Swift.max(last.upperBound, range.upperBound)
            } else {
                out.append(range)
            }
        }
        return out
    }
}
