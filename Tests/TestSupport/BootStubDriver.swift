// SPDX-License-Identifier: MIT

#if arch(x86_64)
    import Foundation

    /// The boot stub's C code as a program of this machine (Tests/Fixtures/boot-stub-driver.c).
    public final class BootStubDriver: Sendable {
        public static let shared = Result { try BootStubDriver() }

        private let scratch: Scratch

        /// - Parameter drawing: what to compile instead of draw.c, to spoil it.
        public init(drawing: (String) -> String = { $0 }) throws {
            scratch = try Scratch()
            let stub = "\(checkout)/images/stub/x86_64"
            let source = String(decoding: try readBytes("\(stub)/draw.c"), as: UTF8.self)
            try Data(drawing(source).utf8).write(to: URL(fileURLWithPath: scratch["draw.c"]))
            try runTool(
                "clang", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing", "-I\(stub)",
                "-fsanitize=undefined", "-fsanitize-trap=undefined", "\(checkout)/Tests/Fixtures/boot-stub-driver.c",
                "\(stub)/random.c", scratch["draw.c"], "\(stub)/options.c", "\(stub)/entropy.c", "\(stub)/install.c",
                "\(stub)/permute.c", "-o", scratch["driver"])
        }

        public var path: String { scratch["driver"] }
    }
#endif
