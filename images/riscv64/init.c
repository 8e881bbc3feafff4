// SPDX-License-Identifier: MIT
// The first program of a riscv64 guest, and the only one: exercises what a permuted kernel could get wrong (threads of
// execution, the vDSO, function tracing, kprobes, modules, virtio-blk), one line each, and switches the machine off.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures;

static void say(int good, const char *format, ...)
{
	char text[400];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	printf("guest: %s: %s\n", good ? "ok" : "FAILED", text);
	failures += !good;
}

static int write_file(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_TRUNC);
	int good = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);

	if (file >= 0)
		close(file);
	return good;
}

static int show_file(const char *path)
{
	char buffer[4096];
	ssize_t bytes, all = 0;
	int file = open(path, O_RDONLY);

	while (file >= 0 && (bytes = read(file, buffer, sizeof(buffer))) > 0) {
		fwrite(buffer, 1, bytes, stdout);
		all += bytes;
	}
	if (file >= 0)
		close(file);
	return all > 0;
}

static void forks(void)
{
	int good = 0;

	for (int i = 0; i < 200; i++) {
		int status;
		pid_t child = fork();

		if (child == 0)
			_exit(i & 127);
		good += child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == (i & 127);
	}
	say(good == 200, "%d of 200 forks", good);
}

static void vdso(void)
{
	const unsigned char *image = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
	struct timespec before, after, kernel;

	clock_gettime(CLOCK_MONOTONIC, &before);
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &kernel);
	clock_gettime(CLOCK_MONOTONIC, &after);
	say(image && !memcmp(image, "\177ELF", 4) && before.tv_sec <= kernel.tv_sec && kernel.tv_sec <= after.tv_sec,
	    "the vDSO tells the kernel's time");
}

static void tracing(void)
{
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, 0);
	int good = write_file("/sys/kernel/tracing/current_tracer", "function");

	usleep(100000);
	good &= write_file("/sys/kernel/tracing/current_tracer", "nop");
	say(good, "every function traced, and no longer");
	good = write_file("/sys/kernel/tracing/kprobe_events", "p:opened do_sys_openat2") &&
	       write_file("/sys/kernel/tracing/events/kprobes/opened/enable", "1");
	close(open("/proc/version", O_RDONLY));
	good &= write_file("/sys/kernel/tracing/events/kprobes/opened/enable", "0");
	char line[4096];
	int seen = 0;
	FILE *trace = fopen("/sys/kernel/tracing/trace", "r");

	while (trace && fgets(line, sizeof(line), trace))
		seen += strstr(line, "opened:") != 0;
	if (trace)
		fclose(trace);
	say(good && seen, "a kprobe was hit %d times", seen);
}

static void modules(void)
{
	static const char *const names[] = { "rng-core", "virtio-rng", 0 };

	for (int i = 0; names[i]; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/%s.ko", names[i]);
		int file = open(path, O_RDONLY | O_CLOEXEC);

		if (file < 0)
			continue;
		say(!syscall(SYS_finit_module, file, "", 0), "module %s: %s", names[i], strerror(errno));
		close(file);
	}
	unsigned char bytes[64] = {};
	int device = open("/dev/hwrng", O_RDONLY), filled = 0;
	ssize_t got = read(device, bytes, sizeof(bytes));

	for (int i = 0; i < 64; i++)
		filled += bytes[i] != 0;
	say(got > 0 && filled, "%zd random bytes from virtio-rng", got);
}

static void disk(void)
{
	static unsigned char block[1 << 20];
	int file = open("/dev/vda", O_RDONLY);

	if (file < 0)
		return;
	unsigned long wrong = 0, bytes = 0;
	ssize_t got;

	while ((got = read(file, block, sizeof(block))) > 0)
		for (ssize_t i = 0; i < got; i++, bytes++)
			wrong += block[i] != (unsigned char)((bytes * 2654435761u) >> 24);
	say(bytes && !wrong, "virtio-blk: %lu bytes read, %lu of them wrong", bytes, wrong);
}

int main(void)
{
	setvbuf(stdout, 0, _IOLBF, 0);
	mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
	mount("proc", "/proc", "proc", 0, 0);
	mount("sysfs", "/sys", "sysfs", 0, 0);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, 0);
	char line[4096] = "";
	FILE *words = fopen("/proc/cmdline", "r");

	if (words && !fgets(line, sizeof(line), words))
		line[0] = 0;
	show_file("/sys/kernel/debug/kperm/status");
	say(sysconf(_SC_NPROCESSORS_ONLN) > 0, "%ld processors", sysconf(_SC_NPROCESSORS_ONLN));
	forks();
	vdso();
	if (!strstr(line, "kperm_quick"))
		tracing();
	modules();
	disk();
	if (strstr(line, "kperm_test"))
		say(show_file("/sys/kernel/debug/kperm/test"), "the kernel's self-test was read");
	if (strstr(line, "kperm_hold"))
		for (printf("guest: holding\n");;)
			pause();
	printf("guest: done, %d failures\n", failures);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
