#include "internal.h"

static bool list_has(const struct string_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->items[i], text))
            return true;
    return false;
}

static bool is_object(const struct engine_scope *scope, const char *kind, const char *uid)
{
    return !text_empty(uid) && list_has(&scope->objects, kind);
}

static bool allows(const struct engine_scope *scope, const char *kind, const char *uid)
{
    for (unsigned int i = 0; i < 32; i++) {
        if (!(scope->member & 1u << i))
            continue;
        if (list_has(&scope->groups[i], kind) || (!scope->groups[i].count && !is_object(scope, kind, uid)))
            return true;
    }
    return false;
}

/* A uid that the owner's claims are recorded with and that is not allowed; NULL: there is none. */
static const char *forbidden_uid(const struct engine_scope *scope, const struct owner *owner)
{
    for (unsigned int f = 0; f < FAMILIES; f++)
        if (owner->active[f] && !allows(scope, owner->kind->text, claim_uid(owner->active[f])))
            return claim_uid(owner->active[f]);
    for (const struct claim *claim = owner->cooling; claim; claim = claim->cooling->older)
        if (!allows(scope, owner->kind->text, claim_uid(claim)))
            return claim_uid(claim);
    return NULL;
}

static int refuse(const struct engine *engine, const struct owner_ref *who, const char *uid, struct ipam_error *reterr)
{
    const struct engine_ctx *ctx = engine->batch->ctx;
    const char *caller = *ctx->actor.command ? ctx->actor.command : "the caller";

    if (is_object(&ctx->scope, who->kind, uid))
        ipam_error_set(
            reterr, IPAM_REASON_PERMISSION_DENIED,
            "permission denied: %s/%.64s is an object of Kubernetes (it has a uid), for which %s (uid %u) may not "
            "act; the role admin may, and members of a group that --allocate-group GROUP:%s names",
            who->kind, who->name, caller, ctx->actor.uid, who->kind);
    else
        ipam_error_set(
            reterr, IPAM_REASON_PERMISSION_DENIED,
            "permission denied: %s (uid %u) may not act for owners of kind %s; the role admin may, and members "
            "of a group that --allocate-group GROUP:%s names",
            caller, ctx->actor.uid, who->kind, who->kind);
    ipam_error_add(reterr, "kind", who->kind);
    return -1;
}

int scope_check(const struct engine *engine, const struct owner_ref *who, const struct owner *owner,
                struct ipam_error *reterr)
{
    const struct engine_scope *scope = &engine->batch->ctx->scope;
    const char *uid;

    if (!scope->groups)
        return 0;
    if (!allows(scope, who->kind, who->uid))
        return refuse(engine, who, who->uid, reterr);
    uid = owner ? forbidden_uid(scope, owner) : NULL;
    return uid ? refuse(engine, who, uid, reterr) : 0;
}
