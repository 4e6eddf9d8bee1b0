#include "follow.h"

#include <inttypes.h>
#include <string.h>

void follow_init(struct follow *follow, bool from_now, uint64_t after_revision, const uint8_t *hash)
{
    *follow = (struct follow){.from_now = from_now, .is_due = true};
    ipam_chain_init(&follow->chain, from_now ? 0 : after_revision, hash);
}

void follow_hear(struct follow *follow, uint64_t revision)
{
    if (revision > follow->heard) {
        follow->heard = revision;
    }
}

/* A lower revision than ours: the tick was under way for long, or it is another history: a page tells. */
void follow_hear_tick(struct follow *follow, uint64_t revision)
{
    follow_hear(follow, revision);
    if (revision < follow->chain.revision) {
        follow->is_due = true;
    }
}

bool follow_is_behind(const struct follow *follow)
{
    return follow->is_due || follow->heard > follow->chain.revision;
}

void follow_request(const struct follow *follow, Ipam__V1__ListChangesRequest *ret)
{
    uint64_t revision = follow->chain.revision;
    ipam__v1__list_changes_request__init(ret);
    ret->limit = FOLLOW_PAGE;
    if (follow->from_now) {
        ret->after_revision = UINT64_MAX; /* no change, but the revision of the newest */
    } else {
        ret->after_revision = revision > 0 && !follow->is_bare ? revision - 1 : revision;
    }
}

/* ---- Pages ----------------------------------------------------------------------------------------------------- */

static void start_from(struct follow *follow, const Ipam__V1__ListChangesReply *page)
{
    follow->from_now = false;
    follow->is_due |= page->revision > 0; /* once more, for the hash of that revision */
    ipam_chain_init(&follow->chain, page->revision, NULL);
}

static int check_ends(const struct follow *follow, const Ipam__V1__ListChangesReply *page, struct ipam_error *reterr)
{
    uint64_t revision = follow->chain.revision;
    if (page->revision < revision) {
        return ipam_error_set(reterr, IPAM_REASON_HISTORY_REPLACED,
                              "another history: change %" PRIu64 " was delivered, and ipamd is at %" PRIu64
                              " now: its state was lost or restored from a backup",
                              revision, page->revision);
    }
    if (page->compacted_through > revision) {
        return ipam_error_set(reterr, IPAM_REASON_HISTORY_COMPACTED,
                              "compacted history: the changes after %" PRIu64 " up to %" PRIu64 " are no longer kept",
                              revision, page->compacted_through);
    }
    return 0;
}

/* The change delivered last, read again. */
static int check_overlap(struct follow *follow, const Ipam__V1__Change *change, struct ipam_error *reterr)
{
    struct ipam_chain *chain = &follow->chain;
    if (change->hash.len != IPAM_HASH_SIZE) {
        return ipam_error_set(reterr, IPAM_REASON_HISTORY_BROKEN,
                              "broken history: change %" PRIu64 " has no hash of %d bytes", change->revision,
                              IPAM_HASH_SIZE);
    }
    if (!chain->known) {
        ipam_chain_init(chain, change->revision, change->hash.data);
    } else if (memcmp(chain->hash, change->hash.data, IPAM_HASH_SIZE) != 0) {
        return ipam_error_set(reterr, IPAM_REASON_HISTORY_REPLACED,
                              "another history: change %" PRIu64
                              " has another hash than when it was delivered: ipamd's state was restored from a backup",
                              change->revision);
    }
    return 0;
}

/* A page without news, though there are some. */
static int check_progress(struct follow *follow, const Ipam__V1__ListChangesReply *page, struct ipam_error *reterr)
{
    if (follow->is_bare || page->n_changes == 0) {
        return ipam_error_set(reterr, IPAM_REASON_HISTORY_BROKEN,
                              "broken history: the changes after %" PRIu64 " up to %" PRIu64 " are missing",
                              follow->chain.revision, page->revision);
    }
    follow->is_bare = true;
    return 0;
}

int follow_page(struct follow *follow, const Ipam__V1__ListChangesReply *page, size_t *ret_first,
                struct ipam_error *reterr)
{
    size_t first = 0;
    follow->is_due = follow->heard > page->revision; /* heard while the page was on its way: once more */
    follow->heard = page->revision;
    if (follow->from_now) {
        start_from(follow, page);
        *ret_first = page->n_changes;
        return 0;
    }
    if (check_ends(follow, page, reterr) < 0) {
        return -1;
    }
    if (page->n_changes > 0 && page->changes[0]->revision == follow->chain.revision) {
        first = 1;
        if (check_overlap(follow, page->changes[0], reterr) < 0) {
            return -1;
        }
    }
    if (first < page->n_changes) {
        follow->is_bare = false;
    } else if (page->revision > follow->chain.revision && check_progress(follow, page, reterr) < 0) {
        return -1;
    }
    *ret_first = first;
    return 0;
}

int follow_take(struct follow *follow, const Ipam__V1__Change *change, struct ipam_error *reterr)
{
    return ipam_chain_check(&follow->chain, change, reterr);
}
