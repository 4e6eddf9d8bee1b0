#include "commands.h"

#include <inttypes.h>
#include <string.h>

#include "requests.h"
#include "text.h"
#include "views.h"

static char *or_empty(const char *text)
{
    return (char *)(uintptr_t)(text == NULL ? "" : text);
}

void allocate_request(struct cli *cli, Ipam__V1__Owner *owner, Ipam__V1__AllocateRequest *ret)
{
    const struct options *options = &cli->options;

    owner_parse(&cli->arena, cli->arguments[1], options->kind, "Manual", owner);
    owner->uid = or_empty(options->uid);
    ipam__v1__allocate_request__init(ret);
    ret->owner = owner;
    ret->pool = strcmp(cli->arguments[0], "-") == 0 ? "" : (char *)(uintptr_t)cli->arguments[0];
    ret->family = options->family;
    ret->address = or_empty(options->address);
    ret->ipv6_address = or_empty(options->ipv6_address);
    ret->preferred_address = or_empty(options->preferred_address);
    ret->preferred_ipv6_address = or_empty(options->preferred_ipv6_address);
    ret->enqueue = options->enqueue;
    ret->replace = options->replace;
    ret->dry_run = options->dry_run;
}

/* The addresses alone on stdout, for $(…); what waits is said on stderr. */
static void print_claims(struct cli *cli, const Ipam__V1__AllocateReply *reply)
{
    for (size_t i = 0; i < reply->n_claims; i++) {
        const Ipam__V1__Claim *claim = reply->claims[i];
        cli_note_special(cli, claim);
        if (claim->state == IPAM__V1__CLAIM_STATE__BOUND && cli->output.format == OUTPUT_NAME)
            cli_say(cli, "%s", claim_label(&cli->arena, claim));
        else if (claim->state == IPAM__V1__CLAIM_STATE__BOUND)
            cli_say(cli, "%s", text_printable(&cli->arena, claim->address));
        else if (claim->queue_position > 0)
            cli_note(cli, "%s waits at place %" PRIu64 ": %s", claim_label(&cli->arena, claim), claim->queue_position,
                     text_printable(&cli->arena, claim->message));
        else
            cli_note(cli, "%s waits: %s", claim_label(&cli->arena, claim), text_printable(&cli->arena, claim->message));
    }
}

int cmd_allocate(struct cli *cli, struct ipam_error *reterr)
{
    struct ipam_client *client;
    Ipam__V1__AllocateRequest request;
    Ipam__V1__AllocateReply *reply;
    Ipam__V1__Owner owner;

    allocate_request(cli, &owner, &request);
    if (cli_client(cli, &client, reterr) < 0 || ipam_allocate(client, &request, &reply, reterr) < 0)
        return -1;
    if (output_is_structured(&cli->output))
        output_message(&cli->output, &reply->base);
    else
        print_claims(cli, reply);
    ipam_reply_free(reply);
    return 0;
}
