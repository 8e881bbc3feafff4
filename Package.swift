// swift-tools-version: 6.2
// SPDX-License-Identifier: MIT
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")

let package = Package(
    name: "kperm",
    products: [
        .executable(name: "kperm", targets: ["kperm"]),
        .library(name: "PagePermutation", targets: ["Addressing", "PagePermutation", "SecureRandom"]),
        .library(name: "SecurityEvaluation", targets: ["SecurityEvaluation"]),
        .library(name: "TranslationSimulator", targets: ["TranslationSimulator"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    ],
    targets: [
        .systemLibrary(name: "CELF", pkgConfig: "libelf", providers: [.apt(["libelf-dev"])]),
        .systemLibrary(name: "CDW", pkgConfig: "libdw", providers: [.apt(["libdw-dev"])]),
        .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
        .systemLibrary(name: "CCapstone", pkgConfig: "capstone", providers: [.apt(["libcapstone-dev"])]),
        .systemLibrary(name: "CUnicorn", pkgConfig: "unicorn", providers: [.apt(["libunicorn-dev"])]),
        .systemLibrary(name: "CArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),
        .systemLibrary(
            name: "CCodecs",
            providers: [.apt(["liblz4-dev", "liblzma-dev", "libzstd-dev", "zlib1g-dev", "libbz2-dev"])]),

        .systemLibrary(name: "CLinux"),

        .target(name: "CBenchmark"),
        .target(name: "Addressing", swiftSettings: settings),
        .target(name: "AddressSpaces", swiftSettings: settings),
        .target(
            name: "KernelImage", dependencies: ["CELF", "CDW", "CCodecs", "CLinux", "Addressing"],
            swiftSettings: settings),
        .target(name: "SecureRandom", dependencies: ["CSodium"], swiftSettings: settings),
        .target(name: "Disassembly", dependencies: ["Addressing", "CCapstone"], swiftSettings: settings),
        .target(name: "PagePermutation", dependencies: ["Addressing", "SecureRandom"], swiftSettings: settings),
        .target(
            name: "KernelRewrite",
            dependencies: [
                "Addressing", "CLinux", "KernelImage", "Disassembly", "PagePermutation", "SecureRandom",
            ],
            swiftSettings: settings),
        .target(
            name: "HazardAudit",
            dependencies: ["Addressing", "KernelImage", "KernelRewrite", "PagePermutation", "Disassembly"],
            swiftSettings: settings),
        .target(
            name: "TranslationSimulator",
            dependencies: ["Addressing", "CBenchmark", "CCodecs", "PagePermutation", "SecureRandom"],
            swiftSettings: settings),
        .target(
            name: "SecurityEvaluation", dependencies: ["Addressing", "Disassembly", "PagePermutation", "SecureRandom"],
            swiftSettings: settings),
        .target(name: "Report", dependencies: ["SecurityEvaluation", subprocess], swiftSettings: settings),
        .target(
            name: "GuestCheck", dependencies: ["CArchive", "CLinux", "Addressing", "PagePermutation", subprocess],
            swiftSettings: settings),
        .executableTarget(
            name: "kperm",
            dependencies: [
                "Addressing", "AddressSpaces", "CLinux", "KernelImage", "SecureRandom", "Disassembly",
                "PagePermutation", "KernelRewrite", "GuestCheck", "HazardAudit", "TranslationSimulator",
                "SecurityEvaluation", "Report", argumentParser, subprocess,
            ],
            swiftSettings: settings),

        .testTarget(name: "AddressSpacesTests", dependencies: ["AddressSpaces"], swiftSettings: settings),
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(
            name: "KernelImageTests", dependencies: ["Addressing", "KernelImage", "TestSupport", subprocess],
            swiftSettings: settings),
        .testTarget(
            name: "PagePermutationTests",
            dependencies: ["Addressing", "PagePermutation", "SecureRandom", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "KernelRewriteTests",
            dependencies: [
                "Addressing", "KernelRewrite", "KernelImage", "PagePermutation", "SecureRandom", "Disassembly",
                "TestSupport",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "HazardAuditTests",
            dependencies: [
                "Addressing", "CUnicorn", "HazardAudit", "KernelImage", "KernelRewrite", "Disassembly",
                "PagePermutation", "TestSupport",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "TranslationSimulatorTests",
            dependencies: [
                "Addressing", "CBenchmark", "PagePermutation", "SecureRandom", "TranslationSimulator", "TestSupport",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "ReportTests",
            dependencies: ["PagePermutation", "Report", "SecurityEvaluation", "TestSupport", subprocess],
            swiftSettings: settings),
        .testTarget(
            name: "SecurityEvaluationTests",
            dependencies: ["Addressing", "PagePermutation", "SecureRandom", "SecurityEvaluation", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "GuestCheckTests",
            dependencies: ["Addressing", "GuestCheck", "PagePermutation", "SecurityEvaluation", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "CommandTests",
            dependencies: [
                "kperm", "Report", "SecurityEvaluation", "TestSupport", "TranslationSimulator", subprocess,
            ],
            swiftSettings: settings),
    ]
)
