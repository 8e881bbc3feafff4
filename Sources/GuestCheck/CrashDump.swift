// SPDX-License-Identifier: MIT

// A crash: the guest loads a crash kernel, the image itself, and panics; the
// crash kernel copies /proc/vmcore to a disk. The dump is judged as a guest's
// memory is: the table in it must be the live one, and its page tables must
// lead to the bytes of the image. Its own headers say where the page tables
// are (VMCOREINFO), and describe text and data as linear, which they are not.

import Addressing
import PagePermutation

enum CrashDump {
    /// What the kernel that will crash sets aside.
    static let reservation = "crashkernel=192M"
    /// What its crash kernel is told besides.
    static let words = ["nr_cpus=1", "reset_devices"]
    /// The modules of the crash kernel.
    static let modules = ["virtio_pci", "virtio_blk"]

    /// The end of the exercise of the kernel that crashes.
    static let crashing = #"""
        if [ ! -e /sys/kernel/kexec_crash_loaded ]; then
            say crash-kernel skip "not in this kernel"
            say crash-dump skip "no crash kernel"
        elif [ ! -f /crash/kernel ]; then
            say crash-kernel skip "kexec_file_load takes a vmlinuz only"
            say crash-dump skip "no crash kernel"
        else
            /bin/kexec /crash/kernel /crash/initramfs "$(cat /crash/command-line)" crash
            status=$?
            if [ "$(cat /sys/kernel/kexec_crash_loaded)" = 1 ]; then
                say crash-kernel pass loaded
                echo 1 >/proc/sys/kernel/sysrq
                say crashing
                echo c >/proc/sysrq-trigger
            fi
            say crash-kernel fail "not loaded: error $status"
            say crash-dump fail "no crash kernel"
        fi

        """#

    /// The crash kernel's exercise.
    static let script =
        ExerciseScript.opening + "\n" + #"""
            mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
            status=$(cut -d : -f 1 /sys/kernel/debug/kperm 2>/dev/null)
            if [ ! -e /proc/vmcore ]; then
                say crash-dump fail "the crash kernel has no /proc/vmcore"
            elif cat /proc/vmcore >/dev/vdb && sync; then
                say crash-dump pass "$(stat -c %s /proc/vmcore) bytes, written by a kernel that is ${status:-not permuted}"
            else
                say crash-dump fail "not written"
            fi

            """# + "\n" + ExerciseScript.ending

    /// Whether there is a dump to look at.
    static func isWritten(_ log: String) -> Bool {
        Exercise(parsing: log).checks.contains { $0.name == "crash-dump" && $0.outcome == .pass }
    }

    /// Whether the table that was live is in a dump. Beside it there may be that of a kernel which resumed this one from
    /// hibernation: nothing wipes what that one left.
    static func check(_ drawings: [Drawing], against table: TranslationTable) -> GuestResult.Check {
        func check(_ passed: Bool, _ detail: String) -> GuestResult.Check {
            GuestResult.Check(name: "dump-table", outcome: passed ? .pass : .fail, detail: detail)
        }
        for case .permuted(_, table) in drawings {
            let others = drawings.count == 1 ? "" : ", beside \(drawings.count - 1) of kernels before it"
            return check(true, "the live table: \(table.movedCount) pages moved\(others)")
        }
        switch drawings.first {
        case .permuted: return check(false, "another table than the live one")
        case .unclear(let problem): return check(false, problem)
        case .unpermuted, nil: return check(false, "no live table in the dump")
        }
    }
}

/// What the headers of a dump say: an ELF core file as /proc/vmcore has it.
struct DumpHeaders: Equatable {
    var map = MemoryMap(pieces: [])
    var tables: PageTables

    private static let kernelMap: UInt64 = 0xffff_ffff_8000_0000

    /// nil for what is no dump of a 64-bit Linux kernel.
    init?(_ file: borrowing GuestMemory) {
        guard let header = file.bytes(atOffset: 0, count: 64), header.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1]),
            let start = Int(exactly: header.number(32, bytes: 8))
        else { return nil }
        var notes = ""
        for segment in 0..<Int(header.number(56, bytes: 2)) {
            guard let entry = file.bytes(atOffset: start + 56 * segment, count: 56),
                let offset = Int(exactly: entry.number(8, bytes: 8)),
                let count = Int(exactly: entry.number(32, bytes: 8)), count <= file.size
            else { return nil }
            let physical = entry.number(24, bytes: 8)
            switch entry.number(0, bytes: 4) {
            case 1:
                let guest = physical..<physical + UInt64(count)
                map.pieces.append(MemoryMap.Piece(guest: guest, offset: UInt64(offset)))
            case 4: notes += String(decoding: file.bytes(atOffset: offset, count: count) ?? [], as: UTF8.self)
            default: break
            }
        }
        func value(_ key: String) -> Substring? {
            guard let start = notes.firstRange(of: "\n\(key)=")?.upperBound else { return nil }
            return notes[start...].prefix { !$0.isNewline && $0 != "\0" }
        }
        guard let top = value("SYMBOL(swapper_pg_dir)").flatMap({ UInt64($0, radix: 16) }),
            let base = value("NUMBER(phys_base)").flatMap({ Int64($0) })
        else { return nil }
        tables = PageTables(
            root: PhysicalAddress(top &- Self.kernelMap &+ UInt64(bitPattern: base)),
            levels: value("NUMBER(pgtable_l5_enabled)") == "1" ? 5 : 4)
    }
}

extension GuestExpectation {
    /// The look at a dump of the kernel.
    func lookAtDump(_ path: String, _ look: UserspaceLook) -> (
        look: GuestResult.Look?, checks: [GuestResult.Check]
    ) {
        let problem: String
        do throws(GuestError) {
            let dump = try GuestMemory(reading: path)
            if let headers = DumpHeaders(dump) { return lookAtDump(dump, headers, look) }
            problem = "not a dump of a Linux kernel"
        } catch {
            problem = "\(error)"
        }
        return (nil, [GuestResult.Check(name: "dump", outcome: .fail, detail: problem)])
    }

    private func lookAtDump(
        _ dump: consuming GuestMemory, _ headers: DumpHeaders, _ look: UserspaceLook
    ) -> (look: GuestResult.Look?, checks: [GuestResult.Check]) {
        dump.map = headers.map
        var checks: [GuestResult.Check] = []
        if case .known(let known) = look, case .live = placement {
            let areas = BootAreas(in: dump)
            var drawings: [Drawing] = []
            for area in areas.live { drawings.append(areas.drawing(of: area, in: dump)) }
            checks.append(CrashDump.check(drawings, against: known.table))
        }
        let seen = lookAtUserspace(look, [headers.tables], dump, name: "dump")
        return (seen.look, checks + seen.checks)
    }
}

extension [UInt8] {
    /// A little-endian number of so many bytes.
    fileprivate func number(_ offset: Int, bytes: Int) -> UInt64 {
        self[offset..<offset + bytes].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
