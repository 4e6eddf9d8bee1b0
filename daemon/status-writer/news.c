#include "news.h"

#include <string.h>

#include "status.h"

#define ECHO_MS 10000 /* a watch may bring what was before our own write for as long */

/* ---- Of ipamd ------------------------------------------------------------------------------------------------------ */

void news_pool(struct news *news, const char *name)
{
    struct object *object = objects_get(news->objects, OBJECT_POOL, name);
    if (object)
        schedule_mark(news->schedule, object, true);
}

/* The pools in whose range the address lies, whatever pool the claim was made through. */
static void mark_pools(struct news *news, const struct claim *claim)
{
    struct object *pool = NULL;
    while ((pool = objects_next(news->objects, OBJECT_POOL, pool)))
        if (strcmp(pool->name, claim->pool) == 0 ||
            (claim->address.family != IPAM_FAMILY_NONE && ranges_contain(&pool->ranges, &claim->address)))
            schedule_mark(news->schedule, pool, true);
}

static void mark_holder(struct news *news, const struct claim *claim, bool is_news)
{
    struct object *object = strcmp(claim->kind, object_kinds[OBJECT_VIP].kind) == 0
                                ? objects_get(news->objects, OBJECT_VIP, claim->name)
                                : NULL;
    if (object)
        schedule_mark(news->schedule, object, is_news);
}

/* Their statuses say who has the address. */
static void mark_waiting(struct news *news, const struct ipam_addr *address)
{
    const struct claim *claim = claims_waiting(follow_claims(news->follow), address);
    for (; claim; claim = claims_waiting_next(claim))
        mark_holder(news, claim, true);
}

void news_claim(struct news *news, const struct claim *claim)
{
    mark_holder(news, claim, true);
    mark_pools(news, claim);
    if (claim->address.family == IPAM_FAMILY_NONE)
        return;
    struct object *other = objects_showing(news->objects, &claim->address, NULL);
    if (other)
        schedule_mark(news->schedule, other, true);
    mark_waiting(news, &claim->address);
}

void news_all(struct news *news)
{
    schedule_mark_all(news->schedule, OBJECT_VIP);
    schedule_mark_all(news->schedule, OBJECT_POOL);
}

/* ---- Of the API server --------------------------------------------------------------------------------------------- */

/* An address that a status shows no more may come into that of its holder. */
static void free_way(struct news *news, const struct ipam_addr was[2])
{
    const struct claims *claims = follow_claims(news->follow);
    for (int i = 0; i < 2; i++) {
        const struct claim *holder =
            claims && was[i].family != IPAM_FAMILY_NONE && !objects_showing(news->objects, &was[i], NULL)
                ? claims_holder(claims, &was[i])
                : NULL;
        if (holder)
            mark_holder(news, holder, false);
    }
}

static void shown_by(const struct object *object, struct ipam_addr ret[2])
{
    for (int i = 0; i < 2; i++)
        ret[i] = object ? object->shown[i].address : (struct ipam_addr){.family = IPAM_FAMILY_NONE};
}

void news_object(struct news *news, enum object_kind kind, const json_t *json, bool watched)
{
    struct ipam_addr was[2];
    const struct object *before = objects_get(news->objects, kind, status_text(json, "metadata", "name"));
    shown_by(before, was);
    bool echo =
        before && before->history.last_write && uv_now(news->schedule->loop) - before->history.last_write < ECHO_MS;
    struct object *object = objects_take(news->objects, kind, json, !watched || echo);
    if (!object)
        return;
    if (watched)
        schedule_mark(news->schedule, object, false);
    free_way(news, was);
}

void news_gone(struct news *news, struct object *object)
{
    struct ipam_addr was[2];
    shown_by(object, was);
    objects_remove(news->objects, object);
    free_way(news, was);
}
