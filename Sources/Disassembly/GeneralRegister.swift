// SPDX-License-Identifier: MIT

// The sixteen general registers, by number, for those who follow values: "eax",
// "ax" and "al" are parts of the one that "rax" names.

/// A general register of x86-64.
public struct GeneralRegister: Hashable, Sendable {
    /// As instructions encode it: 0 is rax, 4 is rsp.
    public let number: Int

    private init(_ number: Int) { self.number = number }

    private static let wholes = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    ]

    /// Registers and the bits of each name, in as many places as it takes for each name to have one of its own.
    private static let byName: [(key: UInt32, register: GeneralRegister, width: Int)] = {
        var names: [(key: UInt32, register: GeneralRegister, width: Int)] = []
        func add(_ name: String, _ register: GeneralRegister, _ width: Int) {
            names.append((key(name), register, width))
        }
        for (number, whole) in wholes.enumerated() {
            let register = GeneralRegister(number)
            add(whole, register, 64)
            if number < 8 {
                let tail = whole.dropFirst()
                add("e" + tail, register, 32)
                add(String(tail), register, 16)
                add(number < 4 ? "\(tail.first ?? " ")l" : tail + "l", register, 8)
                if number < 4 { add("\(tail.first ?? " ")h", register, 8) }
            } else {
                add(whole + "d", register, 32)
                add(whole + "w", register, 16)
                add(whole + "b", register, 8)
            }
        }
        let free = (key: UInt32(0), register: GeneralRegister(0), width: 0)
        var places = Array(repeating: free, count: names.count)
        search: while true {
            places = Array(repeating: free, count: places.count + 1)
            for name in names {
                let place = Int(name.key) % places.count
                if places[place].key != 0 { continue search }
                places[place] = name
            }
            return places
        }
    }()

    /// The bytes of a name as a number; 0 for one that is too long.
    private static func key(_ name: String) -> UInt32 {
        let bytes = name.utf8
        return bytes.count > 4 ? 0 : bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func place(of name: String) -> (key: UInt32, register: GeneralRegister, width: Int)? {
        let key = key(name)
        let place = byName[Int(key % UInt32(byName.count))]
        return key == 0 || place.key != key ? nil : place
    }

    /// The register that a name names, or a part of it; nil for other registers.
    public init?(name: String) {
        guard let known = Self.place(of: name) else { return nil }
        self = known.register
    }

    /// How many bits a name names; 0 for other registers.
    public static func width(of name: String) -> Int { place(of: name)?.width ?? 0 }

    public static let rax = GeneralRegister(0)
    public static let rsp = GeneralRegister(4)
    public static let rbp = GeneralRegister(5)
    public static let rdi = GeneralRegister(7)
    public static let rcx = GeneralRegister(1)
    public static let rdx = GeneralRegister(2)
    public static let rsi = GeneralRegister(6)

    /// The registers of the first six arguments of a function (System V ABI for AMD64, 3.2.3).
    public static let arguments = [7, 6, 2, 1, 8, 9].map { GeneralRegister($0) }

    public static let all = (0..<16).map { GeneralRegister($0) }
}

extension GeneralRegister: CustomStringConvertible {
    public var description: String { Self.wholes[number] }
}

/// A set of general registers.
public struct GeneralRegisters: OptionSet, Sendable {
    public let rawValue: UInt16

    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public init(_ register: GeneralRegister) { rawValue = 1 << register.number }

    /// What a function may change without giving it back (System V ABI for AMD64, 3.2.1).
    public static let callerSaved = GeneralRegisters(
        [0, 1, 2, 6, 7, 8, 9, 10, 11].map { GeneralRegister.all[$0] }.map { GeneralRegisters($0) })

    public func contains(_ register: GeneralRegister) -> Bool { rawValue & 1 << register.number != 0 }
}
