#include <stdlib.h>
#include <string.h>

#include "change.h"

#define CHANGES_FIRST 16

void changes_init(struct changes *changes)
{
    *changes = (struct changes){0};
    arena_init(&changes->arena);
}

void changes_done(struct changes *changes)
{
    arena_done(&changes->arena);
    free(changes->items);
    *changes = (struct changes){0};
}

void changes_reset(struct changes *changes)
{
    arena_reset(&changes->arena);
    changes->count = 0;
}

/* Most texts of a change are empty; those share one byte. */
static const char *copy_text(struct arena *arena, const char *text)
{
    return text && *text ? arena_memdup(arena, text, strlen(text)) : "";
}

static struct string_list copy_list(struct arena *arena, const struct string_list *list)
{
    const char **items;

    if (!list->count)
        return (struct string_list){0};
    items = arena_alloc(arena, list->count * sizeof(*items));
    for (size_t i = 0; i < list->count; i++)
        items[i] = copy_text(arena, list->items[i]);
    return (struct string_list){items, list->count};
}

static void copy_spec(struct arena *arena, struct pool_spec *spec)
{
    spec->cidrs = copy_list(arena, &spec->cidrs);
    spec->addresses = copy_list(arena, &spec->addresses);
    spec->excluded = copy_list(arena, &spec->excluded);
    spec->uid = copy_text(arena, spec->uid);
}

static void copy_pool(struct arena *arena, struct change *change)
{
    struct pool_record *pool = &change->pool;

    change->actor.command = copy_text(arena, change->actor.command);
    change->actor.method = copy_text(arena, change->actor.method);
    pool->name = copy_text(arena, pool->name);
    pool->message = copy_text(arena, pool->message);
    copy_spec(arena, &pool->spec);
    copy_spec(arena, &pool->rejected);
}

/* One piece of memory for all texts of a claim: this runs once for each allocation. */
static void copy_claim(struct arena *arena, struct change *change)
{
    struct claim_record *claim = &change->claim;
    const char **texts[] = {&claim->owner.kind, &claim->owner.name,     &claim->owner.uid,
                            &claim->pool,       &claim->requested,      &claim->preferred,
                            &claim->message,    &change->actor.command, &change->actor.method};
    size_t sizes[sizeof(texts) / sizeof(*texts)], total = 0;
    char *at;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        sizes[i] = *texts[i] && **texts[i] ? strlen(*texts[i]) + 1 : 0;
        total += sizes[i];
    }
    at = arena_alloc(arena, total);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        *texts[i] = sizes[i] ? memcpy(at, *texts[i], sizes[i]) : "";
        at += sizes[i];
    }
    if (claim->cooling)
        claim->cooling = (const struct cooling_record *)arena_memdup(arena, claim->cooling, sizeof(*claim->cooling));
}

static void changes_grow(struct changes *changes)
{
    changes->capacity = changes->capacity ? changes->capacity * 2 : CHANGES_FIRST;
    changes->items = mem_realloc(changes->items, changes->capacity * sizeof(*changes->items));
}

void changes_append(struct changes *changes, const struct change *change)
{
    struct change *copy;

    if (changes->count == changes->capacity)
        changes_grow(changes);
    copy = &changes->items[changes->count++];
    copy->revision = change->revision;
    copy->at = change->at;
    copy->actor = change->actor;
    copy->kind = change->kind;
    if (change->kind == CHANGE_CLAIM) {
        copy->claim = change->claim;
        copy_claim(&changes->arena, copy);
    } else {
        copy->pool = change->pool;
        copy_pool(&changes->arena, copy);
    }
}
