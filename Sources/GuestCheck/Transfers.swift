// SPDX-License-Identifier: MIT

// Which transfers of devices touch the image, as the guest sees them: kprobes on
// the two ways that lead to a device's address, in a trace buffer of their own.
// The events name `struct page`, so the guest is also asked where the kernel
// keeps these, and what the same call gave as the device's address, which shows
// whether the size of a `struct page` is what is assumed here. Virtio asks the
// kernel for addresses only when QEMU tells it to.

import Addressing
import PagePermutation

/// A transfer whose memory lies in the image.
public struct Transfer: Codable, Equatable, Sendable {
    /// The function that was asked for a device's address.
    public let function: String
    /// From the start of the image's physical range, in bytes.
    public let offset: UInt64
    /// The page of the image that lies there.
    public let page: Int
    /// In bytes.
    public let size: UInt64
    /// As `enum dma_data_direction` has it: 0 both, 1 to the device, 2 from the device.
    public let direction: Int
    public let count: Int
}

enum Transfers {
    static let mark = "kperm-transfer: "
    /// The check that says whether the transfers were seen.
    static let check = "transfers"
    /// What a probe's definition has room for; more than a read of 128 KB makes.
    private static let entries = 36
    /// QEMU then has virtio devices that go by addresses which the kernel gives.
    static let deviceOptions = ",disable-legacy=on,iommu_platform=on"
    /// The exercise's disk once more: virtio has no lists mapped, this does.
    static func listDevice(disk: String) -> [String] {
        [
            "-drive", "if=none,id=lists,format=raw,readonly=on,file=\(disk)", "-device",
            "nvme,drive=lists,serial=kperm",
        ]
    }
    /// The driver of that, where it is a module.
    static let module = "nvme"

    /// Reads that disk, through the page cache: the pages of a request lie in many places.
    static let reading = #"""
        [ -f /modules/nvme.order ] && load nvme
        for n in $(seq 50); do
            [ -b /dev/nvme0n1 ] && break
            sleep 0.1
        done
        if [ -b /dev/nvme0n1 ]; then
            say nvme pass "$(sha256sum </dev/nvme0n1 | cut -d ' ' -f 1)"
        else
            say nvme skip "no driver"
        fi

        """#

    /// Sets the probes; before modules are loaded.
    static let watching: String = {
        let fields = (0..<entries).map { i in
            "page\(i)=+\(32 * i)(%si):x64 offset\(i)=+\(32 * i + 8)(%si):x32 size\(i)=+\(32 * i + 12)(%si):x32"
        }
        return #"""
            mount -t tracefs tracefs $tracing 2>/dev/null
            watch=$tracing/instances/kperm
            iomem=/proc/iomem
            unwatched=
            # Linux sizes its first buffer only when that is the first to be used.
            echo 1408 >$tracing/buffer_size_kb
            mkdir $watch && echo 8192 >$watch/buffer_size_kb || unwatched="no trace buffer"
            probe() { echo "$*" >>$tracing/kprobe_events; }
            probe 'p:kpermdma/page dma_map_page_attrs page=%si:x64 offset=%dx:x64 size=%cx:x64 direction=%r8:x32' \
                'base=@vmemmap_base:x64' && probe 'r:kpermdma/given dma_map_page_attrs address=$retval:x64' ||
                unwatched="no probe on dma_map_page_attrs"
            lists=__dma_map_sg_attrs
            grep -q " $lists\$" /proc/kallsyms || lists=dma_map_sg_attrs
            probe "p:kpermdma/list $lists count=%dx:x32 direction=%cx:x32 FIELDS" 'base=@vmemmap_base:x64' ||
                unwatched="no probe on $lists"
            [ -n "$unwatched" ] || echo 1 >$watch/events/kpermdma/enable

            """#.replacing("FIELDS", with: fields.joined(separator: " "))
    }()

    /// Tells what was seen; at the end. Numbers are compared as text of 16 digits, since awk's are too small for them.
    static let telling = #"""
        if [ -z "$unwatched" ]; then
            echo 0 >$watch/events/kpermdma/enable
            echo 0 >$watch/tracing_on
            first=$(sed -n 's/^ *\([0-9a-f]*\)-.* : Kernel code$/\1/p' $iomem)
            last=$(sed -n 's/^ *[0-9a-f]*-\([0-9a-f]*\) : Kernel bss$/\1/p' $iomem)
            base=$(sed -n 's/.* base=\(0x[0-9a-f]*\)$/\1/p' $watch/trace | head -n 1)
            lost=0
            for n in $(sed -n 's/^\(overrun\|dropped events\): //p' $watch/per_cpu/cpu*/stats); do lost=$((lost + n)); done
            missed=$(awk '$1 ~ /^(page|given|list)$/ { sum += $3 } END { print sum + 0 }' $tracing/kprobe_profile)
            if [ -n "$base" ] && [ -n "$first" ] && [ -n "$last" ]; then
                from=$(printf '0x%x' $((base + 0x$first / 4096 * 64)))
                to=$(printf '0x%x' $((base + 0x$last / 4096 * 64 + 64)))
                # One line a transfer: function, page, offset, size, direction.
                awk -v from=$from -v to=$to -v lists=$lists -v most=ENTRIES '
                    function value(name) {
                        return match($0, " " name "=[^ ]*") ? substr($0, RSTART + length(name) + 2, RLENGTH - length(name) - 2) : ""
                    }
                    / page: / { pages++; if (value("page") >= from && value("page") < to)
                        print "dma_map_page_attrs", value("page"), value("offset"), value("size"), value("direction") }
                    / list: / {
                        number++
                        count = value("count")
                        sum = 0
                        for (i = 3; i <= length(count); i++) sum = 16 * sum + index("123456789abcdef", substr(count, i, 1))
                        if (sum > most) longer++
                        for (i = 0; i < most && i < sum; i++)
                            if (value("page" i) >= from && value("page" i) < to)
                                print lists, value("page" i), value("offset" i), value("size" i), value("direction")
                    }
                    END { print "seen", pages + 0, number + 0, longer + 0 }' $watch/trace >/transfers
                grep -v '^seen ' /transfers | sort | uniq -c | while read -r n function page offset size direction; do
                    page=$((page & ~3))
                    echo "kperm-transfer: $function $(((page - base) / 64 * 4096 + offset)) $((size)) $((direction)) $n" >$log
                done
                set -- $(grep '^seen ' /transfers)
                # Pairs of what was asked and what was given, of one task on one CPU, one after the other.
                agree=0
                differ=0
                awk '/ page: / { split($0, part, "page=|offset=|size="); place = $1 " " $2; page = part[2]; offset = part[3] }
                    / given: / && place == $1 " " $2 { split($0, part, "address="); print page, offset, part[2]; place = "" }' \
                    $watch/trace | head -n 200 >/pairs
                while read -r page offset address; do
                    [ $(((page - base) / 64 * 4096 + offset)) = $((address)) ] && agree=$((agree + 1)) ||
                        differ=$((differ + 1))
                done </pairs
                verdict=pass
                [ $lost = 0 ] && [ "$missed" = 0 ] && [ $agree -gt 0 ] && [ $differ = 0 ] || verdict=fail
                say transfers $verdict "$2 pages, $3 lists ($4 of more than ENTRIES entries, of which the first ENTRIES are seen)," \
                    "$((lost + missed)) lost; addresses as expected: $agree, not: $differ"
            else
                say transfers skip "no device was given an address, or /proc/iomem names no kernel"
            fi
        else
            say transfers skip "$unwatched"
        fi

        """#.replacing("ENTRIES", with: "\(entries)")

    /// What the guest told.
    static func parse(_ log: String, _ table: TranslationTable) -> [Transfer] {
        log.split(whereSeparator: \.isNewline).compactMap { line in
            guard let found = line.firstRange(of: mark) else { return nil }
            let words = line[found.upperBound...].split(separator: " ")
            guard words.count == 5, let address = UInt64(words[1]), let size = UInt64(words[2]),
                let direction = Int(words[3]), let count = Int(words[4])
            else { return nil }
            let offset = address &- table.physicalBase.rawValue
            let frame = Int(clamping: offset / UInt64(pageSize))
            guard frame < table.pageCount else { return nil }
            return Transfer(
                function: String(words[0]), offset: offset, page: Int(table.inverse[frame]), size: size,
                direction: direction, count: count)
        }
    }
}
