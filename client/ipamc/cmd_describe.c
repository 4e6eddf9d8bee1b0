#include "commands.h"

#include "describe.h"
#include "requests.h"
#include "text.h"
#include "views.h"

#define CLAIMS_SHOWN 20

static int describe_claims(struct cli *cli, struct ipam_client *client, const char *pool, struct ipam_error *reterr)
{
    Ipam__V1__ListClaimsRequest filter = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    struct listing listing = {0};
    int result;

    filter.pool = (char *)(uintptr_t)pool;
    result = list_claims(client, &filter, &listing, reterr);
    if (result == 0 && listing.count > 0) {
        size_t shown = listing.count < CLAIMS_SHOWN ? listing.count : CLAIMS_SHOWN;
        view_sort_claims((const Ipam__V1__Claim **)listing.items, listing.count);
        fputc('\n', cli->output.out);
        output_rows(&cli->output, &claim_view, listing.items, shown);
        if (shown < listing.count)
            cli_say(cli, "… and %zu more: ipamc get claims --pool %s", listing.count - shown,
                    text_printable(&cli->arena, pool));
    }
    listing_done(&listing);
    return result;
}

int cmd_describe_pool(struct cli *cli, struct ipam_error *reterr)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    struct ipam_client *client;
    Ipam__V1__GetPoolReply *reply;
    int result = 0;

    request.name = (char *)(uintptr_t)cli->arguments[0];
    if (cli_client(cli, &client, reterr) < 0 || ipam_get_pool(client, &request, &reply, reterr) < 0)
        return -1;
    if (output_is_structured(&cli->output)) {
        output_message(&cli->output, &reply->pool->base);
    } else if (cli->output.format == OUTPUT_NAME) {
        output_rows(&cli->output, &pool_view, (const void *[]){reply->pool}, 1);
    } else {
        describe_row(&cli->output, &pool_facts, reply->pool);
        fputc('\n', cli->output.out);
        describe_counts(&cli->output, reply->pool);
        result = describe_claims(cli, client, cli->arguments[0], reterr);
    }
    ipam_reply_free(reply);
    return result;
}

static void describe_families(const struct output *output, const Ipam__V1__GetClaimsReply *reply)
{
    for (size_t i = 0; i < reply->n_claims; i++) {
        if (i > 0)
            fputc('\n', output->out);
        describe_row(output, &claim_facts, reply->claims[i]);
    }
}

int cmd_describe_vip(struct cli *cli, struct ipam_error *reterr)
{
    struct ipam_client *client;
    Ipam__V1__GetClaimsReply *reply;
    Ipam__V1__Owner owner;

    owner_parse(&cli->arena, cli->arguments[0], "ProxyVIP", "", &owner);
    if (cli_client(cli, &client, reterr) < 0 || get_claims(client, &owner, &reply, reterr) < 0)
        return -1;
    if (output_is_structured(&cli->output))
        output_message(&cli->output, &reply->base);
    else if (cli->output.format == OUTPUT_NAME)
        cli_say(cli, "proxyvip/%s", text_printable(&cli->arena, owner.name));
    else
        describe_families(&cli->output, reply);
    ipam_reply_free(reply);
    return 0;
}
