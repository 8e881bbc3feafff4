// SPDX-License-Identifier: MIT

// A kernel as distributions ship it: a small loader around a compressed ELF with
// the relocation lists of KASLR behind it. Everything that plans and proves works
// on the unpacked ELF; the container only takes it back.

public import Addressing
public import KernelImage

/// A vmlinuz, unpacked.
public struct CompressedKernel: ~Copyable {
    public let container: BzImage
    /// The ELF inside, and what follows it.
    public let kernel: KernelImage
    public let relocations: KASLRRelocations

    public var path: String { container.file.path }

    /// - Throws: `RewriteError.image` when the file is no bzImage, or what is inside does not unpack.
    public static func open(_ path: String) throws(RewriteError) -> CompressedKernel {
        let container = try wrapping(RewriteError.image) { () throws(ImageError) in
            try BzImage(MappedFile.open(path))
        }
        let bytes = try wrapping(RewriteError.image) { () throws(ImageError) in try container.decode() }
        let memory = try OutputFile.inMemory(path)
        try memory.write(bytes, at: 0)
        let kernel = try memory.image()
        let relocations = try wrapping(RewriteError.image) { () throws(ImageError) in
            try KASLRRelocations(bytes, file: path)
        }
        return CompressedKernel(container: container, kernel: kernel, relocations: relocations)
    }

    private init(
        container: consuming BzImage, kernel: consuming KernelImage, relocations: KASLRRelocations
    ) {
        self.container = container
        self.kernel = kernel
        self.relocations = relocations
    }

    /// The ELF inside, for those who need no more.
    public consuming func unpacked() -> KernelImage { kernel }

    /// The unpacked bytes with changes made in them.
    ///
    /// - Throws: `RewriteError.unsupported` when KASLR relocates a word that a change covers, and would do so still: the
    ///   change would be lost, or the word.
    func unpacked(with changes: [Change]) throws(RewriteError) -> [UInt8] {
        var bytes = unsafe kernel.file.bytes.withUnsafeBytes { unsafe Array($0) }
        for change in changes {
            bytes.replaceSubrange(change.fileOffset..<change.fileOffset + change.after.count, with: change.after)
        }
        let relocatesOthers = changes.contains { $0.fileOffset >= relocations.start }
        let remaining =
            relocatesOthers
            ? try wrapping(RewriteError.image) { [bytes] () throws(ImageError) in
                try KASLRRelocations(bytes, file: path)
            } : relocations
        for change in changes {
            if let address = change.address {
                let range = address..<address + UInt64(change.after.count)
                if let word = relocations.words(in: range).first(where: remaining.contains) {
                    throw .unsupported(
                        file: path,
                        "KASLR relocates the word at \(word), where kperm would change the kernel (\(change.reason))")
                }
            }
        }
        return bytes
    }
}

extension KASLRRelocations {
    func contains(_ word: VirtualAddress) -> Bool { words(in: word..<word + 1).contains(word) }

    /// What has words of 32 bits relocated that went elsewhere.
    ///
    /// - Parameter moved: from where to where.
    func changes(moving moved: [VirtualAddress: VirtualAddress]) -> [Change] {
        moved.sorted { $0.key < $1.key }.compactMap { from, to in
            guard let entry = entry(of: from) else { return nil }
            func bytes(_ address: VirtualAddress) -> [UInt8] {
                var bytes: [UInt8] = []
                bytes.append(littleEndian: UInt32(truncatingIfNeeded: address.rawValue))
                return bytes
            }
            return Change(
                fileOffset: entry, address: nil, before: bytes(from), after: bytes(to),
                reason: "KASLR relocates a word where the code went", evidence: "\(from) is now at \(to)")
        }
    }

    /// Moves an image in memory by `slide` bytes of virtual address, as the decompressor does.
    ///
    /// - Parameters:
    ///   - memory: the image's bytes from `base` on.
    ///   - base: the virtual address that `memory` is linked at.
    public func apply(_ slide: UInt64, to memory: inout [UInt8], linkedAt base: VirtualAddress) {
        func add(_ words: [VirtualAddress], _ size: Int, _ difference: UInt64) {
            for word in words {
                let offset = Int(word - base)
                guard offset + size <= memory.count else { continue }
                var value = (0..<size).reduce(UInt64(0)) { $0 | UInt64(memory[offset + $1]) << UInt64(8 * $1) }
                value &+= difference
                for i in 0..<size { memory[offset + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i)) }
            }
        }
        add(words32, 4, slide)
        add(inverse32, 4, 0 &- slide)
        add(words64, 8, slide)
    }
}
