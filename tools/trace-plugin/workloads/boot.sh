# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Nothing: from the first instruction of the kernel to the first process.
