// SPDX-License-Identifier: MIT

// The guest's first process, a busybox shell script. It leads the kernel
// through what a wrong permutation breaks: patching its own text (ftrace,
// kprobes, module loading), fresh page tables (forks), the pages it shares
// with user code (vDSO), and devices that work on physical addresses. Other
// files add what they know of (power, helpers, tests, hibernation). Its
// lines go to the kernel's log, which keeps them whole among the kernel's own.
// Digests and counts are reported, not judged: that is the host's part.

enum ExerciseScript {
    /// The whole script.
    ///
    /// - Parameters:
    ///   - isVmlinux: QEMU starts the kernel by its PVH entry.
    ///   - watchesTransfers: it reports the transfers of devices that touch the image.
    static func text(_ extent: ExerciseExtent, isVmlinux: Bool = false, watchesTransfers: Bool = false) -> String {
        let parts = [
            mounting, watchesTransfers ? Transfers.watching : "", loading,
            extent.hibernates ? Hibernation.resuming : "", kernelAndDevices,
            watchesTransfers ? Transfers.reading : "",
            extent.hibernates ? Hibernation.script : "", tracing,
            isVmlinux ? "vmlinux=yes\n" : "", PowerLooks.script, HelperLooks.script,
            SelfTests.script, extent.testsAtLength ? SelfTests.atLength : "",
            watchesTransfers ? Transfers.telling : "", extent.crashes ? CrashDump.crashing : "", ending,
        ]
        return parts.filter { !$0.isEmpty }.joined(separator: "\n")
    }

    /// How every guest's script begins: `say` reports, `load` loads a module with all it depends on, or says why
    /// not in `$problem`.
    static let opening = mounting + "\n" + loading

    private static let mounting = #"""
        #!/bin/busybox sh
        /bin/busybox --install -s /bin
        export PATH=/bin
        mount -t proc proc /proc
        mount -t sysfs sysfs /sys
        mount -t devtmpfs devtmpfs /dev
        log=/dev/kmsg
        [ -c $log ] || log=/dev/console
        say() { echo "kperm-exercise: $*" >$log; }
        tracing=/sys/kernel/tracing
        load() {
            for module in $(cat /modules/$1.order); do
                [ -d /sys/module/$module ] || problem=$(insmod /modules/$module.ko 2>&1) || return 1
            done
        }

        """#

    private static let loading = #"""
        loaded=0
        failed=
        for module in $(cat /modules/order 2>/dev/null); do
            insmod /modules/$module 2>/dev/null && loaded=$((loaded + 1)) || failed="$failed $module"
        done

        """#

    private static let kernelAndDevices = #"""
        say userspace pass "$(uname -r)"
        say cpus pass "$(nproc)"

        mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
        status=$(cat /sys/kernel/debug/kperm 2>/dev/null)
        if dmesg | grep -Eq 'kperm: (not )?permuted'; then
            [ -n "$status" ] && say announced pass "$status" || say announced fail "the log says it, debugfs does not"
        else
            say announced skip "the log speaks of no permutation"
        fi

        bad=0
        for n in $(seq 200); do
            (exit 7) && bad=$((bad + 1))
            [ $((n % 8)) = 0 ] && { /bin/busybox true || bad=$((bad + 1)); }
        done
        [ $bad = 0 ] && say forks pass 200 || say forks fail "$bad of 200 went wrong"

        last=1
        verdict=pass
        for n in $(seq 20); do
            now=$(date +%s)
            [ "$now" -ge $last ] || verdict=fail
            last=$now
        done
        [ $last -gt 1600000000 ] || verdict=fail
        say vdso $verdict "20 readings, the last $last"

        if [ -f /modules/order ]; then
            [ -z "$failed" ] && say modules pass $loaded || say modules fail "not loaded:$failed"
        else
            say modules skip "no modules of this release"
        fi

        device=/dev/vda
        if [ -b $device ]; then
            say virtio-blk pass "$(sha256sum <$device | cut -d ' ' -f 1)"
        elif [ -d /sys/bus/virtio/drivers/virtio_blk ]; then
            say virtio-blk fail "the driver is there, the disk is not"
        else
            say virtio-blk skip "no driver"
        fi

        card=
        for path in /sys/class/net/*; do
            [ -e $path/device ] && card=${path##*/}
        done
        if [ -n "$card" ]; then
            ifconfig $card 10.0.2.15 netmask 255.255.255.0 up
            tftp -g -b 1428 -r random -l /random 10.0.2.2 >/dev/null 2>&1
            say virtio-net pass "$(sha256sum </random | cut -d ' ' -f 1)"
        elif [ -d /sys/bus/virtio/drivers/virtio_net ]; then
            say virtio-net fail "the driver is there, the card is not"
        else
            say virtio-net skip "no driver"
        fi

        """#

    private static let tracing = #"""
        mount -t tracefs tracefs $tracing 2>/dev/null
        if grep -qw function $tracing/available_tracers 2>/dev/null; then
            functions=$(wc -l <$tracing/available_filter_functions)
            echo function >$tracing/current_tracer
            ls / >/dev/null
            # One that is read while it is written loses its beginning to the reader's own calls.
            echo 0 >$tracing/tracing_on
            seen=$(head -n 500 $tracing/trace | grep -vc '^#')
            echo nop >$tracing/current_tracer
            echo 1 >$tracing/tracing_on
            [ $seen -ge 400 ] && say ftrace pass "$functions functions" ||
                say ftrace fail "$functions functions traced, $seen calls seen"
        else
            say ftrace skip "no function tracer"
        fi

        if [ -e $tracing/kprobe_events ]; then
            echo 'p:kperm vfs_read' >>$tracing/kprobe_events
            echo 1 >$tracing/events/kprobes/kperm/enable
            for n in 1 2 3; do read -r line </proc/version; done
            hits=$(awk '$1 == "kperm" { print $2 }' $tracing/kprobe_profile)
            echo 0 >$tracing/events/kprobes/kperm/enable
            echo '-:kperm' >>$tracing/kprobe_events
            [ "${hits:-0}" -ge 3 ] && say kprobe pass "$hits hits" || say kprobe fail "${hits:-no} hits"
        else
            say kprobe skip "no kprobe events"
        fi

        """#

    /// How every guest's script ends.
    static let ending = #"""
        say done
        while :; do sleep 1000; done

        """#
}
