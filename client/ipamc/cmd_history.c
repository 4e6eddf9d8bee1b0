#include "commands.h"

#include <string.h>

#include "changes.h"
#include "history.h"
#include "json_message.h"
#include "read_changes.h"
#include "views.h"
#include "when.h"

#define AT_ONCE 1000 /* changes that are read in one piece */

struct history_read {
    struct cli *cli;
    struct history history;
    json_t *lost;           /* array of the changes that tell of lost ones; NULL: none */
    struct listing listing; /* what the tenures borrow from */
    struct history_moment moment;
    Google__Protobuf__Timestamp oldest;
    bool has_at, has_oldest;
    struct changes_read read;
};

/* Where changes were lost the answer has a hole: that is said. */
static void note_lost(struct history_read *read, const Ipam__V1__Change *change)
{
    cli_note(read->cli, "%s, %s: who held it by those changes is not known", view_time(&read->cli->arena, change->at),
             change_lost_words(&read->cli->arena, change->changes_lost));
    if (!read->lost)
        read->lost = json_array();
    json_array_append_new(read->lost, json_message_encode(&change->base));
}

static int visit(const Ipam__V1__Change *change, void *user, struct ipam_error *reterr)
{
    struct history_read *read = user;
    (void)reterr;
    if (change->entity_case == IPAM__V1__CHANGE__ENTITY_CHANGES_LOST)
        note_lost(read, change);
    else
        history_add(&read->history, change);
    return 0;
}

/* Those that hold it now, too: what bound them may no longer be kept. */
static int add_present(struct cli *cli, const Ipam__V1__ListChangesRequest *filter, struct history_read *read,
                       struct ipam_error *reterr)
{
    Ipam__V1__ListClaimsRequest by_address = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    Ipam__V1__GetClaimsRequest by_owner = IPAM__V1__GET_CLAIMS_REQUEST__INIT;
    Ipam__V1__GetClaimsReply *reply;
    struct ipam_client *client;

    if (cli_client(cli, &client, reterr) < 0)
        return -1;
    by_address.address = filter->address;
    by_owner.owner = filter->owner;
    if (filter->owner == NULL)
        return list_claims(client, &by_address, &read->listing, reterr);
    if (ipam_get_claims(client, &by_owner, &reply, reterr) < 0)
        return -1;
    listing_hold(&read->listing, &reply->base);
    for (size_t i = 0; i < reply->n_claims; i++)
        listing_add(&read->listing, reply->claims[i]);
    return 0;
}

static int keep_time(const Ipam__V1__Change *change, void *user, struct ipam_error *reterr)
{
    struct history_read *read = user;

    (void)reterr;
    read->has_oldest = change->at != NULL;
    if (read->has_oldest)
        read->oldest = *change->at;
    return 0;
}

/* What is no longer kept can't be told: that is said, and from when on the answer is whole. */
static int note_compacted(struct cli *cli, struct history_read *read, struct ipam_error *reterr)
{
    Ipam__V1__ListChangesRequest any = IPAM__V1__LIST_CHANGES_REQUEST__INIT;
    struct changes_read ignored;

    if (read->read.compacted_through == 0)
        return 0;
    if (read_changes(cli, &any, 1, keep_time, read, NULL, &ignored, reterr) < 0)
        return -1;
    if (read->moment.revision > 0)
        return 0;
    cli_note(cli, "changes up to revision %llu are no longer kept: holders that had gone before %s are not known",
             (unsigned long long)read->read.compacted_through,
             read->has_oldest ? view_time(&cli->arena, &read->oldest) : "now");
    return 0;
}

/* Looks for the moment from the newest change backwards. */
struct search {
    struct history_moment *moment;
    uint64_t last; /* of the changes that are looked at now */
};

static int look(const Ipam__V1__Change *change, void *user, struct ipam_error *reterr)
{
    const struct search *search = user;

    (void)reterr;
    if (change->revision <= search->last && change->at != NULL && compare_times(change->at, &search->moment->at) <= 0)
        search->moment->revision = change->revision;
    return 0;
}

static int find_moment(struct cli *cli, struct history_read *read, struct ipam_error *reterr)
{
    Ipam__V1__ListChangesRequest any = IPAM__V1__LIST_CHANGES_REQUEST__INIT;
    struct search search = {&read->moment, read->read.revision};
    struct changes_read ignored;

    for (; search.last > read->read.compacted_through && read->moment.revision == 0; search.last = any.after_revision) {
        uint64_t count = search.last < AT_ONCE ? search.last : AT_ONCE;
        any.after_revision = search.last - count;
        if (read_changes(cli, &any, count, look, &search, NULL, &ignored, reterr) < 0)
            return -1;
    }
    return 0;
}

static void print_history(struct cli *cli, struct history_read *read)
{
    const struct history *history = &read->history;
    const void **rows = arena_alloc(&cli->arena, (history->count + 1) * sizeof(*rows));
    json_t *list = json_array();

    for (size_t i = 0; i < history->count; i++) {
        rows[i] = &history->items[i];
        if (output_is_structured(&cli->output))
            json_array_append_new(list, tenure_json(&cli->arena, &history->items[i]));
    }
    if (output_is_structured(&cli->output)) {
        output_json(&cli->output,
                    json_pack("{s:o, s:o, s:o, s:O*}", "tenures", list, "compactedThrough",
                              json_sprintf("%llu", (unsigned long long)read->read.compacted_through), "revision",
                              json_sprintf("%llu", (unsigned long long)read->read.revision), "lost", read->lost));
        return;
    }
    json_decref(list);
    if (history->count > 0)
        output_rows(&cli->output, &tenure_view, rows, history->count);
    else if (cli->output.format != OUTPUT_NAME)
        cli_note(cli, "nobody %s", read->has_at ? "held it then" : "ever held it");
}

static int read_history(struct cli *cli, struct history_read *read, struct ipam_error *reterr)
{
    Ipam__V1__ListChangesRequest filter;

    changes_filter(cli, &filter);
    if (read_changes(cli, &filter, 0, visit, read, &read->listing, &read->read, reterr) < 0 ||
        add_present(cli, &filter, read, reterr) < 0)
        return -1;
    for (size_t i = 0; i < read->listing.count; i++)
        history_add_present(&read->history, read->listing.items[i]);
    if (read->has_at && find_moment(cli, read, reterr) < 0)
        return -1;
    history_finish(&read->history, read->has_at ? &read->moment : NULL);
    return note_compacted(cli, read, reterr);
}

int cmd_history(struct cli *cli, struct ipam_error *reterr)
{
    const struct options *options = &cli->options;
    struct ipam_error why;
    struct history_read read = {.cli = cli, .history.arena = &cli->arena, .has_at = options->at != NULL};

    if ((options->address == NULL) == (options->owner == NULL))
        return usage_error(reterr, "history of what: write ipamc history --address A, or --owner [KIND/]NAME");
    google__protobuf__timestamp__init(&read.moment.at);
    if (read.has_at &&
        when_moment_parse(options->at, cli->output.now, &read.moment.at.seconds, &read.moment.at.nanos, &why) < 0)
        return usage_error(reterr, "--at %s", why.message);
    int result = read_history(cli, &read, reterr);
    if (result == 0)
        print_history(cli, &read);
    listing_done(&read.listing);
    json_decref(read.lost);
    return result;
}
