/* SPDX-License-Identifier: MIT */

/*
 * A program for x86-64 Linux that reads what a process can read of the kernel:
 *
 *     expose UID    as this user, without groups and capabilities unless it is 0
 *
 * That is every file below /proc and /sys (of processes: itself and the first two),
 * the kernel's log, physical memory as a file, where the kernel has the pages of the
 * process itself, and any translation table of kperm's that /proc/kcore shows. Each
 * goes to standard output as one line and so many bytes, whether it could be opened
 * or not:
 *
 *     PATH tab ERROR tab MODE (octal) tab BYTES newline
 *
 * A file that makes its reader wait is left after two seconds.
 */

#include "program.h"

enum {
	READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, LSTAT = 6, LSEEK = 8, MMAP = 9, MUNMAP = 11, SIGACTION = 13,
	PREAD = 17, ALARM = 37, GETPID = 39, SYSLOG = 103, SETGROUPS = 116, SETRESUID = 117, SETRESGID = 119,
	PRCTL = 157, GETDENTS = 217,
};
enum { EPIPE = 32, EAGAIN = 11 };
enum { NONBLOCK = 04000, DIRECTORY = 0200000 };
enum { TYPE = 0170000, REGULAR = 0100000, FOLDER = 0040000 };
enum { SIGALRM = 14, RESTORER = 0x04000000, DUMPABLE = 4, READ_ALL = 3 };

#define LIMIT (32ull << 20)	/* of a file is read */
#define PIECE (64ull << 10)	/* is read at once: some files refuse to give more */
#define HEADERS (64ull << 10)	/* of /proc/kcore is read as a file */
#define BLOCK (1ull << 20)	/* of memory is looked through at once */
#define SECONDS 2
#define DEPTH 24
#define PATH_BYTES 4096
#define TABLE_MAGIC 0x4c42544d5245504bull

struct status {
	u64 device, inode, links;
	u32 mode, user, group, padding;
	u64 other[15];
};

struct entry {
	u64 inode;
	s64 offset;
	u16 size;
	u8 type;
	char name[];
};

struct action {
	void *handler;
	u64 flags;
	void *restorer;
	u64 mask;
};

struct reader {
	u8 *bytes;		/* LIMIT of them */
	u8 *block;		/* BLOCK of them */
	char *path;		/* PATH_BYTES */
};

void alarmed(void);
void restore(void);
asm("alarmed: ret\n"
    "restore: movl $15, %eax\n"
    "syscall\n");

static u64 length(const char *text)
{
	u64 count = 0;

	while (text[count])
		count++;
	return count;
}

static void *map(u64 count)
{
	return (void *)call(MMAP, 0, count, 3, 0x22, (u64)-1);
}

static void put(const void *bytes, u64 count)
{
	const u8 *at = bytes;

	while (count) {
		s64 done = call(WRITE, 1, (u64)at, count, 0, 0);

		if (done <= 0)
			return;
		at += done;
		count -= done;
	}
}

static void put_number(u64 number, u32 base)
{
	char digits[24];
	u32 at = sizeof digits;

	do
		digits[--at] = "0123456789abcdef"[number % base];
	while (number /= base);
	put(digits + at, sizeof digits - at);
}

/* What goes out for one file, or what stands for one. */
static void tell(const char *path, s64 error, u32 mode, const void *bytes, u64 count)
{
	put(path, length(path));
	put("\t", 1);
	put_number(error < 0 ? -error : 0, 10);
	put("\t", 1);
	put_number(mode & 07777, 8);
	put("\t", 1);
	put_number(count, 10);
	put("\n", 1);
	put(bytes, count);
}

/* All of a file up to a limit. The kernel's log gives a record at each reading, and says when it has lost some. */
static u64 read_all(s64 file, u8 *bytes, u64 limit, s64 *error)
{
	u64 count = 0;
	u32 lost = 0;

	call(ALARM, SECONDS, 0, 0, 0, 0);
	*error = 0;
	while (count < limit) {
		u64 part = limit - count < PIECE ? limit - count : PIECE;
		s64 got = call(READ, file, (u64)(bytes + count), part, 0, 0);

		if (got == -EPIPE && lost++ < 8)
			continue;
		if (got < 0 && !(count && got == -EAGAIN))
			*error = got;
		if (got <= 0)
			break;
		count += got;
	}
	call(ALARM, 0, 0, 0, 0, 0);
	return count;
}

static void read_file(const struct reader *reader, const char *path, u32 mode, u64 limit)
{
	s64 file = call(OPEN, (u64)path, NONBLOCK, 0, 0, 0);
	s64 error = file;
	u64 count = 0;

	if (file >= 0) {
		count = read_all(file, reader->bytes, limit, &error);
		call(CLOSE, file, 0, 0, 0, 0);
	}
	tell(path, error, mode, reader->bytes, count);
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* What is left out: other processes, threads and descriptors of this one, and what is read in a way of its own. */
static int is_left_out(const char *parent, const char *name)
{
	if (same(name, ".") || same(name, ".."))
		return 1;
	if (same(parent, "/proc"))
		return (*name >= '0' && *name <= '9') || same(name, "kcore");
	return same(name, "pagemap") || same(name, "task") || same(name, "map_files") || same(name, "fd");
}

static void read_below(const struct reader *reader, u64 end, u32 depth)
{
	char *path = reader->path;
	s64 folder = call(OPEN, (u64)path, DIRECTORY, 0, 0, 0);
	u64 room = 32768;
	u8 *entries;
	s64 got;

	if (folder < 0) {
		tell(path, folder, 0, 0, 0);
		return;
	}
	entries = map(room);
	while ((got = call(GETDENTS, folder, (u64)entries, room, 0, 0)) > 0) {
		for (s64 at = 0; at < got; at += ((struct entry *)(entries + at))->size) {
			const char *name = ((struct entry *)(entries + at))->name;
			u64 count = length(name);
			struct status status;

			if (is_left_out(path, name) || end + count + 2 > PATH_BYTES)
				continue;
			path[end] = '/';
			memcpy(path + end + 1, name, count + 1);
			if (call(LSTAT, (u64)path, (u64)&status, 0, 0, 0) == 0) {
				if ((status.mode & TYPE) == REGULAR)
					read_file(reader, path, status.mode, LIMIT);
				else if ((status.mode & TYPE) == FOLDER && depth < DEPTH)
					read_below(reader, end + 1 + count, depth + 1);
			}
			path[end] = 0;
		}
	}
	call(MUNMAP, (u64)entries, room, 0, 0, 0);
	call(CLOSE, folder, 0, 0, 0, 0);
}

static void read_tree(const struct reader *reader, const char *root)
{
	u64 count = length(root);

	memcpy(reader->path, root, count + 1);
	read_below(reader, count, 0);
}

static void read_one(const struct reader *reader, const char *path, u64 limit)
{
	struct status status;

	if (call(LSTAT, (u64)path, (u64)&status, 0, 0, 0) == 0)
		read_file(reader, path, status.mode, limit);
	else
		tell(path, -2, 0, 0, 0);
}

/* Where the pages of this process are, those among them that the kernel's image lends it: vDSO, page of zeros. */
static void read_own_pages(const struct reader *reader)
{
	s64 maps = call(OPEN, (u64)"/proc/self/maps", 0, 0, 0, 0);
	s64 pages = call(OPEN, (u64)"/proc/self/pagemap", 0, 0, 0, 0);
	s64 error = maps < 0 ? maps : pages;
	u64 out = 0;

	*(volatile u8 *)(reader->block + BLOCK - 1);
	if (error >= 0) {
		u64 count = read_all(maps, reader->block, BLOCK / 2, &error);
		u64 edge[2] = { 0, 0 };
		u32 which = 0;

		for (u64 at = 0; at < count; at++) {
			u8 c = reader->block[at];
			u8 digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

			if (which < 2 && (c == '-' || c == ' '))
				which++;
			else if (which < 2)
				edge[which] = edge[which] << 4 | (digit & 15);
			if (c != '\n')
				continue;
			if (edge[0] < edge[1] && edge[1] <= 1ull << 47) {
				u64 bytes = (edge[1] - edge[0]) / 4096 * 8;
				s64 got;

				if (bytes > LIMIT - out)
					bytes = LIMIT - out;
				got = call(PREAD, pages, (u64)(reader->bytes + out), bytes, edge[0] / 4096 * 8, 0);
				out += got > 0 ? got : 0;
			}
			edge[0] = edge[1] = which = 0;
		}
	}
	tell("/proc/self/pagemap", error, 0400, reader->bytes, out);
}

/* The kernel's memory as a core file: its headers, and each table of kperm's in the memory that they list. */
static void read_core(const struct reader *reader)
{
	static const char path[] = "/proc/kcore";
	s64 file = call(OPEN, (u64)path, 0, 0, 0, 0);
	s64 error;
	u64 count, start, segments;

	read_one(reader, path, HEADERS);
	if (file < 0)
		return;
	count = read_all(file, reader->bytes, HEADERS, &error);
	start = count < 64 ? count : *(u64 *)(reader->bytes + 32);
	segments = count < 64 ? 0 : *(u16 *)(reader->bytes + 56);
	for (u64 i = 0; i < segments && start + 56 * i + 56 <= count; i++) {
		const u64 *segment = (const u64 *)(reader->bytes + start + 56 * i);
		u64 offset = segment[1], size = segment[4];

		/* Address spaces that are mostly empty are listed, too: those of modules and of vmalloc. */
		if ((u32)segment[0] != 1 || size > 1ull << 34)
			continue;
		for (u64 at = 0; at < size; at += BLOCK) {
			u64 part = size - at < BLOCK ? size - at : BLOCK;
			s64 got = call(PREAD, file, (u64)reader->block, part, offset + at, 0);

			for (s64 word = 0; word + 40 <= got; word += 8) {
				const u64 *table = (const u64 *)(reader->block + word);
				u64 bytes = 40 + 8 * (table[1] >> 32);

				if (table[0] != TABLE_MAGIC || (table[1] & 0xffff) != 1 || bytes > LIMIT - HEADERS)
					continue;
				got = call(PREAD, file, (u64)(reader->bytes + HEADERS), bytes, offset + at + word, 0);
				tell("/proc/kcore (memory)", 0, 0400, reader->bytes + HEADERS, got > 0 ? got : 0);
				got = part;
			}
		}
	}
	call(CLOSE, file, 0, 0, 0, 0);
}

static u64 number(const char *digits)
{
	u64 value = 0;

	while (*digits >= '0' && *digits <= '9')
		value = 10 * value + *digits++ - '0';
	return value;
}

static s64 become(u64 user)
{
	s64 failed;

	if (user == 0)
		return 0;
	failed = call(SETGROUPS, 0, 0, 0, 0, 0);
	if (!failed)
		failed = call(SETRESGID, user, user, user, 0, 0);
	if (!failed)
		failed = call(SETRESUID, user, user, user, 0, 0);
	/* Otherwise its own files in /proc would belong to root, unlike those of a program that a user starts. */
	if (!failed)
		failed = call(PRCTL, DUMPABLE, 1, 0, 0, 0);
	return failed;
}

__attribute__((used)) int program(const u64 *stack)
{
	u64 user = stack[0] >= 2 ? number((const char *)stack[2]) : 0;
	struct action action = { alarmed, RESTORER, restore, 0 };
	struct reader reader = { map(LIMIT), map(BLOCK), map(PATH_BYTES) };
	s64 got;

	call(SIGACTION, SIGALRM, (u64)&action, 0, 8, 0);
	got = become(user);
	if (got < 0) {
		tell("becoming another user", got, 0, 0, 0);
		return 1;
	}
	tell("reading as", 0, 0, 0, 0);
	read_own_pages(&reader);
	read_tree(&reader, "/proc");
	read_tree(&reader, "/proc/self");
	read_tree(&reader, "/proc/1");
	read_tree(&reader, "/proc/2");
	read_tree(&reader, "/sys");
	read_one(&reader, "/dev/kmsg", LIMIT);
	read_one(&reader, "/dev/mem", LIMIT);
	got = call(SYSLOG, READ_ALL, (u64)reader.bytes, LIMIT, 0, 0);
	tell("syslog(2)", got, 0, reader.bytes, got > 0 ? got : 0);
	read_core(&reader);
	tell("read", 0, 0, 0, 0);
	return 0;
}
