// SPDX-License-Identifier: MIT

// What can be wrong with an image file: one small struct that always names the
// file, and the byte where it knows one.

/// Why a file cannot be read as a kernel image.
public struct ImageError: Error, Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// The file cannot be opened or mapped.
        case io
        /// Not an ELF file at all.
        case notELF
        /// Headers that lead outside the file, overlap or overflow.
        case malformed
        /// A well-formed file that is not what is asked for.
        case unsuitable
    }

    public let kind: Kind
    public let file: String
    /// Where in the file, in bytes.
    public let offset: UInt64?
    public let message: String

    public init(_ kind: Kind, file: String, offset: UInt64? = nil, _ message: String) {
        self.kind = kind
        self.file = file
        self.offset = offset
        self.message = message
    }
}

extension ImageError: CustomStringConvertible {
    public var description: String {
        if let offset { return "\(file): at byte 0x\(String(offset, radix: 16)): \(message)" }
        return "\(file): \(message)"
    }
}
