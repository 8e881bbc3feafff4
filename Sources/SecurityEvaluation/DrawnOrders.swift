// SPDX-License-Identifier: MIT

// A million orders from the tool's own generator, on as many threads as the machine
// has processors. Each thread's draws come from one stream of numbers: a seed for
// each would take longer than drawing does.

import Dispatch
import Glibc
import PagePermutation
public import SecureRandom
import Synchronization

extension UniformityTally {
    /// Draws orders of so many pages in one class, by algorithm 1, and counts them.
    ///
    /// - Parameters:
    ///   - pageCount: at least 4.
    ///   - progress: told now and then what share is done, from 0 to 1, by one of the threads.
    /// - Throws: `SeedError.outOfMemory` when libsodium has no locked memory left.
    public static func drawing(
        _ draws: Int, pageCount: Int, seed: borrowing Seed, progress: @Sendable (Double) -> Void = { _ in }
    ) throws(SeedError) -> UniformityTally {
        let problem: PermutationProblem
        do {
            problem = try PermutationProblem(
                pageCount: pageCount, classes: [PageClass(name: "all", ranges: [0..<pageCount])])
        } catch {
            preconditionFailure("one class of all pages: \(error)")
        }
        let workers = max(Int(sysconf(CInt(_SC_NPROCESSORS_ONLN))), 1)
        var roots: [String] = []
        for worker in 0..<workers { roots.append(try Seed.derived(from: seed, number: worker).hexadecimal) }
        let tally = Mutex(UniformityTally(pageCount: pageCount))
        let failure = Mutex<SeedError?>(nil)
        DispatchQueue.concurrentPerform(iterations: workers) { [roots] worker in
            do throws(SeedError) {
                let root = try Seed.parse(hexadecimal: roots[worker])
                var stream = try RandomStream(seed: root, domain: "kperm/evaluate/randomness")
                var own = UniformityTally(pageCount: pageCount)
                let share = draws / workers + (worker < draws % workers ? 1 : 0)
                for number in 0..<share {
                    let isOrder = own.add(Permutation.drawOrder(problem, from: &stream))
                    precondition(isOrder, "a permutation is an order of its pages")
                    if worker == 0, number % 4096 == 0 { progress(Double(number) / Double(share)) }
                }
                tally.withLock { $0.merge(own) }
            } catch {
                failure.withLock { $0 = error }
            }
        }
        if let error = failure.withLock({ $0 }) { throw error }
        return tally.withLock { $0 }
    }
}
