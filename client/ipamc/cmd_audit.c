#include "commands.h"

#include <inttypes.h>
#include <string.h>

#include <ipam/chain.h>

#include "changes.h"
#include "json_message.h"
#include "read_changes.h"

struct audit {
    struct ipam_chain chain;
    uint64_t checked;  /* changes whose hash was computed anew */
    uint64_t believed; /* revision whose hash the chain starts from; 0: it starts at its beginning */
    struct cli *cli;
    json_t *lost;    /* revisions at which changes were lost; NULL: none */
    uint64_t proven; /* the newest revision of --expect that has its hash */
};

/* The chain goes on over a loss, as nothing that it holds was altered; but it does not hold all that was acknowledged. */
static void note_lost(struct audit *audit, const Ipam__V1__Change *change)
{
    cli_note(audit->cli, "revision %" PRIu64 ": %s", change->revision,
             change_lost_words(&audit->cli->arena, change->changes_lost));
    if (!audit->lost)
        audit->lost = json_array();
    json_array_append_new(audit->lost, json_sprintf("%llu", (unsigned long long)change->revision));
}

/* ---- Heads that were noted --------------------------------------------------------------------------------------- */

/* Where the chain is now, those of the revision must have its hash. */
static int check_expected(struct audit *audit, struct ipam_error *reterr)
{
    const struct ipam_chain *chain = &audit->chain;

    for (size_t i = 0; i < audit->cli->options.n_expected && chain->known; i++) {
        const struct noted_head *head = &audit->cli->options.expected[i];
        if (head->revision != chain->revision)
            continue;
        if (memcmp(head->hash, chain->hash, IPAM_HASH_SIZE) != 0)
            return ipam_error_set(reterr, IPAM_REASON_HISTORY_REPLACED,
                                  "history replaced: revision %" PRIu64
                                  " has another hash than was noted: changes up to it were altered, or this is another "
                                  "history",
                                  head->revision);
        audit->proven = chain->revision;
    }
    return 0;
}

/* Before anything is read: can they be checked at all? `kept`: changes up to there are gone. */
static int check_within(const struct options *options, uint64_t kept, uint64_t newest, struct ipam_error *reterr)
{
    for (size_t i = 0; i < options->n_expected; i++) {
        uint64_t revision = options->expected[i].revision;
        if (revision > newest)
            return ipam_error_set(reterr, IPAM_REASON_HISTORY_REPLACED,
                                  "history replaced: revision %" PRIu64 " was noted, and the newest is %" PRIu64
                                  ": changes were lost, or this is another history",
                                  revision, newest);
        if (revision <= kept && kept > 0)
            return ipam_error_set(reterr, IPAM_REASON_HISTORY_COMPACTED,
                                  "history compacted: changes up to revision %" PRIu64
                                  " are no longer kept, so the hash of revision %" PRIu64
                                  " can't be checked; write a head that was noted later",
                                  kept, revision);
        if (options->from > 0 && revision + 1 < options->from)
            return usage_error(reterr, "--expect %" PRIu64 ":…: the check begins later, with --from %" PRIu64, revision,
                               options->from);
    }
    return 0;
}

/* ---- The chain --------------------------------------------------------------------------------------------------- */

/* The chain starts at what comes first: what was before it is known only at the very beginning. */
static int check_change(const Ipam__V1__Change *change, void *user, struct ipam_error *reterr)
{
    struct audit *audit = user;
    bool known = audit->chain.known;

    if (!known)
        audit->believed = change->revision;
    if (ipam_chain_check(&audit->chain, change, reterr) < 0)
        return ipam_error_prefix(reterr, "%" PRIu64 " changes fit the hash chain, up to revision %" PRIu64,
                                 audit->checked, audit->chain.revision);
    audit->checked += known;
    if (change->entity_case == IPAM__V1__CHANGE__ENTITY_CHANGES_LOST)
        note_lost(audit, change);
    return check_expected(audit, reterr);
}

static const char *hash_text(struct arena *arena, const uint8_t hash[IPAM_HASH_SIZE])
{
    char *text = arena_zalloc(arena, 2 * IPAM_HASH_SIZE + 1);
    for (size_t i = 0; i < IPAM_HASH_SIZE; i++)
        sprintf(text + 2 * i, "%02x", hash[i]);
    return text;
}

static json_t *number_text(uint64_t number)
{
    return json_sprintf("%llu", (unsigned long long)number);
}

static void print_audit(struct cli *cli, const struct audit *audit, const struct changes_read *read)
{
    const char *head = hash_text(&cli->arena, audit->chain.hash);

    if (output_is_structured(&cli->output)) {
        output_json(&cli->output,
                    json_pack("{s:o, s:o, s:s, s:o, s:o, s:o, s:O*}", "checked", number_text(audit->checked),
                              "revision", number_text(audit->chain.revision), "hash", head, "believed",
                              number_text(audit->believed), "compactedThrough", number_text(read->compacted_through),
                              "proven", number_text(audit->proven), "lost", audit->lost));
        return;
    }
    if (audit->checked > 0)
        cli_say(cli, "%" PRIu64 " changes fit the hash chain, revisions %" PRIu64 " to %" PRIu64, audit->checked,
                audit->chain.revision - audit->checked + 1, audit->chain.revision);
    else
        cli_say(cli, "no change to check");
    if (audit->proven > 0)
        cli_say(cli, "Revision %" PRIu64 " has the hash that was noted: all up to it is as it was then", audit->proven);
    else if (audit->believed > 0)
        cli_say(cli, "The hash of revision %" PRIu64 ", where the chain starts, was believed%s", audit->believed,
                read->compacted_through > 0 && audit->believed == read->compacted_through + 1
                    ? ": what was before it is no longer kept"
                    : "");
    if (audit->chain.revision > 0)
        cli_say(cli, "Head: revision %" PRIu64 ", hash %s", audit->chain.revision, head);
}

/* Where the chain can be taken up: at the change before --from, but not before what is kept. */
static int start_chain(struct cli *cli, struct audit *audit, struct ipam_error *reterr)
{
    Ipam__V1__ListChangesRequest one = IPAM__V1__LIST_CHANGES_REQUEST__INIT;
    struct ipam_client *client;
    Ipam__V1__ListChangesReply *reply;

    one.limit = 1;
    if (cli_client(cli, &client, reterr) < 0 || ipam_list_changes(client, &one, &reply, reterr) < 0)
        return -1;
    uint64_t from = cli->options.from, kept = reply->compacted_through, newest = reply->revision;
    ipam_reply_free(reply);
    if (from > newest)
        return usage_error(reterr, "--from %" PRIu64 ": the newest change is revision %" PRIu64, from, newest);
    if (from > 0 && from <= kept)
        return ipam_error_set(reterr, IPAM_REASON_HISTORY_COMPACTED,
                              "history compacted: changes up to revision %" PRIu64
                              " are no longer kept; the chain can be checked with --from %" PRIu64,
                              kept, kept + 2);
    if (check_within(&cli->options, kept, newest, reterr) < 0)
        return -1;
    uint64_t after = from > kept + 1 ? from - 2 : kept;
    ipam_chain_init(&audit->chain, after, NULL);
    return check_expected(audit, reterr);
}

static int verify(struct cli *cli, struct audit *audit, struct ipam_error *reterr)
{
    Ipam__V1__ListChangesRequest all = IPAM__V1__LIST_CHANGES_REQUEST__INIT;
    struct changes_read read = {0};

    if (start_chain(cli, audit, reterr) < 0)
        return -1;
    all.after_revision = audit->chain.revision;
    if (read_changes(cli, &all, 0, check_change, audit, NULL, &read, reterr) < 0)
        return -1;
    if (audit->chain.revision < read.revision)
        return ipam_error_set(reterr, IPAM_REASON_HISTORY_BROKEN,
                              "history broken: it ends at revision %" PRIu64 ", but ipamd is at %" PRIu64,
                              audit->chain.revision, read.revision);
    print_audit(cli, audit, &read);
    return 0;
}

int cmd_audit_verify(struct cli *cli, struct ipam_error *reterr)
{
    struct audit audit = {.cli = cli};
    int result = verify(cli, &audit, reterr);

    json_decref(audit.lost);
    return result;
}

/* ---- The head ---------------------------------------------------------------------------------------------------- */

/* The newest change; of an empty history revision 0 and its hash, 32 zero bytes. */
static int read_head(struct cli *cli, struct noted_head *ret, struct ipam_error *reterr)
{
    Ipam__V1__ListChangesRequest last = IPAM__V1__LIST_CHANGES_REQUEST__INIT;
    Ipam__V1__GetStatusRequest request = IPAM__V1__GET_STATUS_REQUEST__INIT;
    Ipam__V1__GetStatusReply *status;
    Ipam__V1__ListChangesReply *page;
    struct ipam_client *client;

    *ret = (struct noted_head){0};
    if (cli_client(cli, &client, reterr) < 0 || ipam_get_status(client, &request, &status, reterr) < 0)
        return -1;
    last.after_revision = status->durable_revision > 0 ? status->durable_revision - 1 : 0;
    last.limit = 1;
    ipam_reply_free(status);
    if (ipam_list_changes(client, &last, &page, reterr) < 0)
        return -1;
    if (page->n_changes > 0 && page->changes[0]->hash.len == IPAM_HASH_SIZE) {
        ret->revision = page->changes[0]->revision;
        memcpy(ret->hash, page->changes[0]->hash.data, IPAM_HASH_SIZE);
    }
    ipam_reply_free(page);
    return 0;
}

int cmd_audit_head(struct cli *cli, struct ipam_error *reterr)
{
    struct noted_head head;

    if (read_head(cli, &head, reterr) < 0)
        return -1;
    const char *hash = hash_text(&cli->arena, head.hash);
    if (output_is_structured(&cli->output))
        output_json(&cli->output, json_pack("{s:o, s:s}", "revision", number_text(head.revision), "hash", hash));
    else
        cli_say(cli, "%" PRIu64 ":%s", head.revision, hash);
    return 0;
}
