// SPDX-License-Identifier: MIT

// A kernel whose translations ask the table: which do, and which are left as they
// are and why.

public import Addressing
public import Disassembly
import KernelImage
import PagePermutation

/// What is changed for it.
public struct Rewriting: Sendable {
    /// A place that asks the table.
    public struct Place: Equatable, Sendable {
        /// The instructions that read the offset which is added here.
        public let sites: [VirtualAddress]
        /// The instruction that adds it, as the original has it.
        public let place: VirtualAddress
        /// What holds the address.
        public let register: GeneralRegister
    }

    let code: DetourCode
    public private(set) var lookups: KernelLookups
    /// What it notes while it runs; nil for a kernel to be used.
    let instrumentation: Instrumentation?
    /// Where the table lies, as linked.
    public var table: Range<VirtualAddress> {
        lookups.table..<lookups.table + UInt64(LookupTable.byteCount(pages: lookups.pages))
    }
    /// Where the kernel goes by ranges of frames; nil when every class keeps its own.
    public let frameTests: FrameTests?
    /// The tables and the code.
    private var room: Change
    /// What leads there.
    private var leads: [Change]

    init(
        _ code: DetourCode, lookups: KernelLookups, instrumentation: Instrumentation?, frameTests: FrameTests?,
        room: Change, leads: [Change]
    ) {
        self.code = code
        self.lookups = lookups
        self.instrumentation = instrumentation
        self.frameTests = frameTests
        self.room = room
        self.leads = leads
    }

    var changes: [Change] { room.byPage + leads }

    /// The same with the tables of another order.
    func asking(_ order: TranslationTable) -> Rewriting {
        var other = self
        let bytes = LookupTable.bytes(order) + (frameTests == nil ? [] : LookupTable.inverseBytes(order))
        other.room.after.replaceSubrange(0..<bytes.count, with: bytes)
        return other
    }

    /// Has the kernel refuse modules that translate and were not rewritten for it: it demands another version of the
    /// symbol by which they do.
    ///
    /// - Throws: `RewriteError.unsupported` for a kernel that keeps no versions.
    mutating func bindModules(_ analysis: KernelAnalysis, _ image: borrowing KernelImage) throws(RewriteError) {
        guard let version = Exports.version(of: "phys_base", analysis.map, image),
            let fileOffset = analysis.map.fileOffset(of: version.address)
        else {
            throw .unsupported(
                file: image.path,
                "--modules: the kernel keeps no versions of its symbols (CONFIG_MODVERSIONS), so nothing would keep modules "
                    + "of another kernel from it")
        }
        let bound = lookups.version(from: version.value)
        lookups.version = bound
        leads.append(
            Change(
                fileOffset: fileOffset, address: version.address, before: bytes(bound.original),
                after: bytes(bound.own),
                reason: "modules that translate must be those rewritten for this kernel",
                evidence: "the version of phys_base in __kcrctab"))
    }

    private func bytes(_ version: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: version)
        return bytes
    }

    public var places: [Place] {
        code.led.flatMap(\.detour.looks).filter { $0.asksTable && frameTests?.step(at: $0.place) == nil }.map {
            Place(sites: $0.sites, place: $0.place, register: $0.register)
        }
    }

    /// Sites of which a place was left, ascending, and why.
    public var left: [(address: VirtualAddress, reason: String)] { code.left }

    /// Bytes of code and tables.
    public var byteCount: Int { code.bytes.count }
}

extension Change {
    /// The same, a page at a time.
    fileprivate var byPage: [Change] {
        guard let address else { return [self] }
        var changes: [Change] = []
        var at = 0
        while at < after.count {
            let count = Swift.min(after.count - at, pageSize - Int((address + UInt64(at)).offsetInPage))
            changes.append(
                Change(
                    fileOffset: fileOffset + at, address: address + UInt64(at), before: Array(before[at..<at + count]),
                    after: Array(after[at..<at + count]), reason: reason, evidence: evidence))
            at += count
        }
        return changes
    }
}
