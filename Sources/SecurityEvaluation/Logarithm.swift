// SPDX-License-Identifier: MIT

import Glibc

extension Double {
    var log2: Double { Glibc.log2(self) }
    /// Two to this power.
    package var powerOfTwo: Double { Glibc.exp2(self) }

    /// To a millionth: what is printed is the same on processors whose logarithms differ in the last place.
    package var rounded6: Double { (self * 1e6).rounded() / 1e6 }
}
