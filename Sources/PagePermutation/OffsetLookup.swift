// SPDX-License-Identifier: MIT

// The quickest way to read a table: what to add to an address, one word a page.
//
// A table as TableLookup.swift describes it holds numbers, so a lookup has to take
// the address apart and to put another together: shift, mask, two bases to add.
// Where memory is cheaper than that, the differences are written out once:
//
//     u64[pages + 1]: for each page, where its first byte lies less where it shows;
//                     behind the last one the same of everything outside the image
//
// An address outside is the same addition, of the last entry, so nothing else has
// to be at hand for it. The other way, from physical to virtual addresses, is the
// same with both exchanged. Nothing of this is stored in an image: it is made where
// it is used, from the table there. Like TableLookup.swift this file imports nothing
// and allocates nothing, so that a kernel can be built with it.

/// Reads differences of addresses, one a page.
public enum OffsetLookup {
    /// The size in bytes of what so many pages need, one way.
    public static func byteCount(pages: Int) -> Int { 8 * (pages + 1) }

    /// The entry of a page, to be written when the array is made: modulo 2^64, as all sums here.
    ///
    /// - Parameters:
    ///   - frame: the page's frame; of an entry for everything outside the image, the page's own number.
    ///   - base: the address of the first page.
    ///   - target: the address of the first frame.
    public static func entry(page: UInt64, frame: UInt64, base: UInt64, target: UInt64) -> UInt64 {
        target &- base &+ (frame &- page) << 12
    }

    /// Where an address leads.
    ///
    /// - Parameters:
    ///   - minusBase: what brings the address of the first page to 0; added, because an addition keeps the address at no
    ///     cost, and a subtraction does not.
    ///   - outside: the index of the entry for addresses of no page, which is `pages`. It is an argument of its own so
    ///     that there is a branch, foreseen as a rule, where the minimum of two numbers would cost each lookup more.
    ///   - offsets: `pages` and one entries, in the processor's byte order; this is not checked.
    @unsafe @inlinable @inline(__always)
    public static func translate(
        _ address: UInt64, minusBase: UInt64, pages: UInt64, outside: UInt64, offsets: UnsafeRawPointer
    ) -> UInt64 {
        var page = (address &+ minusBase) >> 12
        if _slowPath(page >= pages) { page = outside }
        return unsafe address &+ (offsets + Int(truncatingIfNeeded: page) &* 8).load(as: UInt64.self)
    }
}
