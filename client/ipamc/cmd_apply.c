#include "commands.h"

#include <string.h>

#include "manifest_files.h"
#include "requests.h"
#include "text.h"
#include "views.h"

struct apply {
    struct cli *cli;
    struct ipam_client *client;
    json_t *touched; /* dry run: pools that this apply would create or edit -> true if created */
    json_t *shown;   /* dry run: addresses that were named for a VIP */
};

static const char *when_dry(const struct apply *apply)
{
    return apply->cli->options.dry_run ? " (dry run)" : "";
}

/* ---- Pools ---------------------------------------------------------------------------------------------------------- */

static int pool_exists(struct apply *apply, const char *name, bool *ret, struct ipam_error *reterr)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    Ipam__V1__GetPoolReply *reply;
    struct ipam_error error;

    request.name = (char *)(uintptr_t)name;
    *ret = true;
    if (ipam_get_pool(apply->client, &request, &reply, &error) == 0) {
        ipam_reply_free(reply);
        return 0;
    }
    *ret = false;
    if (error.reason == IPAM_REASON_POOL_NOT_FOUND)
        return 0;
    *reterr = error;
    return -1;
}

static void say_pool(struct apply *apply, const struct manifest_object *object, const Ipam__V1__ApplyPoolReply *reply,
                     bool existed)
{
    struct arena *arena = &apply->cli->arena;
    const char *label = text_printable(arena, manifest_object_label(arena, object));
    bool dry = apply->cli->options.dry_run;

    if (apply->cli->output.format == OUTPUT_NAME) {
        cli_say(apply->cli, "%s", label);
        return;
    }
    cli_say(apply->cli, "%s %s%s", label,
            !reply->changed ? "unchanged"
            : existed       ? "configured"
                            : "created",
            when_dry(apply));
    for (size_t i = 0; i < reply->n_stranded; i++)
        cli_say(apply->cli, "  %s %s %s, which %s the pool", claim_label(arena, reply->stranded[i]),
                dry ? "would keep" : "keeps", text_printable(arena, reply->stranded[i]->address),
                dry ? "would leave" : "left");
    for (size_t i = 0; reply->pool != NULL && i < reply->pool->n_warnings; i++)
        cli_note(apply->cli, "%s: %s", label, text_printable(arena, reply->pool->warnings[i]));
}

static int apply_pool(struct apply *apply, const struct manifest_object *object, struct ipam_error *reterr)
{
    Ipam__V1__ApplyPoolRequest request = IPAM__V1__APPLY_POOL_REQUEST__INIT;
    Ipam__V1__ApplyPoolReply *reply;
    bool existed;

    request.pool = (Ipam__V1__PoolSpec *)(uintptr_t)&object->pool;
    request.dry_run = apply->cli->options.dry_run;
    if (pool_exists(apply, object->name, &existed, reterr) < 0 ||
        ipam_apply_pool(apply->client, &request, &reply, reterr) < 0)
        return -1;
    say_pool(apply, object, reply, existed);
    cli_result(apply->cli, "ProxyIPPool", object->name, &reply->base);
    if (request.dry_run && reply->changed)
        json_object_set_new(apply->touched, object->name, json_boolean(!existed));
    ipam_reply_free(reply);
    return 0;
}

/* ---- VIPs ----------------------------------------------------------------------------------------------------------- */

static bool same_claim(const Ipam__V1__Claim *a, const Ipam__V1__Claim *b)
{
    return a != NULL && b != NULL && a->state == b->state && strcmp(a->address, b->address) == 0 &&
           strcmp(a->pool, b->pool) == 0;
}

static void say_bound(struct apply *apply, const char *label, const Ipam__V1__Claim *claim,
                      const Ipam__V1__Claim *before)
{
    struct arena *arena = &apply->cli->arena;
    const char *from =
        claim->pool[0] == '\0' ? "" : arena_printf(arena, " from %s", text_printable(arena, claim->pool));
    const char *address = text_printable(arena, claim->address), *instead = "";

    if (before != NULL && before->address[0] != '\0' && strcmp(before->address, claim->address) != 0)
        instead = arena_printf(arena, " instead of %s", text_printable(arena, before->address));
    if (same_claim(claim, before))
        cli_say(apply->cli, "%s %s unchanged%s", label, address, when_dry(apply));
    else if (apply->cli->options.dry_run && json_object_get(apply->shown, claim->address) != NULL)
        cli_say(apply->cli, "%s an %s address allocated%s%s (dry run)", label, view_family(claim->family), from,
                instead);
    else
        cli_say(apply->cli, "%s %s allocated%s%s%s", label, address, from, instead, when_dry(apply));
    json_object_set_new(apply->shown, claim->address, json_true());
    cli_note_special(apply->cli, claim);
}

static void say_claim(struct apply *apply, const struct manifest_object *object, const Ipam__V1__Claim *claim,
                      const Ipam__V1__Claim *before)
{
    struct arena *arena = &apply->cli->arena;
    const char *label = text_printable(arena, manifest_object_label(arena, object));

    if (claim->state == IPAM__V1__CLAIM_STATE__BOUND)
        say_bound(apply, label, claim, before);
    else
        cli_say(apply->cli, "%s waits for an %s address%s: %s", label, view_family(claim->family), when_dry(apply),
                text_printable(arena, claim->message));
}

static void say_vip(struct apply *apply, const struct manifest_object *object, const Ipam__V1__AllocateReply *reply,
                    const Ipam__V1__GetClaimsReply *before)
{
    struct arena *arena = &apply->cli->arena;

    if (apply->cli->output.format == OUTPUT_NAME) {
        cli_say(apply->cli, "%s", text_printable(arena, manifest_object_label(arena, object)));
        return;
    }
    for (size_t i = 0; i < reply->n_claims; i++)
        say_claim(apply, object, reply->claims[i],
                  claim_of_family(before->claims, before->n_claims, reply->claims[i]->family));
}

/* In a dry run the pools are as they were: what a VIP would get of a pool that is only about to be is not known yet. */
static bool depends_on_dry_pool(struct apply *apply, const struct manifest_object *object, bool refused)
{
    const json_t *touched = json_object_get(apply->touched, object->claim.pool);

    if (touched == NULL || (!refused && !json_is_true(touched)))
        return false;
    cli_say(apply->cli, "%s would ask the pool %s as this file leaves it (dry run)",
            text_printable(&apply->cli->arena, manifest_object_label(&apply->cli->arena, object)), object->claim.pool);
    return true;
}

static int apply_vip(struct apply *apply, const struct manifest_object *object, struct ipam_error *reterr)
{
    Ipam__V1__GetClaimsRequest look = IPAM__V1__GET_CLAIMS_REQUEST__INIT;
    Ipam__V1__AllocateRequest request = object->claim;
    Ipam__V1__GetClaimsReply *before;
    Ipam__V1__AllocateReply *reply;

    if (depends_on_dry_pool(apply, object, false))
        return 0;
    look.owner = request.owner;
    request.enqueue = apply->cli->options.enqueue;
    request.dry_run = apply->cli->options.dry_run;
    if (ipam_get_claims(apply->client, &look, &before, reterr) < 0)
        return -1;
    int result = ipam_allocate(apply->client, &request, &reply, reterr);
    if (result == 0) {
        say_vip(apply, object, reply, before);
        cli_result(apply->cli, "ProxyVIP", object->name, &reply->base);
        ipam_reply_free(reply);
    } else if (depends_on_dry_pool(apply, object, true)) {
        result = 0;
    }
    ipam_reply_free(before);
    return result;
}

/* ---- All ------------------------------------------------------------------------------------------------------------ */

static int apply_object(struct apply *apply, const struct manifest_object *object, struct ipam_error *reterr)
{
    static int (*const appliers[])(struct apply *, const struct manifest_object *,
                                   struct ipam_error *) = {[MANIFEST_POOL] = apply_pool, [MANIFEST_VIP] = apply_vip};
    static const char *const kinds[] = {[MANIFEST_POOL] = "ProxyIPPool", [MANIFEST_VIP] = MANIFEST_VIP_KIND};
    struct ipam_error error;

    if (appliers[object->kind](apply, object, &error) == 0)
        return 0;
    if (error.reason == IPAM_REASON_UNREACHABLE) { /* the others would fare alike */
        *reterr = error;
        return -1;
    }
    ipam_error_prefix(&error, "%s:%u: %s", object->source, object->line,
                      manifest_object_label(&apply->cli->arena, object));
    cli_failure(apply->cli, kinds[object->kind], object->name, &error);
    return 0;
}

int cmd_apply(struct cli *cli, struct ipam_error *reterr)
{
    struct apply apply = {.cli = cli, .touched = json_object(), .shown = json_object()};
    struct manifest manifest;
    int result;

    manifest_init(&manifest);
    if (cli->options.n_files == 0)
        result = usage_error(reterr, "apply what: write ipamc apply -f FILE|-|DIR");
    else
        result = manifest_read_files(&manifest, cli->options.files, cli->options.n_files, reterr);
    if (result == 0)
        result = cli_client(cli, &apply.client, reterr);
    for (size_t i = 0; result == 0 && i < manifest.count; i++)
        result = apply_object(&apply, &manifest.items[i], reterr);
    if (result == 0)
        cli_print_results(cli);
    json_decref(apply.touched);
    json_decref(apply.shown);
    manifest_done(&manifest);
    return result;
}
