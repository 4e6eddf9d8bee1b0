/* fuzz.h: random numbers that can be had again, and bytes that are damaged by them.
 *
 * Used by tests/fuzz/test_fuzz.c. FUZZ_SEED repeats a run, FUZZ_ROUNDS makes it longer. It knows nothing of what the bytes mean,
 * but that pieces of them (frames) may be taken out, doubled or swapped.
 */
#ifndef IPAM_TESTS_FUZZ_H
#define IPAM_TESTS_FUZZ_H

#include <stdint.h>
#include <stddef.h>

#define FUZZ_PIECES 64

struct fuzz_input {
    uint8_t bytes[64 * 1024];
    size_t size;
    size_t pieces[FUZZ_PIECES]; /* where each begins, in order; the first at 0 */
    size_t n_pieces;
};

struct fuzz_random {
    uint64_t state;
};

uint64_t fuzz_seed(void);
unsigned int fuzz_rounds(unsigned int by_default);

/* Of a round of a run: so that one round can be had without those before it. */
struct fuzz_random fuzz_random_of(uint64_t seed, unsigned int round);
uint32_t fuzz_below(struct fuzz_random *random, size_t limit); /* limit: 1 to 2^32 - 1 */

void fuzz_append(struct fuzz_input *input, const uint8_t *bytes,
                 size_t size);                                          /* what there is no room for is dropped */
void fuzz_damage(struct fuzz_input *input, struct fuzz_random *random); /* once, in one of several ways */

#endif
