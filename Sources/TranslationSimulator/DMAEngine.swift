// SPDX-License-Identifier: MIT

// What a device does that was given one segment, a start and a length, where
// memory lies in several: it goes on behind the first frame, and that is another
// page's. The image is taken as runs, stretches of pages whose frames follow one
// another; around it memory is linear. A transfer's sums come out of the runs by
// binary search, so a transfer of any length costs the same.

public import Addressing
public import PagePermutation

/// A device without translation of its own, before memory in the order of a table.
public struct DMAEngine: Sendable {
    /// Pages from `first` up to the next run's, each `shift` frames from where a linear mapping would have it.
    private struct Stretch {
        /// Counted from the image's first page or frame.
        let first: Int
        let shift: Int
    }

    /// How the driver gets the physical address of a transfer's first byte.
    public enum Start: Sendable {
        /// By the table.
        case table
        /// By the linear mapping that there was before the permutation.
        case linear
    }

    /// Where a transfer lies.
    public enum Place: String, Sendable, Codable {
        case inside, partly, outside
    }

    /// Sums over a transfer.
    public struct Outcome: Equatable, Sendable {
        public let place: Place
        /// How many segments a correct mapping needs: as many as there are runs of frames.
        public let segments: Int
        /// Bytes of a single segment that are not the transfer's.
        public let wrongBytes: UInt64
    }

    /// A part of a transfer whose frames follow one another.
    public struct Run: Equatable, Sendable {
        public let address: VirtualAddress
        public let byteCount: UInt64
        /// Nil outside the image where a linear mapping leads nowhere.
        public let physical: PhysicalAddress?
    }

    /// A part of a transfer that a single segment misses.
    public struct Stray: Equatable, Sendable {
        /// What was meant.
        public let run: Run
        /// What the device touches instead.
        public let touched: PhysicalAddress?
        /// What lies there: the virtual address in the image, or nil outside it.
        public let victim: VirtualAddress?
    }

    private let table: TranslationTable
    private let start: Start
    /// By page, and by frame; the first and the last are the memory around the image.
    private let byPage: [Stretch]
    private let byFrame: [Stretch]
    /// Of each shift: the stretches of `byPage` that have it, and how many pages they and those before them have.
    private let sameShift: [Int: (stretches: [Int], pages: [Int])]

    /// Nil when the table's addresses are not those of whole pages, or lead out of the address space.
    public init?(_ table: TranslationTable, start: Start = .table) {
        let bytes = UInt64(table.pageCount) << 12
        guard table.virtualBase.offsetInPage == 0, table.physicalBase.offsetInPage == 0,
            table.virtualBase.rawValue <= .max - bytes, table.physicalBase.rawValue <= .max - bytes
        else { return nil }
        self.table = table
        self.start = start

        var byPage = [Stretch(first: .min, shift: 0)]
        for (page, frame) in table.forward.enumerated() where Int(frame) - page != byPage[byPage.count - 1].shift {
            byPage.append(Stretch(first: page, shift: Int(frame) - page))
        }
        if byPage[byPage.count - 1].shift != 0 { byPage.append(Stretch(first: table.pageCount, shift: 0)) }
        self.byPage = byPage

        // What lies around the image stays apart here: it is no victim with a name.
        var byFrame = [Stretch(first: .min, shift: 0)]
        for (frame, page) in table.inverse.enumerated() {
            let shift = frame - Int(page)
            if frame == 0 || shift != byFrame[byFrame.count - 1].shift {
                byFrame.append(Stretch(first: frame, shift: shift))
            }
        }
        self.byFrame = byFrame + [Stretch(first: table.pageCount, shift: 0)]

        var sameShift: [Int: (stretches: [Int], pages: [Int])] = [:]
        for i in byPage.indices {
            let isAround = i == 0 || i == byPage.count - 1
            let pages = isAround ? 0 : byPage[i + 1].first - byPage[i].first
            let before = sameShift[byPage[i].shift]?.pages.last ?? 0
            sameShift[byPage[i].shift, default: ([], [])].stretches.append(i)
            sameShift[byPage[i].shift, default: ([], [])].pages.append(before + pages)
        }
        self.sameShift = sameShift
    }

    /// What a device does that is given a transfer as one segment.
    public func outcome(of transfer: Transfer) -> Outcome {
        let first = Self.stretch(of: page(transfer.address), in: byPage)
        let last = Self.stretch(of: page(transfer.last), in: byPage)
        let shift = startShift(first)
        var right = byPage[first].shift == shift ? part(first, of: transfer).byteCount : 0
        if first < last {
            right += UInt64(pages(shifted: shift, between: first, and: last)) << 12
            if byPage[last].shift == shift { right += part(last, of: transfer).byteCount }
        }
        return Outcome(
            place: place(of: transfer), segments: last - first + 1, wrongBytes: transfer.byteCount - right)
    }

    /// The first parts of a transfer, each with frames that follow one another.
    public func runs(of transfer: Transfer, atMost limit: Int) -> [Run] {
        let first = Self.stretch(of: page(transfer.address), in: byPage)
        let last = Self.stretch(of: page(transfer.last), in: byPage)
        return (first...last).prefix(limit).map { part($0, of: transfer) }
    }

    /// The first parts of a transfer that a single segment misses, each whole on both sides.
    public func strays(of transfer: Transfer, atMost limit: Int) -> [Stray] {
        let first = Self.stretch(of: page(transfer.address), in: byPage)
        let last = Self.stretch(of: page(transfer.last), in: byPage)
        let shift = startShift(first)
        var found: [Stray] = []
        for i in first...last where byPage[i].shift != shift {
            let meant = part(i, of: transfer)
            var at = meant.address
            let end = at + (meant.byteCount - 1)
            while found.count < limit {
                let frame = page(at) + shift
                let under = Self.stretch(of: frame, in: byFrame)
                var stop = end
                if under + 1 < byFrame.count {
                    let next = page(at) + byFrame[under + 1].first - frame
                    if next <= page(end) { stop = lastAddress(beforePage: next) }
                }
                let run = Run(
                    address: at, byteCount: stop.rawValue - at.rawValue + 1, physical: physical(at, byPage[i].shift))
                let touched = physical(at, shift)
                let isImage = frame >= 0 && frame < table.pageCount
                found.append(
                    Stray(
                        run: run, touched: touched,
                        victim: isImage ? touched.flatMap { table.virtualAddress(of: $0) } : nil))
                if stop == end { break }
                at = stop + 1
            }
            if found.count >= limit { break }
        }
        return found
    }

    /// How far from the linear mapping a device goes that begins in a stretch.
    private func startShift(_ first: Int) -> Int {
        switch start {
        case .table: byPage[first].shift
        case .linear: 0
        }
    }

    /// The page of an address, counted from the image's first.
    private func page(_ address: VirtualAddress) -> Int {
        Int(address.rawValue >> 12) - Int(table.virtualBase.rawValue >> 12)
    }

    /// The address of a page that is counted from the image's first.
    private func address(ofPage page: Int) -> VirtualAddress {
        VirtualAddress(UInt64(page + Int(table.virtualBase.rawValue >> 12)) << 12)
    }

    private func lastAddress(beforePage page: Int) -> VirtualAddress {
        VirtualAddress(address(ofPage: page).rawValue - 1)
    }

    private func physical(_ address: VirtualAddress, _ shift: Int) -> PhysicalAddress? {
        let frame = page(address) + shift + Int(table.physicalBase.rawValue >> 12)
        guard frame >= 0, frame < 1 << 52 else { return nil }
        return PhysicalAddress(UInt64(frame) << 12 | UInt64(address.offsetInPage))
    }

    private func place(of transfer: Transfer) -> Place {
        let image = 0..<table.pageCount
        let first = page(transfer.address)
        let last = page(transfer.last)
        if image.contains(first), image.contains(last) { return .inside }
        return first >= image.upperBound || last < 0 ? .outside : .partly
    }

    /// The stretch that a page or a frame belongs to.
    private static func stretch(of number: Int, in stretches: [Stretch]) -> Int {
        var low = 0
        var high = stretches.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if stretches[middle].first <= number { low = middle } else { high = middle }
        }
        return low
    }

    /// The part of a transfer that lies in a stretch.
    private func part(_ stretch: Int, of transfer: Transfer) -> Run {
        var first = transfer.address
        var last = transfer.last
        if stretch > 0 { first = max(first, address(ofPage: byPage[stretch].first)) }
        if stretch + 1 < byPage.count { last = min(last, lastAddress(beforePage: byPage[stretch + 1].first)) }
        return Run(
            address: first, byteCount: last.rawValue - first.rawValue &+ 1,
            physical: physical(first, byPage[stretch].shift))
    }

    /// How many pages have a shift, in the stretches between two.
    private func pages(shifted shift: Int, between first: Int, and last: Int) -> Int {
        guard let same = sameShift[shift] else { return 0 }
        /// Those before a stretch.
        func sum(before stretch: Int) -> Int {
            var low = 0
            var high = same.stretches.count
            while low < high {
                let middle = (low + high) / 2
                if same.stretches[middle] < stretch { low = middle + 1 } else { high = middle }
            }
            return low == 0 ? 0 : same.pages[low - 1]
        }
        return sum(before: last) - sum(before: first + 1)
    }
}
