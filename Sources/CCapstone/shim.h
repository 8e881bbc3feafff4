// SPDX-License-Identifier: MIT
#pragma once
#include <capstone/capstone.h>
