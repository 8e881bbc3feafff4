# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# A file system on a virtio disk: a large file written, read back from the disk, and 200 small ones made, read, removed.
# prepare: load ext4 virtio_pci virtio_blk; mke2fs /dev/vda; mount -t ext2 /dev/vda /mnt
dd if=/dev/zero of=/mnt/large bs=64k count=256 2>/dev/null
sync
echo 3 >/proc/sys/vm/drop_caches
cat /mnt/large >/dev/null
for n in $(seq 200); do echo "file $n" >/mnt/"$n"; done
sync
echo 3 >/proc/sys/vm/drop_caches
cat /mnt/[1-9]* >/dev/null
rm /mnt/[1-9]* /mnt/large
sync
