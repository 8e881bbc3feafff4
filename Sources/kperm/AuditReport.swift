// SPDX-License-Identifier: MIT

// What `kperm audit` says of objects that get to devices, and its options for
// that.

import Addressing
public import ArgumentParser
public import HazardAudit
import KernelImage
import KernelRewrite

extension FlowReading: ExpressibleByArgument {}
extension Rule.Severity: ExpressibleByArgument {}

/// Options for flows of addresses to devices.
struct FlowOptions: ParsableArguments {
    @Option(
        name: .customLong("as"),
        help: ArgumentHelp(
            "Take its objects as those of a permuted kernel (image), of one without the rewritten translation "
                + "(untranslated), or of a module. Default: a kernel as image, a relocatable object as module.",
            valueName: "reading"))
    var reading: FlowReading?

    @Option(help: ArgumentHelp("Exit with status 1 when a finding is this or worse.", valueName: "severity"))
    var failOn: Rule.Severity?

    @Option(help: ArgumentHelp("Print what a rule knows, and where from; `all` prints every one.", valueName: "rule"))
    var explain: String?

    func validate() throws {
        if failOn == .safe { throw ValidationError("--fail-on takes suspicious or hazard.") }
    }

    /// Prints rules by name.
    func printRules(_ name: String) throws {
        let rules = Rule.all.filter { name == "all" || $0.name == name || $0.functions.contains(name) }
        guard !rules.isEmpty else {
            let known = Rule.all.map(\.name).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
            throw CommandFailure.input("no rule '\(name)': there are \(known.joined(separator: ", "))")
        }
        for rule in rules {
            print("\(rule.name) (\(rule.severity.rawValue) at worst)")
            if !rule.functions.isEmpty { print("  functions: \(rule.functions.joined(separator: ", "))") }
            print("  reason:    \(rule.reason)")
            print("  evidence:  \(rule.evidence)")
        }
    }
}

/// What is said of one file.
struct AuditReport: Encodable {
    let file: String
    /// Of a kernel, and of a module that translates addresses.
    let sites: SiteReport?
    let crossing: CrossingReport?
    let flows: FlowReport?
    /// Of a kernel: what `kperm permute` is to respect.
    let constraints: AuditConstraints?
    /// What is damaged in its debug sections.
    let damagedDebugSections: String?
    /// Of a kernel whose translation sites alone are looked for.
    let architecture: String?
    /// What was left out.
    let notes: [String]?

    init(
        _ subject: AuditSubject, _ image: borrowing KernelImage, options: FlowOptions, showsSites: Bool,
        showsObjects: Bool
    ) throws(RewriteError) {
        file = subject.file
        let found = TranslationSites(subject)
        let translates = subject.kernel != nil || !found.sites.isEmpty || !found.skipped.isEmpty
        sites = translates ? SiteReport(found, showsAll: showsSites) : nil
        let objects = CrossingObject.all(in: subject)
        let reading = options.reading ?? (subject.kernel == nil ? .module : .image)
        let all = DataFlows(subject, as: reading)
        let places = SourcePlaces(
            image, subject, objects: showsObjects ? objects.map(\.address) : [],
            instructions: all.findings.map(\.site))
        crossing = CrossingReport(objects, places, showsAll: showsObjects)
        flows = FlowReport(all, places, subject, as: reading)
        constraints = subject.kernel == nil ? nil : try AuditConstraints(subject, found, all)
        damagedDebugSections = places.problem
        architecture = nil
        notes = nil
    }

    /// Of a kernel of another architecture: its translation sites.
    init(_ subject: AuditSubject, _ architecture: OffsetArchitecture, showsSites: Bool) {
        file = subject.file
        let place = OffsetPlace(subject, architecture)
        sites = SiteReport(TranslationSites(subject, architecture, at: place), showsAll: showsSites)
        self.architecture = architecture.name
        notes =
            ([place.problem] + [
                "\(architecture.name): translation sites only; pins, objects that cross a page and flows to devices are "
                    + "looked for on x86-64 only"
            ]).compactMap { $0 }
        (crossing, flows, constraints, damagedDebugSections) = (nil, nil, nil, nil)
    }

    func print() {
        sites?.print(pinsConstants: architecture == nil)
        crossing?.print()
        flows?.print()
        for note in notes ?? [] { Swift.print("note: \(note)") }
        if let damagedDebugSections {
            Swift.print("note: types and lines are missing: its debug sections are damaged: \(damagedDebugSections)")
        }
        constraints?.printOptions()
    }
}

/// Objects that cross a page.
struct CrossingReport: Encodable {
    struct Object: Encodable {
        let name: String
        let kind: CrossingObject.Kind
        let address: String
        let size: UInt64
        let section: String
        let pages: Int
        let pageClass: String?
        let mayStraddle: Bool
        /// In C, of data, when debug sections say so.
        let type: String?
        /// File and line, likewise.
        let source: String?

        init(_ object: CrossingObject, _ place: SourcePlace?) {
            name = object.name
            kind = object.kind
            address = object.address.description
            size = object.size
            section = object.section
            pages = object.pages
            pageClass = object.pageClass
            mayStraddle = object.mayStraddle
            type = object.kind == .data ? place?.type : nil
            source = place?.fileAndLine
        }
    }

    let data: Int
    let functions: Int
    /// Smaller than a page.
    let smallData: Int
    /// Their frames may be no neighbours.
    let straddling: Int
    /// All of them, when asked for.
    let objects: [Object]?

    init(_ all: [CrossingObject], _ places: SourcePlaces, showsAll: Bool) {
        data = all.count { $0.kind == .data }
        functions = all.count { $0.kind == .function }
        smallData = all.count { $0.kind == .data && $0.isSmall }
        straddling = all.count(where: \.mayStraddle)
        objects = showsAll ? all.map { Object($0, places.objects[$0.address]) } : nil
    }

    func print() {
        Swift.print(
            "objects that cross a page: \(data), \(smallData) of them smaller than one; functions: \(functions); "
                + "\(straddling) of both may lie in frames that are no neighbours")
        for object in objects ?? [] {
            Swift.print(
                "  \(object.name) (\(object.address), \(object.size) bytes in \(object.pages) pages of "
                    + "\(object.section), class \(object.pageClass ?? "none")): "
                    + (object.mayStraddle ? "may straddle" : "stays together")
                    + (object.type.map { "; \($0)" } ?? "") + (object.source.map { "; \($0)" } ?? ""))
        }
    }
}

/// Flows as JSON and as text.
struct FlowReport: Encodable {
    struct Finding: Encodable {
        let severity: Rule.Severity
        let rule: String
        let object: String
        let symbol: String
        let section: String
        let address: String?
        let size: UInt64
        let crossesPage: Bool
        let site: String
        /// File and line of the site, when debug sections say so.
        let source: String?
        let reason: String
        let evidence: String
        let path: [String]

        init(_ finding: FlowFinding, _ place: SourcePlace?) {
            severity = finding.severity
            rule = finding.rule.name
            object = finding.object
            symbol = finding.symbol
            section = finding.section
            address = finding.address?.description
            size = finding.size
            crossesPage = finding.crossesPage
            site = finding.path.last ?? finding.site.description
            source = place?.fileAndLine
            reason = finding.reason
            evidence = finding.rule.evidence
            path = finding.path
        }
    }

    let reading: FlowReading
    let functions: Int
    let findings: [Finding]
    /// Functions that are too long, or have too many paths to follow.
    let skippedFunctions: [String]
    /// Places in the code that was looked at that do not decode, and functions that have some.
    let undecodedPlaces: Int
    let undecodedFunctions: Int
    /// Relocations of a module that could not be carried out.
    let skippedRelocations: Int
    /// Symbols of a module that lie outside their section.
    let skippedSymbols: Int

    init(_ flows: DataFlows, _ places: SourcePlaces, _ subject: AuditSubject, as reading: FlowReading) {
        self.reading = reading
        functions = flows.functions
        findings = flows.findings.map { Finding($0, places.lines[$0.site]) }
        skippedFunctions = flows.skipped
        undecodedPlaces = flows.undecoded.values.reduce(0, +)
        undecodedFunctions = flows.undecoded.count
        skippedRelocations = subject.module?.skipped ?? 0
        skippedSymbols = subject.module?.outside ?? 0
    }

    func print(showsSafe: Bool = true) {
        let count = Dictionary(grouping: findings, by: \.severity).mapValues(\.count)
        Swift.print(
            "flows to devices: \(count[.hazard] ?? 0) hazard, \(count[.suspicious] ?? 0) suspicious, "
                + "\(count[.safe] ?? 0) safe, in \(functions) functions, read as \(reading.rawValue)")
        for finding in findings where showsSafe || finding.severity != .safe {
            Swift.print("  \(finding.severity.rawValue): \(finding.object) (\(finding.size) bytes): \(finding.reason)")
            Swift.print(
                "    \(finding.rule), by \(finding.path.joined(separator: " -> "))"
                    + (finding.source.map { " (\($0))" } ?? ""))
        }
        for function in skippedFunctions { Swift.print("  skipped: \(function): too long, or too many paths") }
        if undecodedPlaces > 0 {
            Swift.print(
                "  skipped: \(undecodedPlaces) places in \(undecodedFunctions) functions: the code there does not decode"
            )
        }
        if skippedRelocations > 0 {
            Swift.print("  skipped: \(skippedRelocations) relocations: damaged, or of an unknown type")
        }
        if skippedSymbols > 0 { Swift.print("  skipped: \(skippedSymbols) symbols: they lie outside their sections") }
    }

    /// Whether a finding is as bad as asked for.
    func fails(_ limit: Rule.Severity?) -> Bool {
        limit.map { limit in findings.contains { $0.severity >= limit } } ?? false
    }
}
