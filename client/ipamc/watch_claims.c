#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ipam/addr.h>

#include "json_message.h"
#include "requests.h"
#include "views.h"
#include "watch.h"
#include "watch_objects.h"

/* What a VIP's row is made of: the claims as they were told last. */
struct watched_vip {
    Ipam__V1__Claim *claims[2]; /* IPv4, IPv6; NULL: none. Ours. */
};

struct watched {
    struct cli *cli;
    const struct claims_watch *what;
    struct ipam_addr address;
    struct output_stream stream;
    json_t *shown; /* ids of claims that stand in the output as present */
    json_t *vips;  /* name -> index */
    struct watched_vip *items;
    size_t n_items, capacity;
};

/* ---- The filter ----------------------------------------------------------------------------------------------------- */

static bool was_shown(const struct watched *watched, const Ipam__V1__Claim *claim)
{
    char id[24];

    snprintf(id, sizeof(id), "%llu", (unsigned long long)claim->id);
    return json_object_get(watched->shown, id) != NULL;
}

/* No change says where an address lies: ipamd is asked. What it can't tell now is not shown. */
static bool lies_in_pool(struct cli *cli, const Ipam__V1__Claim *claim)
{
    Ipam__V1__ListClaimsRequest filter = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    struct listing listing = {0};
    struct ipam_client *client;
    struct ipam_error error;

    if (claim->state != IPAM__V1__CLAIM_STATE__BOUND && claim->state != IPAM__V1__CLAIM_STATE__COOLING)
        return false;
    filter.pool = (char *)(uintptr_t)cli->options.pool;
    filter.address = claim->address;
    bool lies = cli_client(cli, &client, &error) == 0 && list_claims(client, &filter, &listing, &error) == 0 &&
                listing.count > 0;
    listing_done(&listing);
    return lies;
}

static bool is_wanted(const struct watched *watched, const Ipam__V1__Claim *claim)
{
    const struct options *options = &watched->cli->options;
    struct ipam_addr address;

    if (claim->owner == NULL || (watched->what->kind != NULL && strcmp(claim->owner->kind, watched->what->kind) != 0))
        return false;
    if (options->pool != NULL && strcmp(claim->pool, options->pool) != 0 && !was_shown(watched, claim) &&
        !lies_in_pool(watched->cli, claim))
        return false;
    if (watched->address.family != IPAM_FAMILY_NONE &&
        (ipam_addr_parse(claim->address, &address, NULL) < 0 || !ipam_addr_equal(&address, &watched->address)))
        return false;
    return watched->what->is_named(watched->cli, claim, watched->what->kind);
}

/* States that the list has: that of --state, else those of claims that are not over. */
static bool is_present(const struct watched *watched, const Ipam__V1__Claim *claim)
{
    Ipam__V1__ClaimState state = watched->cli->options.state;

    if (state != IPAM__V1__CLAIM_STATE__CLAIM_STATE_UNSPECIFIED)
        return claim->state == state;
    return claim->state == IPAM__V1__CLAIM_STATE__WAITING || claim->state == IPAM__V1__CLAIM_STATE__BOUND;
}

/* ---- VIPs ----------------------------------------------------------------------------------------------------------- */

static struct watched_vip *find_vip(struct watched *watched, const char *name)
{
    json_t *index = json_object_get(watched->vips, name);

    if (index != NULL)
        return &watched->items[json_integer_value(index)];
    if (watched->n_items == watched->capacity) {
        watched->capacity = watched->capacity == 0 ? 16 : 2 * watched->capacity;
        watched->items = mem_realloc(watched->items, watched->capacity * sizeof(*watched->items));
    }
    json_object_set_new_nocheck(watched->vips, name, json_integer((json_int_t)watched->n_items));
    watched->items[watched->n_items] = (struct watched_vip){{NULL, NULL}};
    return &watched->items[watched->n_items++];
}

static void free_claim(Ipam__V1__Claim *claim)
{
    if (claim != NULL)
        ipam__v1__claim__free_unpacked(claim, NULL);
}

static Ipam__V1__Claim *copy_claim(const Ipam__V1__Claim *claim)
{
    size_t size = ipam__v1__claim__get_packed_size(claim);
    uint8_t *bytes = mem_alloc(size + 1);

    ipam__v1__claim__pack(claim, bytes);
    Ipam__V1__Claim *copy = ipam__v1__claim__unpack(NULL, size, bytes);
    free(bytes);
    return copy;
}

/* The row of the VIP with this claim in its place; a claim that is over is shown once more and then forgotten. */
static void print_vip(struct watched *watched, const struct output *output, const Ipam__V1__Claim *claim, bool present)
{
    struct watched_vip *vip = find_vip(watched, claim->owner->name);
    int f = claim->family == IPAM__V1__FAMILY__IPV6;

    free_claim(vip->claims[f]);
    vip->claims[f] = copy_claim(claim);
    if (vip->claims[f] == NULL)
        return;
    output_stream_row(output, &watched->stream, &(struct vip_row){vip->claims[0], vip->claims[1]});
    if (present)
        return;
    free_claim(vip->claims[f]);
    vip->claims[f] = NULL;
}

/* ---- Rows ----------------------------------------------------------------------------------------------------------- */

static void print_claim(struct watched *watched, const struct output *output, const Ipam__V1__Claim *claim,
                        bool present)
{
    if (output_is_structured(output))
        output_stream_json(output, json_message_encode(&claim->base));
    else if (watched->what->as_vips)
        print_vip(watched, output, claim, present);
    else
        output_stream_row(output, &watched->stream, claim);
}

/* A claim that never stood in the output is not told when it is over. */
static void follow_claim(struct watched *watched, const struct output *output, const Ipam__V1__Claim *claim)
{
    const char *id = arena_printf(output->arena, "%llu", (unsigned long long)claim->id);
    bool present = is_present(watched, claim);

    if (!present && !was_shown(watched, claim))
        return;
    print_claim(watched, output, claim, present);
    if (present)
        json_object_set_new(watched->shown, id, json_true());
    else
        json_object_del(watched->shown, id);
}

static int on_change(void *user, struct output *output, const Ipam__V1__Change *change, struct ipam_error *reterr)
{
    struct watched *watched = user;

    (void)reterr;
    if (change->entity_case == IPAM__V1__CHANGE__ENTITY_CLAIM && is_wanted(watched, change->claim))
        follow_claim(watched, output, change->claim);
    return 0;
}

static void watched_done(struct watched *watched)
{
    for (size_t i = 0; i < watched->n_items; i++) {
        free_claim(watched->items[i].claims[0]);
        free_claim(watched->items[i].claims[1]);
    }
    free(watched->items);
    json_decref(watched->shown);
    json_decref(watched->vips);
}

int watch_claims(struct cli *cli, const struct claims_watch *what, const struct listing *listing,
                 struct ipam_error *reterr)
{
    static const struct watch_follower follower = {.change = on_change};
    struct watched watched = {.cli = cli,
                              .what = what,
                              .stream.view = what->as_vips ? &vip_view : &claim_view,
                              .shown = json_object(),
                              .vips = json_object()};
    int result = 0;

    if (cli->options.address != NULL)
        result = ipam_addr_parse(cli->options.address, &watched.address, reterr);
    for (size_t i = 0; result == 0 && i < listing->count; i++)
        follow_claim(&watched, &cli->output, listing->items[i]);
    if (result == 0)
        result = watch_run(cli, listing->revision, &follower, &watched, reterr);
    watched_done(&watched);
    return result;
}
