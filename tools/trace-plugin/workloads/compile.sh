# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# What a build does to a kernel: short programs joined by pipes, that read small files, compute, and write small files.
# prepare: mkdir /tmp/source /tmp/objects; for n in $(seq 40); do seq "$n" $((n + 400)) >/tmp/source/$n.c; done
for file in /tmp/source/*.c; do
    name=${file##*/}
    grep -v '^#' "$file" | sed 's/\([0-9]*\)/int f\1(int x) { return x * \1; }/' >/tmp/objects/"$name".i
    awk '{ for (i = 1; i <= NF; i++) words[$i]++ } END { for (word in words) print word, words[word] }' \
        /tmp/objects/"$name".i | sort | gzip >/tmp/objects/"$name".o
    test -s /tmp/objects/"$name".o
    rm /tmp/objects/"$name".i
done
tar -cf /tmp/library.tar -C /tmp objects
sha256sum /tmp/library.tar
