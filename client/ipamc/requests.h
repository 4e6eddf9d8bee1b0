/* requests.h: calls that several commands make, and how they name owners and claims.
 *
 * Used by the cmd_ files; it knows the messages of ipam.v1 and nothing of options. Replies are held by the caller, as
 * libipam says.
 */
#ifndef IPAMC_REQUESTS_H
#define IPAMC_REQUESTS_H

#include <stdbool.h>

#include <ipam/client.h>

#include "arena.h"

/* Objects of all pages of a list, with the replies that they live in. */
struct listing {
    const void **items;
    size_t count, capacity;
    ProtobufCMessage **replies;
    size_t n_replies, replies_capacity;
    uint64_t revision; /* of the last page */
};

int list_pools(struct ipam_client *client, struct listing *ret, struct ipam_error *reterr);
int list_claims(struct ipam_client *client, const Ipam__V1__ListClaimsRequest *filter, struct listing *ret,
                struct ipam_error *reterr);
void listing_add(struct listing *listing, const void *item);
void listing_hold(struct listing *listing, ProtobufCMessage *reply); /* frees it with the listing */
void listing_done(struct listing *listing);

/* The owner's claims; none is CLAIM_NOT_FOUND. */
int get_claims(struct ipam_client *client, const Ipam__V1__Owner *owner, Ipam__V1__GetClaimsReply **ret,
               struct ipam_error *reterr);

/* "web" or "ProxyVIP/web"; with a kind given, all of the word is the name. */
void owner_parse(struct arena *arena, const char *word, const char *kind, const char *kind_default,
                 Ipam__V1__Owner *ret);

/* "claim/Manual/web/ipv4", printable. */
const char *claim_label(struct arena *arena, const Ipam__V1__Claim *claim);

/* The first claim of the family, or NULL. */
const Ipam__V1__Claim *claim_of_family(Ipam__V1__Claim *const *claims, size_t count, Ipam__V1__Family family);

#endif
