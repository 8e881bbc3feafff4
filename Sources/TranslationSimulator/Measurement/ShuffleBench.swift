// SPDX-License-Identifier: MIT

// The work that a kernel has which permutes itself: its pages lie in their linear
// order and go to the frames of a drawn one, along the cycles, through one page
// besides. Here it is done to memory of this process that is in no cache.

import CBenchmark
import Glibc

/// Moving pages into an order.
@safe
public struct ShuffleBench: ~Copyable {
    private static let pageBytes = 4096

    private let base: UnsafeMutableRawPointer
    private let pageCount: Int

    public init(pages: Int) {
        pageCount = pages
        // One page more, to keep a page in.
        unsafe base = .allocate(byteCount: (pages + 1) * Self.pageBytes, alignment: Self.pageBytes)
        unsafe memset(base, 0, (pages + 1) * Self.pageBytes)
    }

    deinit { unsafe base.deallocate() }

    private func frame(_ number: Int) -> UnsafeMutableRawPointer { unsafe base + number * Self.pageBytes }

    /// Moves every page into its frame.
    ///
    /// - Parameter forward: the frame of each page, a bijection.
    /// - Returns: how long it took, in ticks; nil if a page is not in its frame then.
    public func measure(_ forward: [UInt32]) -> UInt64? {
        precondition(forward.count == pageCount)
        for page in 0..<pageCount { unsafe frame(page).storeBytes(of: UInt64(page), as: UInt64.self) }
        for offset in stride(from: 0, to: (pageCount + 1) * Self.pageBytes, by: 64) { unsafe evict_line(base + offset) }
        var isDone = [Bool](repeating: false, count: pageCount)
        var inverse = [Int](repeating: 0, count: pageCount)
        for (page, frame) in forward.enumerated() { inverse[Int(frame)] = page }
        let start = ticks()
        for first in 0..<pageCount where !isDone[first] && inverse[first] != first {
            unsafe memcpy(frame(pageCount), frame(first), Self.pageBytes)
            var target = first
            while inverse[target] != first {
                unsafe memcpy(frame(target), frame(inverse[target]), Self.pageBytes)
                isDone[target] = true
                target = inverse[target]
            }
            unsafe memcpy(frame(target), frame(pageCount), Self.pageBytes)
            isDone[target] = true
        }
        let time = ticks() - start
        for (page, number) in forward.enumerated() {
            guard unsafe frame(Int(number)).load(as: UInt64.self) == UInt64(page) else { return nil }
        }
        return time
    }
}
