// SPDX-License-Identifier: GPL-2.0-only

/*
 * The stub's words on the kernel's command line:
 *
 *     kperm=off         boot as the kernel was linked
 *     kperm=require     halt rather than boot unpermuted
 *     kperm.seed=HEX    take these 32 bytes for a seed, for tests; it is blanked out before the kernel shows it
 *     kperm.wait        when done, wait until a debugger says go
 *
 * The last of several wins. What follows "--" is for init.
 */

#include "boot.h"

#define SEED_DIGITS 64

static int is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* How many bytes of a word are left behind this beginning, or -1 if it begins in another way. */
static int behind(const char *word, u32 bytes, const char *beginning)
{
	u32 i = 0;

	for (; beginning[i]; i++)
		if (i == bytes || word[i] != beginning[i])
			return -1;
	return bytes - i;
}

static const char *parse_word(const char *word, u32 bytes, struct options *options)
{
	if (behind(word, bytes, "kperm=") >= 0) {
		u8 off = behind(word, bytes, "kperm=off") == 0;

		if (!off && behind(word, bytes, "kperm=require") != 0)
			return "kperm= on the command line takes off or require";
		options->off = off;
		options->require = !off;
		return 0;
	}
	int digits = behind(word, bytes, "kperm.seed=");

	if (digits >= 0) {
		word += bytes - digits;
		options->seed = word;
		for (int i = 0; i < digits; i++)
			if (nibble(word[i]) < 0)
				digits = 0;
		return digits == SEED_DIGITS ? 0 : "kperm.seed= on the command line takes 64 hexadecimal digits";
	}
	if (behind(word, bytes, "kperm.wait") == 0) {
		options->wait = 1;
		return 0;
	}
	return behind(word, bytes, "kperm.") >= 0 ? "there is an unknown kperm. option on the command line" : 0;
}

/* The next word from `line` on that is not for init, and its length; 0 when there is none. */
static char *next_word(char *line, const char *end, u32 *length)
{
	char *word;

	while (line < end && is_space(*line))
		line++;
	word = line;
	while (line < end && *line && !is_space(*line))
		line++;
	*length = line - word;
	return *length == 0 || (*length == 2 && word[0] == '-' && word[1] == '-') ? 0 : word;
}

void parse_options(char *line, u32 bytes, struct options *options)
{
	const char *end = line + bytes;
	u32 length;

	wipe(options, sizeof(*options));
	while ((line = next_word(line, end, &length))) {
		const char *malformed = parse_word(line, length, options);

		if (malformed)
			options->malformed = malformed;
		line += length;
	}
}

/* Any user reads the command line in /proc/cmdline. */
void hide_seeds(char *line, u32 bytes)
{
	const char *end = line + bytes;
	u32 length;

	for (; (line = next_word(line, end, &length)); line += length)
		if (behind(line, length, "kperm.seed=") >= 0)
			for (u32 i = 0; i < length; i++)
				((volatile char *)line)[i] = ' ';
}

void decode_seed(const char *digits, u8 seed[32])
{
	for (u32 i = 0; i < 32; i++)
		seed[i] = nibble(digits[2 * i]) << 4 | nibble(digits[2 * i + 1]);
}
