// SPDX-License-Identifier: MIT

// Both conversations with QEMU, the machine protocol and the debugger's, run
// over unix sockets on which kperm listens and QEMU calls. Reading never
// blocks a thread: it looks, sleeps a moment and looks again, so that a
// time-out, a cancelled task and the death of QEMU are all noticed.

import Glibc

/// A unix socket that waits for one caller.
struct Listener: ~Copyable {
    private let descriptor: Int32

    init(path: String) throws(GuestError) {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw .system(operation: "make a socket", path: path, errno: errno) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { field in
            for (index, byte) in path.utf8.prefix(field.count - 1).enumerated() { unsafe field[index] = byte }
        }
        let bound = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(descriptor, 1) == 0 else {
            throw .system(operation: "listen", path: path, errno: errno)
        }
    }

    deinit { close(descriptor) }

    /// The caller, if there is one by now.
    func accept() -> Int32? {
        let caller = Glibc.accept(descriptor, nil, nil)
        guard caller >= 0 else { return nil }
        _ = fcntl(caller, F_SETFD, FD_CLOEXEC)
        return caller
    }
}

/// One end of a conversation.
struct Channel: ~Copyable {
    private let descriptor: Int32
    private var pending: [UInt8] = []

    init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    func send(_ text: String) throws(Interruption) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw .ended }
            rest = rest.dropFirst(count)
        }
    }

    /// Collects what has arrived, without waiting.
    mutating func pull() throws(Interruption) {
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = unsafe recv(descriptor, &chunk, chunk.count, Int32(MSG_DONTWAIT))
            if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
            guard count > 0 else { throw .ended }
            pending += chunk[..<count]
        }
    }

    /// What comes before the next `delimiter`, with the `extra` bytes after it.
    mutating func take(
        through delimiter: UInt8, extra: Int = 0, until deadline: ContinuousClock.Instant
    ) async throws(Interruption) -> String {
        while true {
            if let end = pending.firstIndex(of: delimiter), end + extra < pending.count {
                let text = String(decoding: pending[...(end + extra)], as: UTF8.self)
                pending.removeFirst(end + extra + 1)
                return text
            }
            let before = pending.count
            try pull()
            if pending.count == before { try await pause(until: deadline) }
        }
    }
}

/// A short sleep in a loop that waits for something.
func pause(until deadline: ContinuousClock.Instant, for time: Duration = .milliseconds(5)) async throws(Interruption) {
    guard ContinuousClock.now < deadline else { throw .timedOut }
    do { try await Task.sleep(for: time) } catch { throw .cancelled }
}
