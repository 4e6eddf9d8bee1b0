#include "private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Is everything here that was acknowledged? The mark beside the database tells, and where there is none, the database itself
 * tells whether it is whole. A database that is ahead of its mark is fine: the mark is written after the commit and is not
 * synced, so after a power loss it may lag. */

#define ACCEPT "accept the loss with `ipamd --state-dir %s --accept-lost-changes`"

/* Says what happened, what is missing, and what to do: `what` up to a full stop, the rest is the same for all. Returns -1. */
__attribute__((format(printf, 3, 4))) static int report_loss(struct store *store, struct ipam_error *reterr,
                                                             const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return ipam_error_set(reterr, IPAM_REASON_CHANGES_LOST,
                          "%s; nothing was altered, and ipamd does not start because it might give an address a second "
                          "time; restore the newest backup, or " ACCEPT,
                          what, store->dir);
}

static void lost_through(struct store *store, const struct mark *mark)
{
    store->loss = (struct loss_record){.lost = mark->revision, .has_hash = true};
    memcpy(store->loss.hash, mark->hash, STORE_HASH_SIZE);
}

/* ---- What may be found ------------------------------------------------------------------------------------------- */

static int is_behind(struct store *store, bool has_log, struct ipam_error *reterr)
{
    const struct mark *mark = &store->mark.mark;
    lost_through(store, mark);
    return report_loss(
        store, reterr,
        "changes lost: changes %" PRIu64 " to %" PRIu64
        " were acknowledged (%s says so) and are not in %s; either its log ipamd.db-wal was %s, or an older "
        "copy was put in its place: if the right files are still elsewhere, put them back",
        store->head.revision + 1, mark->revision, store->mark_path, store->db_path,
        has_log ? "cut or damaged" : "removed or emptied");
}

static int is_other_history(struct store *store, struct ipam_error *reterr)
{
    const struct mark *mark = &store->mark.mark;
    lost_through(store, mark);
    return report_loss(store, reterr,
                       "changes lost: %s has another change %" PRIu64
                       " than the one that was acknowledged (%s says so): it "
                       "is a copy that went its own way before that change",
                       store->db_path, mark->revision, store->mark_path);
}

static int is_other_database(struct store *store, struct ipam_error *reterr)
{
    const struct mark *mark = &store->mark.mark;
    lost_through(store, mark);
    return report_loss(
        store, reterr,
        "changes lost: %s is not the database that ipamd used in this directory last: that one's changes 1 "
        "to %" PRIu64 " were acknowledged (%s says so); if it is still elsewhere, put it back",
        store->db_path, mark->revision, store->mark_path);
}

static int is_missing(struct store *store, struct ipam_error *reterr)
{
    const struct mark *mark = &store->mark.mark;
    return report_loss(store, reterr,
                       "changes lost: %s is missing, and its changes 1 to %" PRIu64
                       " were acknowledged (%s says so); if it is still elsewhere, put it back",
                       store->db_path, mark->revision, store->mark_path);
}

static int is_copy(struct store *store, bool has_log, struct ipam_error *reterr)
{
    if (has_log)
        return report_loss(
            store, reterr,
            "changes lost, perhaps: %s was in use when ipamd ended or it was copied, and %s, which tells "
            "whether all changes after %" PRIu64 " are here, is missing; if it is still elsewhere, put it back",
            store->db_path, store->mark_path, store->head.revision);
    return report_loss(
        store, reterr,
        "changes lost, perhaps: %s was in use when it was copied, or its log and %s were removed: changes "
        "after %" PRIu64 " were in its log ipamd.db-wal, which is not here; put the log and the mark "
        "back, or copy it again with sqlite3's .backup",
        store->db_path, store->mark_path, store->head.revision);
}

static int is_unmarked(struct store *store, struct ipam_error *reterr)
{
    return report_loss(
        store, reterr,
        "changes lost, perhaps: %s can't be read as ipamd writes it, so nothing tells whether all changes "
        "after %" PRIu64 " are in %s",
        store->mark_path, store->head.revision, store->db_path);
}

/* ---- The judgement ----------------------------------------------------------------------------------------------- */

/* Whether the change that the mark speaks of is in the history; what was compacted can't be told, so it is believed. */
static int history_has(struct store *store, const struct mark *mark, bool *ret, struct ipam_error *reterr)
{
    const struct head *head = &store->head;
    uint8_t hash[STORE_HASH_SIZE];
    *ret = mark->revision < head->compacted_through;
    if (*ret)
        return 0;
    if (mark->revision == head->revision)
        memcpy(hash, head->hash, sizeof(hash));
    else if (chain_hash(&store->db, head, mark->revision, hash, reterr) < 0)
        return -1;
    *ret = memcmp(hash, mark->hash, sizeof(hash)) == 0;
    return 0;
}

int loss_judge_missing(struct store *store, struct ipam_error *reterr)
{
    bool was_used = store->mark.state == MARK_SOUND && store->mark.mark.revision > 0;
    if (store->mark.state == MARK_UNREADABLE)
        return is_unmarked(store, reterr);
    return was_used ? is_missing(store, reterr) : 0;
}

int loss_judge(struct store *store, bool has_log, struct ipam_error *reterr)
{
    const struct origin *origin = &store->origin;
    const struct mark *mark = &store->mark.mark;
    bool has = true;
    store->loss = (struct loss_record){0};
    if (store->mark.state == MARK_UNREADABLE)
        return is_unmarked(store, reterr);
    bool ours = store->mark.state == MARK_SOUND && origin->known &&
                memcmp(origin->database, mark->database, STORE_ID_SIZE) == 0;
    if (store->mark.state == MARK_SOUND && !ours && mark->revision > 0)
        return is_other_database(store, reterr);
    if (!ours)
        return origin->in_use && origin->same_file ? is_copy(store, has_log, reterr) : 0;
    if (mark->revision > store->head.revision)
        return is_behind(store, has_log, reterr);
    if (history_has(store, mark, &has, reterr) < 0)
        return -1;
    return has ? 0 : is_other_history(store, reterr);
}
