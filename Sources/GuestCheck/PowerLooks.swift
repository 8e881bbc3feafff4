// SPDX-License-Identifier: MIT

// Processors that go and come back, and sleep. A processor that starts runs
// early code at identity addresses again, and so does the first one after a
// sleep in memory. QEMU's clock wakes no sleeping guest, so the guest says
// `asleep`, and the host wakes it (Attendance). A sleep that a wake-up
// forestalls is tried again.

enum PowerLooks {
    static let script = #"""
        cpu=/sys/devices/system/cpu/cpu1
        if [ ! -d $cpu ]; then
            say cpu-hotplug skip "one CPU"
        elif [ ! -e $cpu/online ]; then
            say cpu-hotplug skip "not in this kernel"
        else
            bad=
            all=$(nproc)
            for n in 1 2 3; do
                echo 0 2>/dev/null >$cpu/online
                [ $(nproc) = $((all - 1)) ] || bad="$bad off-$n"
                echo 1 2>/dev/null >$cpu/online
                [ $(nproc) = $all ] || bad="$bad on-$n"
                [ "$(taskset -c 1 cut -d ' ' -f 39 /proc/self/stat)" = 1 ] || bad="$bad work-$n"
            done
            [ -z "$bad" ] && say cpu-hotplug pass "3 times off, on and at work" || say cpu-hotplug fail "wrong:$bad"
        fi

        # nap NAME STATE: sleeps until the host wakes it.
        nap() {
            for n in 1 2 3 4 5; do
                say asleep $1
                sleep 1
                echo $2 2>/dev/null >/sys/power/state && status=0 || status=1
                say awake
                [ $status = 0 ] && { say $1 pass "woken, in attempt $n"; return; }
            done
            say $1 fail "would not sleep in 5 attempts"
        }
        for wakeup in /sys/bus/serio/devices/serio*/power/wakeup; do
            [ -e $wakeup ] && echo enabled >$wakeup
        done
        if ! grep -qw freeze /sys/power/state 2>/dev/null; then
            say suspend-to-idle skip "not in this kernel"
        elif ! grep -q enabled /sys/bus/serio/devices/serio*/power/wakeup 2>/dev/null; then
            say suspend-to-idle skip "no keyboard that could wake it"
        else
            nap suspend-to-idle freeze
        fi
        if [ -n "$vmlinux" ]; then
            # The stock kernel dies of it, too.
            say suspend-to-ram skip "a kernel that QEMU starts by its PVH entry resets when it is woken"
        elif grep -qw mem /sys/power/state 2>/dev/null && grep -qw deep /sys/power/mem_sleep 2>/dev/null; then
            echo deep >/sys/power/mem_sleep
            nap suspend-to-ram mem
        else
            say suspend-to-ram skip "neither in this kernel nor in this machine's firmware"
        fi

        """#

    /// How the host wakes a guest whose last word is that it sleeps: a line for QEMU's monitor.
    static func wakeUp(_ log: String) -> String? {
        let last = Exercise.statements(in: log).last { $0.first == "asleep" || $0.first == "awake" }
        guard let last, last.count == 2, last[0] == "asleep" else { return nil }
        return last[1] == "suspend-to-ram" ? "system_wakeup" : "sendkey ret"
    }
}
