# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What every script under tools/ shares: where things are, how to speak, how to find Swift. Sourced, never run.
#
# Exit status everywhere: 0 done, 1 a check failed, 2 bad usage or a machine that lacks something.

# shellcheck disable=SC2034 # what is set here is for those who source it

export LC_ALL=C.UTF-8
checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cache=${KPERM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kperm}

say() { printf '%s\n' "$*" >&2; }

die() {
    say "${0##*/}: $*"
    exit 2
}

elapsed() { printf '%dm%02ds' $((SECONDS / 60)) $((SECONDS % 60)); }

# The comment that opens a script is its manual: print it from its fourth line up to the first line of code.
manual() {
    sed -n '4,/^[^#]/ { /^#/ s/^# \{0,1\}//p; }' "$0"
    exit 0
}

# Prints a command as it could be typed (on stderr: the output may be on its way to a file), then runs it.
run() {
    {
        printf '\n$'
        printf ' %q' "$@"
        printf '\n'
    } >&2
    "$@"
}

# Prints the value of a field of the outermost JSON object in a file as kperm prints it, a field a line.
json_field() { sed -nE "s/^  \"$2\" *: *\"?([^\",}]*)\"?.*/\1/p" "$1"; }

# Puts `swift` on PATH from where toolchains are commonly unpacked; fails if there is none.
use_swift() {
    local directory
    for directory in '' /opt/swift/usr/bin /usr/libexec/swift/usr/bin /usr/libexec/swift/bin "$HOME/.local/share/swiftly/bin"; do
        PATH=$PATH${directory:+:$directory} command -v swift >/dev/null || continue
        export PATH=$PATH${directory:+:$directory}
        return 0
    done
    return 1
}

# Builds kperm for use: one file that needs no libraries. Loading them would take longer than planning a permutation.
kperm_options=(-c release -Xswiftc -static-executable --package-path "$checkout")
build_kperm() { run swift build "${kperm_options[@]}" --product kperm; }
kperm_path() { printf '%s/kperm\n' "$(swift build "${kperm_options[@]}" --show-bin-path)"; }

# The ways that a machine starts a vmlinuz, one a line: a name, and the options of `kperm boot` that make such a machine.
boot_paths='
seabios             --firmware seabios --cpus 2 --memory 512
uefi                --firmware uefi --cpus 2 --memory 512
one-cpu-4g          --firmware seabios --cpus 1 --memory 4096
uefi-4-level-4g     --firmware uefi --cpu max,la57=off --memory 4096
nokaslr             --append nokaslr
isolated-tables     --cpu Skylake-Server
no-rdrand           --cpu qemu64
'
boot_path_names() { awk 'NF { print $1 }' <<<"$boot_paths"; }

# boot_path NAME: sets `boot_options` to the options of a path.
boot_path() {
    read -ra boot_options < <(awk -v name="$1" '$1 == name { $1 = ""; print }' <<<"$boot_paths") ||
        die "unknown boot path '$1': $(boot_path_names | xargs)"
}

# moved_pages PLAN LOG: "MOVED COUNTED PERCENT" of a boot, from what `kperm permute --json` and `kperm boot` printed.
moved_pages() {
    awk -v counted="$(json_field "$1" counted)" '
        $1 == "stub:" { for (i = 2; i <= NF; i++) if ($i ~ /^moved/) moved = $(i - 1) }
        END { printf "%d %d %.2f\n", moved, counted, counted ? 100 * moved / counted : 0 }' "$2"
}

# Fetches Debian's kernel of a flavour, or only the parts named (--image --modules, say), and sets kernel[release], and
# the paths that tools/fetch-kernel prints.
declare -A kernel
fetch_kernel() {
    local fetched name value
    fetched=$("$checkout/tools/fetch-kernel" --flavour "$1" "${@:2}") ||
        die "Debian's $1 kernel is missing, for the reason above; quickstart and check can do without it: --offline"
    while IFS='=' read -r name value; do
        kernel[$name]=$value
    done <<<"$fetched"
    kernel[release]=${kernel[modules]##*/}
}
