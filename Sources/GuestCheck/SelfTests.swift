// SPDX-License-Identifier: MIT

// The kernel's own tests, as far as its distribution ships them as modules. A
// test is loaded and says by that whether it passed; test_bpf counts in the
// log. Of its first part we take 800 tests: those behind them try all operands
// and take minutes under emulation.

enum SelfTests {
    /// Modules that are loaded when their look comes, not at the start.
    static let modules = ["kvm_amd", "kvm_intel", "test_static_keys", "test_user_copy"]
    static let modulesAtLength = ["test_bpf"]

    static let script = #"""
        passed=
        bad=
        for test in test_static_keys test_user_copy; do
            [ -f /modules/$test.order ] || continue
            load $test && passed="$passed $test" || bad="$bad $test"
        done
        if [ -n "$bad" ]; then
            say self-tests fail "failed:$bad: $problem"
        elif [ -n "$passed" ]; then
            say self-tests pass $passed
        else
            say self-tests skip "this kernel ships none of them"
        fi

        """#

    static let atLength = #"""
        if [ ! -f /modules/test_bpf.order ]; then
            say test-bpf skip "this kernel does not ship it"
        else
            verdict=pass
            for part in test_range=0,799 test_suite=test_tail_calls test_suite=test_skb_segment; do
                insmod /modules/test_bpf.ko $part 2>/dev/null || verdict=fail
                rmmod test_bpf 2>/dev/null
            done
            summary=$(dmesg | sed -n 's/.*test_bpf:.*Summary: //p' | tr '\n' ' ')
            case $summary in
                *" 0 FAILED"*) ;;
                *) verdict=fail ;;
            esac
            dmesg | grep 'Summary: ' | grep -vq ' 0 FAILED' && verdict=fail
            say test-bpf $verdict "${summary:-no summary in the log}"
        fi

        """#
}
