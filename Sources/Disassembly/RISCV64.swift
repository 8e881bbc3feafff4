// SPDX-License-Identifier: MIT

// RISC-V (RV64 with the compressed instructions), as far as those need it who
// follow addresses: what forms and loads them is decoded in full, of the rest
// which registers it reads and writes, and where it goes. Formats: the RISC-V
// Instruction Set Manual, volume I, chapters on RV32I, RV64I and "C".

public import Addressing

/// Decodes RISC-V.
public enum RISCV64 {
    public static let registerNames =
        ["zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"] + (0..<8).map { "a\($0)" }
        + (2..<12).map { "s\($0)" } + (3..<7).map { "t\($0)" } + ["zero"]

    /// The instruction that begins the bytes, or nil when they are none.
    public static func decode(_ bytes: RawSpan, at address: VirtualAddress) -> PlainInstruction? {
        guard bytes.byteCount >= 2 else { return nil }
        let low = unsafe UInt32(bytes.unsafeLoadUnaligned(as: UInt16.self))
        var code = Code(word: low, address: address)
        if low & 3 != 3 {
            guard low != 0, code.compressed() else { return nil }
            return code.instruction(size: 2)
        }
        guard bytes.byteCount >= 4, low & 0x1f != 0x1f else { return nil }
        code.word |= unsafe UInt32(bytes.unsafeLoadUnaligned(fromByteOffset: 2, as: UInt16.self)) << 16
        return code.whole() ? code.instruction(size: 4) : nil
    }
}

/// One instruction while it is decoded.
private struct Code {
    var word: UInt32
    let address: VirtualAddress
    private var name = ""
    private var effects: [PlainInstruction.Effect] = []
    private var writes: UInt64 = 0
    private var flow = Instruction.Flow.next
    private var target: VirtualAddress?
    private var isIndirectJump = false

    init(word: UInt32, address: VirtualAddress) {
        self.word = word
        self.address = address
    }

    func instruction(size: Int) -> PlainInstruction {
        PlainInstruction(
            address: address, size: size, text: text, effects: effects, writes: writes & ~(1 << 32), flow: flow,
            target: target, isIndirectJump: isIndirectJump)
    }

    private func bits(_ from: Int, _ count: Int) -> UInt64 { UInt64(word >> UInt32(from)) & (1 << UInt64(count) - 1) }

    /// A register field; x0 is the zero register.
    private func register(_ from: Int) -> Int { Self.register(Int(bits(from, 5))) }
    private static func register(_ number: Int) -> Int { number == 0 ? PlainInstruction.zero : number }
    /// A register field of three bits.
    private func short(_ from: Int) -> Int { 8 + Int(bits(from, 3)) }

    private static func signed(_ value: UInt64, _ bits: Int) -> UInt64 {
        UInt64(bitPattern: Int64(bitPattern: value << UInt64(64 - bits)) >> Int64(64 - bits))
    }

    private mutating func write(_ register: Int) { writes |= 1 << UInt64(register) }

    private mutating func go(_ kind: Instruction.Flow, by distance: UInt64) {
        flow = kind
        target = address + distance
    }

    mutating func whole() -> Bool {
        let (rd, rs1, rs2, funct3) = (register(7), register(15), register(20), bits(12, 3))
        let immediate = Self.signed(bits(20, 12), 12)
        switch bits(0, 7) {
        case 0x03:
            let widths = [1, 2, 4, 8, 1, 2, 4]
            guard funct3 < 7 else { return false }
            name = ["lb", "lh", "lw", "ld", "lbu", "lhu", "lwu"][Int(funct3)]
            effects = [.load(to: rd, base: rs1, displacement: immediate, bytes: widths[Int(funct3)])]
        case 0x23:
            guard funct3 < 4 else { return false }
            let displacement = Self.signed(bits(25, 7) << 5 | bits(7, 5), 12)
            name = ["sb", "sh", "sw", "sd"][Int(funct3)]
            effects = [.store(rs2, base: rs1, displacement: displacement, bytes: 1 << Int(funct3))]
        case 0x13 where funct3 == 0:
            name = "addi"
            effects = [.addConstant(to: rd, rs1, immediate)]
        case 0x13 where funct3 == 2 || funct3 == 3: write(rd)
        case 0x13, 0x1b:
            name = ["addiw", "slli", "op", "op", "xori", "srli", "ori", "andi"][Int(funct3)]
            effects = [.use(rs1)]
            write(rd)
        case 0x17:
            name = "auipc"
            effects = [.set(rd, address.rawValue &+ Self.signed(bits(12, 20) << 12, 32))]
        case 0x37:
            name = "lui"
            effects = [.set(rd, Self.signed(bits(12, 20) << 12, 32))]
        case 0x33 where funct3 == 0 && bits(25, 7) == 0:
            name = "add"
            effects = [.add(to: rd, rs1, rs2)]
        case 0x33 where funct3 == 0 && bits(25, 7) == 0x20:
            name = "sub"
            effects = [.subtract(to: rd, rs1, rs2)]
        case 0x33 where bits(25, 7) == 0 && (funct3 == 2 || funct3 == 3): write(rd)
        case 0x33, 0x3b:
            name = "op"
            effects = [.use(rs1), .use(rs2)]
            write(rd)
        case 0x2f:
            name = "amo"
            effects = [.use(rs1), .use(rs2)]
            write(rd)
        case 0x63:
            let distance = bits(31, 1) << 12 | bits(7, 1) << 11 | bits(25, 6) << 5 | bits(8, 4) << 1
            go(.branch, by: Self.signed(distance, 13))
        case 0x6f:
            let distance = bits(31, 1) << 20 | bits(12, 8) << 12 | bits(20, 1) << 11 | bits(21, 10) << 1
            go(rd == PlainInstruction.zero ? .jump : .call, by: Self.signed(distance, 21))
            write(rd)
        case 0x67:
            flow = rd == PlainInstruction.zero ? .end : .call
            isIndirectJump = flow == .end && rs1 != 1
            effects = [.use(rs1)]
            write(rd)
        case 0x73:
            name = "system"
            write(rd)
            if funct3 & 3 != 0 && funct3 < 4 { effects = [.use(rs1)] }
            if funct3 == 0 { system() }
        case 0x0f, 0x07, 0x27, 0x43, 0x47, 0x4b, 0x4f:
            // Fences, and floating-point or vector loads, stores and arithmetic.
            effects = bits(0, 7) == 0x0f || bits(0, 7) > 0x40 ? [] : [.use(rs1)]
        case 0x53, 0x57: write(rd)
        case 0x0b, 0x2b, 0x5b, 0x7b:
            // Reserved for extensions of vendors.
            effects = [.use(rs1), .use(rs2)]
            write(rd)
        default: return false
        }
        return true
    }

    private mutating func system() {
        switch bits(20, 12) {
        case 0: flow = .call  // ecall
        case 1, 0x102, 0x302: flow = .end  // ebreak, sret, mret
        default: break
        }
    }

    mutating func compressed() -> Bool {
        let (rd, rs2) = (register(7), register(2))
        let immediate = Self.signed(bits(12, 1) << 5 | bits(2, 5), 6)
        let words = bits(10, 3) << 3 | bits(6, 1) << 2 | bits(5, 1) << 6
        let doubles = bits(10, 3) << 3 | bits(5, 2) << 6
        switch (bits(0, 2), bits(13, 3)) {
        case (0, 0):
            let amount = bits(11, 2) << 4 | bits(7, 4) << 6 | bits(6, 1) << 2 | bits(5, 1) << 3
            guard amount != 0 else { return false }
            name = "addi"
            effects = [.addConstant(to: short(2), 2, amount)]
        case (0, 1), (0, 5): effects = [.use(short(7))]
        case (0, 2):
            name = "lw"
            effects = [.load(to: short(2), base: short(7), displacement: words, bytes: 4)]
        case (0, 3):
            name = "ld"
            effects = [.load(to: short(2), base: short(7), displacement: doubles, bytes: 8)]
        case (0, 4):
            effects = [.use(short(7))]
            if bits(10, 3) < 2 { write(short(2)) } else { effects.append(.use(short(2))) }
        case (0, 6):
            name = "sw"
            effects = [.store(short(2), base: short(7), displacement: words, bytes: 4)]
        case (0, 7):
            name = "sd"
            effects = [.store(short(2), base: short(7), displacement: doubles, bytes: 8)]
        case (1, 0):
            name = "addi"
            effects = [.addConstant(to: rd, rd, immediate)]
        case (1, 1):
            name = "addiw"
            effects = [.use(rd)]
            write(rd)
        case (1, 2):
            name = "li"
            effects = [.set(rd, immediate)]
        case (1, 3) where rd == 2:
            let amount =
                bits(12, 1) << 9 | bits(6, 1) << 4 | bits(5, 1) << 6 | bits(3, 2) << 7 | bits(2, 1) << 5
            name = "addi"
            effects = [.addConstant(to: 2, 2, Self.signed(amount, 10))]
        case (1, 3):
            name = "lui"
            effects = [.set(rd, immediate << 12)]
        case (1, 4): shortArithmetic()
        case (1, 5):
            let near = bits(3, 3) << 1 | bits(11, 1) << 4 | bits(2, 1) << 5 | bits(7, 1) << 6
            let far = bits(6, 1) << 7 | bits(9, 2) << 8 | bits(8, 1) << 10 | bits(12, 1) << 11
            go(.jump, by: Self.signed(near | far, 12))
        case (1, 6), (1, 7):
            let distance =
                bits(3, 2) << 1 | bits(10, 2) << 3 | bits(2, 1) << 5 | bits(5, 2) << 6 | bits(12, 1) << 8
            go(.branch, by: Self.signed(distance, 9))
        case (2, 0):
            name = "slli"
            effects = [.use(rd)]
            write(rd)
        case (2, 1), (2, 5): break
        case (2, 2):
            name = "lw"
            let displacement = bits(4, 3) << 2 | bits(12, 1) << 5 | bits(2, 2) << 6
            effects = [.load(to: rd, base: 2, displacement: displacement, bytes: 4)]
        case (2, 3):
            name = "ld"
            let displacement = bits(5, 2) << 3 | bits(12, 1) << 5 | bits(2, 3) << 6
            effects = [.load(to: rd, base: 2, displacement: displacement, bytes: 8)]
        case (2, 4): moveOrJump(rd, rs2)
        case (2, 6):
            name = "sw"
            effects = [.store(rs2, base: 2, displacement: bits(9, 4) << 2 | bits(7, 2) << 6, bytes: 4)]
        case (2, 7):
            name = "sd"
            effects = [.store(rs2, base: 2, displacement: bits(10, 3) << 3 | bits(7, 3) << 6, bytes: 8)]
        default: return false
        }
        return true
    }

    private mutating func shortArithmetic() {
        let rd = short(7)
        if bits(10, 2) == 3, bits(12, 1) == 0, bits(5, 2) == 0 {
            name = "sub"
            effects = [.subtract(to: rd, rd, short(2))]
            return
        }
        name = ["srli", "srai", "andi", "op"][Int(bits(10, 2))]
        effects = [.use(rd)]
        if bits(10, 2) == 3 { effects.append(.use(short(2))) }
        write(rd)
    }

    private mutating func moveOrJump(_ rd: Int, _ rs2: Int) {
        switch (bits(12, 1), rs2 == PlainInstruction.zero) {
        case (0, true):
            effects = [.use(rd)]
            flow = .end
            isIndirectJump = rd != 1
        case (0, false):
            name = "mv"
            effects = [.addConstant(to: rd, rs2, 0)]
        case (_, true):
            // With no register it is ebreak.
            flow = rd == PlainInstruction.zero ? .end : .call
            effects = [.use(rd)]
            write(1)
        case (_, false):
            name = "add"
            effects = [.add(to: rd, rd, rs2)]
        }
    }

    private var text: String {
        let names = RISCV64.registerNames
        return switch effects.first {
        case .load(let to, let base, let displacement, _):
            "\(name) \(names[to]), \(Int64(bitPattern: displacement))(\(names[base]))"
        case .store(let from, let base, let displacement, _):
            "\(name) \(names[from]), \(Int64(bitPattern: displacement))(\(names[base]))"
        case .set(let to, let value): "\(name) \(names[to]), \(VirtualAddress(value))"
        case .addConstant(let to, let from, let amount):
            "\(name) \(names[to]), \(names[from])" + (name == "mv" ? "" : ", \(Int64(bitPattern: amount))")
        case .add(let to, let a, let b), .subtract(let to, let a, let b), .choose(let to, let a, let b):
            "\(name) \(names[to]), \(names[a]), \(names[b])"
        case .use(let register): "\(name) \(names[register])"
        case nil: name
        }
    }
}
