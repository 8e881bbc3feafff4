// SPDX-License-Identifier: MIT

// What runs before the kernel's own mapping is live, and what it touches. That
// code executes at identity addresses, where frames are what they were linked
// to be, so each page it runs in or refers to must keep its frame.
//
// The code is followed, not listed: from the PVH entry (32 bits, up to a far
// jump into 64-bit code), the ELF entry and the other CPUs' entry, along direct
// calls, both sides of branches, and RIP-relative addresses into the same
// function (a far return takes them). A path ends where it jumps through a
// register: that is how the kernel enters its virtual addresses. References
// count in all forms: RIP-relative, absolute virtual, absolute physical.

import Addressing
import Disassembly
import KernelImage
import PagePermutation

/// The pages that early code runs in and refers to.
struct EarlyCode {
    private(set) var pins: [Pin] = []
    private(set) var functions: [String] = []
    /// What two kinds of functions refer to that run through the kernel's mapping before the stub is done, and so may
    /// write: those whose address early code takes, and the one that the stub calls.
    private(set) var handedOver: [Range<VirtualAddress>] = []
    private(set) var instructions = 0

    private let map: PageMap
    private let index: AddressIndex
    private let executable: [Range<VirtualAddress>]
    private let stops: [VirtualAddress: Rules.Stop]
    private let file: String
    private var seen: Set<Int> = []
    private var taken: [Symbol] = []

    private struct Path {
        var address: VirtualAddress
        var mode: Decoder.Mode
    }

    init(
        _ image: borrowing KernelImage, _ map: PageMap, _ index: AddressIndex, _ symbols: KernelSymbols
    ) throws(RewriteError) {
        self.map = map
        self.index = index
        file = image.path
        executable = image.sections.filter { $0.isAllocated && $0.isExecutable }.map { $0.address..<$0.end }
        var stops: [VirtualAddress: Rules.Stop] = [:]
        for (name, stop) in Rules.notFollowed { for place in symbols.all(name) { stops[place.address] = stop } }
        self.stops = stops

        var paths: [Path] = []
        if let pvh = Self.pvhEntry(image).flatMap(address(physical:)) {
            paths.append(Path(address: pvh, mode: .x86Bits32))
        }
        let entry = VirtualAddress(image.header.entry)
        if let start = map.page(of: entry) != nil ? entry : address(physical: image.header.entry) {
            paths.append(Path(address: start, mode: .x86Bits64))
        }
        for name in Rules.earlyEntries {
            if let place = symbols.optional(name) { paths.append(Path(address: place.address, mode: .x86Bits64)) }
        }
        try follow(paths, image)
        if let reserve = symbols.optional("memblock_reserve"), let function = index.function(at: reserve.address) {
            taken.append(function)
        }
        readHandedOver(image)
    }

    /// The physical address in the PVH note: owner "Xen", type 18.
    static func pvhEntry(_ image: borrowing KernelImage) -> UInt64? {
        guard let note = image.notes().first(where: { $0.owner == "Xen" && $0.type == 18 }) else { return nil }
        let bytes = image.file.bytes.extracting(note.descriptor)
        return bytes.byteCount >= 8
            ? bytes.load(0, as: UInt64.self)
            : bytes.byteCount >= 4 ? UInt64(bytes.load(0, as: UInt32.self)) : nil
    }

    private func address(physical: UInt64) -> VirtualAddress? {
        guard map.physicalRange.contains(PhysicalAddress(physical)) else { return nil }
        return map.virtualBase + (physical - map.physicalBase.rawValue)
    }

    private mutating func pin(_ target: VirtualAddress, _ reason: String, _ evidence: @autoclosure () -> String) {
        guard let page = map.page(of: target), seen.insert(page).inserted else { return }
        pins.append(Pin(pages: page..<page + 1, reason: reason, evidence: evidence()))
    }

    private mutating func follow(_ start: [Path], _ image: borrowing KernelImage) throws(RewriteError) {
        let decode32 = Decoder(.x86Bits32)
        let decode64 = Decoder(.x86Bits64)
        var paths = start
        var visited: Set<VirtualAddress> = []
        var entered: Set<VirtualAddress> = []
        while var path = paths.popLast() {
            let function = index.function(at: path.address)
            if entered.insert(function?.value ?? path.address).inserted { functions.append(path.address.description) }
            guard entered.count <= Rules.earlyFunctionLimit else {
                throw .unsupported(
                    file: file,
                    "early code leads through more than \(Rules.earlyFunctionLimit) functions (now at \(path.address)): "
                        + "kperm does not know this kernel's start")
            }
            while visited.insert(path.address).inserted {
                guard let code = code(at: path.address, image),
                    let instruction = path.mode == .x86Bits32
                        ? decode32.decode(code, at: path.address) : decode64.decode(code, at: path.address)
                else {
                    throw .unsupported(
                        file: file, "early code at \(path.address) does not decode: kperm cannot tell what it touches")
                }
                instructions += 1
                examine(instruction, in: function, &paths)
                guard let next = successor(of: instruction, &paths) else { break }
                path.address = next
            }
        }
    }

    @_lifetime(borrow image)
    private func code(at address: VirtualAddress, _ image: borrowing KernelImage) -> RawSpan? {
        guard let offset = map.fileOffset(of: address), let page = map.page(of: address) else { return nil }
        let entry = map.entries[page]
        let segment = image.segments[entry.segment]
        let end = min(offset + 16, Int(segment.offset + segment.fileSize))
        return image.file.bytes.extracting(offset..<end)
    }

    /// Pins what an instruction lies in and refers to.
    private mutating func examine(_ instruction: Instruction, in function: Symbol?, _ paths: inout [Path]) {
        let place = "\(instruction.mnemonic) at \(instruction.address)"
        pin(instruction.address, "runs before the mapping is live", place)
        pin(instruction.next + UInt64.max, "runs before the mapping is live", place)
        var references = instruction.constants.compactMap { constant in
            let virtual = VirtualAddress(constant)
            return map.page(of: virtual) != nil ? virtual : address(physical: constant)
        }
        if let relative = instruction.relativeReference {
            references.append(relative)
            if instruction.mnemonic == "lea", let function, function.value < relative, relative < function.end,
                function.kind != .object
            {
                paths.append(Path(address: relative, mode: .x86Bits64))
            } else if isCode(relative), let other = index.function(at: relative), other.value == relative {
                taken.append(other)
            }
        }
        for reference in references { pin(reference, "touched before the mapping is live", place) }
    }

    private mutating func readHandedOver(_ image: borrowing KernelImage) {
        let decoder = Decoder(.x86Bits64)
        for function in taken {
            var at = function.value
            while at < function.end, let code = code(at: at, image), let instruction = decoder.decode(code, at: at) {
                let targets = instruction.constants.map { VirtualAddress($0) } + [instruction.relativeReference].compactMap { $0 }
                for target in targets where map.page(of: target) != nil && !isCode(target) {
                    let object = index.covering(target).first { $0.kind == .object && $0.size > 0 }
                    handedOver.append(object.map { $0.value..<$0.end } ?? target..<target + 8)
                }
                at = instruction.next
            }
        }
    }

    /// Where a path goes on; other ways it may take are added to `paths`.
    private mutating func successor(of instruction: Instruction, _ paths: inout [Path]) -> VirtualAddress? {
        switch instruction.flow {
        case .next: return instruction.next
        case .end: return nil
        case .call, .branch:
            if instruction.flow == .call, let target = instruction.target, case .halts = stops[target] { return nil }
            if let target = instruction.target, isCode(target), stops[target] == nil {
                paths.append(Path(address: target, mode: .x86Bits64))
            }
            return instruction.next
        case .jump:
            guard let target = instruction.target, isCode(target), stops[target] == nil else { return nil }
            return target
        case .farJump:
            for case .immediate(let value) in instruction.operands {
                if let target = address(physical: UInt64(bitPattern: value)) {
                    paths.append(Path(address: target, mode: .x86Bits64))
                }
            }
            return nil
        }
    }

    private func isCode(_ address: VirtualAddress) -> Bool { executable.contains { $0.contains(address) } }
}
