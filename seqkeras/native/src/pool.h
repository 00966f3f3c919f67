// A few threads that wait for work. The calling thread works too. If the pool is busy, the caller
// does all parts of its work itself, in the same parts, so results do not depend on it.
#pragma once

#include <stdint.h>

using Work = bool (*)(void *context, int64_t part);

int64_t pool_threads();
void pool_set_threads(int64_t threads);

// work(context, part) for part = 0 .. parts - 1; false if one returned false.
bool pool_run(int64_t parts, Work work, void *context);
