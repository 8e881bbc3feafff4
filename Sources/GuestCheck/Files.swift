// SPDX-License-Identifier: MIT

// The few file operations that starting a guest needs, each failing with the
// path and the system's own reason.

import Glibc

func describe(errno code: Int32) -> String {
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
}

func readFile(_ path: String, limit: Int = .max) throws(GuestError) -> [UInt8] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system(operation: "open", path: path, errno: errno) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while bytes.count < limit {
        let count = unsafe read(descriptor, &chunk, min(chunk.count, limit - bytes.count))
        guard count >= 0 else { throw .system(operation: "read", path: path, errno: errno) }
        if count == 0 { break }
        bytes += chunk[..<count]
    }
    return bytes
}

func writeFile(_ path: String, _ bytes: [UInt8]) throws(GuestError) {
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .system(operation: "create", path: path, errno: errno) }
    defer { close(descriptor) }
    var written = 0
    while written < bytes.count {
        let count = unsafe bytes[written...].withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { throw .system(operation: "write", path: path, errno: errno) }
        written += count
    }
}

/// Makes a file for somebody who would leave it to the mask who may read it: a console shows the kernel's command line,
/// where a seed may be. One that is there stays as it is.
func makePrivate(_ path: String) throws(GuestError) {
    if !fileExists(path) { try writeFile(path, []) }
}

func fileExists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}

/// A program by its path, or by its name looked up in PATH and the usual directories.
func findProgram(_ name: String) throws(GuestError) -> String {
    let candidates =
        name.contains("/")
        ? [name]
        : ((environment("PATH") ?? "").split(separator: ":").map(String.init) + ["/usr/bin", "/bin", "/usr/local/bin"])
            .map { "\($0)/\(name)" }
    guard let found = candidates.first(where: { unsafe access($0, X_OK) == 0 }) else { throw .programMissing(name) }
    return found
}

/// TMPDIR, if a socket's path (108 bytes at most) fits below it.
var temporaryBase: String { environment("TMPDIR").flatMap { $0.utf8.count < 60 && !$0.isEmpty ? $0 : nil } ?? "/tmp" }

/// A new directory of our own.
func makeTemporaryDirectory() throws(GuestError) -> String {
    let base = temporaryBase
    var template = Array("\(base)/kperm-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw .system(operation: "create", path: base, errno: errno) }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// The last lines of a text that say something.
func lastLines(_ text: String, _ count: Int) -> [String] {
    text.split(whereSeparator: \.isNewline).suffix(count).map(String.init)
}
