/* SPDX-License-Identifier: MIT */

/*
 * A program for x86-64 Linux that uses what a shell cannot:
 *
 *     probe kvm    runs a virtual machine of one instruction or two
 *     probe bpf    attaches BPF programs to the kernel and to itself, and samples with perf
 *
 * It prints what it saw as one line. Exit status: 0 it works, 1 it does not, 2
 * this kernel has no such thing. There is no C library behind it.
 */

#include "program.h"

/* MARK: The system */

enum { READ = 0, WRITE = 1, OPEN = 2, MMAP = 9, IOCTL = 16, GETPPID = 110, PERF_EVENT_OPEN = 298, BPF = 321 };
enum { ENOENT = 2, EPERM = 1, ENOSYS = 38 };
enum { WORKS = 0, FAILS = 1, ABSENT = 2 };

static u64 address(const volatile void *object) { return (u64)object; }

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static void say(const char *text)
{
	u64 count = 0;

	while (text[count])
		count++;
	call(WRITE, 1, address(text), count, 0, 0);
}

static void say_number(s64 number)
{
	char digits[24];
	u32 at = sizeof digits - 1;
	u64 rest = number < 0 ? (u64)-number : (u64)number;

	digits[at] = 0;
	do
		digits[--at] = (char)('0' + rest % 10);
	while (rest /= 10);
	if (number < 0)
		digits[--at] = '-';
	say(digits + at);
}

static int failed(const char *what, s64 number)
{
	say(what);
	say(": ");
	say_number(number);
	say("\n");
	return FAILS;
}

static s64 open(const char *path, u32 flags) { return call(OPEN, address(path), flags, 0, 0, 0); }

/* A descriptor: shared; without one (-1): fresh memory. */
static void *map(u64 count, s64 descriptor)
{
	s64 place = call(MMAP, 0, count, 3, descriptor < 0 ? 0x22 : 1, (u64)descriptor);

	return place < 0 && place > -4096 ? 0 : (void *)place;
}

static s64 read_number(const char *path)
{
	char text[16] = "";
	s64 descriptor = open(path, 0), number = 0;

	if (descriptor < 0)
		return descriptor;
	if (call(READ, (u64)descriptor, address(text), sizeof text - 1, 0, 0) <= 0)
		return -1;
	for (char *at = text; *at >= '0' && *at <= '9'; at++)
		number = number * 10 + (*at - '0');
	return number;
}

/* MARK: A virtual machine */

struct segment {
	u64 base;
	u32 limit;
	u16 selector;
	u8 rest[10];
};
/* Of each only the first fields matter here; the rest is handed back as it came. */
struct special_registers {
	struct segment code;
	u8 rest[312 - sizeof(struct segment)];
};
struct registers {
	u64 general[16], instruction, flags;
};
struct run {
	u8 asked[8];
	u32 exit;
	u8 between[0x20 - 12];
	u8 direction, size;
	u16 port;
	u32 count;
	u64 offset;
};
struct memory {
	u32 slot, flags;
	u64 guest, bytes, host;
};

#define KVM_CREATE_VM 0xae01
#define KVM_GET_VCPU_MMAP_SIZE 0xae04
#define KVM_CREATE_VCPU 0xae41
#define KVM_SET_USER_MEMORY_REGION 0x4020ae46
#define KVM_RUN 0xae80
#define KVM_SET_REGS 0x4090ae82
#define KVM_GET_SREGS 0x8138ae83
#define KVM_SET_SREGS 0x4138ae84
enum { EXIT_IO = 2, EXIT_HLT = 5 };

static s64 control(s64 descriptor, u64 request, u64 argument)
{
	return call(IOCTL, (u64)descriptor, request, argument, 0, 0);
}

static int kvm(void)
{
	/* mov $42, %al; out %al, $16; hlt */
	static const u8 code[] = { 0xb0, 42, 0xe6, 16, 0xf4 };
	struct special_registers special = { 0 };
	struct registers general = { .instruction = 4096, .flags = 2 };
	s64 system = open("/dev/kvm", 2), machine, processor, size, result;

	if (system == -ENOENT) {
		say("no /dev/kvm\n");
		return ABSENT;
	}
	if (system < 0)
		return failed("/dev/kvm", system);
	machine = control(system, KVM_CREATE_VM, 0);
	if (machine < 0)
		return failed("KVM_CREATE_VM", machine);
	u8 *page = map(4096, -1);
	struct memory memory = { 0, 0, 4096, 4096, address(page) };
	memcpy(page, code, sizeof code);
	result = control(machine, KVM_SET_USER_MEMORY_REGION, address(&memory));
	if (result < 0)
		return failed("KVM_SET_USER_MEMORY_REGION", result);
	processor = control(machine, KVM_CREATE_VCPU, 0);
	if (processor < 0)
		return failed("KVM_CREATE_VCPU", processor);
	size = control(system, KVM_GET_VCPU_MMAP_SIZE, 0);
	volatile struct run *run = map((u64)size, processor);
	if (size < 0 || !run)
		return failed("KVM_GET_VCPU_MMAP_SIZE", size);
	result = control(processor, KVM_GET_SREGS, address(&special));
	special.code.base = 0;
	special.code.selector = 0;
	if (result < 0 || (result = control(processor, KVM_SET_SREGS, address(&special))) < 0)
		return failed("KVM_SET_SREGS", result);
	result = control(processor, KVM_SET_REGS, address(&general));
	if (result < 0)
		return failed("KVM_SET_REGS", result);
	result = control(processor, KVM_RUN, 0);
	if (result < 0)
		return failed("KVM_RUN", result);
	if (run->exit != EXIT_IO || run->port != 16 || *((volatile u8 *)run + run->offset) != 42)
		return failed("the machine should have written 42 to a port, its exit is", run->exit);
	result = control(processor, KVM_RUN, 0);
	if (result < 0 || run->exit != EXIT_HLT)
		return failed("the machine should have halted, its exit is", run->exit);
	say("a virtual machine ran\n");
	return WORKS;
}

/* MARK: BPF and perf */

struct instruction {
	u8 code, registers;
	u16 offset;
	u32 value;
};
union bpf_attributes {
	struct {
		u32 type, key_bytes, value_bytes, entries;
	} map;
	struct {
		u32 map, pad;
		u64 key, value;
	} element;
	struct {
		u32 type, count;
		u64 instructions, licence;
		u32 log_level, log_bytes;
		u64 log;
		u32 kernel, flags;
		u8 name[16];
		u32 interface, attach_type, btf, info_bytes;
		u64 info;
		u32 info_count, line_bytes;
		u64 line;
		u32 line_count, attach_to, attach_program, pad;
	} program;
	struct {
		u64 name;
		u32 program;
	} tracepoint;
	u8 room[144];
};
struct perf_attributes {
	u32 type, size;
	u64 config, period, sample, format, flags;
	u32 wakeup, breakpoint;
	u64 config1, config2, rest[6];
};
enum { MAP_CREATE = 0, LOOKUP = 1, LOAD = 5, RAW_TRACEPOINT_OPEN = 17 };
enum { KPROBE = 2, RAW_TRACEPOINT = 17, TRACING = 26, FENTRY = 24 };
#define PERF_SET_BPF 0x40042408
#define CALLS 100

static s64 bpf(u32 command, union bpf_attributes *attributes)
{
	return call(BPF, command, address(attributes), sizeof *attributes, 0, 0);
}

static s64 counter(void)
{
	union bpf_attributes attributes = { .map = { 2, 4, 8, 1 } };

	return bpf(MAP_CREATE, &attributes);
}

static s64 count_of(s64 counter)
{
	u32 key = 0;
	u64 value = 0;
	union bpf_attributes attributes = { .element = { (u32)counter, 0, address(&key), address(&value) } };
	s64 result = bpf(LOOKUP, &attributes);

	return result < 0 ? result : (s64)value;
}

/* A program that counts how often it runs. */
static s64 load(u32 type, u32 attach_type, u32 attach_to, s64 counter)
{
	const struct instruction code[] = {
		{ 0x62, 10, (u16)-4, 0 },			/* *(u32 *)(r10 - 4) = 0 */
		{ 0xbf, 0xa2, 0, 0 },				/* r2 = r10 */
		{ 0x07, 2, 0, (u32)-4 },			/* r2 += -4 */
		{ 0x18, 0x11, 0, (u32)counter }, { 0, 0, 0, 0 },	/* r1 = the map */
		{ 0x85, 0, 0, 1 },				/* r0 = its element */
		{ 0x15, 0, 2, 0 },				/* if r0 == 0 skip two */
		{ 0xb7, 1, 0, 1 },				/* r1 = 1 */
		{ 0xdb, 0x10, 0, 0 },				/* *r0 += r1, at once */
		{ 0xb7, 0, 0, 0 },				/* r0 = 0 */
		{ 0x95, 0, 0, 0 },				/* leave */
	};
	union bpf_attributes attributes = { .program = {
		.type = type, .count = sizeof code / sizeof *code, .instructions = address(code),
		.licence = address("GPL"), .attach_type = attach_type, .attach_to = attach_to } };

	return bpf(LOAD, &attributes);
}

static s64 perf(struct perf_attributes *attributes, s64 process, s64 processor)
{
	attributes->size = sizeof *attributes;
	return call(PERF_EVENT_OPEN, address(attributes), (u64)process, (u64)processor, (u64)-1, 0);
}

__attribute__((noinline)) static void probed(void) { asm volatile("nop"); }

/* Where the kernel's type information says what a function is; 0: nowhere. */
static u32 type_of(const char *function)
{
	struct {
		u16 magic;
		u8 version, flags;
		u32 header_bytes, types, types_bytes, strings, strings_bytes;
	} *header;
	const u32 room = 16 << 20;
	u8 *bytes = map(room, -1);
	s64 file = open("/sys/kernel/btf/vmlinux", 0), count;
	u32 done = 0, number = 1;

	if (!bytes || file < 0)
		return 0;
	while ((count = call(READ, (u64)file, address(bytes + done), room - done, 0, 0)) > 0)
		done += (u32)count;
	header = (void *)bytes;
	if (done < sizeof *header || header->magic != 0xeb9f)
		return 0;
	const char *strings = (char *)bytes + header->header_bytes + header->strings;
	u8 *at = bytes + header->header_bytes + header->types, *end = at + header->types_bytes;
	for (; at < end; number++) {
		u32 *type = (u32 *)at, kind = type[1] >> 24 & 31, members = type[1] & 0xffff;
		if (kind == 12 && same(strings + type[0], function))
			return number;
		at += 12;
		if (kind == 1 || kind == 14 || kind == 17)
			at += 4;
		else if (kind == 3)
			at += 12;
		else if (kind == 4 || kind == 5 || kind == 15 || kind == 19)
			at += 12 * members;
		else if (kind == 6 || kind == 13)
			at += 8 * members;
	}
	return 0;
}

static void say_count(const char *name, s64 count)
{
	say(name);
	say(" ");
	say_number(count);
}

static int bpf_and_perf(void)
{
	static const char function[] = "__x64_sys_getppid", entered[] = "vfs_read";
	s64 self = open("/proc/self/exe", 0);
	s64 kernel_type = read_number("/sys/bus/event_source/devices/kprobe/type");
	s64 user_type = read_number("/sys/bus/event_source/devices/uprobe/type");
	s64 counts[4], program, event;

	counts[0] = counter();
	if (counts[0] == -ENOSYS) {
		say("no bpf system call\n");
		return ABSENT;
	}
	for (u32 n = 1; n < 4; n++)
		counts[n] = counter();
	if (counts[3] < 0)
		return failed("making a BPF map", counts[3]);

	struct perf_attributes kprobe = { .type = (u32)kernel_type, .config1 = address(function) };
	program = load(KPROBE, 0, 0, counts[0]);
	if (program < 0)
		return failed("loading a BPF program for a kprobe", program);
	event = kernel_type < 0 ? kernel_type : perf(&kprobe, -1, 0);
	if (event < 0 || (event = control(event, PERF_SET_BPF, (u64)program)) < 0)
		return failed("a BPF program on a kprobe", event);

	struct perf_attributes uprobe = {
		.type = (u32)user_type, .config1 = address("/proc/self/exe"), .config2 = address(probed) - BASE };
	program = load(KPROBE, 0, 0, counts[1]);
	event = user_type < 0 ? user_type : perf(&uprobe, 0, -1);
	if (event < 0 || (event = control(event, PERF_SET_BPF, (u64)program)) < 0)
		return failed("a BPF program on a uprobe", event);

	program = load(RAW_TRACEPOINT, 0, 0, counts[2]);
	union bpf_attributes entry = { .tracepoint = { address("sys_enter"), (u32)program } };
	event = program < 0 ? program : bpf(RAW_TRACEPOINT_OPEN, &entry);
	if (event < 0)
		return failed("a BPF program on a raw tracepoint", event);

	u32 type = type_of(entered);
	if (type) {
		program = load(TRACING, FENTRY, type, counts[3]);
		union bpf_attributes trampoline = { .tracepoint = { 0, (u32)program } };
		event = program < 0 ? program : bpf(RAW_TRACEPOINT_OPEN, &trampoline);
		if (event < 0)
			return failed("a BPF program at a function's entry", event);
	}

	struct perf_attributes clock = { .type = 1, .period = 100000, .sample = 1 };
	event = perf(&clock, 0, -1);
	volatile u64 *ring = event < 0 ? 0 : map(3 * 4096, event);
	if (!ring)
		return failed("sampling with perf", event);

	for (u32 n = 0; n < CALLS; n++) {
		u8 byte = 0;
		call(GETPPID, 0, 0, 0, 0, 0);
		call(READ, (u64)self, address(&byte), 1, 0, 0);
		probed();
	}
	for (volatile u32 n = 0; n < 20000000 && ring[128] < 160; n++)
		;
	/* The head of the ring is its 128th word; a sample is 16 bytes. */
	say_count("kprobe", count_of(counts[0]));
	say_count(", uprobe", count_of(counts[1]));
	say_count(", raw tracepoint", count_of(counts[2]));
	if (type)
		say_count(", function entry", count_of(counts[3]));
	else
		say(", no type information");
	say_count(", samples", (s64)(ring[128] / 16));
	say("\n");
	for (u32 n = 0; n < (type ? 4 : 3); n++)
		if (count_of(counts[n]) < CALLS)
			return FAILS;
	return ring[128] >= 160 ? WORKS : FAILS;
}

__attribute__((used)) int program(const u64 *stack)
{
	const char *what = stack[0] > 1 ? (const char *)stack[2] : "";

	if (same(what, "kvm"))
		return kvm();
	if (same(what, "bpf"))
		return bpf_and_perf();
	say("usage: probe kvm|bpf\n");
	return FAILS;
}
