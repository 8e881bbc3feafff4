// SPDX-License-Identifier: MIT

// A kernel that does nothing but touch memory in an order that is known beforehand, for tools/trace-plugin/test: from
// `begin` to `end`, ROUNDS times,
//   - reads a word of each of PAGES pages, of page i in line i % 64, each by way of `site`;
//   - writes 8 bytes across a border of two lines of the page behind these;
//   - copies 4 lines by one string instruction from `source` to `target`;
//   - passes `call_entry`, and writes CR3;
//   - reads two words of the first line of `source`.

#define START_KERNEL_map 0xffffffff80000000
#define PA(symbol) ((symbol) - START_KERNEL_map)
#define PAGE 4096

    .section .text, "ax", @progbits
    .code32
    .globl pvh_start
pvh_start:
    lgdt PA(gdt_register)
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %cr4, %eax
    or $0x20, %eax                      // PAE
    mov %eax, %cr4
    mov $0xc0000080, %ecx               // EFER
    rdmsr
    or $0x100, %eax                     // LME
    wrmsr
    mov $PA(level4), %eax
    mov %eax, %cr3
    mov $0x80000001, %eax               // PG, PE
    mov %eax, %cr0
    ljmp $8, $PA(1f)
    .code64
1:
    movabs $begin, %rax
    jmp *%rax

    .balign 64
    .globl begin, site, call_entry, end
begin:
    mov $ROUNDS, %ebp
round:
    xor %ecx, %ecx
    mov $pages, %rsi
page:
    mov %ecx, %edi
    and $63, %edi
    shl $6, %edi
    .skip 24, 0x90                      // so that the jump lies across a border of two lines
site:
    mov (%rsi, %rdi), %rax
    add $PAGE, %rsi
    inc %ecx
    cmp $PAGES, %ecx
    .byte 0x0f, 0x85                    // jne page
    .long page - . - 4
    mov %rax, 0x7c(%rsi)
    mov $source, %rsi
    mov $target, %rdi
    mov $32, %ecx
    cld
    rep movsq
call_entry:
    mov %cr3, %rax
    mov %rax, %cr3
    mov source, %rax
    mov source + 8, %rax
    dec %ebp
    jnz round
end:
    mov $0xfe, %al                      // the keyboard controller resets the machine
    out %al, $0x64
1:
    hlt
    jmp 1b

    .section .notes, "a", @note
    .balign 4
    .long 2f - 1f, 4f - 3f, 18          // XEN_ELFNOTE_PHYS32_ENTRY
1:  .asciz "Xen"
2:  .balign 4
3:  .quad PA(pvh_start)
4:

    .section .data, "aw", @progbits
    .balign PAGE
#define TABLE 3                         // present, writable
#define LARGE 0x83                      // the same, a 2 MB page
level4:
    .quad PA(level3_low) + TABLE
    .fill 510, 8, 0
    .quad PA(level3_high) + TABLE
level3_low:
    .quad PA(level2) + TABLE
    .fill 511, 8, 0
level3_high:
    .fill 510, 8, 0
    .quad PA(level2) + TABLE
    .quad 0
level2:
    .set frame, 0
    .rept 512
    .quad frame + LARGE
    .set frame, frame + 0x200000
    .endr
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_register:
    .word gdt_register - gdt - 1
    .long PA(gdt)
    .globl pages, source, target
    .balign PAGE
source:
    .fill 256
    .balign PAGE
target:
    .fill 256
    .balign PAGE
pages:
    .fill (PAGES + 1) * PAGE

    .section .note.GNU-stack, "", @progbits
