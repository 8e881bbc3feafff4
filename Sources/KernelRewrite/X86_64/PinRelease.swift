// SPDX-License-Identifier: MIT

// Which pins go when translations ask a table. A page is pinned because somebody
// uses its frame as if it were the linear one. In a kernel whose translations ask,
// each such user gets the right frame from the table, or is still there and keeps
// the page where it is. So every pin has its users, and a page is released only if
// all users of it are known to ask:
//
//     a constant   the code that holds it: all that comes of it is a sum that asks
//     a rule       the functions that the rule names: all that they translate asks
//     else         what is touched before the mapping is live, what hardware, firmware, a
//                  hypervisor or a stranger's kernel reads, page tables in the image
//
// Modules translate on their own, with the kernel's offset: what the kernel
// exports keeps its place, too. And so does everything in a kernel of which it is
// not known that the translations that are left can reach none of it.

import Addressing
import Disassembly
import KernelImage

enum PinRelease {
    static func release(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ rewriting: Rewriting,
        _ translations: Translations
    ) -> KernelAnalysis {
        let left = Set(translations.left + rewriting.left.map(\.address))
        if let reason = obstacle(analysis, left) { return analysis.releasingNone(reason) }
        guard let exports = Exports.addresses(analysis.map, image) else {
            return analysis.releasingNone("what the kernel exports to modules cannot be read")
        }
        return release(
            analysis, image, Set(rewriting.places.flatMap(\.sites)).subtracting(left), exports, translations)
    }

    /// What holds when these sites ask and no other.
    static func release(
        _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ asking: Set<VirtualAddress>,
        _ exports: [VirtualAddress], _ translations: Translations
    ) -> KernelAnalysis {
        let users = Users(analysis, image, asking, translations)
        var held = [Bool](repeating: false, count: analysis.map.pageCount)
        var askers: [Int: [String]] = [:]
        for ground in analysis.grounds {
            let isExported = exports.contains { ground.object.contains($0) }
            let found = isExported ? nil : users.askers(of: ground.user, image)
            for page in analysis.map.pages(of: ground.object) {
                if let found { askers[page, default: []] += found } else { held[page] = true }
            }
        }
        for (site, addresses) in translations.constants where !asking.contains(site) {
            for page in addresses.compactMap({ analysis.map.page(of: $0) }) { held[page] = true }
        }
        return analysis.releasing(askers.filter { !held[$0.key] })
    }

    /// Why it is not known that no translation that is left reaches what could be released.
    private static func obstacle(_ analysis: KernelAnalysis, _ left: Set<VirtualAddress>) -> String? {
        let known = Set(Rules.leftAlone.flatMap { analysis.symbols.all($0.function) }.map(\.address))
        let unknown = left.sorted().first { site in
            guard let function = analysis.index.function(at: site) else { return true }
            return !known.contains(function.value)
        }
        return unknown.map { "it is not known what the translation at \($0) may reach, which asks no table" }
    }

    /// Who uses pinned pages, and whether they ask.
    private struct Users {
        let analysis: KernelAnalysis
        let asking: Set<VirtualAddress>
        let translations: Translations
        /// Functions that run before the order is in place: what they translate may be used later.
        let starting: Set<VirtualAddress>
        let offset: VirtualAddress?

        init(
            _ analysis: KernelAnalysis, _ image: borrowing KernelImage, _ asking: Set<VirtualAddress>,
            _ translations: Translations
        ) {
            self.analysis = analysis
            self.asking = asking
            self.translations = translations
            starting = Set(StartPath.functions(analysis, image).map(\.function.value))
            offset = analysis.symbols.optional("phys_base")?.address
        }

        /// What they are called, when all of them ask; nil when one does not, or is not known.
        func askers(of user: Ground.User, _ image: borrowing KernelImage) -> [String]? {
            switch user {
            case .fixed: return nil
            case .named(let place):
                guard let function = analysis.index.function(at: place), !starting.contains(function.value),
                    let sites = translations.askers[place], !sites.isEmpty, sites.isSubset(of: asking)
                else { return nil }
                return ["the code at \(place)"]
            case .functions(let names, let use):
                return names.allSatisfy { asks($0, image) } ? ["\(names.joined(separator: ", ")) (\(use))"] : nil
            }
        }

        /// Whether a function is there, translates something, and asks for all of that.
        private func asks(_ name: String, _ image: borrowing KernelImage) -> Bool {
            guard let offset else { return false }
            var sites: Set<VirtualAddress> = []
            let code = CodeReferences(analysis.map, analysis.symbols).functions([name], in: image)
            for function in code {
                guard let start = function.first?.instruction.address, !starting.contains(start) else { return false }
                for (instruction, named) in function where named.contains(where: { $0.address == offset }) {
                    sites.insert(instruction.address)
                }
            }
            return !sites.isEmpty && sites.isSubset(of: asking)
        }
    }
}
