// SPDX-License-Identifier: MIT

// Why kperm refuses. Every refusal names the file and, where there is one, the
// symbol or place; nothing is written after one.

public import KernelImage
public import PagePermutation
public import SecureRandom

/// A refusal.
public enum RewriteError: Error, Sendable {
    case image(ImageError)
    /// The image lacks something the plan needs, or has it in a form kperm does not know.
    case unsupported(file: String, String)
    /// The user asked for something that does not exist or cannot be.
    case request(String)
    case problem(ProblemError)
    case permutation(PermutationError)
    case table(file: String, TableError)
    case seed(SeedError)
    /// Reading or writing failed.
    case output(file: String, String)
}

extension RewriteError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .image(let error): error.description
        case .unsupported(let file, let what): "\(file): \(what)"
        case .request(let what): what
        case .problem(let error): error.description
        case .permutation(let error): error.description
        case .table(let file, let error): "\(file): \(error)"
        case .seed(let error): error.description
        case .output(let file, let what): "\(file): \(what)"
        }
    }
}

/// Runs `body` with its error wrapped, so that each library's errors are translated once.
func wrapping<T: ~Copyable, E: Error>(
    _ wrap: (E) -> RewriteError, _ body: () throws(E) -> T
) throws(RewriteError) -> T {
    do {
        return try body()
    } catch {
        throw wrap(error)
    }
}
