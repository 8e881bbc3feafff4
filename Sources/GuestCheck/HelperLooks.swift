// SPDX-License-Identifier: MIT

// What takes a program of our own (images/guest/probe.c): a virtual machine
// inside the guest, BPF programs on a kprobe, a uprobe, a tracepoint and a
// function's entry, and sampling with perf.

enum HelperLooks {
    static let script = #"""
        # probe NAME
        probe() {
            answer=$(/bin/probe $1 2>&1)
            case $? in
                0) say $1 pass "$answer" ;;
                2) say $1 skip "not in this kernel: $answer" ;;
                *) say $1 fail "$answer" ;;
            esac
        }
        grep -qw vmx /proc/cpuinfo && vendor=kvm_intel
        grep -qw svm /proc/cpuinfo && vendor=kvm_amd
        if [ -z "$vendor" ]; then
            say kvm skip "the processor model has neither svm nor vmx"
        elif [ ! -f /modules/$vendor.order ]; then
            say kvm skip "no module $vendor"
        elif load $vendor; then
            probe kvm
        elif echo "$problem" | grep -q 'not supported'; then
            # A real-time kernel demands of the processor what emulated ones lack, and says so.
            say kvm skip "the kernel refuses: $(dmesg | grep kvm: | tail -n 1 | sed 's/^[^]]*] //')"
        else
            say kvm fail "$vendor was not loaded: $problem"
        fi
        probe bpf

        """#
}
