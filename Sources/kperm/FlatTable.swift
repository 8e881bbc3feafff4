// SPDX-License-Identifier: MIT

// The table of a flat riscv64 Image. Its kernel learns where it was loaded when it
// starts, so the file alone gives distances from there.

import Addressing
import KernelImage
import KernelRewrite
import PagePermutation

func openInput(_ path: String) throws -> MappedFile {
    do {
        return try MappedFile.open(path)
    } catch {
        throw CommandFailure.input("\(error)")
    }
}

private func flatTable(_ path: String, _ physicalBase: String?) throws -> TranslationTable {
    let image = try openFlat(path)
    switch image.mode {
    case .linear: throw CommandFailure.input("\(path): not permuted: kperm permute makes one that is")
    case .drawnAtBoot:
        throw CommandFailure.input(
            "\(path): draws its order at every boot: kperm table --from-memory FILE reads it in the running kernel")
    case .baked: break
    }
    let base = try physicalBase.map { text in
        guard let number = parseNumber(text), number % UInt64(pageSize) == 0 else {
            throw CommandFailure.input("--physical-base \(text): takes the address of a page")
        }
        return number
    }
    return TranslationTable(
        try attempt { () throws(RewriteError) in try image.permutation() }, virtualBase: image.virtualBase,
        physicalBase: PhysicalAddress(base ?? 0))
}

/// An option that another image would not heed.
private func refusePhysicalBase(_ path: String, _ physicalBase: String?) throws {
    guard physicalBase == nil else {
        throw CommandFailure.input("\(path): not a flat Image: it says itself where it is loaded (--physical-base)")
    }
}

extension Table {
    /// Of a flat Image; nil for any other.
    func flat(_ path: String) throws -> TranslationTable? {
        if try isFlat(path) { return try flatTable(path, physicalBase) }
        try refusePhysicalBase(path, physicalBase)
        return nil
    }
}

extension Translate {
    /// The lines for a flat Image; nil for any other.
    func flatLines() throws -> [Line]? {
        guard try isFlat(out) else {
            try refusePhysicalBase(out, physicalBase)
            return nil
        }
        let table = try flatTable(out, physicalBase)
        return try addresses.map { text in
            if reverse { return try fromPhysical(text, table) }
            guard let number = parseNumber(text) else {
                throw CommandFailure.input("\(out): a flat Image names nothing; give an address for \(text)")
            }
            guard let physical = table.physicalAddress(of: VirtualAddress(number)) else {
                throw CommandFailure.input("\(text): lies outside the image")
            }
            return Line(input: text, virtual: number.hex, physical: physical.description)
        }
    }
}
