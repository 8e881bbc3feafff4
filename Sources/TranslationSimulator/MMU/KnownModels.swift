// SPDX-License-Identifier: MIT

// The processors that kperm knows, in the form of a model file: one structure or
// number a line, each with its source. "assumed" stands where no public document
// gives the number, with what it was taken from instead. What no document describes
// is taken alike for all: LRU where the policy is not public, sets chosen by the
// lowest bits of the page number, a second level that neither holds all of the
// first nor keeps out of it, and walks that look into the first-level data cache.

extension ProcessorModel {
    /// By the name that `--model` takes.
    public static let known: [(name: String, json: String)] = [
        ("skylake", skylake), ("zen3", zen3), ("n1", neoverseN1), ("u74", u74),
    ]

    private static let skylake = """
        {
          "title": "Intel Skylake (client)",
          "pagingLevels": {"value": 4, "source": "Intel SDM vol. 3, 4-level paging"},
          "tlbs": [
            {"level": 1, "streams": ["fetch"], "pages": ["4K"], "entries": 128, "ways": 8, "replacement": "lru", "source": "Intel Optimization Manual, Skylake client, TLB parameters; one thread has all of it; LRU assumed"},
            {"level": 1, "streams": ["fetch"], "pages": ["2M"], "entries": 8, "ways": 8, "replacement": "lru", "source": "the same: 8 for each thread, fully associative; LRU assumed"},
            {"level": 1, "streams": ["data"], "pages": ["4K"], "entries": 64, "ways": 4, "replacement": "lru", "source": "the same; LRU assumed"},
            {"level": 1, "streams": ["data"], "pages": ["2M"], "entries": 32, "ways": 4, "replacement": "lru", "source": "the same; LRU assumed"},
            {"level": 1, "streams": ["data"], "pages": ["1G"], "entries": 4, "ways": 4, "replacement": "lru", "source": "the same; LRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "pages": ["4K", "2M"], "entries": 1536, "ways": 12, "replacement": "lru", "source": "the same: shared by both sizes; LRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "pages": ["1G"], "entries": 16, "ways": 4, "replacement": "lru", "source": "the same; LRU assumed"}
          ],
          "walkCaches": [
            {"level": 2, "entries": 32, "ways": 8, "replacement": "lru", "source": "assumed: Intel describes the PDE cache (SDM vol. 3, paging-structure caches) and gives no size; 32 in 4 sets as ChampSim's walker has by default (PSCL2), and 32 in Virtuoso (Revelator, arXiv 2508.02007, table 2)"},
            {"level": 3, "entries": 8, "ways": 4, "replacement": "lru", "source": "assumed, from the same two: the PDPTE cache, 8 (PSCL3)"},
            {"level": 4, "entries": 4, "ways": 4, "replacement": "lru", "source": "assumed, from the same two: the PML4 cache, 4 (PSCL4)"}
          ],
          "caches": [
            {"level": 1, "streams": ["fetch"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "Intel Optimization Manual, Skylake client, cache parameters; tree-PLRU assumed"},
            {"level": 1, "streams": ["data"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "the same; tree-PLRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "bytes": 262144, "ways": 4, "replacement": "lru", "source": "the same; LRU assumed"},
            {"level": 3, "streams": ["fetch", "data"], "bytes": 8388608, "ways": 16, "replacement": "lru", "source": "the same: up to 2 MB a core and 16 ways, here 4 cores; LRU assumed, and one core has all of it"}
          ],
          "cycles": {
            "secondLevelHit": {"value": 9, "source": "Intel's top-down metrics weigh DTLB_LOAD_MISSES.STLB_HIT with 9 cycles (tma_dtlb_load in Linux's tools/perf/pmu-events/arch/x86/skylake)"},
            "walkReference": {"value": 12, "source": "assumed: entries of page tables lie in the second-level cache"},
            "cache1": {"value": 4, "source": "Intel Optimization Manual, Skylake client, fastest latency"},
            "cache2": {"value": 12, "source": "the same"},
            "cache3": {"value": 44, "source": "the same"},
            "memory": {"value": 250, "source": "assumed: 60 ns at 4 GHz"},
            "instruction": {"value": 1.0, "source": "assumed: kernel code runs at about one instruction a cycle"}
          }
        }
        """

    private static let zen3 = """
        {
          "title": "AMD Zen 3",
          "pagingLevels": {"value": 4, "source": "AMD APM vol. 2, long mode; family 19h models 00h to 0fh"},
          "tlbs": [
            {"level": 1, "streams": ["fetch"], "pages": ["4K", "16K", "2M", "1G"], "entries": 64, "ways": 64, "replacement": "lru", "source": "CPUID 8000_0005h of a Ryzen 9 5950X: 64, fully associative, any page size; AMD Software Optimization Guide for Family 19h (56665): four pages in a row, aligned in both spaces, may coalesce into 16K in both levels; LRU assumed"},
            {"level": 1, "streams": ["data"], "pages": ["4K", "16K", "2M", "1G"], "entries": 64, "ways": 64, "replacement": "lru", "source": "the same; LRU assumed"},
            {"level": 2, "streams": ["fetch"], "pages": ["4K", "16K", "2M"], "entries": 512, "ways": 8, "replacement": "lru", "source": "CPUID 8000_0006h of the same: 512, 4 ways for 4K and 2 for 2M, and the guide counts 8 ways: here each of them holds any size; 1G as 2M; LRU assumed"},
            {"level": 2, "streams": ["data"], "pages": ["4K", "16K", "2M"], "entries": 2048, "ways": 16, "replacement": "lru", "source": "CPUID 8000_0006h of the same: 2048, 8 ways for 4K and 4 for 2M; taken like the other as 16 ways that hold any size (assumed: 4 for 16K); LRU assumed"}
          ],
          "walkCaches": [
            {"level": 2, "entries": 64, "ways": 64, "replacement": "lru", "source": "assumed: the guide has PDEs in the L2 DTLB, here they have 64 entries of their own"},
            {"level": 3, "entries": 32, "ways": 32, "replacement": "lru", "source": "the guide: a page directory cache of 64 entries for PML4Es and PDPEs together; assumed: half for each, fully associative"},
            {"level": 4, "entries": 32, "ways": 32, "replacement": "lru", "source": "the other half"}
          ],
          "caches": [
            {"level": 1, "streams": ["fetch"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "CPUID 8000_001Dh of the same; tree-PLRU assumed"},
            {"level": 1, "streams": ["data"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "the same; tree-PLRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "bytes": 524288, "ways": 8, "replacement": "plru", "source": "the same; tree-PLRU assumed"},
            {"level": 3, "streams": ["fetch", "data"], "bytes": 33554432, "ways": 16, "replacement": "lru", "source": "the same, and the guide: 32 MB for eight cores; a victim cache there, here filled on every miss; LRU assumed"}
          ],
          "cycles": {
            "secondLevelHit": {"value": 7, "source": "assumed from Zen 2, for which Chips and Cheese measured 7 (Deep Diving Neoverse N1, 2021)"},
            "walkReference": {"value": 12, "source": "assumed: entries of page tables lie in the second-level cache"},
            "cache1": {"value": 4, "source": "the guide, integer loads (as LLVM's X86ScheduleZnver3.td cites it)"},
            "cache2": {"value": 12, "source": "the guide"},
            "cache3": {"value": 46, "source": "the guide, average"},
            "memory": {"value": 300, "source": "assumed: 70 ns at 4.3 GHz"},
            "instruction": {"value": 0.9, "source": "assumed: a little better than Skylake on kernel code"}
          }
        }
        """

    private static let neoverseN1 = """
        {
          "title": "Arm Neoverse N1",
          "pagingLevels": {"value": 4, "source": "Arm ARM, 4K granule, 48-bit addresses"},
          "tlbs": [
            {"level": 1, "streams": ["fetch"], "pages": ["4K", "16K", "64K", "2M"], "entries": 48, "ways": 48, "replacement": "lru", "source": "Arm Neoverse N1 TRM (100616), L1 instruction TLB: 48, fully associative, 4K, 16K, 64K, 2M and 32M; assumed: 16 pages marked contiguous (contpte) take one entry of 64K, and 4 in a row one of 16K, as L2 entries of Cortex-A76, the same core, can (100798, L2 TLB format: coalesced); LRU assumed"},
            {"level": 1, "streams": ["data"], "pages": ["4K", "16K", "64K", "2M"], "entries": 48, "ways": 48, "replacement": "lru", "source": "the same, L1 data TLB: 48, and 512M instead of 32M; LRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "pages": ["4K", "16K", "64K", "2M", "1G"], "entries": 1280, "ways": 5, "replacement": "lru", "source": "the same, L2 TLB: 1280, 5-way; LRU assumed"}
          ],
          "walkCaches": [
            {"level": 2, "entries": 64, "ways": 4, "replacement": "lru", "source": "assumed: the TRM gives no size; Cortex-A55 keeps 64 entries, 4-way, that lead to last-level tables (its TRM, walk cache RAM)"},
            {"level": 3, "entries": 8, "ways": 8, "replacement": "lru", "source": "assumed: nothing is published; few are enough, each covers 1G"},
            {"level": 4, "entries": 2, "ways": 2, "replacement": "lru", "source": "assumed: nothing is published; each covers 512G"}
          ],
          "caches": [
            {"level": 1, "streams": ["fetch"], "bytes": 65536, "ways": 4, "replacement": "plru", "source": "Arm Neoverse N1 TRM: 64 KB, 4-way, behaves as physically indexed, pseudo-LRU; a tree is assumed"},
            {"level": 1, "streams": ["data"], "bytes": 65536, "ways": 4, "replacement": "plru", "source": "the same"},
            {"level": 2, "streams": ["fetch", "data"], "bytes": 1048576, "ways": 8, "replacement": "lru", "source": "the same: 256 KB to 1 MB, 8-way, here 1 MB as in cloud machines; LRU assumed for its dynamic biased policy"},
            {"level": 3, "streams": ["fetch", "data"], "bytes": 33554432, "ways": 16, "replacement": "lru", "source": "AWS Graviton2: 32 MB of system-level cache (Arm learning paths, cache hierarchy); 16-way and LRU assumed"}
          ],
          "cycles": {
            "secondLevelHit": {"value": 5, "source": "measured by Chips and Cheese (Deep Diving Neoverse N1, 2021)"},
            "walkReference": {"value": 11, "source": "assumed: entries of page tables lie in the second-level cache"},
            "cache1": {"value": 4, "source": "Arm Neoverse N1 Software Optimization Guide, load latency"},
            "cache2": {"value": 11, "source": "Pellegrini et al., Hot Chips 31 (2019), and WikiChip: 9 to 11 cycles"},
            "cache3": {"value": 55, "source": "the same: 22 ns to the system-level cache, here at Graviton2's 2.5 GHz; machines with more cores need longer"},
            "memory": {"value": 250, "source": "assumed: 100 ns at 2.5 GHz"},
            "instruction": {"value": 1.0, "source": "assumed: kernel code runs at about one instruction a cycle"}
          }
        }
        """

    private static let u74 = """
        {
          "title": "SiFive U74",
          "pagingLevels": {"value": 3, "source": "SiFive U74 Core Complex Manual: Sv39"},
          "tlbs": [
            {"level": 1, "streams": ["fetch"], "pages": ["4K", "2M", "1G"], "entries": 40, "ways": 40, "replacement": "lru", "source": "Linux's fu740-c000.dtsi: 40 entries in one set; no Svnapot; LRU assumed"},
            {"level": 1, "streams": ["data"], "pages": ["4K", "2M", "1G"], "entries": 40, "ways": 40, "replacement": "lru", "source": "the same; LRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "pages": ["4K"], "entries": 512, "ways": 1, "replacement": "lru", "source": "assumed: 512, direct mapped, as the SiFive U74 Core Complex Manual is remembered to say, which was not at hand; 4K only, as in the Rocket core, which it resembles"}
          ],
          "walkCaches": [
            {"level": 2, "entries": 8, "ways": 8, "replacement": "lru", "source": "assumed: the Rocket core's page-table walker keeps 8 entries that lead to other tables (nPTECacheEntries), here for each level"},
            {"level": 3, "entries": 8, "ways": 8, "replacement": "lru", "source": "assumed, the same"}
          ],
          "caches": [
            {"level": 1, "streams": ["fetch"], "bytes": 32768, "ways": 4, "replacement": "plru", "source": "Linux's fu740-c000.dtsi: 32 KB in 128 sets; random by the SiFive FU740-C000 Manual, a tree stands for it, assumed"},
            {"level": 1, "streams": ["data"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "the same: 32 KB in 64 sets; a tree for random, assumed"},
            {"level": 2, "streams": ["fetch", "data"], "bytes": 2097152, "ways": 16, "replacement": "lru", "source": "the same: 2 MB in 2048 sets; LRU assumed for random"}
          ],
          "cycles": {
            "secondLevelHit": {"value": 4, "source": "assumed: nothing is published"},
            "walkReference": {"value": 21, "source": "assumed: entries of page tables lie in the second-level cache"},
            "cache1": {"value": 3, "source": "LLVM's RISCVSchedSiFive7.td, load to use"},
            "cache2": {"value": 21, "source": "assumed: gem5's model of the HiFive Unmatched takes 20 for data alone (riscvmatched_cache.py)"},
            "cache3": {"value": 21, "source": "there is none; not used"},
            "memory": {"value": 150, "source": "assumed: 120 ns at 1.2 GHz"},
            "instruction": {"value": 1.4, "source": "assumed: in order, two at a time"}
          }
        }
        """
}
