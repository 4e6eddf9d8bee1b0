#include "commands.h"

#include <string.h>
#include <unistd.h>

#include "map_draw.h"
#include "requests.h"
#include "text.h"

/* Claims made through the pool, and others that lie in it. */
static int fetch_claims(struct ipam_client *client, const Ipam__V1__Pool *pool, Ipam__V1__ClaimState state,
                        struct listing *ret, struct ipam_error *reterr)
{
    Ipam__V1__ListClaimsRequest filter = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;

    filter.pool = pool->spec->name;
    filter.state = state;
    return list_claims(client, &filter, ret, reterr);
}

static int fetch_all(struct ipam_client *client, const Ipam__V1__Pool *pool, struct listing *ret,
                     struct ipam_error *reterr)
{
    if (fetch_claims(client, pool, IPAM__V1__CLAIM_STATE__BOUND, ret, reterr) < 0)
        return -1;
    return fetch_claims(client, pool, IPAM__V1__CLAIM_STATE__COOLING, ret, reterr);
}

static void print_map(struct cli *cli, const struct map *map)
{
    struct terminal terminal;

    if (output_is_structured(&cli->output)) {
        output_json(&cli->output, map_json(map));
    } else if (cli->output.format == OUTPUT_NAME) {
        cli_say(cli, "proxyippool/%s", text_printable(&cli->arena, map->pool));
    } else {
        terminal_find(STDOUT_FILENO, cli->options.color, &terminal);
        map_draw(cli->output.out, &cli->arena, map, &terminal);
    }
}

int cmd_map(struct cli *cli, struct ipam_error *reterr)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    struct ipam_client *client;
    struct listing claims = {0};
    Ipam__V1__GetPoolReply *reply;
    struct map map;

    request.name = (char *)(uintptr_t)cli->arguments[0];
    if (cli_client(cli, &client, reterr) < 0 || ipam_get_pool(client, &request, &reply, reterr) < 0)
        return -1;
    int result = fetch_all(client, reply->pool, &claims, reterr);
    if (result == 0)
        result = map_make(&cli->arena, reply->pool, (const Ipam__V1__Claim *const *)claims.items, claims.count, &map,
                          reterr);
    if (result == 0)
        print_map(cli, &map);
    listing_done(&claims);
    ipam_reply_free(reply);
    return result;
}
