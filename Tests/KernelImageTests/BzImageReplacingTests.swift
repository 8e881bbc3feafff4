// SPDX-License-Identifier: MIT

// Another payload in a vmlinuz: the same size, every other byte where it was, and
// whatever depends on the payload right again.

import KernelImage
import TestSupport
import Testing

struct BzImageReplacingTests {
    /// The sample's kernel with one page of it changed to something that compresses.
    private var changed: [UInt8] {
        var kernel = SampleKernel().bytes
        for i in 0..<4096 { kernel[0x2000 + i] = UInt8(i >> 8) }
        return kernel
    }

    @Test(arguments: usableCodecs)
    func decodesToWhatWasPutIn(codec: Codec) throws {
        let sample = SampleBzImage(codec: codec)
        let old = try sample.bytes
        let image = try sample.open()
        let new = try image.replacing(changed)
        let reopened = try SampleBzImage.open(new)
        #expect(try reopened.decode() == changed)
        #expect(new.count == old.count)
        #expect(reopened.payload.lowerBound == image.payload.lowerBound)

        // Both lengths, init_size and the CRC may differ, and the old payload's place; nothing else.
        let end = image.payload.upperBound
        #expect(new.word(end + 3) == UInt32(reopened.payload.count))
        #expect(new.word(end + 7) == UInt32(sample.kernel.count))
        let may = [0x24c..<0x250, 0x260..<0x264, image.payload, end + 3..<end + 7, old.count - 4..<old.count]
        #expect(old.indices.allSatisfy { place in old[place] == new[place] || may.contains { $0.contains(place) } })
        #expect(new[reopened.payload.upperBound..<end].allSatisfy { $0 == 0 })
        #expect(crc(new) == 0)
    }

    /// Back to the first payload, through a file that kperm made.
    @Test(arguments: usableCodecs)
    func canBeUndone(codec: Codec) throws {
        let sample = SampleBzImage(codec: codec)
        let original = try sample.bytes
        let image = try SampleBzImage.open(original)
        let same = try SampleBzImage.open(try image.replacing(sample.kernel)).decode()
        #expect(same == sample.kernel)
    }

    @Test(arguments: [Codec.lz4, .gzip])
    func seesEveryOtherDifference(codec: Codec) throws {
        let image = try SampleBzImage(codec: codec).open()
        let new = try image.replacing(changed)
        let made = try SampleBzImage.open(new)
        #expect(made.differences(from: image).isEmpty)
        for place in [0x1f0, 0x236, 0x260, image.payload.upperBound, image.payload.upperBound + 3, new.count - 5] {
            var bytes = new
            bytes[place] ^= 1
            let changed = try SampleBzImage.open(bytes).differences(from: image)
            #expect(changed == [place..<place + 1], "byte \(place)")
        }
        let longer = try SampleBzImage.open(new + [0])
        #expect(longer.differences(from: image) == [0..<new.count + 1])
    }

    @Test func leavesWrongChecksumAlone() throws {
        let sample = SampleBzImage(hasValidChecksum: false)
        let new = try sample.open().replacing(changed)
        #expect(try new.suffix(4) == sample.bytes.suffix(4))
        #expect(crc(new) != 0)
    }

    @Test func dropsSignature() throws {
        let sample = SampleBzImage(isSigned: true, hasValidChecksum: false)
        let new = try sample.open().replacing(changed)
        let unsigned = try SampleBzImage.open(new)
        let isSigned = unsigned.isSigned
        #expect(!isSigned)
        #expect(try new.count == sample.bytes.count - 1472)
        let original = try sample.open()
        #expect(unsigned.differences(from: original).isEmpty)
        let anew = try SampleBzImage.open(SampleBzImage.signed(new))
        #expect(anew.differences(from: original).isEmpty)
        var spoilt = SampleBzImage.signed(new)
        spoilt[spoilt.count - 1473] ^= 1
        let wrong = try SampleBzImage.open(spoilt)
        #expect(!wrong.differences(from: original).isEmpty)
        #expect(new[SampleBzImage.certificates..<SampleBzImage.certificates + 8].allSatisfy { $0 == 0 })
        // The PE checksum: words added with carry around, without itself, and the size.
        var blank = new + (new.count & 1 == 1 ? [0] : [])
        blank.put(UInt32(0), at: SampleBzImage.checksum)
        let sum = stride(from: 0, to: blank.count, by: 2).reduce(0) { sum, place in
            let next = sum + Int(blank[place]) + Int(blank[place + 1]) << 8
            return next & 0xffff + next >> 16
        }
        #expect(new.word(SampleBzImage.checksum) == UInt32(sum + new.count))
    }

    @Test func leavesAbsentChecksumAbsent() throws {
        let new = try SampleBzImage().open().replacing(changed)
        #expect(new.word(SampleBzImage.checksum) == 0)
    }

    @Test func refusesOtherSize() throws {
        let image = try SampleBzImage().open()
        let size = image.decodedSize
        for kernel in [changed + [0], Array(changed.dropLast()), []] {
            #expect(
                refusal { _ = try image.replacing(kernel) }?.message
                    == "the new payload has \(kernel.count) bytes decoded, and the image has room for exactly \(size)")
        }
    }

    @Test(arguments: usableCodecs)
    func refusesWhatDoesNotFit(codec: Codec) throws {
        let image = try SampleBzImage(codec: codec).open()
        var random = TestRandom()
        let noise = (0..<image.decodedSize).map { _ in UInt8.random(in: 0...255, using: &random) }
        let error = refusal { _ = try image.replacing(noise) }
        #expect(error?.kind == .unsuitable && error?.offset == UInt64(image.payload.lowerBound))
        #expect(error?.message.contains(/^the new payload: compressed again with \w+ it is \d+ bytes longer/) == true)
    }

    @Test func refusesUnknownOrAmbiguousLengths() throws {
        let none = try SampleBzImage(lengths: [0, 0, 0, 0, 0, 0, 0, 0]).open()
        #expect(
            refusal { _ = try none.replacing(changed) }?.message
                == "the decompressor has its payload's two lengths in 0 places behind it, where one is expected")
        let sample = SampleBzImage()
        let pair = little(UInt32(try sample.stream.count)) + little(UInt32(sample.kernel.count))
        let twice = try SampleBzImage(lengths: pair + [9] + pair).open()
        #expect(refusal { _ = try twice.replacing(changed) }?.message.contains("in 2 places") == true)
    }

    /// A much shorter payload needs more room to be decoded in place, and so more memory.
    @Test(arguments: usableCodecs)
    func asksForRoomToDecodeInPlace(codec: Codec) throws {
        let sample = SampleBzImage(codec: codec)
        let image = try sample.open()
        let zeros = [UInt8](repeating: 0, count: image.decodedSize)
        let new = try SampleBzImage.open(image.replacing(zeros))
        let shorter = image.payload.count - new.payload.count
        if codec == .lz4 {
            #expect(shorter < 4)
            #expect(new.header.initSize == image.header.initSize)
        } else {
            let added = Int(new.header.initSize - image.header.initSize)
            #expect(added % 4096 == 0 && added >= shorter - image.decodedSize / 256 && added < shorter + 4096)
            var bytes = try sample.bytes
            bytes.put(image.header.initSize, at: SampleBzImage.imageSize)
            let error = refusal { [bytes] in _ = try SampleBzImage.open(bytes).replacing(zeros) }
            #expect(error?.message.contains("too little room to decode it in place") == true)
        }
    }
}
