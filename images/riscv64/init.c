// SPDX-License-Identifier: MIT
// The first program of a riscv64 guest, and the only one: exercises what a permuted kernel could get wrong (threads of
// execution, the vDSO, function tracing, kprobes, modules, virtio-blk, virtio-net), one line each as `kperm boot` reads
// them, and switches the machine off. Words on the kernel's command line ask for other than that: kperm_test for the
// kernel's test of itself, kperm_full for every function traced, which takes minutes, kperm_quick for none; kperm_hold
// leaves the machine to be looked at.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures;

/* What is said begins with the name of the check, up to a colon. */
static void say(int good, const char *format, ...)
{
	char text[400], *detail;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	detail = strstr(text, ": ");
	if (detail)
		*detail = 0;
	printf("kperm-exercise: %s %s %s\n", detail ? text : "guest", good ? "pass" : "fail", detail ? detail + 2 : text);
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

// Prints a file, and tells whether there is something in it, a given word, say.
static int show_file(const char *path, const char *word)
{
	static char text[1 << 16];
	size_t all = 0;
	ssize_t bytes;
	int file = open(path, O_RDONLY);

	while (file >= 0 && (bytes = read(file, text + all, sizeof(text) - 1 - all)) > 0)
		all += bytes;
	text[all] = 0;
	fputs(text, stdout);
	if (file >= 0)
		close(file);
	return strstr(text, word) != 0;
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
	say(good == 200, "forks: %d of 200", good);
}

static void vdso(void)
{
	const unsigned char *image = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
	struct timespec before, after, kernel;

	clock_gettime(CLOCK_MONOTONIC, &before);
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &kernel);
	clock_gettime(CLOCK_MONOTONIC, &after);
	say(image && !memcmp(image, "\177ELF", 4) && before.tv_sec <= kernel.tv_sec && kernel.tv_sec <= after.tv_sec,
	    "vdso: it tells the kernel's time");
}

static void tracing(const char *functions)
{
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, 0);
	int good = write_file("/sys/kernel/tracing/set_ftrace_filter", functions) &&
		   write_file("/sys/kernel/tracing/current_tracer", "function");

	usleep(100000);
	good &= write_file("/sys/kernel/tracing/current_tracer", "nop");
	say(good, "ftrace: functions %s traced, and no longer", functions);
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
	say(good && seen, "kprobe: hit %d times", seen);
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
		int good = !syscall(SYS_finit_module, file, "", 0);

		say(good, "module-%s: %s", names[i], good ? "loaded" : strerror(errno));
		close(file);
	}
	unsigned char bytes[64] = {};
	int device = open("/dev/hwrng", O_RDONLY), filled = 0;
	ssize_t got = read(device, bytes, sizeof(bytes));

	for (int i = 0; i < 64; i++)
		filled += bytes[i] != 0;
	say(got > 0 && filled, "virtio-rng: %zd random bytes", got);
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

// Asks who has the address of the gateway that QEMU plays, and waits for the answer.
static void network(void)
{
	struct ifreq name = { .ifr_name = "eth0" };
	int link = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ARP));
	struct {
		struct ether_header to;
		struct ether_arp arp;
	} ask = {}, answer = {};
	static const unsigned char own[4] = { 10, 0, 2, 15 }, gateway[4] = { 10, 0, 2, 2 };

	if (link < 0 || ioctl(link, SIOCGIFHWADDR, &name))
		return;
	memset(ask.to.ether_dhost, 0xff, ETH_ALEN);
	memcpy(ask.to.ether_shost, name.ifr_hwaddr.sa_data, ETH_ALEN);
	ask.to.ether_type = htons(ETH_P_ARP);
	ask.arp.ea_hdr = (struct arphdr){ htons(ARPHRD_ETHER), htons(ETH_P_IP), ETH_ALEN, 4, htons(ARPOP_REQUEST) };
	memcpy(ask.arp.arp_sha, ask.to.ether_shost, ETH_ALEN);
	memcpy(ask.arp.arp_spa, own, 4);
	memcpy(ask.arp.arp_tpa, gateway, 4);
	name.ifr_flags = IFF_UP | IFF_RUNNING;
	int good = !ioctl(link, SIOCSIFFLAGS, &name) && !ioctl(link, SIOCGIFINDEX, &name);
	struct sockaddr_ll end = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = name.ifr_ifindex
	};
	int answered = 0;

	good = good && !bind(link, (struct sockaddr *)&end, sizeof(end));
	for (int i = 0; good && !answered && i < 20; i++) {
		struct pollfd ready = { .fd = link, .events = POLLIN };

		good = send(link, &ask, sizeof(ask), 0) == sizeof(ask);
		while (!answered && poll(&ready, 1, 100) > 0 && read(link, &answer, sizeof(answer)) > 0)
			answered = answer.arp.ea_hdr.ar_op == htons(ARPOP_REPLY) && !memcmp(answer.arp.arp_spa, gateway, 4);
	}
	say(good && answered, "virtio-net: the gateway %s", answered ? "answered" : "did not answer");
	close(link);
}

static unsigned long symbol(const char *name)
{
	unsigned long address, found = 0;
	char other[256], kind;
	FILE *symbols = fopen("/proc/kallsyms", "r");

	while (symbols && !found && fscanf(symbols, "%lx %c %255s%*[^\n]", &address, &kind, other) == 3)
		if (!strcmp(other, name))
			found = address;
	if (symbols)
		fclose(symbols);
	return found;
}

static int copies_page(long page)
{
	static char copy[4096];
	int image = open("/sys/kernel/debug/kperm/alias", O_RDONLY);

	if (image < 0)
		return 1;
	if (pread(image, copy, sizeof(copy), page * 4096) == sizeof(copy))
		return 0;
	return errno == ENODATA ? 2 : 1;
}

// Each page of the image through the linear map: text must not be copied from there, all else must.
static void usercopy(void)
{
	unsigned long start = symbol("_start"), text = symbol("_stext"), text_end = symbol("_etext"), end = symbol("_end");
	unsigned long init = symbol("__init_begin"), init_end = symbol("__init_end");
	int refused = 0, copied = 0, freed = 0, wrong = 0, status = 0;
	static char log[1 << 18];

	write_file("/proc/sys/kernel/printk", "0");
	for (unsigned long address = start; address < end; address += 4096) {
		int is_text = address >= text && address < text_end, is_init = address >= init && address < init_end;
		pid_t child = fork();

		if (child == 0)
			_exit(copies_page((address - start) / 4096));
		if (child < 0 || waitpid(child, &status, 0) != child)
			wrong++;
		else if (is_text && WIFSIGNALED(status))
			refused++;
		else if (is_init && WIFEXITED(status) && WEXITSTATUS(status) == 2)
			freed++;
		else if (!is_text && !is_init && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			copied++;
		else
			wrong++;
	}
	write_file("/proc/sys/kernel/printk", "7");
	int bytes = klogctl(3, log, sizeof(log) - 1);

	say(refused && copied && !wrong && bytes > 0 && strstr(log, "linear kernel text"),
	    "usercopy: %d pages of text refused, %d others done, %d freed, %d wrong", refused, copied, freed,
	    wrong);
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
	show_file("/sys/kernel/debug/kperm/status", "");
	say(sysconf(_SC_NPROCESSORS_ONLN) > 0, "cpus: %ld", sysconf(_SC_NPROCESSORS_ONLN));
	forks();
	vdso();
	if (!strstr(line, "kperm_quick"))
		tracing(strstr(line, "kperm_full") ? "*" : "vfs_*");
	modules();
	disk();
	network();
	if (strstr(line, "kperm_test")) {
		say(show_file("/sys/kernel/debug/kperm/test", "test: passed"), "self-test: by its last line");
		usercopy();
	}
	say(!failures, "guest: %d failures", failures);
	printf("kperm-exercise: done\n");
	while (strstr(line, "kperm_hold"))
		pause();
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
