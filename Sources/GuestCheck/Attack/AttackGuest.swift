// SPDX-License-Identifier: MIT

// Attacks that are really run: the guest boots, says what it sees, is stopped,
// gets bytes written into its memory past every mapping of its own, and goes
// on. The write goes through QEMU's debugger, which also drops what QEMU has
// translated of a page of code; a write into the RAM file would not.

import Addressing
import Glibc
import PagePermutation

/// Boots a kernel and attacks it.
///
/// - Parameters:
///   - expectation: the kernel, permuted or not.
///   - attack: what is tried.
///   - options: how the guest is started; modules and exercise do not matter here.
///   - progress: told a short line at each stage.
/// - Returns: how it went; a guest that crashes after the write is a result.
/// - Throws: `GuestError` when nothing could be attacked.
public func attackGuest(
    _ expectation: GuestExpectation, _ attack: Attack, options: GuestOptions = GuestOptions(),
    progress: (String) -> Void = { _ in }
) async throws(GuestError) -> AttackResult {
    guard case .linux = expectation.userspace else { throw .unfit("\(expectation.kernelPath): not Linux") }
    if let problem = attack.problem(imageBase: expectation.table.virtualBase, pageCount: expectation.pages.count) {
        throw .unfit(problem)
    }
    var restarts = 0
    while true {
        do throws(GuestError) {
            var result = try await attackOnce(expectation, attack, options, progress)
            result.restarts = restarts
            return result
        } catch .notReady(let why) where restarts < 1 {
            progress("starting again: \(why)")
            restarts += 1
        }
    }
}

/// For QEMU's answers, which come at once.
private let patience = Duration.seconds(60)

private func attackOnce(
    _ expectation: GuestExpectation, _ attack: Attack, _ options: GuestOptions, _ progress: (String) -> Void
) async throws(GuestError) -> AttackResult {
    let start = ContinuousClock.now
    let deadline = start + .seconds(options.timeout)
    let emulator = try findProgram(options.emulator ?? expectation.machine.emulator)
    guard unsafe access(expectation.kernelPath, R_OK) == 0 else {
        throw .system(operation: "read", path: expectation.kernelPath, errno: errno)
    }
    var options = options
    options.isVictim = true
    var memory = try GuestMemory(size: options.memory << 20)
    let directory = try makeTemporaryDirectory()
    let console = options.logPath ?? "\(directory)/console"
    let arguments = Machine.arguments(options, expectation, directory: directory, console: console, ram: memory.path)
    var result = try await Guardian.with(directory: directory, command: [emulator] + arguments) {
        guardian throws(GuestError) in
        try options.firmware.prepare(in: directory)
        try Initramfs.write(
            to: Machine.initramfs(options, in: directory), busybox: try staticBusybox(options), modules: [],
            script: AttackScript.text(reading: attack.target.command))
        try makePrivate(console)
        progress("starting QEMU")
        var machine = try await Machine(guardian, until: deadline)
        do throws(Interruption) {
            try await machine.debugger.greet(until: ContinuousClock.now + patience)
        } catch {
            throw .debuggerFailed(error)
        }
        progress("running to userspace")
        do throws(Interruption) {
            try await runToReading(&machine, console, deadline)
        } catch .cancelled {
            throw .cancelled
        } catch {
            throw .notReady("\(error); its last lines: \(lastLines(read(console), 3).joined(separator: "; "))")
        }
        progress("attacking")
        return try await attackRunning(expectation, attack, &machine, &memory, console)
    }
    result.seconds = (ContinuousClock.now - start) / .seconds(1)
    return result
}

/// Runs the guest until it has said what it sees.
private func runToReading(
    _ machine: inout Machine, _ console: String, _ deadline: ContinuousClock.Instant
) async throws(Interruption) {
    try machine.debugger.go()
    while AttackScript.readings(in: read(console)).isEmpty {
        try machine.monitor.stillThere()
        try await pause(until: deadline, for: .milliseconds(50))
    }
}

/// Stops the guest, attacks it, and watches what becomes of it.
private func attackRunning(
    _ expectation: GuestExpectation, _ attack: Attack, _ machine: inout Machine, _ memory: inout GuestMemory,
    _ console: String
) async throws(GuestError) -> AttackResult {
    let target = attack.target
    let roots: [PageTables]
    do throws(Interruption) {
        let deadline = ContinuousClock.now + patience
        try await machine.debugger.interrupt(until: deadline)
        roots = try await machine.survey(&memory, until: deadline)
    } catch {
        throw .debuggerFailed(error)
    }
    let before = AttackScript.readings(in: read(console))
    if let known = target.before, let wrong = before.first(where: { $0.text != known }) {
        throw .unfit("\(target.name): userspace sees '\(wrong.text)', the image has '\(known)' there")
    }
    let running = try expectation.running(roots, memory)
    let tables = roots[0].kernelRoot(topLevel: running.topLevelPageTable, in: memory)
    let offset = target.address - expectation.table.virtualBase
    let page = Int(offset / UInt64(pageSize))
    let place = tables.translate(running.table.virtualBase + offset, in: memory)?.physical
    var generator = SystemRandomNumberGenerator()
    let move = attack.move(page: page, running, tables, memory, using: &generator)
    var verdict = Aftermath.Verdict(outcome: .notFound, seen: before.last?.text)
    var written: PhysicalAddress?
    switch move {
    case .notFound: break
    case .refused(let why):
        verdict.outcome = .refused
        verdict.detail = why
    case .write(let frame):
        let address = running.physicalAddress(ofFrame: frame) + UInt64(target.address.offsetInPage)
        written = address
        do throws(Interruption) {
            try await machine.debugger.write(target.payload, at: address, until: ContinuousClock.now + patience)
            try machine.debugger.go()
        } catch {
            throw .debuggerFailed(error)
        }
        verdict = try await Aftermath(last: before.last?.number ?? 0, after: target.after).watch(console, &machine)
    }
    return AttackResult(attack, verdict, written: written, place: place, page: page, running)
}

extension GuestError {
    fileprivate static func debuggerFailed(_ why: Interruption) -> GuestError {
        why == .cancelled ? .cancelled : .unfit("QEMU's debugger port does not do as it is asked: \(why)")
    }
}
