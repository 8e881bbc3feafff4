// SPDX-License-Identifier: MIT

import ArgumentParser
import HazardAudit
import KernelImage
import KernelRewrite

struct Audit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Find what a permutation could make wrong: whatever goes by physical addresses.",
        discussion: """
            Of a kernel: finds every instruction that reads the offset between virtual and physical addresses, and \
            follows what was read, along all paths, to where it is added to an address. A site is understood when all \
            of those places are known, with the register that holds the address. Constants must lie on pages that \
            `kperm permute` pins; one that does not is an error (status 1).

            Of a kernel and of modules: follows addresses of static objects and of stacks to the interfaces that hand \
            them to devices, through up to four callers, tables of pointers, lists and structures. An object is a \
            hazard when the bytes that get out lie in two frames that may be no neighbours; suspicious when that \
            depends on what is not known here.

            What a kernel asks of `kperm permute` comes last, as options that it takes, each with the bits of entropy \
            that it costs: `permute --audit full` adds them by itself, and `permute --constraints FILE` takes them \
            from what --json prints.

            Of kernels for arm64 and RISC-V (vmlinux) only the translation sites are found: reads of kimage_voffset, and \
            of kernel_map's va_kernel_pa_offset, whose place the kernel's own types (BTF) tell.

            Needs no relocations and, for a vmlinuz, no other file. Where a file has debug sections (DWARF), they say the \
            types of objects and the lines of the source.
            """)

    @Argument(
        help: "Kernel images (vmlinux or vmlinuz), modules (.ko) or other relocatable objects.", completion: .file())
    var images: [String] = []

    @Flag(help: "List every translation site.")
    var sites = false

    @Flag(help: "List every object that crosses a page.")
    var objects = false

    @OptionGroup var flows: FlowOptions

    @Flag(help: "Print JSON: an object for one file, a list for several.")
    var json = false

    func validate() throws {
        if images.isEmpty, flows.explain == nil { throw ValidationError("Missing expected argument '<images> ...'") }
    }

    func run() throws {
        if let rule = flows.explain {
            try flows.printRules(rule)
            if images.isEmpty { return }
        }
        var reports: [AuditReport] = []
        for image in images {
            progress("\(image): following the code")
            reports.append(try report(image))
        }
        if json {
            if reports.count == 1 { try printJSON(reports[0]) } else { try printJSON(reports) }
        } else {
            for report in reports {
                if reports.count > 1 { print("\(report.file):") }
                report.print()
            }
        }
        for report in reports {
            if let unpinned = report.sites?.unpinned, !unpinned.isEmpty {
                throw CommandFailure.check("\(report.file): \(unpinned.count) constants lie on pages that would move")
            }
        }
        if let limit = flows.failOn, let report = reports.first(where: { $0.flows?.fails(limit) == true }) {
            throw CommandFailure.check("\(report.file): findings that are \(limit.rawValue) or worse")
        }
    }

    private func report(_ path: String) throws -> AuditReport {
        func report(_ subject: AuditSubject, _ image: borrowing KernelImage) throws -> AuditReport {
            do {
                return try AuditReport(subject, image, options: flows, showsSites: sites, showsObjects: objects)
            } catch { throw CommandFailure.input("\(error)") }
        }
        if try isCompressed(path) {
            let kernel = try attempt { () throws(RewriteError) in try CompressedKernel.open(path) }
            let subject = try attempt { () throws(RewriteError) in try AuditSubject.kernel(kernel.kernel) }
            return try report(subject, kernel.kernel)
        }
        let image = try openImage(path)
        if let architecture = OffsetArchitecture.of(image), !AuditSubject.isRelocatable(image) {
            guard flows.failOn == nil, flows.reading == nil, !objects else {
                throw CommandFailure.input(
                    "\(path): of \(architecture.name) only translation sites are looked for: leave out --fail-on, --as "
                        + "and --objects")
            }
            let subject = try attempt { () throws(RewriteError) in try AuditSubject.unmapped(image) }
            return AuditReport(subject, architecture, showsSites: sites)
        }
        let subject = try attempt { () throws(RewriteError) in
            AuditSubject.isRelocatable(image) ? try AuditSubject.module(image) : try AuditSubject.kernel(image)
        }
        return try report(subject, image)
    }
}
