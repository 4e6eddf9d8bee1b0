#include <stdlib.h>

#include <sodium.h>

#include "internal.h"

_Static_assert(crypto_shorthash_KEYBYTES == 16 && crypto_shorthash_BYTES == 8, "SipHash-2-4");

struct owner_key {
    const char *kind, *name;
};

static uint64_t hash_bytes(const struct engine *engine, const char *data, size_t size)
{
    uint64_t hash;

    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)data, size, engine->key);
    return hash;
}

uint64_t name_hash(const struct engine *engine, const char *name)
{
    return hash_bytes(engine, name, strlen(name));
}

/* Lookups come with any text, so what is longer than an owner can be is cut: it only must not be found. */
uint64_t owner_hash(const struct engine *engine, const char *kind, const char *name)
{
    char key[2 * ENGINE_NAME_MAX + 1];
    size_t kind_size = strnlen(kind, ENGINE_NAME_MAX), name_size = strnlen(name, ENGINE_NAME_MAX);

    memcpy(key, kind, kind_size);
    key[kind_size] = '\0';
    memcpy(key + kind_size + 1, name, name_size);
    return hash_bytes(engine, key, kind_size + 1 + name_size);
}

static bool owner_equal(const void *item, const void *key)
{
    const struct owner *owner = item;
    const struct owner_key *wanted = key;

    return !strcmp(owner->name, wanted->name) && !strcmp(owner->kind->text, wanted->kind);
}

static bool kind_equal(const void *item, const void *key)
{
    return !strcmp(((const struct kind *)item)->text, key);
}

struct owner *owner_find(const struct engine *engine, uint64_t hash, const char *kind, const char *name)
{
    return table_find(&engine->owners, hash, owner_equal, &(struct owner_key){kind, name});
}

static struct kind *kind_new(struct engine *engine, uint64_t hash, const char *text)
{
    size_t size = strlen(text) + 1;
    struct kind *kind = mem_alloc(sizeof(*kind) + size);

    kind->hash = hash;
    kind->refs = 0;
    kind->n_claims = 0;
    memcpy(kind->text, text, size);
    table_insert(&engine->kinds, hash, kind);
    return kind;
}

/* There are few kinds, and the one taken last is the likeliest. */
static struct kind *kind_take(struct engine *engine, const char *text)
{
    struct kind *kind = engine->recent_kind;

    if (!kind || strcmp(kind->text, text)) {
        uint64_t hash = name_hash(engine, text);

        kind = table_find(&engine->kinds, hash, kind_equal, text);
        kind = kind ? kind : kind_new(engine, hash, text);
        engine->recent_kind = kind;
    }
    kind->refs++;
    return kind;
}

static void kind_give(struct engine *engine, struct kind *kind)
{
    if (--kind->refs)
        return;
    table_remove(&engine->kinds, kind->hash, kind);
    if (engine->recent_kind == kind)
        engine->recent_kind = NULL;
    free(kind);
}

uint64_t kind_claims(const struct engine *engine, const char *kind)
{
    const struct kind *found = table_find(&engine->kinds, name_hash(engine, kind), kind_equal, kind);

    return found ? found->n_claims : 0;
}

/* ---- Users ---- */

static uint64_t user_hash(const struct engine *engine, uint32_t id)
{
    return hash_bytes(engine, (const char *)&id, sizeof(id));
}

static bool user_equal(const void *item, const void *key)
{
    return ((const struct user *)item)->id == *(const uint32_t *)key;
}

static struct user *user_new(struct engine *engine, uint64_t hash, uint32_t id)
{
    struct user *user = mem_alloc(sizeof(*user));

    *user = (struct user){.hash = hash, .id = id};
    table_insert(&engine->users, hash, user);
    return user;
}

/* There are few users, and the one taken last is the likeliest. */
static struct user *user_take(struct engine *engine, uint32_t id)
{
    struct user *user = engine->recent_user;

    if (!user || user->id != id) {
        uint64_t hash = user_hash(engine, id);

        user = table_find(&engine->users, hash, user_equal, &id);
        user = user ? user : user_new(engine, hash, id);
        engine->recent_user = user;
    }
    user->n_claims++;
    return user;
}

static void user_give(struct engine *engine, struct user *user)
{
    if (!user || --user->n_claims)
        return;
    table_remove(&engine->users, user->hash, user);
    if (engine->recent_user == user)
        engine->recent_user = NULL;
    free(user);
}

uint64_t user_claims(const struct engine *engine, uint32_t id)
{
    const struct user *found = table_find(&engine->users, user_hash(engine, id), user_equal, &id);

    return found ? found->n_claims : 0;
}

void claim_set_user(struct engine *engine, struct claim *claim, const struct claim_record *record)
{
    struct user *before = claim->user;

    claim->user = record && record->has_user ? user_take(engine, record->user) : NULL;
    user_give(engine, before);
}

/* ---- Owners ---- */

struct owner *owner_new(struct engine *engine, uint64_t hash, const char *kind, const char *name)
{
    size_t size = strlen(name) + 1;
    struct owner *owner = slab_alloc(&engine->slab, sizeof(*owner) + size);

    *owner = (struct owner){.hash = hash, .kind = kind_take(engine, kind)};
    memcpy(owner->name, name, size);
    table_insert(&engine->owners, hash, owner);
    return owner;
}

void owner_free(struct engine *engine, struct owner *owner)
{
    slab_free(&engine->slab, owner, sizeof(*owner) + strlen(owner->name) + 1);
}

void owner_drop_unused(struct engine *engine, struct owner *owner)
{
    if (owner->active[0] || owner->active[1] || owner->cooling)
        return;
    table_remove(&engine->owners, owner->hash, owner);
    kind_give(engine, owner->kind);
    owner_free(engine, owner);
}

void owner_add_cooling(struct owner *owner, struct claim *claim)
{
    struct claim *newer = NULL, *older = owner->cooling;

    while (older && older->revision > claim->revision) {
        newer = older;
        older = older->cooling->older;
    }
    claim->cooling->newer = newer;
    claim->cooling->older = older;
    if (older)
        older->cooling->newer = claim;
    if (newer)
        newer->cooling->older = claim;
    else
        owner->cooling = claim;
}

void owner_remove_cooling(struct owner *owner, struct claim *claim)
{
    struct claim *newer = claim->cooling->newer, *older = claim->cooling->older;

    if (older)
        older->cooling->newer = newer;
    if (newer)
        newer->cooling->older = older;
    else
        owner->cooling = older;
}
