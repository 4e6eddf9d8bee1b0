#include "commands.h"

#include <string.h>

#include <ipam/addr.h>

#include "changes.h"
#include "json_message.h"
#include "read_changes.h"
#include "watch.h"

struct following {
    const struct cli *cli;
    Ipam__V1__ListChangesRequest filter;
    struct ipam_addr address;
    struct output_stream stream;
    uint64_t left; /* changes until --limit */
};

/* ---- The filter ----------------------------------------------------------------------------------------------------- */

static bool owner_matches(const Ipam__V1__Owner *wanted, const Ipam__V1__Owner *owner)
{
    return wanted == NULL ||
           (owner != NULL && strcmp(wanted->kind, owner->kind) == 0 && strcmp(wanted->name, owner->name) == 0);
}

static bool address_matches(const struct following *following, const Ipam__V1__Claim *claim)
{
    struct ipam_addr address;

    if (following->address.family == IPAM_FAMILY_NONE)
        return true;
    return ipam_addr_parse(claim->address, &address, NULL) == 0 && ipam_addr_equal(&address, &following->address);
}

static bool pool_matches(const char *wanted, const Ipam__V1__Pool *pool)
{
    const Ipam__V1__PoolSpec *spec = pool->spec != NULL ? pool->spec : pool->rejected_spec;
    return wanted[0] == '\0' || (spec != NULL && strcmp(wanted, spec->name) == 0);
}

/* As ListChanges filters: what is asked of an owner or address is asked of claims, and lost changes concern all. */
static bool change_matches(const struct following *following, const Ipam__V1__Change *change)
{
    const Ipam__V1__ListChangesRequest *filter = &following->filter;

    if (change->entity_case == IPAM__V1__CHANGE__ENTITY_CHANGES_LOST)
        return true;
    if (change->entity_case == IPAM__V1__CHANGE__ENTITY_POOL)
        return filter->owner == NULL && following->address.family == IPAM_FAMILY_NONE &&
               pool_matches(filter->pool, change->pool);
    if (change->entity_case != IPAM__V1__CHANGE__ENTITY_CLAIM)
        return false;
    return (filter->pool[0] == '\0' || strcmp(filter->pool, change->claim->pool) == 0) &&
           owner_matches(filter->owner, change->claim->owner) && address_matches(following, change->claim);
}

/* ---- Printing ------------------------------------------------------------------------------------------------------- */

static void print_change(struct following *following, const struct output *output, const Ipam__V1__Change *change)
{
    if (output_is_structured(output))
        output_stream_json(output, json_message_encode(&change->base));
    else
        output_stream_row(output, &following->stream, change);
}

static int on_change(void *user, struct output *output, const Ipam__V1__Change *change, struct ipam_error *reterr)
{
    struct following *following = user;

    (void)reterr;
    if (!change_matches(following, change))
        return 0;
    print_change(following, output, change);
    return --following->left == 0 ? WATCH_END : 0;
}

static int begin(struct cli *cli, struct following *following, struct ipam_error *reterr)
{
    *following = (struct following){
        .cli = cli, .stream.view = &change_view, .left = cli->options.limit == 0 ? UINT64_MAX : cli->options.limit};
    changes_filter(cli, &following->filter);
    if (following->filter.address[0] == '\0')
        return 0;
    return ipam_addr_parse(following->filter.address, &following->address, reterr);
}

/* ---- get changes --watch -------------------------------------------------------------------------------------------- */

static int print_one(const Ipam__V1__Change *change, void *user, struct ipam_error *reterr)
{
    struct following *following = user;

    (void)reterr;
    print_change(following, &following->cli->output, change);
    following->left--;
    return 0;
}

static const struct watch_follower follower = {.change = on_change};

int watch_changes(struct cli *cli, struct ipam_error *reterr)
{
    struct following following;
    struct changes_read read;

    if (begin(cli, &following, reterr) < 0 ||
        read_changes(cli, &following.filter, cli->options.limit, print_one, &following, NULL, &read, reterr) < 0)
        return -1;
    if (following.left == 0)
        return 0;
    return watch_run(cli, read.revision, &follower, &following, reterr);
}

/* ---- events --------------------------------------------------------------------------------------------------------- */

int cmd_events(struct cli *cli, struct ipam_error *reterr)
{
    Ipam__V1__GetStatusRequest request = IPAM__V1__GET_STATUS_REQUEST__INIT;
    struct following following;
    struct ipam_client *client;
    Ipam__V1__GetStatusReply *status;

    /* Asked even with --after: that ipamd can't be reached at the start is an error as of any command. */
    if (begin(cli, &following, reterr) < 0 || cli_client(cli, &client, reterr) < 0 ||
        ipam_get_status(client, &request, &status, reterr) < 0)
        return -1;
    uint64_t after = (cli->options.given & OPTION_BIT(OPTION_AFTER)) != 0 ? cli->options.after : status->revision;
    ipam_reply_free(status);
    return watch_run(cli, after, &follower, &following, reterr);
}
