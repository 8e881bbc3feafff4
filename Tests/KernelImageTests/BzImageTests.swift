// SPDX-License-Identifier: MIT

// A vmlinuz is read, or refused with the byte that is to blame.

import KernelImage
import Testing

struct BzImageTests {
    @Test(arguments: usableCodecs)
    func decodesItsPayload(codec: Codec) throws {
        let sample = SampleBzImage(codec: codec)
        let image = try sample.open()
        let payload = sample.payloadStart..<sample.payloadStart + (try sample.stream.count)
        #expect(image.codec == codec)
        #expect(image.payload == payload)
        #expect(image.decodedSize == sample.kernel.count)
        #expect(try image.decode() == sample.kernel)
    }

    @Test func readsItsHeader() throws {
        let image = try SampleBzImage().open()
        #expect(image.header.version == 0x20f)
        #expect(image.header.setupSize == 1024)
        #expect(image.header.payloadOffset == 24)
        #expect(image.header.isRelocatable)
        #expect(image.header.extendedLoadFlags == 0x7f)
        #expect(image.header.preferredAddress == 0x100_0000)
        #expect(image.header.initSize == 0x200_0000)
        let isSigned = image.isSigned
        #expect(!isSigned)
    }

    @Test func readsOlderProtocols() throws {
        let image = try SampleBzImage(sectors: 0, version: 0x208, hasFirmwareHeader: false).open()
        #expect(image.header.setupSize == 2560)
        #expect(image.header.initSize == 0)
        #expect(try image.decode() == SampleKernel().bytes)
        #expect(
            refusal { _ = try SampleBzImage(version: 0x207).open() }?.description
                == "some.vmlinuz: at byte 0x206: boot protocol 2.7 does not say where the payload is; kperm needs 2.8")
    }

    @Test func knowsItsMagic() throws {
        var bytes = try SampleBzImage().bytes
        #expect(BzImage.isBzImage(unsafe bytes.span.bytes))
        for length in 0..<0x206 {
            let start = Array(bytes[..<length])
            #expect(!BzImage.isBzImage(unsafe start.span.bytes))
        }
        bytes[0x203] = 0
        #expect(!BzImage.isBzImage(unsafe bytes.span.bytes))
        #expect(
            refusal { _ = try SampleBzImage.open(bytes) }?.description
                == "some.vmlinuz: at byte 0x202: not a bzImage (vmlinuz): it has no setup header")
    }

    /// Wherever the file is cut in front of the payload's end.
    @Test func refusesEveryCut() throws {
        let sample = SampleBzImage(kernel: someBytes(200))
        let bytes = try sample.bytes
        for length in 1..<sample.payloadStart + (try sample.stream.count) {
            let error = refusal { _ = try SampleBzImage.open(Array(bytes[..<length])) }
            #expect(error?.kind == (length < 0x206 ? .unsuitable : .malformed), "\(length) bytes")
        }
    }

    @Test func refusesPayloadElsewhere() throws {
        for (field, value) in [(0x248, UInt32.max), (0x248, 1 << 20), (0x24c, .max), (0x24c, 8), (0x24c, 0)] {
            var bytes = try SampleBzImage().bytes
            bytes.put(value, at: field)
            let error = refusal { _ = try SampleBzImage.open(bytes) }
            #expect(error?.kind == .malformed && error?.offset == 0x248)
        }
        var bytes = try SampleBzImage().bytes
        bytes.put(UInt32(25), at: 0x248)
        #expect(
            refusal { _ = try SampleBzImage.open(bytes) }?.message
                == "the payload is not compressed in a way that kperm knows")
    }

    @Test(arguments: [0, 1 << 30 + 1, .max] as [UInt32])
    func refusesAbsurdSizes(size: UInt32) throws {
        let sample = SampleBzImage(codec: .xz)
        var bytes = try sample.bytes
        let place = sample.payloadStart + (try sample.stream.count) - 4
        bytes.put(size, at: place)
        let error = refusal { _ = try SampleBzImage.open(bytes) }
        #expect(error?.kind == .malformed && error?.offset == UInt64(place))
    }

    @Test(arguments: usableCodecs)
    func refusesDamagedPayload(codec: Codec) throws {
        let sample = SampleBzImage(codec: codec)
        var bytes = try sample.bytes
        let stream = try sample.stream
        for i in 0..<64 { bytes[sample.payloadStart + stream.count / 2 + i] ^= 0xff }
        let damaged = refusal { _ = try SampleBzImage.open(bytes).decode() }
        // Without a checksum other bytes can come out.
        #expect(damaged?.kind == .malformed || codec == .lz4)
        bytes = try sample.bytes
        bytes.put(UInt32(sample.kernel.count + 1), at: sample.payloadStart + stream.count - 4)
        let error = refusal { _ = try SampleBzImage.open(bytes).decode() }
        #expect(error?.kind == .malformed)
        #expect(error?.message.hasPrefix("the \(codec) payload: ") == true)
    }

    @Test func refusesLZO() throws {
        let sample = SampleBzImage()
        var bytes = try sample.bytes
        bytes.replaceSubrange(sample.payloadStart..<sample.payloadStart + 5, with: [0x89, 0x4c, 0x5a, 0x4f, 0])
        let error = refusal { _ = try SampleBzImage.open(bytes).decode() }
        #expect(error?.kind == .unsuitable)
        #expect(error?.message.contains("kperm cannot decode LZO") == true)
    }

    @Test func refusesDamagedFirmwareHeader() throws {
        for (field, value) in [(0x3c, UInt32.max), (0x3c, 41), (0x3c, 1 << 20), (0x40, 0), (0x58, 0x107)] {
            var bytes = try SampleBzImage().bytes
            bytes.put(value, at: field)
            let error = refusal { _ = try SampleBzImage.open(bytes) }
            #expect(error?.message == "the PE header for EFI firmware is damaged")
        }
    }

    @Test func noticesSignature() throws {
        let image = try SampleBzImage(isSigned: true).open()
        let isSigned = image.isSigned
        #expect(isSigned)
    }
}
