#include <stdlib.h>

#include "internal.h"

#define TABLE_FIRST 64

/* Open addressing, linear probing, at most three quarters full. Whoever is not there is looked for in the tags alone. */
static uint8_t tag_of(uint64_t hash)
{
    return (uint8_t)(hash >> 56 | 1);
}

static void table_place(struct table *table, uint64_t hash, void *item)
{
    size_t at = hash & table->mask;

    while (table->tags[at])
        at = (at + 1) & table->mask;
    table->tags[at] = tag_of(hash);
    table->slots[at] = (struct table_slot){hash, item};
}

static void table_grow(struct table *table)
{
    struct table old = *table;
    size_t n_old = old.slots ? old.mask + 1 : 0, n = n_old ? n_old * 2 : TABLE_FIRST;

    table->slots = mem_alloc(n * sizeof(*table->slots));
    table->tags = mem_zalloc(n);
    table->mask = n - 1;
    for (size_t i = 0; i < n_old; i++)
        if (old.tags[i])
            table_place(table, old.slots[i].hash, old.slots[i].item);
    table_done(&old);
}

void *table_find(const struct table *table, uint64_t hash, table_equal equal, const void *key)
{
    uint8_t tag = tag_of(hash);

    if (!table->slots)
        return NULL;
    for (size_t at = hash & table->mask; table->tags[at]; at = (at + 1) & table->mask)
        if (table->tags[at] == tag && table->slots[at].hash == hash && equal(table->slots[at].item, key))
            return table->slots[at].item;
    return NULL;
}

void *table_next(const struct table *table, size_t *at)
{
    while (table->slots && *at <= table->mask)
        if (table->tags[(*at)++])
            return table->slots[*at - 1].item;
    return NULL;
}

void table_insert(struct table *table, uint64_t hash, void *item)
{
    if (!table->slots || (table->count + 1) * 4 > (table->mask + 1) * 3)
        table_grow(table);
    table_place(table, hash, item);
    table->count++;
}

/* Closes the gap at `at`: what was pushed past its own place by a full one moves back. */
static void table_close_gap(struct table *table, size_t at)
{
    for (size_t next = (at + 1) & table->mask; table->tags[next]; next = (next + 1) & table->mask) {
        size_t home = table->slots[next].hash & table->mask;

        if (((next - home) & table->mask) < ((next - at) & table->mask))
            continue;
        table->slots[at] = table->slots[next];
        table->tags[at] = table->tags[next];
        at = next;
    }
    table->tags[at] = 0;
}

void table_remove(struct table *table, uint64_t hash, const void *item)
{
    size_t at = hash & table->mask;

    while (table->slots[at].item != item) {
        assert(table->tags[at]);
        at = (at + 1) & table->mask;
    }
    table_close_gap(table, at);
    table->count--;
}

void table_done(struct table *table)
{
    free(table->slots);
    free(table->tags);
    *table = (struct table){0};
}
