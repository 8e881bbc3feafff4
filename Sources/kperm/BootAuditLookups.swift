// SPDX-License-Identifier: MIT

// Of a kernel whose translations ask the table: how often they did while it was
// audited, how often for a page that moved, and whether its frame came out.

import Addressing
import HazardAudit
import KernelImage
import KernelRewrite
import PagePermutation

extension BootAuditReport {
    struct Lookups: Encodable {
        /// A constant at a place that asks no table, which names a page that moved.
        struct Constant: Encodable {
            let site: String
            let object: String
        }

        /// Instructions that ask the table and note what comes out.
        let places: Int
        /// How often an observed place was reached, with whatever address; nil when the notes could not be read.
        let reached: UInt64?
        /// Of these, those with addresses of pages that moved; nil also when the order is not known.
        let ofMoved: UInt64?
        /// Of all with addresses of the image, those that gave another frame than the page's.
        let wrong: UInt64?
        let wrongConstants: [Constant]

        init(
            _ found: TranslationSites, _ instrumentation: Instrumentation, _ seen: SeenTranslations?,
            _ subject: AuditSubject, _ order: TranslationTable?
        ) {
            places = instrumentation.notes.count(where: \.asksTable)
            reached = seen?.reached
            ofMoved = order == nil ? nil : seen?.ofMoved
            wrong = order == nil ? nil : seen?.wrong
            let asking = Set(instrumentation.notes.filter(\.asksTable).flatMap(\.sites))
                .subtracting(instrumentation.left.map(\.address))
            wrongConstants = found.sites.filter { !asking.contains($0.address) }.flatMap { site in
                site.constants.filter { constant in
                    guard let order, !subject.stays(constant), let page = subject.kernel?.map.page(of: constant)
                    else { return false }
                    return order.forward[page] != UInt32(page)
                }
                .map { Constant(site: site.place, object: subject.describe($0)) }
            }
        }

        func print() {
            guard let reached, let ofMoved, let wrong else { return }
            Swift.print(
                "lookups: \(places) places ask the table; \(reached) translations in all, \(ofMoved) of pages that moved, "
                    + "\(wrong) wrong")
            for constant in wrongConstants {
                Swift.print("  wrong \(constant.site): asks no table for \(constant.object), whose page moved")
            }
        }

        /// Why the kernel does not pass.
        var problem: String? {
            guard let wrong, let ofMoved else {
                return "what order the kernel ran with is not known: its lookups cannot be judged"
            }
            if wrong > 0 { return "\(wrong) translations gave another frame than the page's" }
            if !wrongConstants.isEmpty {
                return "\(wrongConstants.count) constants at places that ask no table name pages that moved"
            }
            return ofMoved == 0 ? "no address of a page that moved was translated: nothing is shown" : nil
        }
    }
}
