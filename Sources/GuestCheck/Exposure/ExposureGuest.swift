// SPDX-License-Identifier: MIT

// Boots a kernel and sees what it tells of its permutation: everything that a user
// and root can read is handed out and searched for the table, which is known from
// outside; the rights of other mappings are read off the page tables.

import Addressing
import Glibc
import PagePermutation

/// Boots a kernel and looks for its table in what it exposes.
///
/// - Parameters:
///   - expectation: the kernel, permuted or not.
///   - seeds: what the order is drawn from, where that is known: 32 bytes each.
///   - options: how the guest is started; modules and exercise do not matter here.
///   - progress: told a short line at each stage.
/// - Throws: `GuestError` when the guest did not come as far as to be judged.
public func exposeGuest(
    _ expectation: GuestExpectation, seeds: [[UInt8]] = [], options: GuestOptions = GuestOptions(),
    progress: (String) -> Void = { _ in }
) async throws(GuestError) -> ExposureResult {
    try await exposeGuest(expectation, seeds: seeds, options: options, tampering: { _, _, _ in }, progress: progress)
}

/// A real-time kernel takes QEMU's serial port, when much goes through it, for broken: it sees interrupts that its thread
/// has served already, and switches them off.
private let quiet = "noirqdebug"

/// - Parameter tampering: what becomes of the stopped guest's memory before its mappings are looked at, for tests of that.
func exposeGuest(
    _ expectation: GuestExpectation, seeds: [[UInt8]], options: GuestOptions,
    tampering: (_ running: GuestExpectation, PageTables, borrowing GuestMemory) -> Void, progress: (String) -> Void
) async throws(GuestError) -> ExposureResult {
    guard case .linux = expectation.userspace else { throw .exposure("\(expectation.kernelPath): not Linux") }
    let start = ContinuousClock.now
    let deadline = start + .seconds(options.timeout)
    let emulator = try findProgram(options.emulator ?? expectation.machine.emulator)
    guard unsafe access(expectation.kernelPath, R_OK) == 0 else {
        throw .system(operation: "read", path: expectation.kernelPath, errno: errno)
    }
    var memory = try GuestMemory(size: options.memory << 20)
    let directory = try makeTemporaryDirectory()
    let console = options.logPath ?? "\(directory)/console"
    let stream = "\(directory)/exposed"
    var options = options
    options.isVictim = true
    options.secondSerialPort = stream
    options.extraCommandLine = [quiet, options.extraCommandLine].filter { !$0.isEmpty }.joined(separator: " ")
    let arguments = Machine.arguments(options, expectation, directory: directory, console: console, ram: memory.path)
    var result = try await Guardian.with(directory: directory, command: [emulator] + arguments) {
        guardian throws(GuestError) in
        try options.firmware.prepare(in: directory)
        try Initramfs.write(
            to: Machine.initramfs(options, in: directory), busybox: try staticBusybox(options), modules: [],
            script: ExposureScript.text)
        try makePrivate(console)
        progress("starting QEMU")
        var machine = try await Machine(guardian, until: deadline)
        do throws(Interruption) {
            try await machine.debugger.greet(until: ContinuousClock.now + .seconds(60))
        } catch .cancelled {
            throw .cancelled
        } catch {
            throw .exposure("QEMU's debugger port does not do as it is asked: \(error)")
        }
        progress("having the guest read")
        let roots: [PageTables]
        do throws(Interruption) {
            try machine.debugger.go()
            while !Exercise(parsing: read(console)).isDone {
                try machine.monitor.stillThere()
                try await pause(until: deadline, for: .milliseconds(50))
            }
            try await machine.debugger.interrupt(until: deadline)
            roots = try await machine.survey(&memory, until: deadline)
        } catch .cancelled {
            throw .cancelled
        } catch {
            throw .exposure("\(error); its last lines: \(lastLines(read(console), 3).joined(separator: "; "))")
        }
        if let failed = Exercise(parsing: read(console)).checks.first(where: { $0.outcome == .fail }) {
            throw .exposure(failed.detail)
        }
        progress("searching")
        return try expectation.exposure(in: stream, seeds, roots, memory, tampering)
    }
    result.seconds = (ContinuousClock.now - start) / .seconds(1)
    return result
}

extension GuestExpectation {
    fileprivate func exposure(
        in stream: String, _ seeds: [[UInt8]], _ roots: [PageTables], _ memory: borrowing GuestMemory,
        _ tampering: (GuestExpectation, PageTables, borrowing GuestMemory) -> Void
    ) throws(GuestError) -> ExposureResult {
        let running: GuestExpectation
        do throws(GuestError) {
            running = try self.running(roots, memory)
        } catch .unfit(let why) {
            throw .exposure(why)
        }
        let bytes = try unpacked(stream)
        let files: ExposedFiles
        do throws(ExposureFlaw) {
            files = try ExposedFiles(parsing: bytes)
        } catch {
            throw .exposure("what the guest handed out is damaged: \(error)")
        }
        let tables = roots[0].kernelRoot(topLevel: running.topLevelPageTable, in: memory)
        let isBaseSecret = if case .fixed = placement { false } else { true }
        let search = TableSearch(
            running.table, linkedBase: table.virtualBase, isBaseSecret: isBaseSecret, seeds: seeds)
        tampering(running, tables, memory)
        return ExposureResult(
            movedPages: running.table.movedCount, interfaces: files.views(search),
            aliases: running.aliases(tables, memory), tablePlace: running.tablePlace(tables, memory),
            seedsInMemory: seeds.isEmpty ? nil : seeds.reduce(0) { $0 + memory.offsets(of: $1).count })
    }

    /// A kernel's own copy is in one piece; those that root read are not.
    private func tablePlace(_ tables: PageTables, _ memory: borrowing GuestMemory) -> TablePlace? {
        let bytes = table.bytes
        for offset in memory.offsets(of: Array(bytes.prefix(TableLookup.headerBytes))) {
            guard memory.bytes(atOffset: offset, count: bytes.count) == bytes,
                let address = memory.map.address(ofOffset: offset)
            else { continue }
            let first = PhysicalAddress(address.rawValue & ~UInt64(pageSize - 1))
            let shown = tables.kernelMappings(of: first..<address + UInt64(bytes.count), in: memory).map(\.translation)
            return TablePlace(
                address: address.rawValue, bytes: bytes.count, mapped: shown.count,
                writable: shown.count(where: \.writable), executable: shown.count(where: \.executable))
        }
        return nil
    }
}

extension ExposedFiles {
    /// What was found, by interface.
    func views(_ search: TableSearch) -> [ExposureInterface] {
        var interfaces = Interface.all.map { ExposureInterface(path: $0.path, what: $0.what) }
        var revealed = [[ExposureReader: Revealed]](repeating: [:], count: interfaces.count)
        for file in files {
            guard let index = Interface.index(of: file.path) else { continue }
            var found = search.look(at: file.bytes)
            if file.path.hasSuffix("/pagemap") { found.formUnion(search.frames(in: file.bytes)) }
            revealed[index][file.reader, default: Revealed()].formUnion(found)
            interfaces[index][file.reader].add(file, found)
        }
        for index in interfaces.indices {
            for reader in ExposureReader.allCases {
                let all = revealed[index][reader, default: Revealed()]
                interfaces[index][reader].pages = all.pages.count
            }
        }
        return interfaces
    }
}

extension ExposureInterface {
    init(path: String, what: String) {
        self.path = path
        self.what = what
    }

    public subscript(reader: ExposureReader) -> ExposureView {
        get { reader == .user ? user : root }
        set { if reader == .user { user = newValue } else { root = newValue } }
    }
}

extension ExposureView {
    fileprivate mutating func add(_ file: ExposedFile, _ found: Revealed) {
        files += 1
        if file.isOpen { open += 1 }
        bytes += file.bytes.count
        hasSeed = hasSeed || found.seed
        hasBase = hasBase || found.base
        if found.seed || !found.pages.isEmpty, telling.count < 20 { telling.append(file.path) }
    }
}
