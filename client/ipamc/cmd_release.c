#include "commands.h"

#include "released.h"
#include "requests.h"
#include "text.h"
#include "views.h"

static int request_from_options(struct cli *cli, Ipam__V1__Owner *owner, Ipam__V1__ReleaseRequest *ret,
                                struct ipam_error *reterr)
{
    const struct options *options = &cli->options;

    if (options->end_cooling && options->address == NULL)
        return usage_error(reterr, "--end-cooling of what: write ipamc release --address A --end-cooling");
    if (cli->n_arguments == 0 && options->address == NULL)
        return usage_error(reterr, "release what: write ipamc release OWNER, or ipamc release --address A");
    ipam__v1__release_request__init(ret);
    if (cli->n_arguments > 0) {
        owner_parse(&cli->arena, cli->arguments[0], options->kind, "Manual", owner);
        ret->owner = owner;
    } else if (options->kind != NULL) {
        return usage_error(reterr, "--kind goes with an owner: write ipamc release --kind %s OWNER", options->kind);
    }
    if (options->address != NULL)
        ret->address = (char *)(uintptr_t)options->address;
    if (options->uid != NULL)
        ret->uid = (char *)(uintptr_t)options->uid;
    ret->family = options->family;
    ret->dry_run = options->dry_run;
    ret->end_cooling = options->end_cooling;
    return 0;
}

static void note_cooling(struct cli *cli, const Ipam__V1__Claim *claim)
{
    const char *address = text_printable(&cli->arena, claim->address);

    cli_note(cli,
             "nothing to release: %s, which %s/%s held last, cools until %s; to end that now, write ipamc release "
             "--address %s --end-cooling",
             address, text_printable(&cli->arena, claim->owner->kind), text_printable(&cli->arena, claim->owner->name),
             view_time(&cli->arena, claim->cooling_until), address);
}

/* Why it was nothing, if the address cools. */
static int note_nothing(struct cli *cli, struct ipam_client *client, struct ipam_error *reterr)
{
    const struct options *options = &cli->options;
    Ipam__V1__ListClaimsRequest filter = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    struct listing cooling = {0};
    int result = 0;

    if (options->address != NULL && !options->end_cooling) {
        filter.address = (char *)(uintptr_t)options->address;
        filter.state = IPAM__V1__CLAIM_STATE__COOLING;
        result = list_claims(client, &filter, &cooling, reterr);
    }
    const Ipam__V1__Claim *claim = cooling.count > 0 ? cooling.items[0] : NULL;
    if (result == 0 && options->end_cooling)
        cli_note(cli, "%s does not cool", options->address);
    else if (result == 0 && claim != NULL && claim->owner != NULL)
        note_cooling(cli, claim);
    else if (result == 0)
        cli_note(cli, "nothing to release");
    listing_done(&cooling);
    return result;
}

int cmd_release(struct cli *cli, struct ipam_error *reterr)
{
    struct ipam_client *client;
    Ipam__V1__ReleaseRequest request;
    Ipam__V1__ReleaseReply *reply;
    Ipam__V1__Owner owner;

    if (request_from_options(cli, &owner, &request, reterr) < 0 || cli_client(cli, &client, reterr) < 0)
        return -1;
    if (ipam_release(client, &request, &reply, reterr) < 0)
        return -1;
    int result = 0;
    if (output_is_structured(&cli->output))
        output_message(&cli->output, &reply->base);
    else if (reply->n_released == 0)
        result = note_nothing(cli, client, reterr);
    for (size_t i = 0; i < reply->n_released; i++)
        say_released(cli, claim_label(&cli->arena, reply->released[i]), reply->released[i]);
    ipam_reply_free(reply);
    return result;
}
