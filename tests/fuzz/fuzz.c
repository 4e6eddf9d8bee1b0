#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

static uint64_t number_from(const char *name, uint64_t by_default)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : by_default;
}

uint64_t fuzz_seed(void)
{
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = 1;
    return number_from("FUZZ_SEED", seed);
}

unsigned int fuzz_rounds(unsigned int by_default)
{
    return (unsigned int)number_from("FUZZ_ROUNDS", by_default);
}

/* splitmix64: neighbouring seeds give numbers that have nothing to do with each other. */
static uint64_t next(struct fuzz_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

struct fuzz_random fuzz_random_of(uint64_t seed, unsigned int round)
{
    return (struct fuzz_random){seed << 32 ^ round};
}

uint32_t fuzz_below(struct fuzz_random *random, size_t limit)
{
    return (uint32_t)(next(random) % limit);
}

/* ---- Damage ------------------------------------------------------------------------------------------------------ */

void fuzz_append(struct fuzz_input *input, const uint8_t *bytes, size_t size)
{
    size_t room = sizeof input->bytes - input->size;
    size = size < room ? size : room;
    memcpy(input->bytes + input->size, bytes, size);
    input->size += size;
}

static size_t piece_end(const struct fuzz_input *input, size_t i)
{
    size_t end = i + 1 < input->n_pieces ? input->pieces[i + 1] : input->size;
    return end < input->size ? end : input->size;
}

static void bit_flip(struct fuzz_input *input, struct fuzz_random *random)
{
    input->bytes[fuzz_below(random, input->size)] ^= (uint8_t)(1u << fuzz_below(random, 8));
}

static void byte_set(struct fuzz_input *input, struct fuzz_random *random)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff};
    input->bytes[fuzz_below(random, input->size)] = edges[fuzz_below(random, sizeof edges)];
}

/* The first bytes of a piece say what it is and how long. */
static void head_change(struct fuzz_input *input, struct fuzz_random *random)
{
    size_t begin = input->pieces[fuzz_below(random, input->n_pieces)] + fuzz_below(random, 9);
    if (begin < input->size)
        input->bytes[begin] = (uint8_t)fuzz_below(random, 256);
}

static void tail_cut(struct fuzz_input *input, struct fuzz_random *random)
{
    input->size = 1 + fuzz_below(random, input->size);
}

static void noise_append(struct fuzz_input *input, struct fuzz_random *random)
{
    for (uint32_t n = fuzz_below(random, 64); n > 0; n--) {
        uint8_t byte = (uint8_t)fuzz_below(random, 256);
        fuzz_append(input, &byte, 1);
    }
}

/* Bytes go or come in the middle; pieces behind them are found where they were, which is as good a place as any. */
static void piece_drop(struct fuzz_input *input, struct fuzz_random *random)
{
    uint32_t i = fuzz_below(random, input->n_pieces);
    size_t begin = input->pieces[i], end = piece_end(input, i);
    if (begin >= end || end - begin == input->size)
        return;
    memmove(input->bytes + begin, input->bytes + end, input->size - end);
    input->size -= end - begin;
}

static void piece_again(struct fuzz_input *input, struct fuzz_random *random)
{
    uint8_t copy[4096];
    uint32_t i = fuzz_below(random, input->n_pieces);
    size_t begin = input->pieces[i], end = piece_end(input, i), size = end > begin ? end - begin : 0;
    size = size < sizeof copy ? size : sizeof copy;
    memcpy(copy, input->bytes + begin, size);
    for (uint32_t n = fuzz_below(random, 4); n > 0; n--)
        fuzz_append(input, copy, size);
}

void fuzz_damage(struct fuzz_input *input, struct fuzz_random *random)
{
    static void (*const ways[])(struct fuzz_input *, struct fuzz_random *) = {
        bit_flip, byte_set, head_change, tail_cut, noise_append, piece_drop, piece_again,
    };
    ways[fuzz_below(random, sizeof ways / sizeof *ways)](input, random);
}
