// SPDX-License-Identifier: MIT
#pragma once
#include <unicorn/unicorn.h>
