// SPDX-License-Identifier: MIT

// A plan holds some 6 MB in arrays. In small pages each 4 KB of them cost a page
// fault, 1,700 in all and a fourteenth of what `permute` takes.

import CLinux
import Glibc

/// Lets the heap grow in steps of 16 MB, and asks for large pages under the first of them. Where there are none, the
/// heap is as it would be.
func useLargePages() {
    let step = 16 << 20
    mallopt(M_TOP_PAD, CInt(step))
    mallopt(M_TRIM_THRESHOLD, CInt(2 * step))
    mallopt(M_MMAP_THRESHOLD, CInt(step))
    guard let start = unsafe sbrk(0) else { return }
    unsafe UnsafeMutableRawPointer.allocate(byteCount: 1 << 20, alignment: 1).deallocate()
    let large = 2 << 20
    unsafe madvise(start.alignedUp(toMultipleOf: large), step - large, MADV_HUGEPAGE)
}
