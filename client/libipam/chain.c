#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>

#include <ipam/chain.h>

#define RECORD_USUAL 1024 /* bytes; a larger record takes memory of its own */

int ipam_change_hash(const uint8_t previous[IPAM_HASH_SIZE], const Ipam__V1__Change *change,
                     uint8_t ret[IPAM_HASH_SIZE], struct ipam_error *reterr)
{
    uint8_t usual[RECORD_USUAL];
    crypto_generichash_state state;
    Ipam__V1__Change bare = *change;
    bare.hash = (ProtobufCBinaryData){0};
    size_t size = ipam__v1__change__get_packed_size(&bare);
    uint8_t *record = size <= sizeof(usual) ? usual : malloc(size);
    if (record == NULL) {
        return ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "no memory for the record of change %" PRIu64,
                              change->revision);
    }
    ipam__v1__change__pack(&bare, record);
    crypto_generichash_init(&state, NULL, 0, IPAM_HASH_SIZE);
    crypto_generichash_update(&state, previous, IPAM_HASH_SIZE);
    crypto_generichash_update(&state, record, size);
    crypto_generichash_final(&state, ret, IPAM_HASH_SIZE);
    if (record != usual) {
        free(record);
    }
    return 0;
}

void ipam_chain_init(struct ipam_chain *chain, uint64_t revision, const uint8_t *hash)
{
    *chain = (struct ipam_chain){.revision = revision, .known = hash != NULL || revision == 0};
    if (hash != NULL && revision > 0) {
        memcpy(chain->hash, hash, IPAM_HASH_SIZE);
    }
}

int ipam_chain_check(struct ipam_chain *chain, const Ipam__V1__Change *change, struct ipam_error *reterr)
{
    uint8_t expected[IPAM_HASH_SIZE];
    if (change->revision != chain->revision + 1) {
        return ipam_error_set(reterr, IPAM_REASON_HISTORY_BROKEN,
                              "broken history: after change %" PRIu64 " comes change %" PRIu64, chain->revision,
                              change->revision);
    }
    if (change->hash.len != IPAM_HASH_SIZE) {
        return ipam_error_set(reterr, IPAM_REASON_HISTORY_BROKEN,
                              "broken history: the hash of change %" PRIu64 " has %zu bytes, and not %d",
                              change->revision, change->hash.len, IPAM_HASH_SIZE);
    }
    if (chain->known) {
        if (ipam_change_hash(chain->hash, change, expected, reterr) < 0) {
            return -1;
        }
        if (memcmp(expected, change->hash.data, IPAM_HASH_SIZE) != 0) {
            return ipam_error_set(reterr, IPAM_REASON_HISTORY_BROKEN,
                                  "broken history: the hash of change %" PRIu64 " does not fit the change before it",
                                  change->revision);
        }
    }
    memcpy(chain->hash, change->hash.data, IPAM_HASH_SIZE);
    chain->revision = change->revision;
    chain->known = true;
    return 0;
}
