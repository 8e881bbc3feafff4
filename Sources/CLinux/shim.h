// SPDX-License-Identifier: MIT
#pragma once

// What Swift's view of glibc leaves out: what it declares for _GNU_SOURCE only, and the settings of malloc.

#include <stddef.h>
#include <sys/types.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <malloc.h>
#include <sys/ioctl.h>

/// Lets a file share the blocks of another, as file systems with reflinks can; 0 when it does.
static inline int clone_file(int to, int from) { return ioctl(to, FICLONE, from); }

void *memmem(const void *text, size_t size, const void *word, size_t word_size);
int memfd_create(const char *name, unsigned flags);

/// O_TMPFILE: open a file without a name in a directory.
static const int open_nameless = 020000000 | O_DIRECTORY;
