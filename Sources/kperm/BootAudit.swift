// SPDX-License-Identifier: MIT

// `kperm boot --audit`: a permutation of the image that notes what it translates,
// made for this one boot, and the list of what it noted; of a kernel whose
// translations ask the table also whether the right frame came out each time.

import Addressing
import GuestCheck
import HazardAudit
import KernelImage
import KernelRewrite
import PagePermutation
import TranslationSimulator

extension Boot {
    func runAudit(_ image: borrowing KernelImage) async throws {
        if PermutedImage.isPermuted(image) {
            let permuted = try attempt { [name = self.image] () throws(RewriteError) in try PermutedImage.open(name) }
            let original = try attempt { () throws(RewriteError) in try permuted.original() }
            try await runAudit(original, attempt { () throws(RewriteError) in try permuted.freshRequest() })
        } else {
            try await runAudit(image, Request())
        }
    }

    private func runAudit(_ original: borrowing KernelImage, _ given: Request) async throws {
        var request = given
        request.rewrites = request.rewrites || rewrite
        let scratch = try Scratch()
        let path = "\(scratch.path)/image"
        progress("following the code")
        let subject = try attempt { () throws(RewriteError) in try AuditSubject.kernel(original) }
        let sites = TranslationSites(subject)
        let plan = try attempt { () throws(RewriteError) in
            try RewritePlan.draw(
                original, request, observing: sites.observable(asking: request.rewrites), rewriting: sites.translations)
        }
        guard let instrumentation = plan.instrumentation else { return }
        try attempt { () throws(RewriteError) in try plan.apply(to: path, from: original, tool: kpermVersion) }
        let instrumented = try attempt { () throws(RewriteError) in try PermutedImage.open(path) }
        let expectation = try GuestExpectation.of(path, instrumented, original)
        try await runAudit(expectation, instrumentation, plan.analysis, request, sites, subject)
    }

    func runAudit(_ original: borrowing CompressedKernel) async throws {
        guard try attempt({ () throws(RewriteError) in try original.manifest() }) == nil else {
            throw CommandFailure.input("\(image): permuted already: give --audit the original")
        }
        let scratch = try Scratch()
        let path = "\(scratch.path)/image"
        progress("following the code")
        let subject = try attempt { () throws(RewriteError) in try AuditSubject.kernel(original.kernel) }
        let sites = TranslationSites(subject)
        let request = Request(rewrites: rewrite)
        let plan = try attempt { () throws(RewriteError) in
            try BootPlan.make(
                original, request, seed: nil, tool: kpermVersion, observing: sites.observable(asking: rewrite),
                rewriting: sites.translations, analysis: subject.kernel)
        }
        guard let instrumentation = plan.instrumentation else { return }
        progress("compressing it again")
        try attempt { () throws(RewriteError) in try plan.apply(to: path, from: original) }
        let instrumented = try attempt { () throws(RewriteError) in try CompressedKernel.open(path) }
        let expectation = try LiveExpectation(instrumented).expectation(isPermuted: true, isOff: false)
        try await runAudit(expectation, instrumentation, plan.analysis, request, sites, subject)
    }

    /// Boots what was instrumented, and reports.
    private func runAudit(
        _ expectation: GuestExpectation, _ instrumentation: Instrumentation, _ kernel: KernelAnalysis,
        _ request: Request, _ sites: TranslationSites, _ subject: AuditSubject
    ) async throws {
        var expectation = expectation
        expectation.notes = instrumentation.range
        let result = try await boot(expectation)
        let live = result.table.flatMap { unsafe try? TranslationTable(reading: $0.span.bytes) }
        let order = request.rewrites ? live : nil
        let seen = result.notes.flatMap(instrumentation.read).map {
            SeenTranslations($0, subject, kernel, pins: request.pins, order: order)
        }
        let transfers = result.transfers.map { BootAuditReport.ImageTransfer($0, subject, kernel.map) }
        let report = BootAuditReport(
            sites, instrumentation, seen, transfers, subject, asking: request.rewrites, order)
        if let list = self.transfers {
            let base = live?.virtualBase ?? kernel.map.virtualBase
            let lines = transfers.sorted { $0.offset < $1.offset }.compactMap { $0.line(from: base) }.joined()
            try attempt { () throws(RewriteError) in try writeSecret(Array(lines.utf8), to: list) }
        }
        if let table, let live { try attempt { () throws(RewriteError) in try writeSecret(live.bytes, to: table) } }
        if json {
            try printJSON(AuditedBootReport(boot: BootReport(result), translations: report))
        } else {
            self.report(result, title: nil)
            report.print()
        }
        if !result.passed {
            throw CommandFailure.check(
                "\(image): the boot failed" + (result.logPath.map { "; the log is kept: \($0)" } ?? ""))
        }
        if let problem = report.problem { throw CommandFailure.check("\(image): \(problem)") }
    }
}

/// A boot with what it noted, as JSON.
private struct AuditedBootReport: Encodable {
    let boot: BootReport
    let translations: BootAuditReport
}

/// What an instrumented kernel noted.
struct BootAuditReport: Encodable {
    struct Entry: Encodable {
        let end: SeenTranslation.End
        let sites: [String]
        let register: String
        let object: String
        let firstAddress: String
        let lastAddress: String
        let firstPage: Int
        let lastPage: Int
        let count: UInt64
        let reason: String
        let evidence: String

        init(_ seen: SeenTranslation) {
            end = seen.end
            sites = seen.sites
            register = seen.register
            object = seen.object
            firstAddress = seen.addresses.lowerBound.description
            lastAddress = seen.addresses.upperBound.description
            firstPage = seen.pages.lowerBound
            lastPage = seen.pages.upperBound
            count = seen.count
            reason = seen.reason
            evidence = seen.evidence
        }
    }

    /// A transfer of a device that touches the image.
    struct ImageTransfer: Encodable {
        let function: String
        /// From the start of the image's physical range, in bytes.
        let offset: UInt64
        let size: UInt64
        let direction: Int
        let count: Int
        let object: String
        let found: String
        let end: SeenTranslation.End
        let reason: String

        init(_ transfer: GuestCheck.Transfer, _ subject: AuditSubject, _ map: PageMap) {
            let seen = SeenTransfer(
                offset: transfer.offset, page: transfer.page, size: transfer.size, subject, map)
            function = transfer.function
            offset = transfer.offset
            size = transfer.size
            direction = transfer.direction
            count = transfer.count
            object = seen.object
            found = seen.found
            end = seen.end
            reason = seen.reason
        }

        /// For a list, at the address that a linear mapping of an image from `base` on has there; nil for one that moves no
        /// data.
        func line(from base: VirtualAddress) -> String? {
            guard direction < 3 else { return nil }
            let directions: [TranslationSimulator.Transfer.Direction] = [.both, .to, .from]
            let comment = "\(function), \(object), \(count) times, \(end.rawValue): \(reason)"
            return TranslationSimulator.Transfer(
                address: base + offset, byteCount: size, direction: directions[direction]
            ).map { TransferList.line($0, comment: comment) }
        }
    }

    /// A site that is not observed.
    struct Unobserved: Encodable {
        let address: String
        let place: String
        let reason: String
    }

    let sites: Int
    /// Sites all of whose translations are noted.
    let observed: Int
    /// Sites that need no note: they translate constants, or translate nothing to a physical address.
    let known: Int
    let unobserved: [Unobserved]
    /// Nil when the kernel's notes could not be read.
    let placesReached: Int?
    let translated: UInt64?
    let lost: UInt64?
    let entries: [Entry]
    let transfers: [ImageTransfer]
    /// Nil for a kernel whose translations ask no table.
    let lookups: Lookups?

    init(
        _ found: TranslationSites, _ instrumentation: Instrumentation, _ seen: SeenTranslations?,
        _ transfers: [ImageTransfer], _ subject: AuditSubject, asking: Bool, _ order: TranslationTable?
    ) {
        self.transfers = transfers
        lookups = asking ? Lookups(found, instrumentation, seen, subject, order) : nil
        var missing = Dictionary(uniqueKeysWithValues: instrumentation.left.map { ($0.address, $0.reason) })
        func isNoted(_ site: TranslationSite) -> Bool { site.observed != nil || asking && site.rewritten != nil }
        for site in found.sites where !isNoted(site) {
            if let why = site.whyNotObserved { missing[site.address] = why }
        }
        for place in found.skipped { missing[place.address] = place.reason }
        sites = found.sites.count + found.skipped.count
        observed = found.sites.count { isNoted($0) && missing[$0.address] == nil }
        known = sites - observed - missing.count
        unobserved = missing.sorted { $0.key < $1.key }.map {
            Unobserved(address: $0.description, place: subject.describe($0), reason: $1)
        }
        placesReached = seen?.placesReached
        translated = seen?.translated
        lost = seen?.lost
        entries = (seen?.entries ?? []).map(Entry.init)
    }

    func print() {
        Swift.print("translation sites: \(sites), \(observed) observed, \(known) with a constant or none to observe")
        for (reason, group) in Dictionary(grouping: unobserved, by: \.reason).sorted(by: { $0.key < $1.key }) {
            Swift.print("  \(group.count) not observed: \(reason)")
        }
        guard let placesReached, let translated, let lost else { return }
        Swift.print(
            "noted: \(translated) translations of addresses of the image, at \(placesReached) places reached; "
                + "\(lost) not kept")
        lookups?.print()
        for entry in entries {
            let pages = entry.firstPage == entry.lastPage ? "" : " … \(entry.lastAddress)"
            Swift.print(
                "  \(entry.end.rawValue) \(entry.sites.joined(separator: ", ")): \(entry.object) "
                    + "(\(entry.firstAddress)\(pages)), \(entry.count) times: \(entry.reason)")
            if !entry.evidence.isEmpty { Swift.print("       \(entry.evidence)") }
        }
        for transfer in transfers where transfer.end == .open {
            Swift.print(
                "  open \(transfer.function): \(transfer.size) bytes at \(transfer.offset.hex) of the image, "
                    + "\(transfer.count) times: linear it is \(transfer.object), in that frame lies \(transfer.found)")
        }
        let harmless = Dictionary(grouping: transfers.filter { $0.end != .open }) { "\($0.end.rawValue)\0\($0.reason)" }
        for (_, group) in harmless.sorted(by: { $0.key < $1.key }) {
            let bytes = group.reduce(0) { $0 + $1.size * UInt64($1.count) }
            Swift.print(
                "  \(group[0].end.rawValue) transfers of devices: \(group.reduce(0) { $0 + $1.count }), \(bytes) bytes: "
                    + group[0].reason)
        }
    }

    /// Why the kernel does not pass.
    var problem: String? {
        guard let placesReached, let lost else { return "what the kernel noted cannot be read" }
        if placesReached == 0 { return "no observed place was ever reached: the instrumented kernel noted nothing" }
        let open = entries.count { $0.end == .open }
        let wrong = transfers.count { $0.end == .open }
        if let problem = lookups?.problem { return problem }
        if wrong > 0 { return "\(wrong) transfers of devices touch what may move" }
        if open > 0 { return "\(open) translations of what may move have no explanation" }
        return lost > 0 ? "\(lost) translations found no room in the notes" : nil
    }
}
