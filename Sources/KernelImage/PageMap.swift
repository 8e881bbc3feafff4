// SPDX-License-Identifier: MIT

// Where each page of the loaded image comes from. Pages are counted by physical
// address, because that is how a loader lays them down: the per-CPU template
// has virtual address 0 in its program header and its place among the others
// only through `p_paddr`. A file offset here is always the truth for the bytes
// a loader would put there.

public import Addressing

/// The pages of an image and where their bytes lie.
public struct PageMap: Sendable {
    /// One page: `fileBytes` bytes from `fileOffset`, the rest of the page zero.
    public struct Entry: Equatable, Sendable {
        public var fileOffset: Int = 0
        /// 0 ... 4096.
        public var fileBytes: Int = 0
        /// The load segment that holds the page; -1 in an alignment gap.
        public var segment: Int = -1
        /// Whether several load segments have bytes in the page (32-bit kernels only); such a page is a gap besides.
        public var isShared = false

        public var isGap: Bool { segment < 0 }
    }

    public let virtualBase: VirtualAddress
    public let physicalBase: PhysicalAddress
    public let entries: [Entry]

    public var pageCount: Int { entries.count }
    public var virtualRange: Range<VirtualAddress> {
        virtualBase..<virtualBase + UInt64(pageCount * pageSize)
    }
    public var physicalRange: Range<PhysicalAddress> {
        physicalBase..<physicalBase + UInt64(pageCount * pageSize)
    }

    /// Maps the pages from `virtualBase`, where the first load segment must begin, up to `end`.
    ///
    /// - Throws: `ImageError` when load segments overlap, are not page aligned or lie below the first one.
    public init(
        _ image: borrowing KernelImage, from virtualBase: VirtualAddress, to end: VirtualAddress
    ) throws(ImageError) {
        func refuse(_ what: String) -> ImageError { ImageError(.malformed, file: image.path, what) }
        let loads = image.segments.enumerated().filter { $0.element.type == Segment.load }
        guard let first = loads.first(where: { $0.element.virtualAddress == virtualBase })?.element else {
            throw refuse("no load segment begins at \(virtualBase), where the image does")
        }
        guard virtualBase.offsetInPage == 0, first.physicalAddress.offsetInPage == 0 else {
            throw refuse("the first load segment does not begin on a page")
        }
        guard end > virtualBase, end - virtualBase < 1 << 32 else { throw refuse("the image ends at \(end)") }
        let pageCount = Int((end - virtualBase + UInt64(pageSize) - 1) / UInt64(pageSize))
        let byteCount = UInt64(pageCount * pageSize)
        guard !virtualBase.rawValue.addingReportingOverflow(byteCount).overflow,
            !first.physicalAddress.rawValue.addingReportingOverflow(byteCount).overflow
        else { throw refuse("the image ends at \(end), where addresses end") }
        var entries = [Entry](repeating: Entry(), count: pageCount)
        let pieces = loads.flatMap { index, segment in
            (image.header.is64Bit ? [segment] : segment.pagePieces).map { (index, $0) }
        }
        for (_, piece) in pieces where piece.memorySize > 0 && piece.physicalAddress.offsetInPage != 0 {
            let distance = piece.physicalAddress.rawValue &- first.physicalAddress.rawValue
            let page = Int(distance / UInt64(pageSize))
            if !image.header.is64Bit, page < pageCount { entries[page].isShared = true }
        }
        for (index, segment) in pieces where segment.memorySize > 0 {
            if !image.header.is64Bit, segment.physicalAddress.offsetInPage != 0 { continue }
            guard segment.physicalAddress >= first.physicalAddress,
                (segment.physicalAddress - first.physicalAddress) % UInt64(pageSize) == 0
            else { throw refuse("load segment \(index) does not begin on a page of the image") }
            guard segment.memorySize < 1 << 32 else {
                throw refuse("load segment \(index) is \(segment.memorySize) bytes long")
            }
            let start = Int((segment.physicalAddress - first.physicalAddress) / UInt64(pageSize))
            let pages = Int((segment.memorySize + UInt64(pageSize) - 1) / UInt64(pageSize))
            guard start < pageCount else {
                throw refuse("load segment \(index) lies beyond the image, which ends at \(end)")
            }
            for page in start..<min(start + pages, pageCount) where !entries[page].isShared {
                guard entries[page].isGap else { throw refuse("load segments overlap in page \(page)") }
                let offset = (page - start) * pageSize
                let firstByte = segment.fileSize > 0 ? Int(segment.offset) : 0
                entries[page] = Entry(
                    fileOffset: firstByte + offset,
                    fileBytes: max(0, min(pageSize, Int(segment.fileSize) - offset)), segment: index)
            }
        }
        self.virtualBase = virtualBase
        physicalBase = first.physicalAddress
        self.entries = entries
    }

    /// The page a virtual address lies in, or nil outside the image.
    public func page(of address: VirtualAddress) -> Int? {
        guard virtualRange.contains(address) else { return nil }
        return Int((address - virtualBase) / UInt64(pageSize))
    }

    /// The pages that a range of addresses touches.
    public func pages(of range: Range<VirtualAddress>) -> Range<Int> {
        let clamped = range.clamped(to: virtualRange)
        guard !clamped.isEmpty else { return 0..<0 }
        let first = Int((clamped.lowerBound - virtualBase) / UInt64(pageSize))
        return first..<Int((clamped.upperBound - virtualBase + UInt64(pageSize) - 1) / UInt64(pageSize))
    }

    /// Where the byte at a virtual address lies in the file, or nil if it has no bytes there.
    public func fileOffset(of address: VirtualAddress) -> Int? {
        guard let page = page(of: address), address.offsetInPage < entries[page].fileBytes else { return nil }
        return entries[page].fileOffset + address.offsetInPage
    }

    /// The 4096 bytes of a page as a loader lays them down.
    public func contents(of page: Int, in image: borrowing KernelImage) -> [UInt8] {
        let entry = entries[page]
        var bytes = [UInt8](repeating: 0, count: pageSize)
        if entry.fileBytes > 0 {
            let source = image.file.bytes.extracting(entry.fileOffset..<entry.fileOffset + entry.fileBytes)
            unsafe source.withUnsafeBytes { source in
                unsafe bytes.withUnsafeMutableBytes { unsafe $0.copyMemory(from: source) }
            }
        }
        return bytes
    }
}
