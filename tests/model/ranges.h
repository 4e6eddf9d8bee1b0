/* ranges.h: what a pool's ranges mean, worked out address by address, against what the engine makes of them.
 *
 * Called by test_model.c for ranges that are larger than a CIDR serves. Naive on purpose: it walks over every address of a
 * window in each family, and must not know how the engine spares itself that.
 */
#ifndef TESTS_RANGES_H
#define TESTS_RANGES_H

#include <stdint.h>

/* One random pool: 0, or -1 after printing what it is and where the engine has it otherwise. */
int ranges_compare(uint64_t seed);

#endif
