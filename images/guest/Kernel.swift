// SPDX-License-Identifier: MIT

// A kernel whose only work is to check that its own pages are where virt_to_phys says they are. It is
// what kperm permutes when no real kernel is at hand, in the way it permutes Linux's, and it speaks the
// same protocol as the exercise that runs inside Linux: one line a check, then `done`.

/// What a check found: how much it looked at, the first address that is wrong, or why it did not look.
enum Verdict {
    case pass(Int, StaticString)
    case fail(UInt64)
    case skip(StaticString)
}

/// Called by entry.S on the kernel's stack; after it the processor halts, to be inspected from outside.
@c(start_kernel) public func startKernel(startInfo: UInt64) {
    let translation = Translation()
    let checks: [8 of (name: StaticString, verdict: Verdict)] = [
        ("start-info", checkStartInfo(startInfo)),
        ("checksum", checkChecksum(translation)),
        ("page-walk", checkPageWalk(translation)),
        ("contents", checkContents(translation)),
        ("text-calls", checkTextCalls()),
        ("bss", checkBss(translation)),
        ("linear", checkLinear()),
        ("offset-lookup", checkOffsets(translation)),
    ]
    var failed = 0
    for i in checks.indices {
        report(checks[i].name, checks[i].verdict)
        if case .fail = checks[i].verdict { failed += 1 }
    }
    #if arch(riscv64)
        report("paging", checkPaging())
        report("harts", checkHarts())
    #endif
    #if DISK
        report("disk", readSector())
    #endif
    summarize(translation, failed: failed)
    Console.write("kperm-exercise: done\n")
}

private func report(_ name: StaticString, _ verdict: Verdict) {
    Console.write("kperm-exercise: ")
    Console.write(name)
    switch verdict {
    case .pass(let count, let things):
        Console.write(" pass ")
        Console.write(count)
        Console.write(things)
    case .fail(let address):
        Console.write(" fail at ")
        Console.write(hex: address)
    case .skip(let reason):
        Console.write(" skip ")
        Console.write(reason)
    }
    Console.write("\n")
}

private func summarize(_ translation: Translation, failed: Int) {
    let classes: [5 of (start: UInt64, end: UInt64)] = [
        (textStart(), textEnd()), (rodataStart(), rodataEnd()), (dataStart(), dataEnd()),
        (initStart(), initEnd()), (bssStart(), bssEnd()),
    ]
    var pages = 0
    var moved = 0
    for i in classes.indices {
        for page in stride(from: classes[i].start, to: classes[i].end, by: Int(pageBytes)) {
            pages += 1
            if translation.physical(page) != Translation.linear(page) { moved += 1 }
        }
    }
    Console.write("kperm-sample: ")
    Console.write(pages)
    Console.write(" pages, ")
    Console.write(moved)
    Console.write(" moved, ")
    if failed == 0 {
        Console.write("table and page tables agree\n")
    } else {
        Console.write(failed)
        Console.write(" checks failed\n")
    }
}

/// The loader's argument came through, in the register where the loader's path left it.
private func checkStartInfo(_ address: UInt64) -> Verdict {
    guard isStartInfo(address) else { return .fail(address) }
    return .pass(1, " structure")
}

private func checkChecksum(_ translation: Translation) -> Verdict {
    guard let table = unsafe translation.table else { return .skip("no table: not permuted") }
    let bytes = unsafe table.bytes
    let stored = TableLookup.read(bytes, TableLookup.checksumOffset, UInt32.self)
    guard TableLookup.checksum(bytes) == stored else { return .fail(UInt64(UInt(bitPattern: table.baseAddress))) }
    return .pass(bytes.byteCount, " bytes of table")
}

/// For every page of the image the page tables and virt_to_phys agree, and phys_to_virt leads back.
private func checkPageWalk(_ translation: Translation) -> Verdict {
    var pages = 0
    for page in stride(from: imageStart(), to: imageEnd(), by: Int(pageBytes)) {
        let physical = translation.physical(page)
        guard pageWalk(page) == physical, translation.virtual(physical) == page else { return .fail(page) }
        pages += 1
    }
    return .pass(pages, " pages")
}

/// Every filler page reads right at its virtual address, and at the physical one that virt_to_phys gives.
private func checkContents(_ translation: Translation) -> Verdict {
    let fillers: [4 of Filler] = [.text, .rodata, .data, .initData]
    var pages = 0
    for i in fillers.indices {
        if let wrong = firstWrongWord(fillers[i], translation) { return .fail(wrong) }
        pages += fillers[i].pages
    }
    return .pass(pages, " pages")
}

private func firstWrongWord(_ filler: Filler, _ translation: Translation) -> UInt64? {
    for address in filler.words {
        let expected = filler.word(for: address)
        let physical = translation.physical(address)
        guard word(at: address) == expected, isMemory(physical), word(at: physical) == expected else {
            return address
        }
    }
    return nil
}

/// Every page of filler text runs, and is the page that it should be.
private func checkTextCalls() -> Verdict {
    for page in 0..<Filler.text.pages {
        guard Int(callFillerText(UInt32(page))) == page else {
            return .fail(Filler.text.start + UInt64(page) * pageBytes)
        }
    }
    return .pass(Filler.text.pages, " functions")
}

/// What a kernel computes that knows of no table: true only of pages in their own frames.
private func checkLinear() -> Verdict {
    let address = Filler.data.start
    guard linear_physical(address) == Translation.linear(address) else { return .fail(address) }
    return .pass(1, " address")
}

/// The quickest way to read a table gives the same answers, inside the image and outside.
private func checkOffsets(_ translation: Translation) -> Verdict {
    let base = imageStart()
    let target = Translation.linear(base)
    let pages = (imageEnd() - base) / pageBytes
    for page in 0...pages {
        let frame = page == pages ? page : (translation.physical(base + page * pageBytes) - target) / pageBytes
        store(OffsetLookup.entry(page: page, frame: frame, base: base, target: target), at: heap + 8 * page)
    }
    guard let offsets = unsafe UnsafeRawPointer(bitPattern: UInt(heap)) else { return .fail(heap) }
    for page in 0..<pages + 1 {
        let address = base + page * pageBytes + page
        let found = unsafe OffsetLookup.translate(
            address, minusBase: 0 &- base, pages: pages, outside: pages, offsets: offsets)
        guard found == translation.physical(address) else { return .fail(address) }
    }
    return .pass(Int(pages), " pages")
}

/// .bss starts as zeros and keeps what is written, seen by both addresses.
private func checkBss(_ translation: Translation) -> Verdict {
    for address in stride(from: bssStart(), to: bssEnd(), by: 8) {
        guard word(at: address) == 0 else { return .fail(address) }
    }
    let filler = Filler.bss
    for address in filler.words {
        store(filler.word(for: address), at: address)
    }
    if let wrong = firstWrongWord(filler, translation) { return .fail(wrong) }
    return .pass(filler.pages, " pages")
}
