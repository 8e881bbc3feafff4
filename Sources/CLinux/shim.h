// SPDX-License-Identifier: MIT
#pragma once

// What glibc declares for _GNU_SOURCE only, which Swift's view of it leaves out.

#include <sys/types.h>
#include <fcntl.h>

ssize_t copy_file_range(int from, off_t *from_offset, int to, off_t *to_offset, size_t count, unsigned flags);
int memfd_create(const char *name, unsigned flags);

/// O_TMPFILE: open a file without a name in a directory.
static const int open_nameless = 020000000 | O_DIRECTORY;
