// SPDX-License-Identifier: MIT

// The first process of a guest that shows what it exposes: a program of our own
// (images/guest/expose.c) reads all that an unprivileged user can, then all that
// root can, and hands it out by the second serial port, which needs no module.

enum ExposureScript {
    /// A user that owns nothing.
    static let user = 1000

    static let text =
        ExerciseScript.opening
            + #"""
            mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
            mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
            mount -t pstore pstore /sys/fs/pstore 2>/dev/null
            port=/dev/ttyS1
            if stty -F $port raw; then
                { /bin/expose USER; /bin/expose 0; } | gzip >$port
                say read pass
            else
                say read fail "no second serial port"
            fi

            """#.replacing("USER", with: String(user)) + ExerciseScript.ending
}
