#include "commands.h"

#include <string.h>

#include "explain.h"
#include "requests.h"
#include "views.h"

static const Ipam__V1__Family families[EXPLAIN_FAMILIES] = {IPAM__V1__FAMILY__IPV4, IPAM__V1__FAMILY__IPV6};

static int family_index(Ipam__V1__Family family)
{
    return family == IPAM__V1__FAMILY__IPV6 ? 1 : 0;
}

static void explain_init(struct cli *cli, struct explain *explain, const Ipam__V1__Owner *owner, const char *pool)
{
    *explain = (struct explain){.arena = &cli->arena,
                                .owner = arena_printf(&cli->arena, "%s/%s", owner->kind, owner->name),
                                .pool_name = pool,
                                .message = "",
                                .failing_family = -1,
                                .address = {"", ""},
                                .preferred = {"", ""}};
}

/* ---- What stands around it ------------------------------------------------------------------------------------------ */

/* The pool as it is; that there is none is an answer, too. */
static int add_pool(struct ipam_client *client, struct explain *explain, struct listing *hold,
                    struct ipam_error *reterr)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    Ipam__V1__GetPoolReply *reply;
    struct ipam_error error;

    if (explain->pool_name[0] == '\0')
        return 0;
    request.name = (char *)(uintptr_t)explain->pool_name;
    if (ipam_get_pool(client, &request, &reply, &error) < 0) {
        if (error.reason == IPAM_REASON_POOL_NOT_FOUND)
            return 0;
        *reterr = error;
        return -1;
    }
    listing_hold(hold, &reply->base);
    explain->pool = reply->pool;
    return 0;
}

/* Who holds the address that is in the way, or held it last. */
static int add_holder(struct ipam_client *client, struct explain *explain, struct listing *hold,
                      struct ipam_error *reterr)
{
    Ipam__V1__ListClaimsRequest filter = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    int family = explain->failing_family < 0 ? 0 : explain->failing_family;
    size_t before = hold->count;

    filter.address = (char *)(uintptr_t)explain->address[family];
    if (list_claims(client, &filter, hold, reterr) < 0)
        return -1;
    if (hold->count > before)
        explain->holder = hold->items[before];
    return 0;
}

static bool ends_before(const Ipam__V1__Claim *a, const Ipam__V1__Claim *b)
{
    return a->cooling_until != NULL && (b == NULL || a->cooling_until->seconds < b->cooling_until->seconds ||
                                        (a->cooling_until->seconds == b->cooling_until->seconds &&
                                         a->cooling_until->nanos < b->cooling_until->nanos));
}

/* The cooling address of the family that is free first. */
static int add_cooling(struct ipam_client *client, struct explain *explain, struct listing *hold,
                       struct ipam_error *reterr)
{
    Ipam__V1__ListClaimsRequest filter = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    size_t before = hold->count;

    if (explain->pool == NULL || explain->pool->counts == NULL || explain->pool->counts->cooling == 0)
        return 0;
    filter.pool = (char *)(uintptr_t)explain->pool_name;
    filter.state = IPAM__V1__CLAIM_STATE__COOLING;
    if (list_claims(client, &filter, hold, reterr) < 0)
        return -1;
    for (size_t i = before; i < hold->count; i++) {
        const Ipam__V1__Claim *claim = hold->items[i];
        bool wanted = explain->failing_family < 0 || family_index(claim->family) == explain->failing_family;
        if (wanted && ends_before(claim, explain->next_cooling))
            explain->next_cooling = claim;
    }
    return 0;
}

static const struct {
    enum ipam_reason reason;
    int (*add)(struct ipam_client *client, struct explain *explain, struct listing *hold, struct ipam_error *reterr);
} surroundings[] = {
    {IPAM_REASON_ADDRESS_IN_USE, add_holder},
    {IPAM_REASON_ADDRESS_COOLING, add_holder},
    {IPAM_REASON_POOL_EXHAUSTED, add_cooling},
};

static int add_surroundings(struct ipam_client *client, struct explain *explain, struct listing *hold,
                            struct ipam_error *reterr)
{
    for (size_t i = 0; i < sizeof(surroundings) / sizeof(surroundings[0]); i++) {
        if (surroundings[i].reason == explain->reason && surroundings[i].add(client, explain, hold, reterr) < 0)
            return -1;
    }
    return 0;
}

/* ---- explain allocate ----------------------------------------------------------------------------------------------- */

/* The family that ipamd took a request to mean that names none: that of its answer. Where the answer tells none, as it is the
 * pool that refuses, the pool's only one, else IPv4. */
static int family_meant(const struct explain *explain)
{
    const Ipam__V1__PoolSpec *spec = explain->pool == NULL ? NULL : explain->pool->spec;
    bool ipv4 = spec == NULL;

    for (int f = 0; f < EXPLAIN_FAMILIES; f++) {
        if (explain->answer[f] != NULL || explain->failing_family == f)
            return f;
    }
    for (size_t i = 0; spec != NULL && i < spec->n_cidrs; i++)
        ipv4 |= strchr(spec->cidrs[i], ':') == NULL;
    for (size_t i = 0; spec != NULL && i < spec->n_addresses; i++)
        ipv4 |= strchr(spec->addresses[i], ':') == NULL;
    return ipv4 ? 0 : 1;
}

/* Which families are asked for, and for which address of each: as ipamd reads a request (docs/protocol.md). */
static void read_question(struct explain *explain, const Ipam__V1__AllocateRequest *request)
{
    bool ipv6_text = strchr(request->address, ':') != NULL;
    bool ipv6_alone;

    explain->asked[0] = request->family == IPAM__V1__FAMILY__IPV4 || request->family == IPAM__V1__FAMILY__DUAL;
    explain->asked[1] = request->family == IPAM__V1__FAMILY__IPV6 || request->family == IPAM__V1__FAMILY__DUAL;
    if (request->family == IPAM__V1__FAMILY__FAMILY_UNSPECIFIED) {
        explain->asked[0] = request->address[0] != '\0' && !ipv6_text;
        explain->asked[1] = ipv6_text || request->ipv6_address[0] != '\0';
    }
    if (!explain->asked[0] && !explain->asked[1])
        explain->asked[family_meant(explain)] = true;
    ipv6_alone = !explain->asked[0];
    explain->address[ipv6_alone] = request->address;
    explain->preferred[ipv6_alone] = request->preferred_address;
    if (request->ipv6_address[0] != '\0')
        explain->address[1] = request->ipv6_address;
    if (request->preferred_ipv6_address[0] != '\0')
        explain->preferred[1] = request->preferred_ipv6_address;
}

static void take_refusal(struct cli *cli, struct explain *explain, const struct ipam_error *error)
{
    explain->reason = error->reason;
    explain->message = arena_strdup(&cli->arena, error->message);
    for (unsigned int i = 0; i < error->n_details; i++) {
        if (strcmp(error->details[i].key, "family") == 0)
            explain->failing_family = strcmp(error->details[i].value, view_family(IPAM__V1__FAMILY__IPV6)) == 0;
        else if (strcmp(error->details[i].key, "address") == 0)
            explain->failing_family = strchr(error->details[i].value, ':') != NULL;
    }
}

static void take_claims(Ipam__V1__Claim *const *claims, size_t count, const Ipam__V1__Claim *ret[EXPLAIN_FAMILIES])
{
    for (int f = 0; f < EXPLAIN_FAMILIES; f++)
        ret[f] = claim_of_family(claims, count, families[f]);
}

/* The place it would get in the queue, if it is of a kind that waits. */
static void add_place(struct ipam_client *client, struct explain *explain, Ipam__V1__AllocateRequest request)
{
    Ipam__V1__AllocateReply *reply;

    request.enqueue = true;
    if (ipam_allocate(client, &request, &reply, NULL) < 0)
        return;
    for (size_t i = 0; i < reply->n_claims; i++) {
        if (reply->claims[i]->queue_position > explain->place)
            explain->place = reply->claims[i]->queue_position;
    }
    ipam_reply_free(reply);
}

/* What ipamd would do, without doing it. */
static int ask(struct cli *cli, struct ipam_client *client, struct explain *explain,
               const Ipam__V1__AllocateRequest *request, struct listing *hold, struct ipam_error *reterr)
{
    Ipam__V1__AllocateReply *reply;
    struct ipam_error error;

    if (ipam_allocate(client, request, &reply, &error) == 0) {
        listing_hold(hold, &reply->base);
        take_claims(reply->claims, reply->n_claims, explain->answer);
        return 0;
    }
    if (!explain_knows(error.reason)) {
        *reterr = error;
        return -1;
    }
    take_refusal(cli, explain, &error);
    add_place(client, explain, *request);
    return 0;
}

/* An owner that can't be is what the answer says. */
static void add_held(struct ipam_client *client, struct explain *explain, Ipam__V1__Owner *owner, struct listing *hold)
{
    Ipam__V1__GetClaimsRequest request = IPAM__V1__GET_CLAIMS_REQUEST__INIT;
    Ipam__V1__GetClaimsReply *reply;

    request.owner = owner;
    if (ipam_get_claims(client, &request, &reply, NULL) < 0)
        return;
    listing_hold(hold, &reply->base);
    take_claims(reply->claims, reply->n_claims, explain->held);
    for (int f = 0; f < EXPLAIN_FAMILIES; f++) {
        if (explain->held[f] != NULL && explain->held[f]->state != IPAM__V1__CLAIM_STATE__BOUND)
            explain->held[f] = NULL;
    }
}

static int explain_request(struct cli *cli, struct explain *explain, Ipam__V1__AllocateRequest *request,
                           struct listing *hold, struct ipam_error *reterr)
{
    struct ipam_client *client;

    request->dry_run = true;
    request->enqueue = false;
    if (cli_client(cli, &client, reterr) < 0)
        return -1;
    add_held(client, explain, request->owner, hold);
    if (add_pool(client, explain, hold, reterr) < 0 || ask(cli, client, explain, request, hold, reterr) < 0)
        return -1;
    read_question(explain, request);
    return add_surroundings(client, explain, hold, reterr);
}

int cmd_explain_allocate(struct cli *cli, struct ipam_error *reterr)
{
    Ipam__V1__AllocateRequest request;
    Ipam__V1__Owner owner;
    struct listing hold = {0};
    struct explain explain;

    allocate_request(cli, &owner, &request);
    explain_init(cli, &explain, &owner, request.pool);
    int result = explain_request(cli, &explain, &request, &hold, reterr);
    if (result == 0 && output_is_structured(&cli->output))
        output_json(&cli->output, explain_json(&explain));
    else if (result == 0)
        explain_print(&cli->output, &explain);
    listing_done(&hold);
    return result;
}

/* ---- explain vip ---------------------------------------------------------------------------------------------------- */

/* The family of a dual pair that is in the way: one that has nothing free, or asks for an address. */
static int guess_family(const struct explain *explain)
{
    for (int f = 0; f < EXPLAIN_FAMILIES; f++) {
        const Ipam__V1__PoolCounts *counts = explain->pool == NULL ? NULL
                                             : f == 0              ? explain->pool->ipv4
                                                                   : explain->pool->ipv6;
        bool exhausted = explain->reason == IPAM_REASON_POOL_EXHAUSTED && counts != NULL && counts->available == 0;
        bool addressed = explain->reason != IPAM_REASON_POOL_EXHAUSTED && explain->address[f][0] != '\0';
        if (explain->asked[f] && (exhausted || addressed))
            return f;
    }
    return -1;
}

static void add_claim(struct explain *explain, const Ipam__V1__Claim *claim)
{
    int f = family_index(claim->family);

    explain->asked[f] = true;
    explain->address[f] = claim->requested_address;
    explain->preferred[f] = claim->preferred_address;
    explain->answer[f] = claim;
    if (claim->state == IPAM__V1__CLAIM_STATE__BOUND) {
        explain->held[f] = claim;
        return;
    }
    explain->waits = true;
    explain->reason = ipam_reason_parse(claim->reason);
    explain->message = claim->message;
    explain->place = claim->queue_position > explain->place ? claim->queue_position : explain->place;
}

/* One claim, or the two of a pair that is granted together or not at all. The reason recorded is the one that holds now
 * (ipamd keeps it so), so that nothing need be asked. */
static int explain_claims(struct cli *cli, const Ipam__V1__GetClaimsReply *reply, size_t first, size_t count,
                          json_t *list, struct ipam_error *reterr)
{
    struct listing hold = {0};
    struct ipam_client *client;
    struct explain explain;

    explain_init(cli, &explain, reply->claims[first]->owner, reply->claims[first]->pool);
    for (size_t i = first; i < first + count; i++)
        add_claim(&explain, reply->claims[i]);
    int result = cli_client(cli, &client, reterr);
    if (result == 0)
        result = add_pool(client, &explain, &hold, reterr);
    explain.failing_family = guess_family(&explain);
    if (result == 0)
        result = add_surroundings(client, &explain, &hold, reterr);
    if (result == 0 && output_is_structured(&cli->output))
        json_array_append_new(list, explain_json(&explain));
    else if (result == 0)
        explain_print(&cli->output, &explain);
    listing_done(&hold);
    return result;
}

int cmd_explain_vip(struct cli *cli, struct ipam_error *reterr)
{
    struct ipam_client *client;
    Ipam__V1__GetClaimsReply *reply;
    Ipam__V1__Owner owner;
    int result = 0;

    owner_parse(&cli->arena, cli->arguments[0], "ProxyVIP", "", &owner);
    if (cli_client(cli, &client, reterr) < 0 || get_claims(client, &owner, &reply, reterr) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; result == 0 && i < reply->n_claims;) {
        size_t count = reply->claims[i]->dual && i + 1 < reply->n_claims ? 2 : 1;
        if (i > 0 && !output_is_structured(&cli->output))
            fputc('\n', cli->output.out);
        result = explain_claims(cli, reply, i, count, list, reterr);
        i += count;
    }
    if (result == 0 && output_is_structured(&cli->output))
        output_json(&cli->output, json_pack("{s:O}", "explanations", list));
    json_decref(list);
    ipam_reply_free(reply);
    return result;
}
