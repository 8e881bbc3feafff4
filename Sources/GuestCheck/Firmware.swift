// SPDX-License-Identifier: MIT

// What runs in the guest before the kernel. QEMU gives a kernel to SeaBIOS as
// a boot loader would, by its 16-bit entry; OVMF starts the same file as an
// EFI program, by the kernel's EFI stub. OVMF has random numbers to give only
// where there is a device for them; the EFI stub leaves a seed of them in
// memory.

import Glibc

/// The firmware of a guest.
public enum Firmware: Equatable, Sendable {
    /// QEMU's own.
    case seabios
    /// UEFI: the path of OVMF's code, a file with `CODE` in its name; its variables lie beside it, with `VARS` instead.
    case uefi(code: String)

    /// UEFI as Debian's package `ovmf` has it.
    public static let ovmf = Firmware.uefi(code: "/usr/share/OVMF/OVMF_CODE.fd")

    /// Copies what the guest may write into `directory`.
    func prepare(in directory: String) throws(GuestError) {
        guard case .uefi(let code) = self else { return }
        let variables = Self.variables(of: code)
        for path in [code, variables] where unsafe access(path, R_OK) != 0 { throw .firmwareMissing(path) }
        try writeFile(Self.copy(in: directory), try readFile(variables))
    }

    /// QEMU's options for it.
    func arguments(directory: String) -> [String] {
        guard case .uefi(let code) = self else { return [] }
        func flash(_ options: String, _ path: String) -> [String] {
            ["-drive", "if=pflash,format=raw,\(options),file=\(path.replacing(",", with: ",,"))"]
        }
        return flash("unit=0,readonly=on", code) + flash("unit=1", Self.copy(in: directory))
            + ["-object", "rng-builtin,id=random", "-device", "virtio-rng-pci,rng=random"]
    }

    private static func copy(in directory: String) -> String { "\(directory)/variables" }

    static func variables(of code: String) -> String {
        guard let slash = code.lastIndex(of: "/") else { return code.replacing("CODE", with: "VARS") }
        return String(code[...slash]) + code[slash...].dropFirst().replacing("CODE", with: "VARS")
    }
}
