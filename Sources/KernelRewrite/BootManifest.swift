// SPDX-License-Identifier: MIT

// What a kernel with a boot area says of itself: what was asked for. With it and
// the original, the plan can be made again, which is how it is proved.

import FoundationEssentials
import PagePermutation

/// What was asked of a kernel that is permuted while it starts.
public struct BootManifest: Codable, Equatable, Sendable {
    public let format: Int
    public let tool: String
    public let algorithm: Int
    public let when: When
    public let granule: String
    /// "given", "fresh", or "boot": where the seed comes from.
    public let seed: String
    public let pins: [Manifest.Constraint]
    /// "off" when pins were left out that only code shows.
    public let audit: String?
    public let glue: [Manifest.Constraint]
    /// "table" when translations ask one, "table and modules" when those of modules must, too.
    public let translations: String?
    /// Pages that no pin holds because they do; absent when there are none.
    public let released: [Manifest.Span]?

    init(_ request: Request, isDrawnAtBoot: Bool, tool: String) {
        format = 1
        self.tool = tool
        algorithm = Permutation.algorithm
        when = isDrawnAtBoot ? .boot : .build
        granule = request.granule.rawValue
        seed = isDrawnAtBoot ? "boot" : request.seedSource
        pins = request.pins.map { Manifest.Constraint($0) }
        glue = request.glue.map { Manifest.Constraint($0) }
        audit = request.leavesOutTranslated ? "off" : nil
        translations = request.translations
        released = Manifest.Span.list(request.released)
    }

    func encoded() -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return (try? Array(encoder.encode(self))) ?? []
    }

    static func decode(_ bytes: [UInt8], file: String) throws(RewriteError) -> BootManifest {
        do {
            return try JSONDecoder().decode(BootManifest.self, from: Data(bytes))
        } catch {
            throw .unsupported(file: file, "damaged: the manifest of the boot area does not parse")
        }
    }

    /// What was asked for.
    ///
    /// - Throws: `RewriteError.unsupported` for a granule or range that no tool of ours writes.
    public func request(file: String) throws(RewriteError) -> Request {
        guard let granule = Granule(rawValue: granule),
            (pins + glue).allSatisfy({ 0 <= $0.first && $0.first <= $0.end }),
            let released = Manifest.Span.ranges(released)
        else { throw .unsupported(file: file, "damaged: the boot area's manifest: granule or a page range") }
        var request = Request(
            granule: granule,
            pins: pins.map { Pin(pages: $0.first..<$0.end, reason: $0.reason, evidence: $0.evidence) },
            glue: glue.map { Glue(pages: $0.first..<$0.end, reason: $0.reason) },
            leavesOutTranslated: audit == "off", seedSource: seed, rewrites: translations != nil)
        request.bindsModules = translations == Request.tableAndModules
        request.released = released
        return request
    }
}

extension Manifest.Constraint {
    init(_ pin: Pin) {
        self.init(first: pin.pages.lowerBound, end: pin.pages.upperBound, reason: pin.reason, evidence: pin.evidence)
    }

    init(_ glue: Glue) {
        self.init(first: glue.pages.lowerBound, end: glue.pages.upperBound, reason: glue.reason, evidence: "")
    }
}
