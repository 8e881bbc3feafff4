// SPDX-License-Identifier: MIT

// A signed vmlinuz whose bytes changed has no valid signature any more, nor has a
// module. With the user's own key, `sbsign` gives it a new one, or `openssl`.

import Dispatch
import FoundationEssentials
import KernelImage
import KernelRewrite
import Subprocess
import Synchronization

/// A key and certificate for UEFI Secure Boot or for modules, as files in PEM form.
struct SigningKey: Sendable {
    let key: String
    let certificate: String

    /// The image with a signature of this key.
    ///
    /// - Throws: `CommandFailure` when sbsign is not there or refuses.
    func signed(_ image: [UInt8]) throws -> [UInt8] {
        try filtered(image, by: "sbsign", of: "sbsigntool") { plain, signed in
            ["--key", key, "--cert", certificate, "--output", signed, plain]
        }
    }

    /// A module with a signature of this key behind it, as Linux's scripts/sign-file makes one: PKCS #7 without
    /// certificates and attributes, and what kernel/module_signature.c reads.
    ///
    /// - Throws: `CommandFailure` when openssl is not there or refuses.
    func signedModule(_ module: [UInt8]) throws -> [UInt8] {
        let signature = try filtered(module, by: "openssl", of: "openssl") { plain, signed in
            [
                "cms", "-sign", "-binary", "-noattr", "-nocerts", "-nosmimecap", "-md", "sha256",
                "-signer", certificate, "-inkey", key, "-outform", "DER", "-in", plain, "-out", signed,
            ]
        }
        let size = (0..<4).reversed().map { UInt8(truncatingIfNeeded: signature.count >> (8 * $0)) }
        // struct module_signature: PKEY_ID_PKCS7, and the length.
        let description: [UInt8] = [0, 0, 2, 0, 0, 0, 0, 0] + size
        return module + signature + description + Array("~Module signature appended~\n".utf8)
    }

    /// What a program makes of a file.
    private func filtered(
        _ bytes: [UInt8], by program: String, of package: String,
        _ arguments: (_ from: String, _ to: String) -> [String]
    ) throws -> [UInt8] {
        let scratch = try Scratch()
        let (plain, signed) = ("\(scratch.path)/image", "\(scratch.path)/signed")
        defer { try? FileManager.default.removeItem(atPath: signed) }
        try attempt { () throws(RewriteError) in try writeSecret(bytes, to: plain) }
        let arguments = arguments(plain, signed)
        let ended = Mutex<Result<String, CommandFailure>>(.success(""))
        let done = DispatchSemaphore(value: 0)
        Task {
            let result = await run(program, of: package, arguments)
            ended.withLock { $0 = result }
            done.signal()
        }
        done.wait()
        let said = try ended.withLock { $0 }.get()
        guard let result = FileManager.default.contents(atPath: signed) else {
            throw CommandFailure.input("\(program): \(said.split(separator: "\n").joined(separator: "; "))")
        }
        return Array(result)
    }

    private func run(
        _ program: String, of package: String, _ arguments: [String]
    ) async -> Result<String, CommandFailure> {
        do {
            let result = try await Subprocess.run(
                .name(program), arguments: Arguments(arguments), output: .discarded, error: .string(limit: 1 << 16))
            return .success(result.standardError)
        } catch {
            return .failure(.input("\(program) cannot be run: install Debian's package \(package) (\(error))"))
        }
    }
}
