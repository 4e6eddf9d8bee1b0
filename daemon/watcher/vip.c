#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "watcher.h"

/* What one VIP needs, step by step:
 *   gone      Release by its uid.
 *   asks      Allocate. Granted: what it holds of a family that it no longer asks for is given back. Waiting: the same,
 *             but an address it still has of such a family stays until it has what it asks for.
 *   refused   If the claim in the way is that of an earlier object of the same name, that one is released and Allocate
 *             is tried again; else the VIP keeps what it has, and its user is told.
 *   asks for nothing   All that it holds is given back. */

/* ---- Requests ------------------------------------------------------------------------------------------------------ */

static Ipam__V1__Owner owner_of(struct kept *kept)
{
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    owner.kind = (char *)(uintptr_t)OWNER_KIND;
    owner.name = kept->name;
    owner.uid = kept->uid;
    return owner;
}

static void release(struct watcher *w, struct kept *kept, Ipam__V1__Family family, const char *uid, rpc_done done)
{
    Ipam__V1__Owner owner = owner_of(kept);
    Ipam__V1__ReleaseRequest request = IPAM__V1__RELEASE_REQUEST__INIT;
    request.owner = &owner;
    request.family = family;
    request.uid = (char *)(uintptr_t)uid;
    RPC(w, kept, "Release", release, &request, done);
}

static void get_claims(struct watcher *w, struct kept *kept, rpc_done done)
{
    Ipam__V1__Owner owner = owner_of(kept);
    Ipam__V1__GetClaimsRequest request = IPAM__V1__GET_CLAIMS_REQUEST__INIT;
    request.owner = &owner;
    RPC(w, kept, "GetClaims", get_claims, &request, done);
}

static const Ipam__V1__GetClaimsReply *claims_of(const ProtobufCMessage *reply)
{
    return (const Ipam__V1__GetClaimsReply *)reply;
}

/* Made by a watcher for an object of this name: `ipamc` leaves the uid empty. */
static bool is_ours(const Ipam__V1__Claim *claim)
{
    return claim->owner && claim->owner->uid[0];
}

/* ---- What it no longer asks for ------------------------------------------------------------------------------------- */

static bool is_wanted(const struct kept *kept, const Ipam__V1__Claim *claim)
{
    return kept->wanted & claim->family;
}

/* The first claim that is to be given back now. */
static const Ipam__V1__Claim *find_unwanted(const struct kept *kept, const Ipam__V1__GetClaimsReply *reply,
                                            bool *ret_kept)
{
    bool waits = false;
    *ret_kept = false;
    for (size_t i = 0; i < reply->n_claims; i++)
        waits |= is_wanted(kept, reply->claims[i]) && reply->claims[i]->state != IPAM__V1__CLAIM_STATE__BOUND;
    for (size_t i = 0; i < reply->n_claims; i++) {
        const Ipam__V1__Claim *claim = reply->claims[i];
        if (is_wanted(kept, claim) || !is_ours(claim))
            continue;
        if (!waits || claim->state == IPAM__V1__CLAIM_STATE__WAITING)
            return claim;
        *ret_kept = true;
    }
    return NULL;
}

static void on_claims(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                      const struct ipam_error *error);

static void on_unwanted_released(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                                 const struct ipam_error *error)
{
    (void)reply;
    if (error)
        job_failed(w, kept, error);
    else
        get_claims(w, kept, on_claims);
}

static void on_claims(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                      const struct ipam_error *error)
{
    bool keeps;
    if (error) {
        job_failed(w, kept, error);
        return;
    }
    const Ipam__V1__Claim *claim = find_unwanted(kept, claims_of(reply), &keeps);
    if (kept->work.again) /* it asks for something else by now */
        job_end(w, kept, kept->outcome);
    else if (claim)
        release(w, kept, claim->family, claim->owner->uid, on_unwanted_released);
    else if (keeps)
        job_later(w, kept, OUTCOME_WAITING);
    else
        job_end(w, kept, kept->wanted ? kept->outcome : OUTCOME_NONE);
}

/* ---- Allocate ------------------------------------------------------------------------------------------------------ */

static void allocate(struct watcher *w, struct kept *kept);

static void on_earlier_released(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                                const struct ipam_error *error)
{
    (void)reply;
    if (error)
        job_failed(w, kept, error);
    else
        allocate(w, kept);
}

static void refused(struct watcher *w, struct kept *kept, const Ipam__V1__GetClaimsReply *claims)
{
    const char *holds = claims->n_claims ? claims->claims[0]->address : "";
    char but[IPAM_ADDR_TEXT_MAX + 32] = "";
    if (*holds)
        snprintf(but, sizeof but, "; it keeps %s", holds);
    job_refused(w, kept, kept->refusal, but);
}

/* A claim with another uid belonged to an object of this name that is gone. */
static void on_refused_claims(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                              const struct ipam_error *error)
{
    if (error) {
        job_failed(w, kept, error);
        return;
    }
    const Ipam__V1__GetClaimsReply *claims = claims_of(reply);
    for (size_t i = 0; i < claims->n_claims; i++) {
        const Ipam__V1__Claim *claim = claims->claims[i];
        if (is_ours(claim) && strcmp(claim->owner->uid, kept->uid) != 0 && !kept->work.again) {
            release(w, kept, IPAM__V1__FAMILY__FAMILY_UNSPECIFIED, claim->owner->uid, on_earlier_released);
            return;
        }
    }
    refused(w, kept, claims);
}

/* What a status said last is what it gets after a loss of ipamd's state. */
static void remember(struct watcher *w, struct kept *kept, const Ipam__V1__AllocateReply *reply)
{
    struct ipam_addr address;
    kept->outcome = OUTCOME_BOUND;
    for (size_t i = 0; i < reply->n_claims; i++) {
        const Ipam__V1__Claim *claim = reply->claims[i];
        bool bound = claim->state == IPAM__V1__CLAIM_STATE__BOUND;
        if (!bound)
            kept->outcome = OUTCOME_WAITING;
        if (!bound || ipam_addr_parse(claim->address, &address, NULL) < 0)
            continue;
        struct ipam_addr *recorded = &kept->recorded[address.family == IPAM_IPV6];
        if (w->state == STATE_RUNNING && !ipam_addr_equal(recorded, &address))
            say(w, "vip %s: %s%s%s", kept->name, claim->address, *claim->pool ? " from " : ", manual", claim->pool);
        *recorded = address;
    }
}

static void on_allocated(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                         const struct ipam_error *error)
{
    if (error && error_is_transient(error)) {
        job_failed(w, kept, error);
    } else if (error) {
        kept->refusal = mem_realloc(kept->refusal, sizeof *kept->refusal);
        *kept->refusal = *error;
        get_claims(w, kept, on_refused_claims);
    } else {
        kept->told = 0;
        remember(w, kept, (const Ipam__V1__AllocateReply *)reply);
        if (kept->wanted == IPAM__V1__FAMILY__DUAL)
            job_end(w, kept, kept->outcome);
        else
            get_claims(w, kept, on_claims);
    }
}

static void allocate(struct watcher *w, struct kept *kept)
{
    Ipam__V1__AllocateRequest *request = ipam__v1__allocate_request__unpack(NULL, kept->request_size, kept->request);
    char texts[2][IPAM_ADDR_TEXT_MAX], **preferred[2];
    if (!request)
        abort(); /* what we packed can be unpacked, so memory ran out */
    preferred[0] = &request->preferred_address;
    preferred[1] = &request->preferred_ipv6_address;
    char *empty[2] = {*preferred[0], *preferred[1]};
    for (unsigned int f = 0; f < 2; f++)
        if (kept->recorded[f].family)
            *preferred[f] = (char *)(uintptr_t)ipam_addr_format_cidr(&kept->recorded[f], texts[f]);
    RPC(w, kept, "Allocate", allocate, request, on_allocated);
    for (unsigned int f = 0; f < 2; f++)
        *preferred[f] = empty[f];
    ipam__v1__allocate_request__free_unpacked(request, NULL);
}

/* ---- Gone ---------------------------------------------------------------------------------------------------------- */

static void on_gone_released(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                             const struct ipam_error *error)
{
    const Ipam__V1__ReleaseReply *released = (const Ipam__V1__ReleaseReply *)reply;
    if (error) {
        job_failed(w, kept, error);
        return;
    }
    for (size_t i = 0; i < released->n_released; i++)
        if (*released->released[i]->address)
            say(w, "vip %s: deleted, %s is given back", kept->name, released->released[i]->address);
    job_gone(w, kept);
}

void vip_begin(struct watcher *w, struct kept *kept)
{
    if (!kept->present)
        release(w, kept, IPAM__V1__FAMILY__FAMILY_UNSPECIFIED, kept->uid, on_gone_released);
    else if (!kept->readable)
        job_end(w, kept, OUTCOME_REFUSED);
    else if (kept->request)
        allocate(w, kept);
    else
        get_claims(w, kept, on_claims);
}
