// SPDX-License-Identifier: MIT

import ArgumentParser
import Glibc
import SecureRandom
import SecurityEvaluation

struct EvaluateRandomness: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "randomness",
        abstract: "Test whether all orders are as likely as each other.",
        discussion: """
            Draws orders as `kperm permute` does and counts: where pages lie (chi-square \
            over blocks), cycles, pages in their own frames, neighbours that still follow, how far neighbours lie from \
            each other and where; of four pages every single order. A test fails below p = 10^-6, and above 1 - 10^-6 where it counts many \
            things: so even are orders that take turns. Whether one order follows from the one before is not tested: every \
            boot and every permute has a seed of its own.

            --from FILE tests another generator: orders one after the other, the frame of each page as a 32-bit \
            little-endian number; `-` reads standard input. --stream prints random bytes as the drawing uses them, \
            without end, for other tests:

              kperm evaluate randomness
              kperm evaluate randomness --pages 4 --draws 10000000
              kperm evaluate randomness --stream | head -c 10000000 | ent
              kperm evaluate randomness --stream | dieharder -a -g 200

            Exit status: 0 all tests passed, 1 one failed, 2 bad usage or input.
            """)

    @Option(help: "Pages of an order.")
    var pages = 4096

    @Option(help: "How many orders are drawn.")
    var draws = 1_000_000

    @Option(help: "Read orders instead of drawing them.", completion: .file())
    var from: String?

    @Option(help: ArgumentHelp("The seed: 64 hexadecimal digits.", valueName: "hex"))
    var seed: String?

    @Flag(help: "Print random bytes.")
    var stream = false

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (4...1 << 20).contains(pages) else { throw ValidationError("--pages: 4 to 1048576") }
        guard (1000...1 << 32).contains(draws) else { throw ValidationError("--draws: 1000 to 4294967296") }
        if from != nil, seed != nil || stream { throw ValidationError("--from goes with neither --seed nor --stream") }
        if stream, json { throw ValidationError("--stream prints bytes, not JSON") }
    }

    struct Report: Encodable {
        let source: String
        let pages: Int
        let draws: Int
        let limit: Double
        let tests: [RandomnessTest]
    }

    func run() throws {
        if stream { return try printStream() }
        let tally = try from.map(read) ?? draw()
        let report = Report(
            source: from ?? "algorithm 1", pages: pages, draws: tally.draws, limit: RandomnessTest.limit,
            tests: tally.tests)
        if json {
            try printJSON(report)
        } else {
            print("\(report.draws) orders of \(pages) pages from \(report.source)")
            for test in report.tests {
                let degrees = test.degreesOfFreedom.map { "chi-square \(test.statistic.hundredths), \($0) degrees" }
                print(
                    "  \(test.passes ? "pass" : "FAIL")  \(test.name): "
                        + "\(degrees ?? "\(test.statistic.hundredths) deviations"), p = \(test.p)")
            }
        }
        let failed = report.tests.count { !$0.passes }
        if failed > 0 { throw CommandFailure.check("\(failed) of \(report.tests.count) tests failed") }
    }

    private func makeSeed() throws -> Seed {
        do {
            if let seed { return try Seed.parse(hexadecimal: seed) }
            return try Seed.random()
        } catch {
            throw CommandFailure.input("--seed: \(error)")
        }
    }

    private func draw() throws -> UniformityTally {
        let seed = try makeSeed()
        do {
            return try UniformityTally.drawing(draws, pageCount: pages, seed: seed) { share in
                progress("drawing: \(Int(share * 100)) %")
            }
        } catch {
            throw CommandFailure.input("\(error)")
        }
    }

    /// Counts orders as they come, however many there are.
    private func read(_ path: String) throws -> UniformityTally {
        let name = path == "-" ? "standard input" : path
        let descriptor = path == "-" ? dup(STDIN_FILENO) : unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw CommandFailure.input("\(name): cannot open: \(unsafe String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var tally = UniformityTally(pageCount: pages)
        var order = [UInt32](repeating: 0, count: pages)
        while true {
            let count = unsafe order.withUnsafeMutableBytes { unsafe fill($0, from: descriptor) }
            guard count >= 0 else {
                throw CommandFailure.input("\(name): cannot read: \(unsafe String(cString: strerror(errno)))")
            }
            if count == 0 { break }
            let place = tally.draws * pages * 4
            guard count == pages * 4 else {
                throw CommandFailure.input("\(name): ends inside the order of \(pages) pages at byte \(place)")
            }
            guard tally.add(order.map { UInt32(littleEndian: $0) }) else {
                throw CommandFailure.input(
                    "\(name): the \(4 * pages) bytes from \(place) on are no order of \(pages) pages; "
                        + "--pages says how many")
            }
        }
        guard tally.draws >= 1000 else {
            throw CommandFailure.input("\(name): \(tally.draws) orders; a thousand are the least that can be tested")
        }
        return tally
    }

    private func printStream() throws {
        let seed = try makeSeed()
        var stream: RandomStream
        do { stream = try RandomStream(seed: seed, domain: "kperm/evaluate/stream") } catch {
            throw CommandFailure.input("\(error)")
        }
        if isatty(STDOUT_FILENO) == 1 { throw CommandFailure.input("random bytes do not go to a terminal: use a pipe") }
        signal(SIGPIPE, SIG_IGN)
        var block = [UInt32](repeating: 0, count: 1 << 14)
        while true {
            for i in block.indices { block[i] = stream.next().littleEndian }
            let written = unsafe block.withUnsafeBytes { unsafe write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            // Whoever reads has had enough.
            if written < 0, errno == EPIPE { return }
            guard written == block.count * 4 else {
                throw CommandFailure.input("cannot write: \(unsafe String(cString: strerror(errno)))")
            }
        }
    }

    /// Reads until the buffer is full or the file ends.
    ///
    /// - Returns: the bytes read, or -1.
    @unsafe private func fill(_ buffer: UnsafeMutableRawBufferPointer, from descriptor: CInt) -> Int {
        var done = 0
        while done < buffer.count {
            let count = unsafe Glibc.read(descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done)
            if count < 0, errno == EINTR { continue }
            if count < 0 { return -1 }
            if count == 0 { break }
            done += count
        }
        return done
    }
}

extension Double {
    fileprivate var hundredths: Double { (self * 100).rounded() / 100 }
}
