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

# Fetches Debian's kernel of a flavour, and sets kernel[release], and the paths that tools/fetch-kernel prints.
declare -A kernel
fetch_kernel() {
    local fetched name value
    fetched=$("$checkout/tools/fetch-kernel" --flavour "$1") ||
        die "Debian's $1 kernel is missing, for the reason above; quickstart and check can do without it: --offline"
    while IFS='=' read -r name value; do
        kernel[$name]=$value
    done <<<"$fetched"
}
