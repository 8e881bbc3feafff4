// SPDX-License-Identifier: MIT

// The boot area of a kernel that permutes itself while it starts, as it lies
// in the guest's memory: what the tool filled in, what the stub reports, and
// the live table. The decompressor may leave a second copy behind; only the
// one the stub ran in has a state.
//
//   0x00  magic      "KPERMBT1"
//   0x08  version    u32 = 1
//   0x0c  provided   u32: bytes the tool filled in
//   0x10  checksum   u64: sum of the u64 words in [0x100, provided)
//   0x18  size       u64: bytes in all
//   0x20  state      u32: 0 in the file, then what the stub did
//   0x24  go         u32: with `kperm.wait` the stub waits until it is not 0
//   0x28  sources    u32: what the seed was made of
//   0x2c  moved      u32: pages whose frame differs
//  0x104  pages      u32
//  0x154  table      u32: offset of the translation table
//  0x15c  status     u32: offset of a pointer, a size (both u64) and a text

import Addressing
import PagePermutation

struct BootArea: Equatable {
    /// What the stub did.
    enum State: UInt32 {
        case idle, permuted, switchedOff, refused, halted

        var name: String {
            switch self {
            case .idle: "never ran"
            case .permuted: "permuted"
            case .switchedOff: "switched off"
            case .refused: "refused"
            case .halted: "halted"
            }
        }
    }

    /// What the seed was made of.
    struct Sources: OptionSet {
        var rawValue: UInt32

        static let setupData = Sources(rawValue: 4)
        static let efi = Sources(rawValue: 8)
        /// The seed was given, so nothing was gathered.
        static let given = Sources(rawValue: 64 | 128)

        private static let all: [(bit: UInt32, name: String)] = [
            (1, "RDSEED"), (2, "RDRAND"), (4, "the loader's seed (setup_data)"), (8, "EFI's random seed"),
            (16, "KASLR's choice"), (32, "time-stamp counter"), (64, "the seed on the command line"),
            (128, "the tool's seed"),
        ]

        var names: [String] {
            let known = Self.all.filter { rawValue & $0.bit != 0 }.map(\.name)
            let rest = Self.all.reduce(rawValue) { $0 & ~$1.bit }
            return rest == 0 ? known : known + ["unknown (\(rest.hex))"]
        }
    }

    /// Why bytes that begin like one are none.
    enum Flaw: Error, Equatable {
        case implausible
        case checksum(state: UInt32)
    }

    static let magic: UInt64 = 0x3154_424d_5245_504b
    private static let headerBytes = 0x200
    fileprivate static let goOffset = 0x24
    private static let statusBytes = 512

    /// Where it begins in the RAM file.
    let offset: Int
    let state: State
    /// With `kperm.wait`: whether somebody has let it go on.
    let mayGo: Bool
    let sources: Sources
    /// Pages whose frame differs, as the stub counted.
    let movedCount: Int
    let pageCount: Int
    /// What the stub says of it all; the kernel's log and debugfs say the same.
    let status: String
    private let tableOffset: Int
    private let size: Int

    init(at offset: Int, in memory: borrowing GuestMemory) throws(Flaw) {
        guard let header = memory.bytes(atOffset: offset, count: Self.headerBytes) else { throw .implausible }
        let field = { (at: Int) in Int(header.word(at, UInt32.self)) }
        let provided = field(0x0c)
        let size = header.word(0x18, UInt64.self)
        guard header.word(0, UInt64.self) == Self.magic, field(0x08) == 1, size <= UInt64(memory.size - offset),
            size % UInt64(pageSize) == 0, provided % 8 == 0, provided >= Self.headerBytes, provided <= Int(size),
            let state = State(rawValue: header.word(0x20, UInt32.self)),
            (1...1 << 18).contains(field(0x104)),
            field(0x154) + TableLookup.byteCount(pages: field(0x104)) <= Int(size),
            field(0x15c) + Self.statusBytes <= Int(size),
            let filled = memory.bytes(atOffset: offset, count: provided),
            let status = memory.bytes(atOffset: offset + field(0x15c), count: Self.statusBytes)
        else { throw .implausible }
        var sum: UInt64 = 0
        for place in stride(from: 0x100, to: provided, by: 8) { sum &+= filled.word(place, UInt64.self) }
        guard sum == header.word(0x10, UInt64.self) else { throw .checksum(state: state.rawValue) }
        self.offset = offset
        self.state = state
        mayGo = field(Self.goOffset) != 0
        self.size = Int(size)
        sources = Sources(rawValue: header.word(0x28, UInt32.self))
        movedCount = field(0x2c)
        pageCount = field(0x104)
        tableOffset = field(0x154)
        let length = Int(clamping: status.word(8, UInt64.self))
        let text = status.dropFirst(16).prefix(length).prefix { $0 != 0 }
        self.status = String(decoding: text.reversed().drop { $0 == UInt8(ascii: "\n") }.reversed(), as: UTF8.self)
    }

    /// The table that the stub left.
    func table(in memory: borrowing GuestMemory) throws(TableError) -> TranslationTable {
        guard let bytes = memory.bytes(atOffset: offset + tableOffset, count: TableLookup.byteCount(pages: pageCount))
        else { throw .notATable }
        return try unsafe TranslationTable(reading: bytes.span.bytes)
    }
}

/// All that looks like a boot area in a guest's memory.
struct BootAreas {
    /// Those the stub ran in: one, if all is well.
    private(set) var live: [BootArea] = []
    /// Copies that no stub has run in.
    private(set) var idle = 0
    /// How many have a wrong checksum, and where those of them lie that have a state.
    private(set) var damaged = 0
    private(set) var damagedLive: [Int] = []

    init(in memory: borrowing GuestMemory) {
        for offset in memory.pages(beginningWith: BootArea.magic) {
            do throws(BootArea.Flaw) {
                let area = try BootArea(at: offset, in: memory)
                if area.state == .idle { idle += 1 } else { live.append(area) }
            } catch .checksum(let state) {
                damaged += 1
                if state != 0 { damagedLive.append(offset) }
            } catch {
                continue
            }
        }
    }

    /// What the stub did, once it is done; nil while it has yet to run.
    func drawing(in memory: borrowing GuestMemory) -> Drawing? {
        guard let area = live.first else {
            return damagedLive.isEmpty ? nil : .unclear("the boot area's checksum is wrong")
        }
        guard live.count == 1 else {
            let places = live.map { $0.offset.hex }.joined(separator: ", ")
            return .unclear("\(live.count) live boot areas in guest memory: \(places)")
        }
        return drawing(of: area, in: memory)
    }

    /// What the stub did whose area this is.
    func drawing(of area: BootArea, in memory: borrowing GuestMemory) -> Drawing {
        guard area.state == .permuted else { return .unpermuted(area) }
        do throws(TableError) {
            let table = try area.table(in: memory)
            if table.pageCount != area.pageCount {
                return .unclear("the live table is of \(table.pageCount) pages, the boot area of \(area.pageCount)")
            }
            if table.movedCount != area.movedCount {
                return .unclear("\(area.movedCount) pages moved, says the stub; by the table \(table.movedCount)")
            }
            return .permuted(area, table)
        } catch {
            return .unclear("\(error)")
        }
    }

    /// Lets a stub that waits go on, whatever it left.
    func letGo(in memory: borrowing GuestMemory) {
        for offset in live.map(\.offset) + damagedLive {
            memory.write([1, 0, 0, 0], atOffset: offset + BootArea.goOffset)
        }
    }

    /// What there is instead of a live one.
    var absence: String {
        "no live boot area in guest memory: \(idle) that never ran, \(damaged) with a wrong checksum"
    }
}

/// What a stub made of its kernel.
enum Drawing {
    case permuted(BootArea, TranslationTable)
    case unpermuted(BootArea)
    /// It ran, but what it left cannot be read, or not yet.
    case unclear(String)
}

extension [UInt8] {
    /// A little-endian number.
    fileprivate func word<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _: T.Type) -> T {
        T(littleEndian: unsafe span.bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
    }
}
