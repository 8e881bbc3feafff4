# SPDX-License-Identifier: MIT

# From `objdump -d --no-show-raw-insn VMLINUX` (x86-64): the instructions that translate an address of the linear map,
# one a line, "ADDRESS FUNCTION+OFFSET SITE".
#
# The kernel's __pa(x) adds to x - __START_KERNEL_map either phys_base, for an address of the image (what `kperm audit
# --sites` lists), or __START_KERNEL_map - page_offset_base, for one of the linear map. The second shows as
#
#     mov $0xffffffff80000000,%REGISTER
#     sub page_offset_base(%rip),%REGISTER
#
# with perhaps a copy of the register between, or with the constant added behind. Where phys_base is read into the same
# register before, and a jump leads past the two, both are executed for an address of the linear map: SITE is the
# address of that read, whose executions for the image are the difference. Else SITE is `-`, or `?` where the register's
# constant was not found.

# The lower half of an address, which awk can compute with.
function low(address,  i, value) {
    for (i = 9; i <= 16; i++) value = value * 16 + index("0123456789abcdef", substr(address, i, 1)) - 1
    return value
}
function show(address, site) { printf "%s %s+0x%x %s\n", address, function_name, low(address) - low(start), site }
function give_up(  register) { for (register in waiting) show(waiting[register], "?") }

/^[0-9a-f]+ <.*>:$/ {
    give_up()
    split("", waiting)
    start = $1
    function_name = substr($2, 2, length($2) - 3)
    split("", constant)
    split("", site)
    jump = ""
    next
}
!/^ffffffff[0-9a-f]+:\t/ { next }
{
    address = substr($1, 1, 16)
    operation = $2
    operands = $3
    count++
    destination = operands
    sub(/.*,/, "", destination)
    if (operation ~ /^j/ && operation != "jmp") {
        jump = operands
        jumped = count
    }
}
operation == "sub" && /<page_offset_base>$/ {
    if (!constant[destination]) {
        waiting[destination] = address
        next
    }
    pair = "-"
    if (destination in site && count - read[destination] < 12 && jumped > read[destination] && jump > address)
        pair = site[destination]
    show(address, pair)
    delete site[destination]
}
operation == "mov" && destination ~ /^%/ {
    source = substr(operands, 1, length(operands) - length(destination) - 1)
    constant[destination] = source == "$0xffffffff80000000" || constant[source]
    if (/<phys_base>$/) {
        site[destination] = address
        read[destination] = count
    } else if (!constant[destination]) delete site[destination]
}
operation == "add" && destination in waiting && operands == "$0xffffffff80000000," destination {
    show(waiting[destination], "-")
    delete waiting[destination]
}
END { give_up() }
