#include "kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int kept_compare(const struct kept *a, const struct kept *b)
{
    return strcmp(a->name, b->name);
}

RB_GENERATE(kept_tree, kept, link, kept_compare)

struct kept *kept_find(struct kept_tree *tree, const char *name)
{
    struct kept key = {.name = (char *)(uintptr_t)name};
    return RB_FIND(kept_tree, tree, &key);
}

struct kept *kept_get(struct kept_tree *tree, enum kept_kind kind, const char *name)
{
    struct kept *kept = kept_find(tree, name);
    if (kept)
        return kept;
    kept = mem_zalloc(sizeof *kept);
    kept->kind = kind;
    kept->name = mem_strdup(name);
    kept->uid = mem_strdup("");
    RB_INSERT(kept_tree, tree, kept);
    return kept;
}

void kept_drop(struct kept_tree *tree, struct kept *kept)
{
    RB_REMOVE(kept_tree, tree, kept);
    free(kept->refusal);
    free(kept->request);
    free(kept->name);
    free(kept->uid);
    free(kept);
}

/* Another incarnation of the name: nothing of the one before counts. */
static bool take_identity(struct kept *kept, const struct object_id *id)
{
    bool other = strcmp(kept->uid, id->uid) != 0, changed = other || !kept->present || kept->deleting != id->deleting;
    if (other) {
        free(kept->uid);
        kept->uid = mem_strdup(id->uid);
        memset(kept->recorded, 0, sizeof kept->recorded);
    }
    if (kept->kind == KEPT_POOL)
        changed |= !id->finalizer && !id->deleting;
    snprintf(kept->created, sizeof kept->created, "%s", id->created);
    kept->present = true;
    kept->missing = false;
    kept->deleting = id->deleting;
    kept->finalizer = id->finalizer;
    return changed;
}

/* `message` NULL: nothing is asked for. */
static bool take_request(struct kept *kept, const ProtobufCMessage *message)
{
    size_t size = message ? protobuf_c_message_get_packed_size(message) : 0;
    uint8_t *packed = message ? mem_alloc(size + 1) : NULL;
    if (message)
        protobuf_c_message_pack(message, packed);
    bool same =
        !packed == !kept->request && size == kept->request_size && (!size || memcmp(packed, kept->request, size) == 0);
    free(kept->request);
    kept->request = packed;
    kept->request_size = size;
    return !same;
}

static bool take_pool(struct kept *kept, const json_t *object, struct ipam_error *ret_error)
{
    Ipam__V1__PoolSpec spec;
    struct arena arena;
    bool changed = false;
    arena_init(&arena);
    kept->readable = pool_read(object, &arena, &spec, ret_error) == 0;
    if (kept->readable)
        changed = take_request(kept, &spec.base);
    arena_done(&arena);
    return changed;
}

static bool take_vip(struct kept *kept, const json_t *object, struct ipam_error *ret_error, char ret_ignored[160])
{
    struct vip_wish wish;
    kept->readable = vip_read(object, &wish, ret_error) == 0;
    for (unsigned int f = 0; f < 2; f++)
        if (wish.recorded[f].family)
            kept->recorded[f] = wish.recorded[f];
    if (!kept->readable)
        return false;
    snprintf(ret_ignored, 160, "%s", wish.ignored);
    kept->wanted = wish.asks ? (uint8_t)wish.request.family : 0; /* IPV4 1, IPV6 2, DUAL 3: the bits themselves */
    kept->in_spec = *wish.request.address || *wish.request.ipv6_address;
    return take_request(kept, wish.asks ? &wish.request.base : NULL);
}

bool kept_update(struct kept *kept, const json_t *object, const struct object_id *id, struct ipam_error *ret_error,
                 char ret_ignored[160])
{
    bool was_readable = kept->readable, changed = take_identity(kept, id);
    *ret_error = (struct ipam_error){0};
    ret_ignored[0] = '\0';
    changed |=
        kept->kind == KEPT_POOL ? take_pool(kept, object, ret_error) : take_vip(kept, object, ret_error, ret_ignored);
    return changed || was_readable != kept->readable;
}

enum phase kept_phase(const struct kept *kept)
{
    if (kept->kind == KEPT_POOL)
        return kept->present && kept->deleting && !kept->paused ? PHASE_RESUME : PHASE_POOLS;
    if (!kept->present)
        return PHASE_POOLS;
    if (kept->recorded[0].family || kept->recorded[1].family)
        return PHASE_RECORDED;
    return kept->in_spec ? PHASE_REQUESTED : PHASE_REST;
}
