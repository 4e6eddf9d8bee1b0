#include "commands.h"

#include "released.h"
#include "requests.h"

static int request_from_options(struct cli *cli, Ipam__V1__Owner *owner, Ipam__V1__ReleaseRequest *ret,
                                struct ipam_error *reterr)
{
    const struct options *options = &cli->options;

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
    return 0;
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
    if (output_is_structured(&cli->output))
        output_message(&cli->output, &reply->base);
    else if (reply->n_released == 0)
        cli_note(cli, "nothing to release");
    for (size_t i = 0; i < reply->n_released; i++)
        say_released(cli, claim_label(&cli->arena, reply->released[i]), reply->released[i]);
    ipam_reply_free(reply);
    return 0;
}
