// SPDX-License-Identifier: GPL-2.0-only

/*
 * Random numbers from a seed, the same as kperm's RandomStream.swift gives:
 *
 *     key    = BLAKE2b-256(message: domain, key: seed)
 *     words  = ChaCha20 key stream, 64-bit counter from 0, 64-bit nonce 0
 *     below n: the first word w < floor(2^32 / n) * n, modulo n
 *
 * BLAKE2b follows RFC 7693. The ChaCha20 block function is that of RFC 8439,
 * with the original division of the last four words into counter and nonce.
 */

#include "boot.h"

static const u64 initial[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* The order in which each round takes the message's words: 16 numbers of 4 bits, the first in the lowest. */
static const u64 sigma[10] = {
	0xfedcba9876543210, 0x357b20c16df984ae, 0x491763eadf250c8b, 0x8f04a562ebcd1397, 0xd386cb1efa427509,
	0x91ef57d438b0a6c2, 0xb8293670a4def15c, 0xa2684f05931ce7bd, 0x5a417d2c803b9ef6, 0x0dc3e9bf5167482a,
};

static u64 right(u64 value, u32 bits)
{
	return value >> bits | value << (64 - bits);
}

static u32 left(u32 value, u32 bits)
{
	return value << bits | value >> (32 - bits);
}

static void compress(struct blake2b *hash, u64 last)
{
	u64 *v = hash->mixed;

	for (u32 i = 0; i < 8; i++) {
		v[i] = hash->state[i];
		v[i + 8] = initial[i];
	}
	v[12] ^= hash->total;
	v[14] ^= last;
	for (u32 round = 0; round < 12; round++) {
		u64 order = sigma[round < 10 ? round : round - 10];

		/* four columns, then four diagonals */
		for (u32 i = 0; i < 8; i++, order >>= 8) {
			u32 slant = i >> 2;
			u64 *a = v + (i & 3);
			u64 *b = v + 4 + ((i + slant) & 3);
			u64 *c = v + 8 + ((i + 2 * slant) & 3);
			u64 *d = v + 12 + ((i + 3 * slant) & 3);

			*a += *b + hash->block.words[order & 15];
			*d = right(*d ^ *a, 32);
			*c += *d;
			*b = right(*b ^ *c, 24);
			*a += *b + hash->block.words[order >> 4 & 15];
			*d = right(*d ^ *a, 16);
			*c += *d;
			*b = right(*b ^ *c, 63);
		}
	}
	for (u32 i = 0; i < 8; i++)
		hash->state[i] ^= v[i] ^ v[i + 8];
}

void blake2b_start(struct blake2b *hash, const u8 *key, u32 key_bytes)
{
	wipe(hash, sizeof(*hash));
	for (u32 i = 0; i < 8; i++)
		hash->state[i] = initial[i];
	hash->state[0] ^= 0x01010000 | key_bytes << 8 | 32;
	if (key_bytes) {
		for (u32 i = 0; i < key_bytes; i++)
			hash->block.bytes[i] = key[i];
		hash->filled = 128;
	}
}

void blake2b_add(struct blake2b *hash, const void *data, u64 bytes)
{
	const u8 *next = data;

	for (; bytes; bytes--) {
		if (hash->filled == 128) {
			hash->total += 128;
			compress(hash, 0);
			hash->filled = 0;
		}
		hash->block.bytes[hash->filled++] = *next++;
	}
}

void blake2b_finish(struct blake2b *hash, u8 digest[32])
{
	hash->total += hash->filled;
	for (u32 i = hash->filled; i < 128; i++)
		hash->block.bytes[i] = 0;
	compress(hash, ~0ull);
	for (u32 i = 0; i < 32; i++)
		digest[i] = hash->state[i / 8] >> 8 * (i % 8);
}

static void quarter(u32 *x, u32 a, u32 b, u32 c, u32 d)
{
	x[a] += x[b];
	x[d] = left(x[d] ^ x[a], 16);
	x[c] += x[d];
	x[b] = left(x[b] ^ x[c], 12);
	x[a] += x[b];
	x[d] = left(x[d] ^ x[a], 8);
	x[c] += x[d];
	x[b] = left(x[b] ^ x[c], 7);
}

/* Makes the next 16 words. */
void chacha20_block(struct stream *stream)
{
	u32 *x = stream->words;

	for (u32 i = 0; i < 16; i++)
		x[i] = stream->input[i];
	for (u32 round = 0; round < 20; round++) {
		u32 slant = round & 1;

		/* four columns, then four diagonals */
		for (u32 i = 0; i < 4; i++)
			quarter(x, i, 4 + ((i + slant) & 3), 8 + ((i + 2 * slant) & 3), 12 + ((i + 3 * slant) & 3));
	}
	for (u32 i = 0; i < 16; i++)
		x[i] += stream->input[i];
	if (!++stream->input[12])
		stream->input[13]++;
	stream->used = 0;
}

void stream_start(struct secrets *secrets, const void *domain, u32 domain_bytes)
{
	struct stream *stream = &secrets->stream;

	wipe(stream, sizeof(*stream));
	/* "expand 32-byte k" */
	stream->input[0] = 0x61707865;
	stream->input[1] = 0x3320646e;
	stream->input[2] = 0x79622d32;
	stream->input[3] = 0x6b206574;
	blake2b_start(&secrets->hash, secrets->seed, sizeof(secrets->seed));
	blake2b_add(&secrets->hash, domain, domain_bytes);
	blake2b_finish(&secrets->hash, (u8 *)&stream->input[4]);
	stream->used = 16;
}

u32 stream_uniform(struct stream *stream, u32 below)
{
	u32 rejected = (~0u % below + 1) % below;

	for (;;) {
		if (stream->used == 16)
			chacha20_block(stream);
		u32 word = stream->words[stream->used++];

		if (word <= ~0u - rejected)
			return word % below;
	}
}
