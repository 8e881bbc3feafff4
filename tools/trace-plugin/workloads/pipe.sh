# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Two processes that hand a line to and fro, 2,000 times.
# prepare: mkfifo /tmp/there /tmp/back
while read -r line; do echo "$line"; done </tmp/there >/tmp/back &
{
    for _ in $(seq 2000); do
        echo x
        read -r line <&3
    done
} >/tmp/there 3</tmp/back
wait
