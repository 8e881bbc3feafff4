// SPDX-License-Identifier: MIT

// Booting a flat riscv64 Image: what its guest must show. The kernel lies at a
// constant address, so the order is all that is to be learnt from its memory.

import Addressing
import GuestCheck
import KernelImage
import KernelRewrite
import PagePermutation
import SecureRandom

extension Boot {
    func runFlat() async throws {
        guard kexec == nil, exercise == .usual, !audit, modules == nil else {
            throw CommandFailure.input(
                "\(image): a flat Image boots with an --initramfs that has its modules and its exercise: it takes no "
                    + "--kexec, --exercise, --audit or --modules")
        }
        let flat = try openFlat(image)
        try checkLog(try openInput(image))
        if let initramfs { try checkLog(try openInput(initramfs)) }
        guard let count = `repeat` else {
            let result = try await boot(try expectation(flat, at: image))
            if !json { report(result, title: nil) }
            return try finish([result])
        }
        guard flat.mode != .linear else {
            throw CommandFailure.input("\(image): not permuted: --repeat draws anew what kperm permute made")
        }
        let scratch = try Scratch()
        var results: [GuestResult] = []
        for run in 1...count {
            progress("boot \(run) of \(count)")
            let drawn = flat.mode == .baked ? try redrawn(flat, to: "\(scratch.path)/image") : flat
            let result = try await boot(try expectation(drawn, at: drawn.path))
            results.append(result)
            if !json { report(result, title: "boot \(run) of \(count)") }
        }
        try finish(results)
    }

    /// The image in another order, drawn from a fresh seed.
    private func redrawn(_ flat: FlatImage, to path: String) throws -> FlatImage {
        let order: Permutation
        do {
            order = try flat.draw(from: try Seed.random())
        } catch {
            throw CommandFailure.input("\(error)")
        }
        let file = try openInput(flat.path)
        return try attempt { () throws(RewriteError) in
            let bytes = try FlatImage(flat.path, try flat.restored()).baked(order, crossClass: flat.isCrossClass)
            try writeImage(bytes, to: path, notOver: file, isSecret: true)
            return try FlatImage.open(path)
        }
    }

    private func expectation(_ flat: FlatImage, at path: String) throws -> GuestExpectation {
        guard let started = flat.started else {
            throw CommandFailure.input(
                "\(path): does not say where its first function lies: build it anew with tools/build-riscv64")
        }
        // What follows "--" is for init.
        let words = append.split(separator: " ").prefix { $0 != "--" }
        let isOff = words.last { $0 == "kperm=off" || $0 == "kperm=require" } == "kperm=off"
        let own = try attempt { () throws(RewriteError) in try flat.permutation() }
        let identity = Permutation(identity: flat.pageCount)
        var wanted: Permutation?
        switch flat.mode {
        case _ where isOff: wanted = identity
        case .baked, .linear: wanted = own
        case .drawnAtBoot: wanted = try words.last { $0.hasPrefix("kperm.seed=") }.flatMap { try drawn(flat, from: $0) }
        }
        let problem = try attempt { () throws(RewriteError) in try flat.problem(crossClass: flat.isCrossClass) }
        let pages = flat.pages(own)
        return GuestExpectation(
            kernelPath: path,
            table: TranslationTable(identity, virtualBase: flat.virtualBase, physicalBase: PhysicalAddress(0)),
            stubEnd: started, pages: flat.pageKinds, contents: { pages[$0.index] }, mayDifferAtStub: flat.startWrites,
            patchSites: flat.patchSites(in: pages), userspace: .given(initramfs: initramfs),
            placement: .described(
                DescribedOrder(problem: problem, order: wanted, isDrawnAtBoot: flat.mode == .drawnAtBoot)),
            expectsUnpermuted: isOff || flat.mode == .linear, machine: .virt)
    }

    /// The order that a seed on the command line gives; nil for what is no seed, which the kernel refuses.
    private func drawn(_ flat: FlatImage, from word: Substring) throws -> Permutation? {
        guard let seed = try? Seed.parse(hexadecimal: word.dropFirst("kperm.seed=".count)) else { return nil }
        do {
            return try flat.draw(from: seed)
        } catch {
            throw CommandFailure.input("\(error)")
        }
    }
}

extension FlatImage {
    /// What is demanded of each page. A pinned page is of the kind of the class that begins behind it: so the linker
    /// puts them.
    fileprivate var pageKinds: [PageKind] {
        let kindOf: [String: PageKind] = [
            "text": .text, "init-text": .initMemory, "init-data": .initMemory, "rodata": .rodata, "data": .data,
            "bss": .bss,
        ]
        var kinds = [PageKind](repeating: .other, count: pageCount)
        for pageClass in classes {
            for page in pageClass.ranges.joined() { kinds[page] = kindOf[pageClass.name] ?? .other }
        }
        let pinned = Set(pins.flatMap(\.pages))
        for page in kinds.indices.reversed() where pinned.contains(page) && page + 1 < pageCount {
            kinds[page] = kinds[page + 1]
        }
        return kinds
    }
}
