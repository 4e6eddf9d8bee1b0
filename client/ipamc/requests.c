#include "requests.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "views.h"

#define PAGE_SIZE 1000

void listing_add(struct listing *listing, const void *item)
{
    if (listing->count == listing->capacity) {
        listing->capacity = listing->capacity == 0 ? 64 : 2 * listing->capacity;
        listing->items = mem_realloc(listing->items, listing->capacity * sizeof(*listing->items));
    }
    listing->items[listing->count++] = item;
}

void listing_hold(struct listing *listing, ProtobufCMessage *reply)
{
    if (listing->n_replies == listing->replies_capacity) {
        listing->replies_capacity = listing->replies_capacity == 0 ? 16 : 2 * listing->replies_capacity;
        listing->replies = mem_realloc(listing->replies, listing->replies_capacity * sizeof(*listing->replies));
    }
    listing->replies[listing->n_replies++] = reply;
}

void listing_done(struct listing *listing)
{
    for (size_t i = 0; i < listing->n_replies; i++)
        ipam_reply_free(listing->replies[i]);
    free(listing->replies);
    free(listing->items);
    *listing = (struct listing){0};
}

int list_pools(struct ipam_client *client, struct listing *ret, struct ipam_error *reterr)
{
    Ipam__V1__ListPoolsRequest request = IPAM__V1__LIST_POOLS_REQUEST__INIT;
    Ipam__V1__ListPoolsReply *reply;

    request.page_size = PAGE_SIZE;
    do {
        if (ipam_list_pools(client, &request, &reply, reterr) < 0)
            return -1;
        listing_hold(ret, &reply->base);
        for (size_t i = 0; i < reply->n_pools; i++)
            listing_add(ret, reply->pools[i]);
        ret->revision = reply->revision;
        request.page_token = reply->next_page_token;
    } while (request.page_token[0] != '\0');
    return 0;
}

int list_claims(struct ipam_client *client, const Ipam__V1__ListClaimsRequest *filter, struct listing *ret,
                struct ipam_error *reterr)
{
    Ipam__V1__ListClaimsRequest request = *filter;
    Ipam__V1__ListClaimsReply *reply;

    request.page_size = PAGE_SIZE;
    do {
        if (ipam_list_claims(client, &request, &reply, reterr) < 0)
            return -1;
        listing_hold(ret, &reply->base);
        for (size_t i = 0; i < reply->n_claims; i++)
            listing_add(ret, reply->claims[i]);
        ret->revision = reply->revision;
        request.page_token = reply->next_page_token;
    } while (request.page_token[0] != '\0');
    return 0;
}

int get_claims(struct ipam_client *client, const Ipam__V1__Owner *owner, Ipam__V1__GetClaimsReply **ret,
               struct ipam_error *reterr)
{
    Ipam__V1__GetClaimsRequest request = IPAM__V1__GET_CLAIMS_REQUEST__INIT;
    Ipam__V1__GetClaimsReply *reply;

    request.owner = (Ipam__V1__Owner *)(uintptr_t)owner;
    if (ipam_get_claims(client, &request, &reply, reterr) < 0)
        return -1;
    if (reply->n_claims == 0) {
        ipam_reply_free(reply);
        ipam_error_set(reterr, IPAM_REASON_CLAIM_NOT_FOUND,
                       "claim not found: %s/%s holds no address and waits for none", owner->kind, owner->name);
        return -1;
    }
    *ret = reply;
    return 0;
}

void owner_parse(struct arena *arena, const char *word, const char *kind, const char *kind_default,
                 Ipam__V1__Owner *ret)
{
    const char *slash = kind == NULL ? strchr(word, '/') : NULL;

    ipam__v1__owner__init(ret);
    ret->kind = arena_strdup(arena, kind != NULL ? kind : kind_default);
    if (slash != NULL)
        ret->kind = arena_memdup(arena, word, (size_t)(slash - word));
    ret->name = arena_strdup(arena, slash != NULL ? slash + 1 : word);
}

const char *claim_label(struct arena *arena, const Ipam__V1__Claim *claim)
{
    const char *kind = claim->owner == NULL ? "" : claim->owner->kind,
               *name = claim->owner == NULL ? "" : claim->owner->name;
    return text_printable(arena, arena_printf(arena, "claim/%s/%s/%s", kind, name, view_family(claim->family)));
}

const Ipam__V1__Claim *claim_of_family(Ipam__V1__Claim *const *claims, size_t count, Ipam__V1__Family family)
{
    for (size_t i = 0; i < count; i++) {
        if (claims[i]->family == family)
            return claims[i];
    }
    return NULL;
}
