#include <stdlib.h>

#include "internal.h"

static uint64_t words_for(uint64_t bits)
{
    return (bits + LEAF_SIZE - 1) / LEAF_SIZE;
}

static void fill_ones(uint64_t *words, uint64_t bits)
{
    memset(words, 0xff, bits / LEAF_SIZE * sizeof(*words));
    if (bits % LEAF_SIZE)
        words[bits / LEAF_SIZE] = ((uint64_t)1 << bits % LEAF_SIZE) - 1;
}

void space_init(struct space *space, uint64_t capacity)
{
    uint64_t bits = capacity;

    *space = (struct space){.capacity = capacity, .free = capacity};
    if (!capacity)
        return;
    space->leaves = mem_zalloc(words_for(capacity) * sizeof(*space->leaves));
    do {
        uint64_t *words = mem_zalloc(words_for(bits) * sizeof(*words));

        fill_ones(words, bits);
        assert(space->n_levels < SPACE_LEVELS_MAX);
        space->levels[space->n_levels++] = words;
        bits = words_for(bits);
    } while (bits > 1);
}

void space_done(struct space *space)
{
    for (uint64_t leaf = 0; leaf < words_for(space->capacity); leaf++)
        free(space->leaves[leaf]);
    for (unsigned int level = 0; level < space->n_levels; level++)
        free(space->levels[level]);
    free(space->leaves);
    *space = (struct space){0};
}

uint64_t space_lowest(const struct space *space)
{
    uint64_t word = 0;

    assert(space->free);
    for (unsigned int level = space->n_levels; level-- > 0;)
        word = word * LEAF_SIZE + (uint64_t)__builtin_ctzll(space->levels[level][word]);
    return word;
}

struct claim *space_get(const struct space *space, uint64_t index)
{
    struct claim **leaf = space->leaves[index / LEAF_SIZE];

    return leaf ? leaf[index % LEAF_SIZE] : NULL;
}

void space_take(struct space *space, uint64_t index, struct claim *claim)
{
    struct claim ***leaf = &space->leaves[index / LEAF_SIZE];

    if (!*leaf)
        *leaf = mem_zalloc(LEAF_SIZE * sizeof(**leaf));
    assert(!(*leaf)[index % LEAF_SIZE]);
    (*leaf)[index % LEAF_SIZE] = claim;
    space->free--;
    for (unsigned int level = 0; level < space->n_levels; level++) {
        uint64_t *word = &space->levels[level][index / LEAF_SIZE];

        *word &= ~((uint64_t)1 << index % LEAF_SIZE);
        if (*word)
            return;
        index /= LEAF_SIZE;
    }
}

/* Number of addresses under the leaf: the last one may be short. */
static uint64_t leaf_all_free(const struct space *space, uint64_t leaf)
{
    uint64_t left = space->capacity - leaf * LEAF_SIZE;

    return left >= LEAF_SIZE ? ~(uint64_t)0 : ((uint64_t)1 << left) - 1;
}

void space_give(struct space *space, uint64_t index)
{
    uint64_t leaf = index / LEAF_SIZE;

    assert(space_get(space, index));
    space->leaves[leaf][index % LEAF_SIZE] = NULL;
    space->free++;
    for (unsigned int level = 0; level < space->n_levels; level++) {
        uint64_t *word = &space->levels[level][index / LEAF_SIZE], before = *word;

        *word |= (uint64_t)1 << index % LEAF_SIZE;
        if (before)
            break;
        index /= LEAF_SIZE;
    }
    if (space->levels[0][leaf] == leaf_all_free(space, leaf)) {
        free(space->leaves[leaf]);
        space->leaves[leaf] = NULL;
    }
}

struct claim *space_next(const struct space *space, uint64_t *index)
{
    while (*index < space->capacity) {
        struct claim **leaf = space->leaves[*index / LEAF_SIZE];
        struct claim *claim = leaf ? leaf[*index % LEAF_SIZE] : NULL;

        *index = leaf ? *index + 1 : (*index / LEAF_SIZE + 1) * LEAF_SIZE;
        if (claim)
            return claim;
    }
    return NULL;
}
