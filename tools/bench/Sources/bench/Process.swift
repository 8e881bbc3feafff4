// SPDX-License-Identifier: MIT

// Runs a program and says what it cost, as the kernel counted it: user and
// system time to the microsecond and peak memory, from wait4. The shell's
// `time` has a resolution of 10 ms at best, a third of what is measured here.
//
// A child's peak memory starts at what its parent held when it was spawned,
// so this program keeps small: it reads no file.

import Glibc

/// What one run of a program cost.
struct Cost {
    /// User and system time together, in seconds.
    var cpu: Double
    var elapsed: Double
    /// Bytes of memory resident at the peak, mapped files among them.
    var peakMemory: Int
}

/// A program that could not be started, or that failed.
struct RunFailure: Error, CustomStringConvertible {
    let description: String
}

/// Runs a program found on PATH to its end, its output thrown away, its errors shown.
func run(_ command: [String]) throws(RunFailure) -> Cost {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)

    var arguments = unsafe command.map { unsafe strdup($0) } + [nil]
    defer { for index in unsafe arguments.indices { unsafe free(arguments[index]) } }
    var child: pid_t = 0
    let start = ContinuousClock.now
    let spawned = unsafe posix_spawnp(&child, command[0], &actions, nil, &arguments, environ)
    guard spawned == 0 else { throw RunFailure(description: "cannot run \(command[0]): \(errorText(spawned))") }

    var status: Int32 = 0
    var usage = rusage()
    while unsafe wait4(child, &status, 0, &usage) == -1 {
        guard errno == EINTR else { throw RunFailure(description: "wait4: \(errorText(errno))") }
    }
    let elapsed = ContinuousClock.now - start
    guard status == 0 else {
        throw RunFailure(description: "failed with wait status \(status): \(command.joined(separator: " "))")
    }
    return Cost(
        cpu: usage.ru_utime.seconds + usage.ru_stime.seconds, elapsed: elapsed / .seconds(1),
        peakMemory: usage.ru_maxrss * 1024)
}

func errorText(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }

extension timeval {
    fileprivate var seconds: Double { Double(tv_sec) + Double(tv_usec) / 1e6 }
}

/// Removes a file if it is there.
func remove(_ path: String) { unsafe _ = unlink(path) }
