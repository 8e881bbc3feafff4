// SPDX-License-Identifier: MIT

// Boots a kernel in a real QEMU and judges it from outside. Two looks at the
// guest's memory, one just after the boot stub and one at userspace, say
// whether every page lies where the table says and holds what it was loaded
// with; between them the guest exercises itself, and its log is read for
// trouble. A stock kernel that may lie anywhere gets the second look only.

import Addressing
import Glibc
import PagePermutation

/// Boots the image and checks it.
///
/// - Parameters:
///   - expectation: what the guest's memory must show.
///   - options: how the guest is started.
///   - progress: told a short line at each stage.
/// - Returns: the verdict, also when the guest never came up: that is a failed check.
/// - Throws: `GuestError` when the guest could not be judged at all.
public func checkGuest(
    _ expectation: GuestExpectation, options: GuestOptions = GuestOptions(), progress: (String) -> Void = { _ in }
) async throws(GuestError) -> GuestResult {
    let start = ContinuousClock.now
    let deadline = start + .seconds(options.timeout)
    let emulator = try findProgram(options.emulator ?? expectation.machine.emulator)
    for path in [expectation.kernelPath] + (options.kexecFrom.map { [$0] } ?? []) {
        guard unsafe access(path, R_OK) == 0 else { throw .system(operation: "read", path: path, errno: errno) }
    }
    var expectation = expectation
    expectation.demandedSources = options.sources
    expectation.demandedLevels = options.pagingMode?.levels
    var memory = try GuestMemory(size: options.memory << 20)
    let directory = try makeTemporaryDirectory()
    let console = options.logPath ?? "\(directory)/console"
    let arguments = Machine.arguments(
        options, expectation, directory: directory, console: console, ram: memory.path)

    var result = try await Guardian.with(directory: directory, command: [emulator] + arguments) {
        guardian throws(GuestError) in
        progress("preparing the guest")
        try options.firmware.prepare(in: directory)
        var exercise = try await PreparedExercise.make(
            expectation.userspace, options, in: directory, crashKernel: expectation.crashKernel)
        if expectation.machine == .virt, expectation.userspace == .selfChecking {
            exercise.expected["harts"] = "\(options.cpus) harts"
            if let mode = options.pagingMode { exercise.expected["paging"] = "\(mode.bits) bits of address" }
        }
        if options.kexecFrom != nil {
            try Initramfs.write(
                to: Machine.initramfs(options, in: directory), busybox: try findProgram(options.busybox),
                starting: expectation.kernelPath, initramfs: "\(directory)/initramfs",
                commandLine: Machine.commandLine(options, expectation))
        }
        try makePrivate(console)
        progress("starting QEMU")
        var machine = try await Machine(guardian, until: deadline)
        var result = try await judge(
            expectation, exercise, options.exercise, &machine, &memory, console, deadline, progress)
        if options.kexecFrom != nil { result.checks.insert(Kexec.check(read(console)), at: 1) }
        result.reducedBecause = exercise.reducedBecause
        let kept = options.logPath ?? "\(directory).log"
        let moved = options.logPath == nil && !result.passed ? unsafe rename(console, kept) == 0 : false
        if moved || options.logPath != nil { result.logPath = kept }
        return result
    }
    result.seconds = (ContinuousClock.now - start) / .seconds(1)
    return result
}

extension GuestExpectation {
    /// Where a vmlinuz is, which a crash can start; a vmlinux cannot be loaded for that.
    var crashKernel: String? {
        if case .fixed = placement { return nil }
        return kernelPath
    }

    /// The look at userspace, after a search where the kernel's place is not known.
    func lookAtUserspace(
        _ look: UserspaceLook, _ roots: [PageTables], _ memory: borrowing GuestMemory, name: String = "userspace"
    ) -> (look: GuestResult.Look?, checks: [GuestResult.Check]) {
        let (later, search) = atUserspace(look, roots, memory)
        guard let later else { return (nil, search) }
        let seen = later.lookAtUserspace(roots, memory, name: name)
        return (seen.look, search + seen.checks)
    }
}

extension GuestExpectation {
    /// The memory at a range of addresses as linked, wherever the kernel lies; that of a kernel that crashed is still
    /// there.
    fileprivate func keep(
        _ range: Range<VirtualAddress>, _ look: UserspaceLook, levels: Int, _ memory: borrowing GuestMemory
    ) -> (check: GuestResult.Check, bytes: [UInt8]?) {
        func failed(_ why: String) -> (GuestResult.Check, [UInt8]?) {
            (GuestResult.Check(name: "notes", outcome: .fail, detail: why), nil)
        }
        guard case .known(let known) = look, let root = known.topLevelPageTable else {
            return failed("it is not known where the kernel lies")
        }
        let slide = known.table.virtualBase.rawValue &- table.virtualBase.rawValue
        let tables = PageTables(root: root, levels: levels)
        var bytes: [UInt8] = []
        for page in stride(from: range.lowerBound.rawValue, to: range.upperBound.rawValue, by: pageSize) {
            guard let physical = tables.translate(VirtualAddress(page &+ slide), in: memory)?.physical,
                let contents = memory.bytes(at: physical, count: pageSize)
            else { return failed("nothing is mapped at \(VirtualAddress(page &+ slide))") }
            bytes += contents
        }
        return (GuestResult.Check(name: "notes", outcome: .pass, detail: "\(bytes.count) bytes"), bytes)
    }
}

/// Runs the guest from its start to the end of its exercise, and looks twice.
private func judge(
    _ expectation: GuestExpectation, _ exercise: PreparedExercise, _ extent: ExerciseExtent,
    _ machine: inout Machine, _ memory: inout GuestMemory, _ console: String,
    _ deadline: ContinuousClock.Instant, _ progress: (String) -> Void
) async throws(GuestError) -> GuestResult {
    var result = GuestResult()
    var goal = "the end of the boot stub"
    var answers = exercise.expected
    var line: String?
    do throws(Interruption) {
        var look = UserspaceLook.known(expectation)
        switch expectation.placement {
        case .fixed:
            goal += " (\(expectation.stubEnd))"
            progress("running to \(goal)")
            try await machine.debugger.run(to: expectation.stubEnd, until: deadline)
            let first = expectation.lookAtStub(try await machine.survey(&memory, until: deadline)[0], memory)
            result.looks.append(first.look)
            result.checks += first.checks
            try await machine.debugger.detach(until: deadline)
        case .live(let derive):
            progress("running to \(goal)")
            let status: String?
            (look, status) = try await lookAtLiveTable(
                expectation, derive, &machine, &memory, console, deadline, &result)
            if let status, answers.keys.contains("announced") { answers["announced"] = status }
        case .described(let wanted):
            goal = "the kernel's first function (\(expectation.stubEnd))"
            progress("running to \(goal)")
            (look, line) = try await lookAtDescribed(
                expectation, wanted, &machine, &memory, console, deadline, &result)
        case .searched(let derive):
            look = .searched(derive)
            try await machine.debugger.detach(until: deadline)
        }

        goal = "the end of the exercise"
        progress("running to \(goal)")
        var attendance = Attendance(extent)
        while !Exercise(parsing: read(console)).isDone {
            try await pause(until: deadline, for: .milliseconds(50))
            try await attendance.attend(read(console), &machine, memory, until: deadline)
        }
        try await machine.monitor.stop(until: deadline)
        if case .known(let known) = look, case .live = expectation.placement, Hibernation.count(in: read(console)) > 0 {
            result.checks.append(Hibernation.check(known.table, resumedBy: attendance.resumedBy))
        }
        progress("comparing memory")
        let second: (look: GuestResult.Look?, checks: [GuestResult.Check])
        if let dump = exercise.dump, CrashDump.isWritten(read(console)) {
            second = expectation.lookAtDump(dump, look)
        } else {
            let roots = try await machine.survey(&memory, until: deadline)
            second = expectation.lookAtUserspace(look, roots, memory)
            if case .fixed = expectation.placement, expectation.protectsItself {
                let tables = roots[0].kernelRoot(topLevel: expectation.topLevelPageTable, in: memory)
                let rights = expectation.pageRights(tables, memory)
                result.rights = rights
                if let original = expectation.originalRights {
                    result.checks.append(expectation.compare(rights, with: original))
                }
            }
        }
        if let notes = expectation.notes {
            let levels = try await machine.survey(&memory, until: deadline)[0].levels
            let (check, bytes) = expectation.keep(notes, look, levels: levels, memory)
            result.checks.append(check)
            result.notes = bytes
        }
        if case .known(let known) = look {
            result.transfers = Transfers.parse(read(console), known.table)
            result.table = known.table.bytes
        }
        if let look = second.look { result.looks.append(look) }
        result.checks += second.checks
        result.checks.insert(GuestResult.Check(name: "boot", outcome: .pass, detail: "reached \(goal)"), at: 0)
    } catch .cancelled {
        throw .cancelled
    } catch {
        let failure = GuestResult.Check(
            name: "boot", outcome: .fail, detail: "never reached \(goal): \(error)",
            examples: lastLines(read(console), 20))
        result.checks.insert(failure, at: 0)
    }
    let log = read(console)
    let troubles = KernelLog.troubles(in: log)
    result.checks.append(
        GuestResult.Check(
            name: "kernel-log", outcome: troubles.isEmpty ? .pass : .fail,
            detail: troubles.isEmpty ? "no line speaks of trouble" : "\(troubles.count) lines speak of trouble",
            examples: Array(troubles.prefix(20))))
    if let line { result.checks.append(KernelLog.check(line, in: log)) }
    let reports = Exercise(parsing: log)
    result.checks += reports.judged(against: reports.isDone ? answers : [:])
    return result
}

extension GuestOptions {
    /// What this way of starting leaves for a seed to be made of. After a kexec the firmware's tables are no longer
    /// where it put them.
    var sources: BootArea.Sources {
        if kexecFrom != nil { return .setupData }
        return firmware == .seabios ? [] : .efi
    }
}

/// The console so far; empty before QEMU has made it.
func read(_ console: String) -> String {
    String(decoding: (try? readFile(console)) ?? [], as: UTF8.self)
}
