#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# Drawing algorithm 1 a second time, written from its description alone (the
# opening comments of RandomStream.swift and Permutation.swift) and sharing no
# code with kperm: ChaCha20 by hand, BLAKE2b from Python's hashlib. It prints
# the vectors that RandomStreamTests and DrawingVectorTests hold:
#
#     python3 Tests/Fixtures/algorithm1-vectors.py

import hashlib
import struct


def rotl(x, n):
    return (x << n | x >> 32 - n) & 0xFFFFFFFF


def quarter(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = s[x] + s[y] & 0xFFFFFFFF
        s[z] = rotl(s[z] ^ s[x], n)


def chacha20_block(key, counter):
    """64 bytes of key stream: 64-bit counter, 64-bit nonce 0."""
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key),
             counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    s = list(start)
    for _ in range(10):
        for q in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                  (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(s, *q)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(s, start)))


# RFC 8439, appendix A.1, vectors 1 and 2 (nonce zero, so its layout of counter and nonce is ours too).
assert chacha20_block(bytes(32), 0).hex().startswith("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1a")
assert chacha20_block(bytes(32), 1).hex().startswith("9f07e7be5551387a98ba977c732d080dcb0f29a048e36569")


class Stream:
    def __init__(self, seed, domain):
        self.key = hashlib.blake2b(domain.encode(), key=seed, digest_size=32).digest()
        self.position = 0
        self.block = ()

    def next(self):
        if self.position % 16 == 0:
            self.block = struct.unpack("<16I", chacha20_block(self.key, self.position // 16))
        self.position += 1
        return self.block[(self.position - 1) % 16]

    def uniform(self, n):
        while True:
            word = self.next()
            if word < 2**32 // n * n:
                return word % n


def draw(seed, page_count, classes, pins=(), glue=(), granule=1):
    """classes: (name, [(first, end), ...]); pins and glue: (first, end). Returns the frame of each page."""
    owner = [None] * page_count
    for name, ranges in classes:
        for a, b in ranges:
            owner[a:b] = [name] * (b - a)
    pinned = {p for a, b in pins for p in range(a, b)}
    whole = {}  # granule -> class, for the granules that move
    for g in range(page_count // granule):
        pages = range(g * granule, (g + 1) * granule)
        if len({owner[p] for p in pages}) == 1 and owner[pages[0]] and not pinned & set(pages):
            whole[g] = owner[pages[0]]
    runs = []
    for a, b in sorted((a // granule, -(-b // granule)) for a, b in glue):
        if runs and a < runs[-1][1]:
            runs[-1] = (runs[-1][0], max(b, runs[-1][1]))
        else:
            runs.append((a, b))
    for a, b in list(runs):
        if len({whole.get(g) for g in range(a, b)}) != 1 or whole.get(a) is None:
            runs.remove((a, b))
            for g in range(a, b):
                whole.pop(g, None)
    forward = list(range(page_count))
    for name, _ in classes:
        slots = sorted(g for g in whole if whole[g] == name)
        if len(slots) < 2:
            continue
        mine = sorted((r for r in runs if whole[r[0]] == name and r[1] - r[0] > 1),
                      key=lambda r: (r[0] - r[1], r[0]))
        stream = Stream(seed, "kperm/1/" + name)
        went, free = place_runs(stream, mine, slots)
        singles = [g for g in slots if not any(a <= g < b for a, b in mine)]
        for i in range(len(free) - 1, 0, -1):
            j = stream.uniform(i + 1)
            free[i], free[j] = free[j], free[i]
        went.update(zip(singles, free))
        for g, slot in went.items():
            for i in range(granule):
                forward[g * granule + i] = slot * granule + i
    assert sorted(forward) == list(range(page_count))
    return forward


def place_runs(stream, runs, slots):
    for attempt in range(64):
        free, went = list(slots), {}
        for a, b in runs:
            places = [s for s in free if all(s + i in free for i in range(b - a))]
            if not places:
                break
            start = places[stream.uniform(len(places))]
            for i in range(b - a):
                went[a + i] = start + i
                free.remove(start + i)
        else:
            if runs:
                print(f"    (runs placed at beginning {attempt + 1})")
            return went, free
    print("    (runs stay at home)")
    home = {g: g for a, b in runs for g in range(a, b)}
    return home, [s for s in slots if s not in home]


def fnv1a(words):
    h = 0xCBF29CE484222325
    for word in words:
        for byte in struct.pack("<I", word):
            h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


SEEDS = {"one": bytes(31) + b"\x01", "counting": bytes(range(32)), "ones": b"\xff" * 32}

PROBLEMS = {
    "one class": dict(page_count=16, classes=[("text", [(0, 16)])]),
    "two classes": dict(page_count=24, classes=[("text", [(0, 10)]), ("data", [(12, 22)])]),
    "holes and pins": dict(page_count=20, classes=[("text", [(0, 5), (8, 12)]), ("data", [(5, 8), (14, 20)])],
                           pins=[(1, 3), (12, 15)]),
    "glue": dict(page_count=24, classes=[("data", [(0, 8), (10, 24)])],
                 glue=[(2, 5), (11, 13), (12, 15), (15, 17)], pins=[(20, 21)]),
    "glue beginning again": dict(page_count=14, classes=[("data", [(0, 14)])], glue=[(0, 4), (4, 8), (9, 13)]),
    "glue staying": dict(page_count=42, classes=[("data", [(0, 36), (37, 38), (39, 42)])],
                         glue=[(i, i + 4) for i in range(0, 36, 4)]),
    "glue over a pin": dict(page_count=12, classes=[("data", [(0, 12)])], glue=[(2, 6)], pins=[(3, 4)]),
    "granule 16K": dict(page_count=50, granule=4, classes=[("text", [(0, 18)]), ("data", [(18, 50)])],
                        pins=[(25, 26)], glue=[(31, 34)]),
}

if __name__ == "__main__":
    for name, seed in SEEDS.items():
        stream = Stream(seed, "kperm/1/text")
        words = [stream.next() for _ in range(5000)]
        print(f"words {name}: 0..7 {[hex(w) for w in words[:8]]}")
        print(f"    1022..1025 {[hex(w) for w in words[1022:1026]]} 4999 {hex(words[4999])}")
        for bound in (1, 2, 3, 6, 1000, 2**31 + 1, 2**32 - 1):
            stream = Stream(seed, f"below {bound}")
            print(f"    below {bound}: {[stream.uniform(bound) for _ in range(8)]} after {stream.position} words")
    for title, problem in PROBLEMS.items():
        for name, seed in SEEDS.items():
            print(f"{title}, {name}: {draw(seed, **problem)}")
    for name, seed in SEEDS.items():
        forward = draw(seed, page_count=10_000, classes=[("text", [(0, 10_000)])])
        print(f"10000, {name}: first {forward[:6]} last {forward[-6:]} fnv1a {hex(fnv1a(forward))}")
