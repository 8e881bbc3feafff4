// SPDX-License-Identifier: MIT

// Which objects a stray access hits: the engine knows addresses, whoever has
// symbols knows names.

public import Addressing

/// A stretch of an image with one name, or with none.
public struct NamedStretch: Equatable, Sendable {
    public let name: String?
    public let range: Range<VirtualAddress>

    public init(name: String?, range: Range<VirtualAddress>) {
        self.name = name
        self.range = range
    }
}

/// A part of a stray access that hits one object.
public struct Victim: Equatable, Sendable {
    public let stray: DMAEngine.Run
    /// What the device touches.
    public let touched: PhysicalAddress?
    /// What lies there; nil outside the image.
    public let address: VirtualAddress?
    public let object: NamedStretch?
}

extension DMAEngine {
    /// The first objects that a single segment hits instead of the transfer's own.
    ///
    /// - Parameter name: what covers an address of the image.
    public func victims(
        of transfer: Transfer, atMost limit: Int, name: (VirtualAddress) -> NamedStretch
    ) -> [Victim] {
        var found: [Victim] = []
        for stray in strays(of: transfer, atMost: limit) {
            guard let victim = stray.victim else {
                found.append(Victim(stray: stray.run, touched: stray.touched, address: nil, object: nil))
                continue
            }
            var done: UInt64 = 0
            while done < stray.run.byteCount, found.count < limit {
                let object = name(victim + done)
                let rest = stray.run.byteCount - done
                // Whatever the names say, there is an end.
                let reach = object.range.contains(victim + done) ? object.range.upperBound - (victim + done) : rest
                let part = Run(
                    address: stray.run.address + done, byteCount: min(rest, reach),
                    physical: stray.run.physical.map { $0 + done })
                found.append(
                    Victim(
                        stray: part, touched: stray.touched.map { $0 + done }, address: victim + done, object: object))
                done += part.byteCount
            }
            if found.count >= limit { break }
        }
        return found
    }
}
