// SPDX-License-Identifier: MIT

// A driver that breaks the rule for DMA, to show what comes of it: it reads the first sector of a virtio
// disk (legacy interface, virtio 1.2, 4.1.4.8) into a static buffer, as one descriptor from the frame of
// the buffer's first byte on. Where the sector went is for others to say, from outside.

/// The ring and what goes with it lie outside the image, as if from the heap: frames there follow one another.
private let ring = heap
private let requestHeader: UInt64 = ring + 0x10000
private let requestStatus: UInt64 = ring + 0x10010

/// Registers, counted from the device's first port.
private enum Register {
    static let guestFeatures: UInt16 = 0x04, queueFrame: UInt16 = 0x08, queueSize: UInt16 = 0x0c
    static let queueSelect: UInt16 = 0x0e, queueNotify: UInt16 = 0x10, status: UInt16 = 0x12
}

/// Translates the buffer's first byte by the table, and says nothing of where its second page lies.
@c(sg_init_one) @inline(never)
public func scatterlistOfOne(
    _ list: UnsafeMutablePointer<scatterlist>, _ buffer: UnsafeRawPointer, _ length: UInt32
) {
    unsafe list.pointee.address = Translation().physical(UInt64(UInt(bitPattern: buffer)))
    unsafe list.pointee.length = length
}

/// Reads the first sector into `sector_buffer`.
func readSector() -> Verdict {
    guard let ports = findDisk() else { return .skip("no virtio disk") }
    guard let buffer = unsafe UnsafeRawPointer(bitPattern: UInt(sectorBuffer())) else { return .fail(0) }
    var list = scatterlist()
    unsafe sg_init_one(&list, buffer, 512)

    writePort(ports + Register.status, 0)  // reset
    writePort(ports + Register.status, 1)  // found
    writePort(ports + Register.status, 3)  // has a driver
    writePort32(ports + Register.guestFeatures, 0)
    writePort16(ports + Register.queueSelect, 0)
    let size = UInt64(readPort16(ports + Register.queueSize))
    let available = ring + 16 * size
    let used = (available + 6 + 2 * size + pageBytes - 1) & ~(pageBytes - 1)
    for address in stride(from: ring, to: used + pageBytes, by: 8) { store(0 as UInt64, at: address) }

    store(0 as UInt64, at: requestHeader)  // a read
    store(0 as UInt64, at: requestHeader + 8)  // of sector 0
    store(0xff as UInt8, at: requestStatus)
    describe(0, requestHeader, 16, isWritten: false, next: 1)
    describe(1, list.address, list.length, isWritten: true, next: 2)
    describe(2, requestStatus, 1, isWritten: true, next: nil)
    store(1 as UInt16, at: available + 2)  // one request, which begins with descriptor 0
    writePort32(ports + Register.queueFrame, UInt32(truncatingIfNeeded: ring / pageBytes))
    writePort(ports + Register.status, 7)  // which is ready
    writePort16(ports + Register.queueNotify, 0)

    for _ in 0..<100_000_000 {
        pauseForDevice()
        guard word(at: used) >> 16 & 0xffff == 1 else { continue }
        return word(at: requestStatus) & 0xff == 0 ? .pass(512, " bytes as one segment") : .fail(requestStatus)
    }
    return .fail(used)
}

/// The first port of the first disk, which is told that it may read and write memory.
private func findDisk() -> UInt16? {
    for slot: UInt32 in 0..<32 {
        func select(_ register: UInt32) { writePort32(0xcf8, 1 << 31 | slot << 11 | register) }
        select(0)
        guard readPort32(0xcfc) == 0x1001_1af4 else { continue }
        select(4)
        writePort32(0xcfc, readPort32(0xcfc) & 0xffff | 5)
        select(0x10)
        return UInt16(truncatingIfNeeded: readPort32(0xcfc) & 0xfffc)
    }
    return nil
}

/// Fills a descriptor of the ring.
private func describe(_ number: UInt64, _ address: UInt64, _ length: UInt32, isWritten: Bool, next: UInt64?) {
    let flags: UInt64 = (next == nil ? 0 : 1) | (isWritten ? 2 : 0)
    store(address, at: ring + 16 * number)
    store(UInt64(length) | flags << 32 | (next ?? 0) << 48, at: ring + 16 * number + 8)
}
