// SPDX-License-Identifier: MIT

// Hibernation: the guest writes its memory to a disk and restarts; the kernel
// that comes up, whose stub has drawn another order, reads it back and jumps
// into the old one, whose own page tables and order then hold again. The
// script goes on where it was, and the look at userspace that ends the
// exercise demands the first order.

import PagePermutation

enum Hibernation {
    /// Before anything else, in the kernel that comes up: is there something to resume?
    static let resuming = #"""
        scratch=/dev/vdb
        if [ "$(dd if=$scratch bs=1 skip=4086 count=9 2>/dev/null)" = S1SUSPEND ]; then
            say resuming
            cat /sys/block/vdb/dev >/sys/power/resume
            say hibernation fail "the kernel would not resume"
            say done
            while :; do sleep 1000; done
        fi

        """#

    static let script = #"""
        if ! grep -qw disk /sys/power/state 2>/dev/null; then
            say hibernation skip "not in this kernel"
        elif [ ! -b $scratch ]; then
            say hibernation skip "no driver for the disk"
        elif ! { mkswap $scratch >/dev/null 2>&1 && swapon $scratch; }; then
            say hibernation fail "no swap space"
        else
            dd if=/dev/urandom of=/kept bs=1M count=16 2>/dev/null
            before=$(cat /kept $device | sha256sum)
            echo reboot >/sys/power/disk
            sync
            say hibernating
            echo disk >/sys/power/state && status=0 || status=1
            echo 3 >/proc/sys/vm/drop_caches
            swapoff $scratch
            if [ $status != 0 ]; then
                say hibernation fail "the kernel would not hibernate"
            elif [ "$(cat /kept $device | sha256sum)" != "$before" ]; then
                say hibernation fail "memory or disk came back changed"
            else
                say hibernation pass "resumed, memory and disk as before"
            fi
            rm /kept
        fi

        """#

    /// How often the guest has begun to hibernate.
    static func count(in log: String) -> Int { Exercise.statements(in: log).count { $0 == ["hibernating"] } }

    /// What became of the order.
    static func check(_ first: TranslationTable, resumedBy second: TranslationTable?) -> GuestResult.Check {
        guard let second, first.pageCount == second.pageCount else {
            let detail = "no stub of a kernel that resumes was seen"
            return GuestResult.Check(name: "resuming-order", outcome: .fail, detail: detail)
        }
        let differing = zip(first.forward, second.forward).count { $0 != $1 }
        return GuestResult.Check(
            name: "resuming-order", outcome: .pass,
            detail: "\(differing) of \(first.pageCount) pages lay elsewhere in the kernel that resumed it")
    }
}
