// SPDX-License-Identifier: MIT

// The clock: the time-stamp counter, which ticks at a constant rate that is not
// the processor's, calibrated against CLOCK_MONOTONIC and against operations of
// one cycle that wait for one another. What reading it costs is measured, too, and
// taken off.

import CBenchmark
import Glibc

/// What a tick is worth on this machine.
public struct TickClock: Encodable, Sendable {
    /// Ticks of the time-stamp counter in a nanosecond.
    public let ticksPerNanosecond: Double
    /// Cycles of the processor in a tick, as fast as it ran when this was measured.
    public let cyclesPerTick: Double
    /// What it costs to read the counter twice, in ticks: the middle of many.
    public let overhead: UInt64

    public init() {
        func now() -> (ticks: UInt64, nanoseconds: Int) {
            var time = timespec()
            unsafe clock_gettime(CLOCK_MONOTONIC, &time)
            return (ticks(), time.tv_sec * 1_000_000_000 + time.tv_nsec)
        }
        let start = now()
        var end = now()
        while end.nanoseconds - start.nanoseconds < 50_000_000 { end = now() }
        ticksPerNanosecond = Double(end.ticks - start.ticks) / Double(end.nanoseconds - start.nanoseconds)
        var shortest = UInt64.max
        for _ in 0..<201 {
            let first = ticks()
            wait_cycles(256)
            shortest = min(shortest, ticks() - first)
        }
        var pairs: [UInt64] = []
        for _ in 0..<4001 {
            let first = ticks()
            pairs.append(ticks() - first)
        }
        overhead = pairs.sorted()[2000]
        cyclesPerTick = 256 * 16 / Double(shortest - min(overhead, shortest - 1))
    }
}

/// What one operation took, in ticks, over batches of many.
public struct Percentiles: Encodable, Equatable, Sendable {
    public let batches: Int
    public let p50: Double
    public let p99: Double
    public let p999: Double
    /// The mean of the middle half: less coarse than the counter, and as deaf to disturbances as the median.
    public let middle: Double

    /// Of times of batches of so many operations.
    init(_ times: [UInt64], overhead: UInt64, operations: Int) {
        let each = times.sorted().map { max(0, Double($0) - Double(overhead)) / Double(operations) }
        batches = each.count
        func at(_ share: Double) -> Double { each[min(each.count - 1, Int(Double(each.count) * share))] }
        (p50, p99, p999) = (at(0.5), at(0.99), at(0.999))
        let half = each[each.count / 4..<max(each.count / 4 + 1, each.count * 3 / 4)]
        middle = half.reduce(0, +) / Double(half.count)
    }

    private init(batches: Int, p50: Double, p99: Double, p999: Double, middle: Double) {
        (self.batches, self.p50, self.p99, self.p999, self.middle) = (batches, p50, p99, p999, middle)
    }

    /// The same in nanoseconds.
    public func nanoseconds(_ clock: TickClock) -> Self { scaled(1 / clock.ticksPerNanosecond) }

    /// The same in cycles of the processor, if it ran as fast as when the clock was measured.
    public func cycles(_ clock: TickClock) -> Self { scaled(clock.cyclesPerTick) }

    private func scaled(_ tick: Double) -> Self {
        Self(batches: batches, p50: p50 * tick, p99: p99 * tick, p999: p999 * tick, middle: middle * tick)
    }
}
