// SPDX-License-Identifier: MIT

// What a flat image holds page by page, whatever order it is in, and which of
// those bytes the kernel changes itself: its descriptor says so, by kinds that
// images/riscv64/linux/kperm/descriptor.h names.

public import Addressing
import KernelImage
public import PagePermutation

extension FlatImage {
    /// What each page shows to the kernel: zeros where the file has nothing.
    ///
    /// - Parameter order: the image's own.
    public func pages(_ order: Permutation) -> [[UInt8]] {
        order.forward.map { frame in
            let start = Int(frame) * pageSize
            let stored = bytes[min(start, bytes.count)..<min(start + pageSize, bytes.count)]
            return stored + [UInt8](repeating: 0, count: pageSize - stored.count)
        }
    }

    /// What differs when the kernel's first function begins that needs no care, ascending.
    public var startWrites: [Range<VirtualAddress>] { places(of: ["start"]) }

    /// Bytes of text and read-only data that differ when the kernel runs, ascending.
    ///
    /// - Parameter pages: what `pages(_:)` gives.
    public func patchSites(in pages: [[UInt8]]) -> [Range<VirtualAddress>] {
        func byte(_ offset: Int) -> UInt8 { pages[offset / pageSize][offset % pageSize] }
        func number(_ offset: Int, _ bytes: Int) -> UInt64 {
            (0..<bytes).reduce(0) { $0 | UInt64(byte(offset + $1)) << UInt64(8 * $1) }
        }
        var sites = places(of: ["init", "patched"])
        for table in changed where table.kind == "mcount" {
            for entry in stride(from: table.bytes.lowerBound, through: table.bytes.upperBound - 8, by: 8) {
                let start = number(entry, 8) &- virtualBase.rawValue
                guard start < UInt64(memoryBytes) else { continue }
                var end = Int(start)
                while end + 4 <= memoryBytes {
                    if number(end, 2) == 0x0001 { end += 2 } else if number(end, 4) == 0x13 { end += 4 } else { break }
                }
                sites.append(virtualBase + start..<virtualBase + UInt64(end))
            }
        }
        for table in changed where table.kind == "jumps" {
            for entry in stride(from: table.bytes.lowerBound, through: table.bytes.upperBound - 16, by: 16) {
                let start = entry + Int(Int32(truncatingIfNeeded: Int64(number(entry, 4))))
                guard (0..<memoryBytes).contains(start) else { continue }
                sites.append(virtualBase + UInt64(start)..<virtualBase + UInt64(start + 4))
            }
        }
        return sites.mergedRanges
    }

    /// With these the descriptor's fields that are set at boot, and the tables, which are looked at in their own right.
    private func places(of kinds: [String]) -> [Range<VirtualAddress>] {
        let own = [
            descriptor + Field.mode..<descriptor + Field.changed, forwardTable..<forwardTable + 4 * capacity,
            inverseTable..<inverseTable + 4 * capacity,
        ]
        return (changed.filter { kinds.contains($0.kind) }.map(\.bytes) + own).map {
            virtualBase + UInt64($0.lowerBound)..<virtualBase + UInt64($0.upperBound)
        }.mergedRanges
    }
}
