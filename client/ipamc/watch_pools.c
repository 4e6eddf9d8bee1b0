#include <string.h>

#include "json_message.h"
#include "views.h"
#include "watch.h"
#include "watch_objects.h"

struct watched {
    struct cli *cli;
    pools_lister list;
    struct output_stream stream;
    struct listing present; /* as told last */
    bool due;               /* something happened since */
};

static const char *name_of(const Ipam__V1__Pool *pool)
{
    return pool->spec == NULL ? "" : pool->spec->name;
}

static const Ipam__V1__Pool *find(const struct listing *listing, const char *name)
{
    for (size_t i = 0; i < listing->count; i++) {
        if (strcmp(name_of(listing->items[i]), name) == 0)
            return listing->items[i];
    }
    return NULL;
}

static bool same(const Ipam__V1__Pool *a, const Ipam__V1__Pool *b)
{
    json_t *left = json_message_encode(&a->base), *right = json_message_encode(&b->base);
    bool equal = json_equal(left, right) != 0;

    json_decref(left);
    json_decref(right);
    return equal;
}

static void print_pool(struct watched *watched, const struct output *output, const Ipam__V1__Pool *pool)
{
    if (output_is_structured(output))
        output_stream_json(output, json_message_encode(&pool->base));
    else
        output_stream_row(output, &watched->stream, pool);
}

/* A pool that is gone is told as it was, REMOVED. */
static void print_removed(struct watched *watched, const struct output *output, const Ipam__V1__Pool *pool)
{
    Ipam__V1__Pool removed = *pool;

    removed.state = IPAM__V1__POOL_STATE__REMOVED;
    print_pool(watched, output, &removed);
}

static void print_difference(struct watched *watched, const struct output *output, const struct listing *now)
{
    for (size_t i = 0; i < now->count; i++) {
        const Ipam__V1__Pool *pool = now->items[i], *before = find(&watched->present, name_of(pool));
        if (before == NULL || !same(before, pool))
            print_pool(watched, output, pool);
    }
    for (size_t i = 0; i < watched->present.count; i++) {
        const Ipam__V1__Pool *pool = watched->present.items[i];
        if (find(now, name_of(pool)) == NULL)
            print_removed(watched, output, pool);
    }
}

static int on_change(void *user, struct output *output, const Ipam__V1__Change *change, struct ipam_error *reterr)
{
    struct watched *watched = user;

    (void)output, (void)change, (void)reterr;
    watched->due = true;
    return 0;
}

/* ipamd may be on its way down: then it is asked again when it is back. */
static int on_synced(void *user, struct output *output, struct ipam_error *reterr)
{
    struct watched *watched = user;
    struct listing now = {0};
    struct ipam_error error;

    (void)reterr;
    if (!watched->due)
        return 0;
    if (watched->list(watched->cli, &now, &error) < 0) {
        listing_done(&now);
        return 0;
    }
    print_difference(watched, output, &now);
    listing_done(&watched->present);
    watched->present = now;
    watched->due = false;
    return 0;
}

int watch_pools(struct cli *cli, pools_lister list, struct ipam_error *reterr)
{
    static const struct watch_follower follower = {on_change, on_synced};
    struct watched watched = {.cli = cli, .list = list, .stream.view = &pool_view};
    int result = list(cli, &watched.present, reterr);

    for (size_t i = 0; result == 0 && i < watched.present.count; i++)
        print_pool(&watched, &cli->output, watched.present.items[i]);
    if (result == 0)
        result = watch_run(cli, watched.present.revision, &follower, &watched, reterr);
    listing_done(&watched.present);
    return result;
}
