// SPDX-License-Identifier: MIT
#pragma once
#include <libelf.h>
#include <gelf.h>
