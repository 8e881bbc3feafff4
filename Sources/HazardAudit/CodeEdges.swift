// SPDX-License-Identifier: MIT

// Ways through the code that no instruction shows: jumps that the kernel puts in
// and takes out while it runs, places where it goes on after a fault, and
// warnings, which trap and go on. The kernel keeps tables of them.

import Addressing
import KernelImage

/// Where an instruction may lead besides where it says.
struct CodeEdges {
    private var targets: [VirtualAddress: [VirtualAddress]] = [:]
    /// Where it goes on when a fault is handled.
    private var fixups: [VirtualAddress: [VirtualAddress]] = [:]
    /// Jumps that may not be there, and traps that go on.
    private var passed: Set<VirtualAddress> = []

    /// A table of the kernel's, or of a module's.
    private struct Table {
        let section: String
        /// In bytes: of an entry, and of its fields for the place and for where it leads. A field holds the distance from
        /// itself.
        let entry: Int
        var target = 0
        /// Bits of a 16-bit field that must be set, and where it is: entries without them do not go on.
        var flags: (offset: Int, bits: UInt16)?
    }

    /// Layouts: include/linux/jump_label.h, arch/x86/include/asm/extable.h and bug.h of Linux.
    private static let jumps = Table(section: "__jump_table", entry: 16, target: 4)
    private static let faults = Table(section: "__ex_table", entry: 12, target: 4)
    /// Goes on behind the trap if it is a warning.
    private static let bugs = Table(section: "__bug_table", entry: 12, flags: (10, 1))

    init(_ subject: AuditSubject) {
        for (place, target) in Self.entries(Self.jumps, subject) {
            targets[place, default: []].append(target)
            passed.insert(place)
        }
        for (place, target) in Self.entries(Self.faults, subject) { fixups[place, default: []].append(target) }
        for (place, _) in Self.entries(Self.bugs, subject) { passed.insert(place) }
    }

    /// Adds what the tables say of an instruction.
    func add(to ways: inout CodeWays, at place: VirtualAddress, next: VirtualAddress) {
        ways.instead += targets[place] ?? []
        // A fault may come when some of the work is done.
        if let fixups = fixups[place] {
            ways.next += fixups
            ways.instead += fixups
        }
        if passed.contains(place), !ways.next.contains(next) { ways.instead.append(next) }
    }

    private static func entries(
        _ table: Table, _ subject: AuditSubject
    ) -> [(place: VirtualAddress, target: VirtualAddress)] {
        guard let (bytes, address) = contents(table.section, subject) else { return [] }
        var entries: [(place: VirtualAddress, target: VirtualAddress)] = []
        for at in stride(from: 0, through: bytes.count - table.entry, by: table.entry) {
            func place(_ offset: Int) -> VirtualAddress {
                let distance = unsafe bytes.span.bytes.load(at + offset, as: Int32.self)
                return address + UInt64(at + offset) + UInt64(bitPattern: Int64(distance))
            }
            if let (offset, bits) = table.flags {
                guard unsafe bytes.span.bytes.load(at + offset, as: UInt16.self) & bits == bits else { continue }
            }
            entries.append((place(0), place(table.target)))
        }
        return entries
    }

    /// A table by its section, or by the symbols around it.
    private static func contents(_ name: String, _ subject: AuditSubject) -> (bytes: ArraySlice<UInt8>, VirtualAddress)?
    {
        if let section = subject.sections.first(where: { $0.name == name }) {
            return (section.bytes[...], section.address)
        }
        guard let start = subject.symbols(named: "__start_" + name).first?.value,
            let end = subject.symbols(named: "__stop_" + name).first?.value, start < end,
            let section = subject.section(at: start), end <= section.address + UInt64(section.bytes.count)
        else { return nil }
        let bytes = section.bytes[Int(start - section.address)..<Int(end - section.address)]
        return (bytes, start)
    }
}
