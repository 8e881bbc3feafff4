// SPDX-License-Identifier: MIT

// What runs before the kernel's own mapping is live, and what it touches. That
// code executes at identity addresses, where frames are what they were linked
// to be, so each page it runs in or refers to must keep its frame.
//
// The code is followed, not listed: from the PVH entry (32 bits, up to a far
// jump into 64-bit code), the ELF entry and the other CPUs' entry, along direct
// calls, both sides of branches, and addresses of the same function that it
// computes (a far return takes them). A path ends where it jumps through a
// register: that is how the kernel enters its virtual addresses. References
// count in all forms: RIP-relative, absolute virtual, absolute physical.

import Addressing
import Disassembly
import KernelImage
import PagePermutation

/// The pages that early code runs in and refers to.
struct EarlyCode {
    private(set) var pins: [Pin] = []
    private(set) var functions: [VirtualAddress] = []
    /// Functions whose address early code takes: it calls them through the kernel's mapping.
    private(set) var handedOver: [VirtualAddress] = []
    private(set) var instructions = 0

    private let map: PageMap
    private let index: AddressIndex
    private let data: DataObjects
    private let executable: [Range<VirtualAddress>]
    private var stops: [VirtualAddress: Rules.Stop?] = [:]
    private let file: String
    private var seen: Set<Int> = []

    private struct Path {
        var address: VirtualAddress
        var mode: Decoder.Mode
        /// Where the functions begin that led here.
        var trail: [VirtualAddress] = []
        /// Registers that hold an address of the code itself (`call 1f; 1: pop %ebp`), as the virtual address of the
        /// same place: 32-bit code that runs wherever it was loaded refers to everything through one.
        var anchors: [String: VirtualAddress] = [:]
        /// Registers that hold an address of the image which an instruction named: what is indexed from there is an array.
        var pointers: [String: VirtualAddress] = [:]

        func going(to address: VirtualAddress, _ mode: Decoder.Mode? = nil) -> Path {
            Path(address: address, mode: mode ?? self.mode, trail: trail, anchors: anchors, pointers: pointers)
        }
    }

    init(
        _ image: borrowing KernelImage, _ map: PageMap, _ table: SymbolTable, _ index: AddressIndex,
        _ symbols: KernelSymbols, _ data: DataObjects
    ) throws(RewriteError) {
        self.map = map
        self.index = index
        self.data = data
        file = image.path
        executable = image.sections.filter { $0.isAllocated && $0.isExecutable }.map { $0.address..<$0.end }

        var paths: [Path] = []
        if let pvh = Self.pvhEntry(image).flatMap(address(physical:)) {
            paths.append(Path(address: pvh, mode: .x86Bits32))
        }
        let entry = VirtualAddress(image.header.entry)
        guard let start = map.page(of: entry) != nil ? entry : address(physical: image.header.entry) else {
            throw .unsupported(file: file, "the entry point \(entry) lies outside the image")
        }
        paths.append(Path(address: start, mode: .x86Bits64))
        for name in Rules.earlyEntries {
            if let place = symbols.optional(name) { paths.append(Path(address: place.address, mode: .x86Bits64)) }
        }
        try follow(paths, table, image)
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

    /// Pins all of what a reference names: the object it points into, however many pages that has. A stack is named by
    /// its end and used below it.
    private mutating func pinObject(
        at reference: VirtualAddress, isStack: Bool, isArray: Bool, _ evidence: @autoclosure () -> String
    ) {
        let inside = isStack ? reference + UInt64.max : reference
        let object =
            isStack
            ? data.stack(below: reference) : isArray ? data.array(at: reference) : data.object(at: reference)
        for page in map.pages(of: object ?? inside..<inside + 1) {
            pin(map.virtualBase + UInt64(page * pageSize), "touched before the mapping is live", evidence())
        }
    }

    private mutating func follow(
        _ start: [Path], _ table: SymbolTable, _ image: borrowing KernelImage
    ) throws(RewriteError) {
        let decode32 = Decoder(.x86Bits32)
        let decode64 = Decoder(.x86Bits64)
        var paths = start
        var visited: Set<VirtualAddress> = []
        var entered: Set<VirtualAddress> = []
        while var path = paths.popLast() {
            let function = index.function(at: path.address)
            let start = function?.value ?? path.address
            if path.trail.last != start { path.trail.append(start) }
            if entered.insert(start).inserted { functions.append(start) }
            guard entered.count <= Rules.earlyFunctionLimit else {
                let trail = path.trail.map { name(of: $0, table, image) ?? $0.description }.joined(separator: ", ")
                throw .unsupported(
                    file: file,
                    "early code leads through more than \(Rules.earlyFunctionLimit) functions, so kperm does not know "
                        + "this kernel's start; the way there: \(trail)")
            }
            var previous: Instruction?
            while visited.insert(path.address).inserted {
                guard let code = code(at: path.address, image),
                    let instruction = path.mode == .x86Bits32
                        ? decode32.decode(code, at: path.address) : decode64.decode(code, at: path.address)
                else {
                    throw .unsupported(
                        file: file, "early code at \(path.address) does not decode: kperm cannot tell what it touches")
                }
                instructions += 1
                path.anchors.follow(instruction, after: previous)
                previous = instruction
                examine(instruction, in: function, path, &paths)
                path.pointers.follow(instruction)
                if let target = instruction.target, stops[target] == nil {
                    stops.updateValue(name(of: target, table, image).flatMap(Rules.stop), forKey: target)
                }
                guard let next = successor(of: instruction, path, &paths) else { break }
                // A compiler puts nothing behind a call that does not return.
                if instruction.flow == .call, let function, next >= function.end { break }
                path.address = next
            }
        }
    }

    /// The name of the function that begins at an address.
    private func name(of address: VirtualAddress, _ table: SymbolTable, _ image: borrowing KernelImage) -> String? {
        index.covering(address).first { $0.value == address && $0.kind != .object }.map {
            table.name(of: $0, in: image)
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
    private mutating func examine(
        _ instruction: Instruction, in function: Symbol?, _ path: Path, _ paths: inout [Path]
    ) {
        func place() -> String { "\(instruction.mnemonic) at \(instruction.address)" }
        pin(instruction.address, "runs before the mapping is live", place())
        pin(instruction.next + UInt64.max, "runs before the mapping is live", place())
        var references = instruction.constants(knownBases: path.anchors.keys).compactMap { constant in
            let virtual = VirtualAddress(constant)
            return map.page(of: virtual) != nil ? virtual : address(physical: constant)
        }
        if let relative = instruction.relativeReference ?? path.anchors.reference(of: instruction) {
            references.append(relative)
            if instruction.mnemonic == "lea", let function, function.value < relative, relative < function.end,
                function.kind != .object
            {
                paths.append(path.going(to: relative, .x86Bits64))
            } else if isCode(relative), let other = index.function(at: relative), other.value == relative {
                handedOver.append(other.value)
            }
        }
        let isStack = instruction.operands.first == .register("rsp") || instruction.operands.first == .register("esp")
        let arrays = instruction.operands.flatMap { operand -> [VirtualAddress] in
            guard case .memory(let base, _?, let displacement) = operand else { return [] }
            let starts = [VirtualAddress(UInt64(bitPattern: displacement)), base.flatMap { path.pointers[$0] }]
            return starts.compactMap { $0 }.filter { map.page(of: $0) != nil }
        }
        for reference in references + arrays {
            pinObject(at: reference, isStack: isStack, isArray: arrays.contains(reference), place())
        }
    }

    /// Where a path goes on; other ways it may take are added to `paths`.
    private func successor(of instruction: Instruction, _ path: Path, _ paths: inout [Path]) -> VirtualAddress? {
        switch instruction.flow {
        case .next: return instruction.next
        case .end: return nil
        case .call, .branch, .jump:
            let stop = instruction.target.flatMap { stops[$0] ?? nil }
            if let target = instruction.target, isCode(target), stop == nil { paths.append(path.going(to: target)) }
            if case .halts = stop, instruction.flow == .call { return nil }
            return instruction.flow == .jump ? nil : instruction.next
        case .farJump:
            for case .immediate(let value) in instruction.operands {
                if let target = address(physical: UInt64(bitPattern: value)) {
                    paths.append(path.going(to: target, .x86Bits64))
                }
            }
            return nil
        }
    }

    private func isCode(_ address: VirtualAddress) -> Bool { executable.contains { $0.contains(address) } }
}

extension [String: VirtualAddress] {
    /// Follows what an instruction does to registers that hold an address of the code.
    fileprivate mutating func follow(_ instruction: Instruction, after previous: Instruction?) {
        guard case .register(let register) = instruction.operands.first else { return }
        switch (instruction.mnemonic, instruction.operands.last) {
        case ("pop", _) where previous?.flow == .call && previous?.target == instruction.address:
            self[register] = instruction.address
        case ("sub", .immediate(let value)): self[register] = self[register].map { $0 + UInt64(bitPattern: -value) }
        case ("add", .immediate(let value)): self[register] = self[register].map { $0 + UInt64(bitPattern: value) }
        case ("push", _), ("cmp", _), ("test", _): break
        default: self[register] = nil
        }
    }

    /// Keeps the addresses that instructions put into registers.
    fileprivate mutating func follow(_ instruction: Instruction) {
        guard case .register(let register) = instruction.operands.first,
            !["push", "cmp", "test"].contains(instruction.mnemonic)
        else { return }
        self[register] =
            switch (instruction.mnemonic, instruction.operands.last) {
            case ("lea", _): instruction.relativeReference
            case ("mov", .immediate(let value)): VirtualAddress(UInt64(bitPattern: value))
            default: nil
            }
    }

    /// What a memory operand names that goes through such a register.
    fileprivate func reference(of instruction: Instruction) -> VirtualAddress? {
        for case .memory(let base?, index: nil, let displacement) in instruction.operands {
            if let anchor = self[base] { return anchor + UInt64(bitPattern: displacement) }
        }
        return nil
    }
}
