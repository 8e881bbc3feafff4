// SPDX-License-Identifier: MIT

// Code that an attacker with virtual addresses can use: short sequences that end in
// a return or an indirect jump, from every byte of the text, as tools for return-
// oriented programming count them. A permutation moves none of them: their virtual
// addresses stay.

public import Addressing
import Disassembly

/// How many gadgets there are.
public struct GadgetFigures: Codable, Equatable, Sendable {
    /// Instructions of a gadget, its end included.
    public static let longest = 5

    /// Returns, jumps to the return thunk, and indirect jumps and calls through a register.
    public let ends: Int
    /// Places from which the instructions lead to such an end.
    public let gadgets: Int
    /// Gadgets of different bytes.
    public let different: Int

    public init(ends: Int, gadgets: Int, different: Int) {
        self.ends = ends
        self.gadgets = gadgets
        self.different = different
    }
}

/// Counts the gadgets of stretches of x86-64 code.
public struct GadgetCount: Sendable {
    /// Bytes of a gadget before its end.
    private static let reach = 20

    private var ends = 0
    private var gadgets = 0
    private var bytes: Set<[UInt8]> = []

    public init() {}

    /// Of all code so far.
    public var figures: GadgetFigures { GadgetFigures(ends: ends, gadgets: gadgets, different: bytes.count) }

    /// Counts those of a stretch of code.
    ///
    /// - Parameter returnThunk: where compilers let functions jump instead of returning, if the kernel has that.
    public mutating func add(_ code: RawSpan, at address: VirtualAddress, returnThunk: VirtualAddress?) {
        let decoder = Disassembly.Decoder(.x86Bits64)
        func byte(_ offset: Int) -> UInt8 { unsafe code.unsafeLoad(fromByteOffset: offset, as: UInt8.self) }
        for end in 0..<code.byteCount {
            guard let size = Self.endSize(code, end, address, returnThunk) else { continue }
            ends += 1
            /// Instructions from each place before the end to it; 0 where they do not lead there.
            var steps = [Int](repeating: 0, count: Self.reach + 1)
            for back in 1...Self.reach where end - back >= 0 {
                let start = end - back
                guard
                    let one = decoder.decode(
                        code.extracting(start..<min(start + 15, code.byteCount)), at: address + UInt64(start)),
                    one.flow == .next, one.size <= back
                else { continue }
                let rest = back - one.size
                let count = rest == 0 ? 1 : steps[rest] == 0 ? 0 : steps[rest] + 1
                guard count > 0, count < GadgetFigures.longest else { continue }
                steps[back] = count
                gadgets += 1
                bytes.insert((start..<end + size).map(byte))
            }
        }
    }

    /// The bytes of an end of a gadget that begins at an offset, or nil.
    private static func endSize(
        _ code: RawSpan, _ offset: Int, _ address: VirtualAddress, _ returnThunk: VirtualAddress?
    ) -> Int? {
        func byte(_ offset: Int) -> UInt8 {
            offset < code.byteCount ? unsafe code.unsafeLoad(fromByteOffset: offset, as: UInt8.self) : 0
        }
        switch byte(offset) {
        case 0xc3: return 1
        case 0xc2: return offset + 3 <= code.byteCount ? 3 : nil
        case 0xff:
            // jmp and call through a register: /4 and /2 with mod 3.
            return [0xe0, 0xd0].contains(byte(offset + 1) & 0xf8) ? 2 : nil
        case 0xe9:
            guard let returnThunk, offset + 5 <= code.byteCount else { return nil }
            let displacement = unsafe code.unsafeLoadUnaligned(fromByteOffset: offset + 1, as: Int32.self)
            let next = address.rawValue &+ UInt64(offset + 5)
            return next &+ UInt64(bitPattern: Int64(displacement)) == returnThunk.rawValue ? 5 : nil
        default: return nil
        }
    }
}
