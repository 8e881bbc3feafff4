# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Files over UDP by a virtio card, and over TCP by the loopback device.
# prepare: load virtio_pci virtio_net; network
for _ in 1 2 3 4; do tftp -g -b 1428 -r payload -l /tmp/payload 10.0.2.2; done
for _ in $(seq 20); do wget -q -O /dev/null http://127.0.0.1/payload; done
