// SPDX-License-Identifier: MIT

// The translation table for other programs.

import Addressing

/// A form in which a table is handed on.
public enum TableFormat: String, CaseIterable, Sendable {
    case json
    /// As in the kernel's memory (TableLookup.swift).
    case bin
    /// A C header.
    case c
    /// GNU assembler.
    case asm
}

extension TranslationTable {
    public func formatted(as format: TableFormat) -> [UInt8] {
        switch format {
        case .json: Array(json.utf8)
        case .bin: bytes
        case .c: Array(cHeader.utf8)
        case .asm: Array(assembler.utf8)
        }
    }

    private var json: String {
        """
        {
          "baked": \(isBaked),
          "forward": [\(forward.map(String.init).joined(separator: ","))],
          "inverse": [\(inverse.map(String.init).joined(separator: ","))],
          "moved": \(movedCount),
          "pages": \(pageCount),
          "physicalBase": "\(physicalBase)",
          "virtualBase": "\(virtualBase)"
        }

        """
    }

    private var cHeader: String {
        """
        /* Translation table made by kperm: the frame of each page and the page in each frame. */
        #ifndef KPERM_TABLE_H
        #define KPERM_TABLE_H
        #define KPERM_PAGES \(pageCount)u
        #define KPERM_VIRTUAL_BASE \(virtualBase)ull
        #define KPERM_PHYSICAL_BASE \(physicalBase)ull
        static const unsigned int kperm_frame_of_page[KPERM_PAGES] = {
        \(rows(forward, prefix: "    ", suffix: ","))
        };
        static const unsigned int kperm_page_in_frame[KPERM_PAGES] = {
        \(rows(inverse, prefix: "    ", suffix: ","))
        };
        #endif

        """
    }

    private var assembler: String {
        """
        # Translation table made by kperm: the frame of each page and the page in each frame.
                .section .rodata
                .balign 8
                .globl  kperm_pages, kperm_virtual_base, kperm_physical_base, kperm_frame_of_page, kperm_page_in_frame
        kperm_virtual_base: .quad \(virtualBase)
        kperm_physical_base: .quad \(physicalBase)
        kperm_pages: .quad \(pageCount)
        kperm_frame_of_page:
        \(rows(forward, prefix: "        .long ", suffix: ""))
        kperm_page_in_frame:
        \(rows(inverse, prefix: "        .long ", suffix: ""))
                .section .note.GNU-stack, "", %progbits

        """
    }

    private func rows(_ numbers: [UInt32], prefix: String, suffix: String) -> String {
        stride(from: 0, to: numbers.count, by: 12).map { start in
            prefix + numbers[start..<min(start + 12, numbers.count)].map(String.init).joined(separator: ", ") + suffix
        }.joined(separator: "\n")
    }
}
