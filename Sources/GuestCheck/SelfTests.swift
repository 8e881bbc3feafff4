// SPDX-License-Identifier: MIT

// The kernel's own tests, as far as its distribution ships them as modules. A
// test is loaded and says by that whether it passed; test_bpf, which takes
// minutes under emulation, counts in the log.

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
            load test_bpf && verdict=pass || verdict=fail
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
