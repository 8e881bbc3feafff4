// SPDX-License-Identifier: MIT

// The processors that kperm knows, in the form of a model file: one structure or
// number a line, each with its source. "assumed" stands where no public document
// gives the number. What no document describes is taken alike for all: LRU where
// the policy is not public, sets chosen by the lowest bits of the page number,
// and walks that look into the first-level data cache.

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
            {"level": 2, "entries": 32, "ways": 4, "replacement": "lru", "source": "assumed: Intel names the PDE cache (SDM vol. 3, paging-structure caches) but no size; measurements of this family find 24 to 32"},
            {"level": 3, "entries": 4, "ways": 4, "replacement": "lru", "source": "assumed: the PDPTE cache, measurements of this family find about 4"},
            {"level": 4, "entries": 2, "ways": 2, "replacement": "lru", "source": "assumed: the PML4 cache, of which little is known"}
          ],
          "caches": [
            {"level": 1, "streams": ["fetch"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "Intel Optimization Manual, Skylake client, cache parameters; tree-PLRU assumed"},
            {"level": 1, "streams": ["data"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "the same; tree-PLRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "bytes": 262144, "ways": 4, "replacement": "lru", "source": "the same; LRU assumed"},
            {"level": 3, "streams": ["fetch", "data"], "bytes": 8388608, "ways": 16, "replacement": "lru", "source": "the same: up to 2 MB a core and 16 ways, here 4 cores; LRU assumed, and one core has all of it"}
          ],
          "cycles": {
            "secondLevelHit": {"value": 9, "source": "assumed: about what 7-cpu.com measures on Skylake"},
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
            {"level": 1, "streams": ["fetch"], "pages": ["4K", "16K", "2M", "1G"], "entries": 64, "ways": 64, "replacement": "lru", "source": "AMD Software Optimization Guide for Family 19h: 64, fully associative, any page size; four pages in a row coalesce into 16K; LRU assumed"},
            {"level": 1, "streams": ["data"], "pages": ["4K", "16K", "2M", "1G"], "entries": 64, "ways": 64, "replacement": "lru", "source": "the same; LRU assumed"},
            {"level": 2, "streams": ["fetch"], "pages": ["4K", "16K", "2M"], "entries": 512, "ways": 8, "replacement": "lru", "source": "the same: 4K and 2M, 1G as 2M; 16K here too is assumed; LRU assumed"},
            {"level": 2, "streams": ["data"], "pages": ["4K", "16K", "2M"], "entries": 2048, "ways": 16, "replacement": "lru", "source": "the same: 2048; the 16 ways and 16K here are assumed; LRU assumed"}
          ],
          "walkCaches": [
            {"level": 2, "entries": 64, "ways": 64, "replacement": "lru", "source": "assumed: the guide says that the L2 DTLB also holds PDEs, here they have 64 entries of their own"},
            {"level": 3, "entries": 32, "ways": 32, "replacement": "lru", "source": "assumed: the page directory cache's share of PDPEs"},
            {"level": 4, "entries": 32, "ways": 32, "replacement": "lru", "source": "assumed: its share of PML4Es"}
          ],
          "caches": [
            {"level": 1, "streams": ["fetch"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "AMD Software Optimization Guide for Family 19h; tree-PLRU assumed"},
            {"level": 1, "streams": ["data"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "the same; tree-PLRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "bytes": 524288, "ways": 8, "replacement": "plru", "source": "the same; tree-PLRU assumed"},
            {"level": 3, "streams": ["fetch", "data"], "bytes": 33554432, "ways": 16, "replacement": "lru", "source": "the same: 32 MB for eight cores; a victim cache there, here filled on every miss; LRU assumed"}
          ],
          "cycles": {
            "secondLevelHit": {"value": 7, "source": "assumed: about what 7-cpu.com measures on this family"},
            "walkReference": {"value": 12, "source": "assumed: entries of page tables lie in the second-level cache"},
            "cache1": {"value": 4, "source": "AMD Software Optimization Guide for Family 19h, integer loads"},
            "cache2": {"value": 12, "source": "the same"},
            "cache3": {"value": 46, "source": "the same, average"},
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
            {"level": 1, "streams": ["fetch"], "pages": ["4K", "16K", "64K", "2M"], "entries": 48, "ways": 48, "replacement": "lru", "source": "Arm Neoverse N1 TRM, L1 instruction TLB: 48, fully associative; 16 pages marked contiguous (contpte) take one entry; LRU assumed"},
            {"level": 1, "streams": ["data"], "pages": ["4K", "16K", "64K", "2M"], "entries": 48, "ways": 48, "replacement": "lru", "source": "the same, L1 data TLB; LRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "pages": ["4K", "16K", "64K", "2M", "1G"], "entries": 1280, "ways": 5, "replacement": "lru", "source": "the same, L2 TLB: 1280, 5-way; LRU assumed"}
          ],
          "walkCaches": [
            {"level": 2, "entries": 64, "ways": 4, "replacement": "lru", "source": "assumed: the TRM names no size; Cortex-A55 has a walk cache of 64 entries, 4-way"},
            {"level": 3, "entries": 8, "ways": 8, "replacement": "lru", "source": "assumed"},
            {"level": 4, "entries": 2, "ways": 2, "replacement": "lru", "source": "assumed"}
          ],
          "caches": [
            {"level": 1, "streams": ["fetch"], "bytes": 65536, "ways": 4, "replacement": "plru", "source": "Arm Neoverse N1 TRM: 64 KB, 4-way, behaves as physically indexed, pseudo-LRU; a tree is assumed"},
            {"level": 1, "streams": ["data"], "bytes": 65536, "ways": 4, "replacement": "plru", "source": "the same"},
            {"level": 2, "streams": ["fetch", "data"], "bytes": 1048576, "ways": 8, "replacement": "lru", "source": "the same: 256 KB to 1 MB, 8-way, here 1 MB as in cloud machines; LRU assumed for its dynamic biased policy"},
            {"level": 3, "streams": ["fetch", "data"], "bytes": 33554432, "ways": 16, "replacement": "lru", "source": "assumed: 32 MB of system-level cache as in AWS Graviton2; LRU assumed"}
          ],
          "cycles": {
            "secondLevelHit": {"value": 5, "source": "assumed"},
            "walkReference": {"value": 11, "source": "assumed: entries of page tables lie in the second-level cache"},
            "cache1": {"value": 4, "source": "Arm Neoverse N1 Software Optimization Guide, load latency"},
            "cache2": {"value": 11, "source": "WikiChip, Neoverse N1: 9 to 11 cycles"},
            "cache3": {"value": 80, "source": "assumed: about 30 ns over the mesh at 2.5 GHz"},
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
            {"level": 1, "streams": ["fetch"], "pages": ["4K", "2M", "1G"], "entries": 40, "ways": 40, "replacement": "lru", "source": "SiFive U74 Core Complex Manual: 40, fully associative, no Svnapot; LRU assumed"},
            {"level": 1, "streams": ["data"], "pages": ["4K", "2M", "1G"], "entries": 40, "ways": 40, "replacement": "lru", "source": "the same; LRU assumed"},
            {"level": 2, "streams": ["fetch", "data"], "pages": ["4K"], "entries": 512, "ways": 1, "replacement": "lru", "source": "the same: 512, direct mapped; 4K only is assumed, as in the Rocket core, which it resembles"}
          ],
          "walkCaches": [
            {"level": 2, "entries": 8, "ways": 8, "replacement": "lru", "source": "assumed: the Rocket core's page-table walker keeps 8 entries that lead to other tables, here for each level"},
            {"level": 3, "entries": 8, "ways": 8, "replacement": "lru", "source": "assumed, the same"}
          ],
          "caches": [
            {"level": 1, "streams": ["fetch"], "bytes": 32768, "ways": 4, "replacement": "plru", "source": "SiFive FU740-C000 Manual: 32 KB, 4-way; the manual says random, a tree stands for it, assumed"},
            {"level": 1, "streams": ["data"], "bytes": 32768, "ways": 8, "replacement": "plru", "source": "the same: 32 KB, 8-way; the manual says random, a tree stands for it, assumed"},
            {"level": 2, "streams": ["fetch", "data"], "bytes": 2097152, "ways": 16, "replacement": "lru", "source": "the same: 2 MB, 16-way; LRU assumed for random"}
          ],
          "cycles": {
            "secondLevelHit": {"value": 4, "source": "assumed"},
            "walkReference": {"value": 21, "source": "assumed: entries of page tables lie in the second-level cache"},
            "cache1": {"value": 3, "source": "SiFive FU740-C000 Manual, load to use"},
            "cache2": {"value": 21, "source": "assumed: about what is measured on the FU740"},
            "cache3": {"value": 21, "source": "there is none; not used"},
            "memory": {"value": 150, "source": "assumed: 120 ns at 1.2 GHz"},
            "instruction": {"value": 1.4, "source": "assumed: in order, two at a time"}
          }
        }
        """
}
