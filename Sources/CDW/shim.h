// SPDX-License-Identifier: MIT
#pragma once
// First, so that libelf's types are CELF's.
#include "../CELF/shim.h"
#include <dwarf.h>
#include <elfutils/libdw.h>
