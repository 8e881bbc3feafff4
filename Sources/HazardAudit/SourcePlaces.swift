// SPDX-License-Identifier: MIT

// What debug sections say of the objects and instructions that an audit names.
// They only explain: without them, or when they are damaged, an audit says the
// same of the kernel.

public import Addressing
public import KernelImage

/// Where the source has objects and instructions.
public struct SourcePlaces: Sendable {
    /// Of objects and functions, by where they begin.
    public private(set) var objects: [VirtualAddress: SourcePlace] = [:]
    /// Of instructions.
    public private(set) var lines: [VirtualAddress: SourcePlace] = [:]
    /// What of the debug sections is damaged.
    public private(set) var problem: String?

    /// - Parameter image: the one that the subject was made of.
    public init(
        _ image: borrowing KernelImage, _ subject: AuditSubject, objects: [VirtualAddress],
        instructions: [VirtualAddress]
    ) {
        if objects.isEmpty && instructions.isEmpty { return }
        do {
            guard var information = try DebugInformation(image, placement: subject.placement) else { return }
            self.objects = information.places(at: objects)
            for address in instructions { lines[address] = information.line(of: address) }
            problem = information.problem
        } catch {
            problem = error.message
        }
    }
}
