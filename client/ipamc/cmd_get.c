#include "commands.h"

#include <stdlib.h>
#include <string.h>

#include "json_message.h"
#include "requests.h"
#include "views.h"
#include "watch_objects.h"

/* {"pools": [...], "revision": "12"}, or with one name asked for the object alone. */
static void print_objects(const struct output *output, const char *key, const struct listing *listing, bool alone)
{
    if (alone && listing->count == 1) {
        output_message(output, listing->items[0]);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < listing->count; i++)
        json_array_append_new(list, json_message_encode(listing->items[i]));
    output_json(output, json_pack("{s:o, s:o}", key, list, "revision",
                                  json_sprintf("%llu", (unsigned long long)listing->revision)));
}

/* Nothing found is no error, but nothing at all on a terminal leaves people wondering. */
static void note_empty(struct cli *cli, const struct listing *listing, const char *what)
{
    if (listing->count == 0 && cli->output.format != OUTPUT_NAME)
        cli_note(cli, "no %s found", what);
}

/* ---- Pools ---------------------------------------------------------------------------------------------------------- */

static int fetch_pool(struct ipam_client *client, const char *name, struct listing *listing, struct ipam_error *reterr)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    Ipam__V1__GetPoolReply *reply;

    request.name = (char *)(uintptr_t)name;
    if (ipam_get_pool(client, &request, &reply, reterr) < 0)
        return -1;
    listing_hold(listing, &reply->base);
    listing_add(listing, reply->pool);
    listing->revision = reply->revision;
    return 0;
}

static void print_pools(struct cli *cli, const struct listing *listing)
{
    if (output_is_structured(&cli->output))
        print_objects(&cli->output, "pools", listing, cli->n_arguments == 1);
    else if (listing->count > 0)
        output_rows(&cli->output, &pool_view, listing->items, listing->count);
}

/* All, or those of the arguments; one that there is not is reported. */
static int fetch_pools(struct cli *cli, struct listing *listing, struct ipam_error *reterr)
{
    struct ipam_client *client;
    struct ipam_error error;

    if (cli_client(cli, &client, reterr) < 0)
        return -1;
    if (cli->n_arguments == 0)
        return list_pools(client, listing, reterr);
    for (size_t i = 0; i < cli->n_arguments; i++) {
        if (fetch_pool(client, cli->arguments[i], listing, &error) < 0)
            cli_report(cli, &error);
    }
    return 0;
}

static bool is_named_pool(const struct cli *cli, const Ipam__V1__Pool *pool)
{
    for (size_t i = 0; i < cli->n_arguments; i++) {
        if (pool->spec != NULL && strcmp(pool->spec->name, cli->arguments[i]) == 0)
            return true;
    }
    return cli->n_arguments == 0;
}

/* To watch them: one that there is not now may come. */
static int list_watched_pools(struct cli *cli, struct listing *ret, struct ipam_error *reterr)
{
    struct ipam_client *client;
    size_t kept = 0;

    if (cli_client(cli, &client, reterr) < 0 || list_pools(client, ret, reterr) < 0)
        return -1;
    for (size_t i = 0; i < ret->count; i++) {
        if (is_named_pool(cli, ret->items[i]))
            ret->items[kept++] = ret->items[i];
    }
    ret->count = kept;
    return 0;
}

int cmd_get_pools(struct cli *cli, struct ipam_error *reterr)
{
    struct listing listing = {0};

    if (cli->options.watch)
        return watch_pools(cli, list_watched_pools, reterr);
    int result = fetch_pools(cli, &listing, reterr);
    if (result == 0 && cli->exit_code == 0)
        note_empty(cli, &listing, "pools");
    if (result == 0 && (cli->exit_code == 0 || listing.count > 0))
        print_pools(cli, &listing);
    listing_done(&listing);
    return result;
}

/* ---- Claims --------------------------------------------------------------------------------------------------------- */

static void filter_from_options(const struct cli *cli, const char *kind, Ipam__V1__ListClaimsRequest *ret)
{
    const struct options *options = &cli->options;

    ipam__v1__list_claims_request__init(ret);
    if (options->pool != NULL)
        ret->pool = (char *)(uintptr_t)options->pool;
    if (kind != NULL)
        ret->kind = (char *)(uintptr_t)kind;
    if (options->address != NULL)
        ret->address = (char *)(uintptr_t)options->address;
    ret->state = options->state;
}

/* Whether a claim is one of an owner that the arguments name; all are when there are none. `found`, by argument: may be NULL. */
static bool names(const struct cli *cli, const Ipam__V1__Claim *claim, const char *kind, bool *found)
{
    bool named = cli->n_arguments == 0;

    for (size_t i = 0; i < cli->n_arguments; i++) {
        const char *word = cli->arguments[i], *slash = kind == NULL ? strchr(word, '/') : NULL;
        size_t length = slash == NULL ? 0 : (size_t)(slash - word);
        bool same_kind =
            slash == NULL || (strlen(claim->owner->kind) == length && strncmp(claim->owner->kind, word, length) == 0);
        if (same_kind && strcmp(claim->owner->name, slash == NULL ? word : slash + 1) == 0) {
            if (found != NULL)
                found[i] = true;
            named = true;
        }
    }
    return named;
}

static bool is_named(const struct cli *cli, const Ipam__V1__Claim *claim, const char *kind)
{
    return names(cli, claim, kind, NULL);
}

/* Keeps the claims that are named; a name that none has is reported. */
static void keep_named(struct cli *cli, struct listing *listing, const char *kind)
{
    bool *found = arena_zalloc(&cli->arena, cli->n_arguments + 1);
    size_t kept = 0;

    for (size_t i = 0; i < listing->count; i++) {
        const Ipam__V1__Claim *claim = listing->items[i];
        if (claim->owner != NULL && names(cli, claim, kind, found))
            listing->items[kept++] = claim;
    }
    listing->count = kept;
    for (size_t i = 0; i < cli->n_arguments; i++) {
        struct ipam_error error;
        if (found[i])
            continue;
        ipam_error_set(&error, IPAM_REASON_CLAIM_NOT_FOUND, "claim not found: %s%s%s has none here",
                       kind == NULL ? "" : kind, kind == NULL ? "" : "/", cli->arguments[i]);
        cli_report(cli, &error);
    }
}

/* With one owner named in full, its own claims; else the list, filtered. */
static int fetch_claims(struct cli *cli, const char *kind, struct listing *listing, struct ipam_error *reterr)
{
    bool in_full = cli->n_arguments == 1 && (kind != NULL || strchr(cli->arguments[0], '/') != NULL);
    const uint32_t narrowing = OPTION_BIT(OPTION_POOL) | OPTION_BIT(OPTION_STATE) | OPTION_BIT(OPTION_ADDRESS);
    struct ipam_client *client;
    Ipam__V1__ListClaimsRequest filter;
    Ipam__V1__GetClaimsReply *reply;
    Ipam__V1__Owner owner;

    if (cli_client(cli, &client, reterr) < 0)
        return -1;
    if (!in_full || (cli->options.given & narrowing) != 0) {
        filter_from_options(cli, kind, &filter);
        if (list_claims(client, &filter, listing, reterr) < 0)
            return -1;
        keep_named(cli, listing, kind);
        return 0;
    }
    owner_parse(&cli->arena, cli->arguments[0], kind, "", &owner);
    if (get_claims(client, &owner, &reply, reterr) < 0)
        return -1;
    listing_hold(listing, &reply->base);
    for (size_t i = 0; i < reply->n_claims; i++)
        listing_add(listing, reply->claims[i]);
    listing->revision = reply->revision;
    return 0;
}

static void print_vips(struct cli *cli, const struct listing *listing)
{
    size_t count;
    struct vip_row *vips =
        view_pair_vips(&cli->arena, (const Ipam__V1__Claim *const *)listing->items, listing->count, &count);
    const void **rows = arena_alloc(&cli->arena, (count + 1) * sizeof(*rows));

    for (size_t i = 0; i < count; i++)
        rows[i] = &vips[i];
    output_rows(&cli->output, &vip_view, rows, count);
}

/* Claims of the filter, whoever is named: one that has none now may get one. */
static int watch_owners(struct cli *cli, const char *kind, bool as_vips, struct ipam_error *reterr)
{
    const struct claims_watch what = {kind, as_vips, is_named};
    struct listing listing = {0};
    struct ipam_client *client;
    Ipam__V1__ListClaimsRequest filter;
    size_t kept = 0;

    filter_from_options(cli, kind, &filter);
    int result = cli_client(cli, &client, reterr);
    if (result == 0)
        result = list_claims(client, &filter, &listing, reterr);
    for (size_t i = 0; i < listing.count; i++) {
        if (is_named(cli, listing.items[i], kind))
            listing.items[kept++] = listing.items[i];
    }
    listing.count = kept;
    if (result == 0) {
        view_sort_claims((const Ipam__V1__Claim **)listing.items, listing.count);
        result = watch_claims(cli, &what, &listing, reterr);
    }
    listing_done(&listing);
    return result;
}

static int get_owners(struct cli *cli, const char *kind, bool as_vips, struct ipam_error *reterr)
{
    struct listing listing = {0};

    if (cli->options.watch)
        return watch_owners(cli, kind, as_vips, reterr);
    int result = fetch_claims(cli, kind, &listing, reterr);

    if (result == 0 && cli->exit_code == 0)
        note_empty(cli, &listing, as_vips ? "VIPs" : "claims");
    if (result == 0 && (cli->exit_code == 0 || listing.count > 0)) {
        view_sort_claims((const Ipam__V1__Claim **)listing.items, listing.count);
        if (output_is_structured(&cli->output))
            print_objects(&cli->output, "claims", &listing, false);
        else if (listing.count > 0 && as_vips)
            print_vips(cli, &listing);
        else if (listing.count > 0)
            output_rows(&cli->output, &claim_view, listing.items, listing.count);
    }
    listing_done(&listing);
    return result;
}

int cmd_get_vips(struct cli *cli, struct ipam_error *reterr)
{
    return get_owners(cli, "ProxyVIP", true, reterr);
}

int cmd_get_claims(struct cli *cli, struct ipam_error *reterr)
{
    return get_owners(cli, cli->options.kind, false, reterr);
}
