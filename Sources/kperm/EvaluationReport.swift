// SPDX-License-Identifier: MIT

// An evaluation of one image.

import Addressing
import KernelImage
import KernelRewrite
import PagePermutation
import Report
import SecureRandom
import SecurityEvaluation

/// What is known to be written by attacks, and why.
private let knownTargets = [
    ("modprobe_path", "a program of the attacker's that the kernel then runs as root"),
    ("core_pattern", "the same, at the next crash of a process"),
    ("poweroff_cmd", "the same, when the machine is shut down"),
    ("sys_call_table", "where system calls go"),
    ("__x64_sys_getuid", "code that runs at a system call"),
    ("init_task", "the credentials of all kernel threads"),
    ("idt_table", "where interrupts go"),
]

extension EvaluationReport {
    init(
        _ subject: borrowing EvaluationSubject, targets: [String], guesses: [Int], leaks: [Int], memory: UInt64
    ) throws {
        let (analysis, problem) = (subject.analysis, subject.problem)
        let (file, map, classes) = (subject.kernel.path, analysis.map, problem.figures)
        let demands: [DemandFigures]
        do { demands = try problem.demands() } catch { throw CommandFailure.input("\(file): \(error)") }
        let alignment = subject.kernel.segments.filter { $0.type == Segment.load }.map(\.alignment).max() ?? 1
        let kaslr = KASLRSlots(
            imageSize: UInt64(max(map.pageCount * pageSize, subject.unpackedSize)), lowest: map.physicalBase.rawValue,
            alignment: max(alignment, UInt64(pageSize)), memory: memory)
        let found = try Self.targets(targets, in: subject, guesses: guesses, kaslr)
        let aim = found.first { $0.candidates > 1 } ?? found.first
        let counts = try SymbolCounts(subject.kernel)
        let moving = aim.flatMap { problem.movingClass(of: $0.page) }
        let addresses = try Addresses(subject.kernel)
        // The function that draws it.
        let isMapDrawn = (try? addresses.range("kernel_randomize_memory", in: subject.kernel)) != nil
        self.init(
            file: file, release: analysis.release, state: subject.state, granule: problem.granule.rawValue,
            pages: map.pageCount, counted: analysis.countedPages,
            limits: [
                "Virtual addresses do not change: no gadget, no function and no variable moves for code that is led astray.",
                "Whoever reads physical memory finds pages by their contents, and the page tables.",
                "Pinned pages lie where the public image says, moved only by KASLR.",
                "So do the page tables, kperm's own right behind the image: one blind write to an entry there puts another "
                    + "page under a kernel address, and needs no guess.",
                "Bits are of one page's place; the order as a whole has many more, which no single attack faces.",
                "All figures are for a seed that nobody can guess. A vmlinuz that draws on a machine without RDRAND, RDSEED "
                    + "and a seed from its loader has little more than the time; the kernel log says weak entropy then.",
            ],
            classes: classes, demands: demands, targets: found,
            leaks: classes.filter { $0.candidates > 1 }.map { figures in
                ClassLeaks(
                    name: figures.name,
                    leaks: leaks.filter { $0 <= figures.candidates }.map { LeakFigures(figures, leaked: $0) })
            },
            fingerprints: problem.fingerprints(contents: subject.contents()), kaslr: kaslr,
            comparison: aim.map { aim in
                DefenceRow.all(
                    ComparisonInput(
                        kaslr: kaslr, linearMap: isMapDrawn ? KASLRSlots.linearMap(memory: memory) : 1,
                        functions: counts.functions, objectFiles: counts.objectFiles,
                        targetIsCode: aim.pageClass?.hasSuffix("text") ?? false,
                        target: problem.place(of: aim.page).distribution,
                        bitsWithoutPosition: aim.bitsWithoutPosition,
                        bitsAfterOneLeak: moving.map { LeakFigures(classes[$0], leaked: 1).bitsOfOthers } ?? 0))
            } ?? [],
            comparedTarget: aim?.name ?? "none", exposed: Self.exposed(problem) + Self.ownMemory(subject.analysis),
            structure: subject.forward.map { problem.structure(of: $0) })
    }

    /// What was asked for by name or address; without, what attacks are known to write.
    private static func targets(
        _ names: [String], in subject: borrowing EvaluationSubject, guesses: [Int],
        _ kaslr: KASLRSlots
    ) throws -> [Target] {
        let addresses = try Addresses(subject.kernel)
        var found: [Target] = []
        for name in names {
            let address = try addresses.range(name, in: subject.kernel).lowerBound
            found.append(try target(name, address, nil, in: subject, guesses, kaslr))
        }
        if names.isEmpty {
            for (name, use) in knownTargets {
                guard let address = try? addresses.range(name, in: subject.kernel).lowerBound else { continue }
                found.append(try target(name, address, use, in: subject, guesses, kaslr))
            }
        }
        return found
    }

    private static func target(
        _ name: String, _ address: VirtualAddress, _ use: String?, in subject: borrowing EvaluationSubject,
        _ guesses: [Int], _ kaslr: KASLRSlots
    ) throws -> Target {
        guard let page = subject.analysis.map.page(of: address) else {
            throw CommandFailure.input("\(name): \(address) lies outside the image")
        }
        let place = subject.problem.place(of: page)
        let distribution = place.distribution
        return Target(
            name: name, use: use, address: address.description, page: page, pageClass: place.name,
            candidates: distribution.candidates, targetBits: distribution.bits.rounded6,
            minEntropy: distribution.minEntropy.rounded6,
            bitsWithoutPosition: subject.problem.minEntropyWithoutPosition(of: page, kaslr).rounded6,
            expectedGuessesSameOrder: distribution.expectedGuesses(.sameOrder).rounded6,
            expectedGuessesFreshOrder: distribution.expectedGuesses(.freshOrder).rounded6,
            isBound: distribution.isBound,
            chances: guesses.map {
                Chance(
                    guesses: $0, sameOrder: distribution.success(within: $0, .sameOrder).rounded6,
                    freshOrder: distribution.success(within: $0, .freshOrder).rounded6)
            },
            stays: distribution.candidates > 1 ? nil : reason(page, subject.analysis, subject.problem))
    }

    private static func exposed(_ problem: PermutationProblem) -> [Exposed] {
        var exposed: [String: (pages: Set<Int>, evidence: Set<String>)] = [:]
        for pin in problem.pins {
            exposed[pin.reason, default: ([], [])].pages.formUnion(pin.pages)
            exposed[pin.reason, default: ([], [])].evidence.insert(pin.evidence)
        }
        return exposed.map { reason, all in
            Exposed(reason: reason, pages: all.pages.count, evidence: all.evidence.sorted())
        }.sorted { ($1.pages, $0.reason) < ($0.pages, $1.reason) }
    }

    /// What kperm itself puts beside the image, where a computed distance leads.
    private static func ownMemory(_ analysis: KernelAnalysis) -> [Exposed] {
        let pages = analysis.map.pageCount
        func wholePages(_ bytes: Int) -> Int { (bytes + pageSize - 1) / pageSize }
        return [
            Exposed(
                reason: "kperm's page tables of the image: who can write one needs no guess",
                pages: wholePages(pages * MemoryLayout<UInt64>.size),
                evidence: ["beside the image, in frames that stay"]),
            Exposed(
                reason: "kperm's translation table: who can read it knows every frame",
                pages: wholePages(TableLookup.byteCount(pages: pages)),
                evidence: ["beside the image, in frames that stay"]),
        ]
    }

    /// Why a page stays.
    private static func reason(_ page: Int, _ analysis: KernelAnalysis, _ problem: PermutationProblem) -> String {
        if let pin = problem.pins.first(where: { $0.pages.contains(page) }) { return pin.reason }
        if let nature = analysis.exclusions.first(where: { $0.pages.contains(page) }) { return nature.reason }
        return "its granule of \(problem.granule.rawValue) is not whole in its class, or holds a pinned page"
    }
}

/// Of how many parts other defences would make an order.
private struct SymbolCounts {
    var functions = 0
    var objectFiles = 0

    init(_ image: borrowing KernelImage) throws {
        let table: SymbolTable?
        do { table = try image.symbols() } catch { throw CommandFailure.input("\(error)") }
        guard let table else { return }
        functions = Set(table.symbols.filter { $0.kind == .function && $0.size > 0 }.map(\.value)).count
        objectFiles = table.symbols.count { $0.kind == .file }
    }
}

extension EvaluationSubject {
    /// For each page a number that equal contents share; nil where the file has no bytes.
    fileprivate func contents() -> [Int?] {
        var groups: [String: Int] = [:]
        var numbers: [Int?] = []
        for page in 0..<analysis.map.pageCount {
            guard analysis.map.entries[page].fileBytes > 0 else {
                numbers.append(nil)
                continue
            }
            let hash = contentHash(analysis.map.contents(of: page, in: kernel))
            let number = groups[hash] ?? groups.count
            groups[hash] = number
            numbers.append(number)
        }
        return numbers
    }

    /// Those of all code that the image keeps when it runs.
    func gadgets() -> GadgetFigures {
        let thunk = (try? Addresses(kernel).range("__x86_return_thunk", in: kernel))?.lowerBound
        var count = GadgetCount()
        for segment in kernel.segments where segment.type == Segment.load && segment.flags & 1 != 0 {
            let range = Int(segment.offset)..<Int(segment.offset + segment.fileSize)
            count.add(kernel.file.bytes.extracting(range), at: segment.virtualAddress, returnThunk: thunk)
        }
        return count.figures
    }
}
