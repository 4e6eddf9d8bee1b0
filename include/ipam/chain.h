/* ipam/chain.h: the hash chain of the history, checked anew.
 *
 * For programs that read changes and want proof that none was altered, left out or reordered between a hash that they know and the
 * last one: libipam's own subscriber, `ipamc audit verify`. A chain alone proves less: its hashes can be recomputed. It knows the Change message (docs/protocol.md, "The change and its hash") and nothing of where changes
 * come from. Any thread; a chain by one at a time.
 */
#ifndef IPAM_CHAIN_H
#define IPAM_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include <ipam/error.h>
#include <ipam/ipam.pb-c.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define IPAM_HASH_SIZE 32

/* BLAKE2b-256(previous ‖ canonical record of `change`): what change->hash must be; change->hash itself is not looked at.
 * `previous` is the hash of the revision before, 32 zero bytes for revision 1. -1: OUT_OF_MEMORY. */
int ipam_change_hash(const uint8_t previous[IPAM_HASH_SIZE], const Ipam__V1__Change *change,
                     uint8_t ret[IPAM_HASH_SIZE], struct ipam_error *reterr);

/* How far a chain has been checked. */
struct ipam_chain {
    uint64_t revision;            /* of the last change */
    uint8_t hash[IPAM_HASH_SIZE]; /* of that change, when `known` */
    bool known;                   /* else the next change is believed, and the chain goes on from its hash */
};

/* A chain that goes on after `revision`, whose hash is `hash`; NULL: not known (of revision 0 it always is). */
void ipam_chain_init(struct ipam_chain *chain, uint64_t revision, const uint8_t *hash);

/* Goes on by one change. -1, and the chain stays: HISTORY_BROKEN (it is not the next revision, has no hash of 32 bytes, or
 * another one than it must have), OUT_OF_MEMORY. */
int ipam_chain_check(struct ipam_chain *chain, const Ipam__V1__Change *change, struct ipam_error *reterr);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
