// SPDX-License-Identifier: MIT

// What keeps a guest from being judged at all. A guest that was started and
// then misbehaves is not an error: it is a failed check in the result.

/// Why a guest could not be judged.
public enum GuestError: Error, Equatable, Sendable {
    /// A program this machine must have is absent.
    case programMissing(String)
    /// A file of the firmware asked for is absent, or cannot be read.
    case firmwareMissing(String)
    /// QEMU would not start, or refused the kernel; its own last words.
    case emulatorFailed(String)
    /// The modules given do not fit the kernel, or cannot be read.
    case modules(path: String, problem: String)
    /// The guest never came as far as an attack.
    case notReady(String)
    /// An attack that cannot be tried, or a guest that it cannot be tried on.
    case unfit(String)
    /// What a guest exposes cannot be told.
    case exposure(String)
    /// A system call failed.
    case system(operation: String, path: String, errno: Int32)
    /// The task was cancelled.
    case cancelled
}

extension GuestError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .programMissing(let name):
            name.contains("/")
                ? "\(name): no program that can be run is there"
                : "\(name) not found: run tools/setup, which installs it"
        case .firmwareMissing(let path): "\(path): cannot be read: UEFI needs OVMF (Debian's package ovmf has it)"
        case .emulatorFailed(let words): "QEMU did not start the guest: \(words)"
        case .modules(let path, let problem): "\(path): \(problem)"
        case .notReady(let why): "the guest never was ready to be attacked: \(why)"
        case .unfit(let why): "no attack: \(why)"
        case .exposure(let why): "not judged what the guest exposes: \(why)"
        case .system(let operation, let path, let code): "\(path): cannot \(operation): \(describe(errno: code))"
        case .cancelled: "cancelled"
        }
    }
}

/// Why a wait for the guest ended before what was waited for.
enum Interruption: Error, Equatable {
    case ended
    case timedOut
    case cancelled
    case halted
    case malformed(String)
}

extension Interruption: CustomStringConvertible {
    var description: String {
        switch self {
        case .ended: "the guest reset or QEMU ended"
        case .timedOut: "time ran out"
        case .cancelled: "cancelled"
        case .halted: "the boot stub halted"
        case .malformed(let text): "QEMU answered what kperm does not understand: \(text)"
        }
    }
}
