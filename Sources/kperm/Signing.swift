// SPDX-License-Identifier: MIT

// A signed vmlinuz whose bytes changed has no valid signature any more. With the
// user's own key, `sbsign` gives it a new one.

import Dispatch
import FoundationEssentials
import KernelImage
import KernelRewrite
import Subprocess
import Synchronization

/// A key and certificate for UEFI Secure Boot, as files in PEM form.
struct SigningKey: Sendable {
    let key: String
    let certificate: String

    /// The image with a signature of this key.
    ///
    /// - Throws: `CommandFailure` when sbsign is not there or refuses.
    func signed(_ image: [UInt8]) throws -> [UInt8] {
        let scratch = try Scratch()
        let (plain, signed) = ("\(scratch.path)/image", "\(scratch.path)/signed")
        defer { try? FileManager.default.removeItem(atPath: signed) }
        try attempt { () throws(RewriteError) in try writeSecret(image, to: plain) }
        let ended = Mutex<Result<String, CommandFailure>>(.success(""))
        let done = DispatchSemaphore(value: 0)
        Task {
            let result = await sbsign(plain, signed)
            ended.withLock { $0 = result }
            done.signal()
        }
        done.wait()
        let said = try ended.withLock { $0 }.get()
        guard let bytes = FileManager.default.contents(atPath: signed) else {
            throw CommandFailure.input("sbsign: \(said.split(separator: "\n").joined(separator: "; "))")
        }
        return Array(bytes)
    }

    private func sbsign(_ plain: String, _ signed: String) async -> Result<String, CommandFailure> {
        do {
            let result = try await Subprocess.run(
                .name("sbsign"), arguments: ["--key", key, "--cert", certificate, "--output", signed, plain],
                output: .discarded, error: .string(limit: 1 << 16))
            return .success(result.standardError)
        } catch {
            return .failure(.input("sbsign cannot be run: install Debian's package sbsigntool (\(error))"))
        }
    }
}
