// SPDX-License-Identifier: MIT

// How often a kernel translated addresses while it did a workload, place by place:
// what tools/trace writes beside a trace. It is the whole workload that is counted,
// not the window that the trace holds.

import FoundationEssentials

/// Counts of a workload.
public struct TranslationCounts: Equatable, Sendable, Decodable {
    /// What is translated at a place.
    public enum Kind: String, CaseIterable, Sendable, Decodable {
        /// An address of the image that is known only as the kernel runs: what a table would be asked for.
        case image
        /// An address of the linear map.
        case linear
        /// One of either.
        case unclear
        /// A constant, of an object of the image: its page is pinned.
        case constant
        /// A physical address, into one of the image.
        case reverse
        /// The offset alone is read.
        case offset
    }

    /// An instruction that translates.
    public struct Site: Equatable, Sendable, Decodable {
        public let address: String
        /// Function and offset.
        public let place: String
        public let translates: Kind
        public let executions: Int
    }

    public let workload: String
    public let release: String
    public let buildID: String
    public let kernelInstructions: Int
    public let userInstructions: Int
    /// Of the guest's clock, on which a second is so many instructions.
    public let instructionsPerSecond: Int
    public let systemCalls: Int
    /// Those that were executed.
    public let sites: [Site]

    /// On the guest's clock.
    public var seconds: Double { Double(kernelInstructions + userInstructions) / Double(instructionsPerSecond) }

    public func executions(_ kind: Kind) -> Int {
        sites.reduce(0) { $0 + ($1.translates == kind ? $1.executions : 0) }
    }

    /// Reads what tools/trace wrote.
    ///
    /// - Parameter file: what errors call it.
    /// - Throws: `ModelError` for what is no JSON, and for a field that is missing, of another type or negative.
    public init(json: [UInt8], file: String) throws(ModelError) {
        self = try Self.decoded(json: json, file: file)
        let most = 1 << 56
        for (name, number) in [
            ("kernelInstructions", kernelInstructions), ("userInstructions", userInstructions),
            ("systemCalls", systemCalls), ("instructionsPerSecond", instructionsPerSecond),
        ] where !(0...most).contains(number) {
            throw ModelError(file: file, field: name, what: "\(number) is not from 0 to 2^56")
        }
        for (index, site) in sites.enumerated() where !(0...most / sites.count).contains(site.executions) {
            throw ModelError(
                file: file, field: "sites[\(index)].executions", what: "\(site.executions) executions cannot be")
        }
        guard instructionsPerSecond > 0, kernelInstructions + userInstructions > 0 else {
            throw ModelError(file: file, field: "kernelInstructions", what: "nothing was executed")
        }
    }
}

extension Decodable {
    /// A value in JSON, with an error that names the file and the field.
    public static func decoded(json: [UInt8], file: String) throws(ModelError) -> Self {
        do { return try JSONDecoder().decode(Self.self, from: Data(json)) } catch let error as DecodingError {
            throw ModelError(file: file, error)
        } catch {
            throw ModelError(file: file, field: "", what: "not JSON")
        }
    }
}

extension ModelError {
    fileprivate init(file: String, _ error: DecodingError) {
        func path(_ keys: [any CodingKey]) -> String {
            keys.reduce("") { path, key in
                key.intValue.map { "\(path)[\($0)]" } ?? (path.isEmpty ? key.stringValue : "\(path).\(key.stringValue)")
            }
        }
        switch error {
        case .keyNotFound(let key, let context):
            self.init(file: file, field: path(context.codingPath + [key]), what: "missing")
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            let wanted = type == String.self ? "a text" : type == Int.self ? "a whole number" : "\(type)"
            self.init(file: file, field: path(context.codingPath), what: "not \(wanted)")
        case .dataCorrupted(let context):
            let field = path(context.codingPath)
            self.init(file: file, field: field, what: field.isEmpty ? "not JSON" : "none of what there may be here")
        @unknown default: self.init(file: file, field: "", what: "not JSON")
        }
    }
}
