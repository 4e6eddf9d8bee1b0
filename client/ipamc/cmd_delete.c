#include "commands.h"

#include <inttypes.h>
#include <stdio.h>

#include "manifest_files.h"
#include "released.h"
#include "requests.h"
#include "text.h"

typedef int (*delete_one)(struct cli *cli, struct ipam_client *client, const char *name, struct ipam_error *reterr);

/* ipamd knows no options of ours. */
static void tell_how(struct cli *cli, const char *pool, struct ipam_error *error)
{
    const char *message = arena_strdup(&cli->arena, error->message);

    snprintf(error->message, sizeof(error->message), "%s: ipamc delete pool %s --drain", message,
             text_printable(&cli->arena, pool));
}

static int delete_pool(struct cli *cli, struct ipam_client *client, const char *name, struct ipam_error *reterr)
{
    Ipam__V1__DeletePoolRequest request = IPAM__V1__DELETE_POOL_REQUEST__INIT;
    Ipam__V1__DeletePoolReply *reply;
    const char *dry = cli->options.dry_run ? " (dry run)" : "";

    request.name = (char *)(uintptr_t)name;
    request.only_if_unused = !cli->options.drain;
    request.dry_run = cli->options.dry_run;
    if (ipam_delete_pool(client, &request, &reply, reterr) < 0) {
        if (reterr->reason == IPAM_REASON_POOL_IN_USE)
            tell_how(cli, name, reterr);
        return -1;
    }
    const char *label = arena_printf(&cli->arena, "proxyippool/%s", text_printable(&cli->arena, name));
    if (cli->output.format == OUTPUT_NAME)
        cli_say(cli, "%s", label);
    else if (reply->draining)
        cli_say(cli, "%s draining, goes with the last of its claims (%" PRIu64 ")%s", label, reply->claims, dry);
    else
        cli_say(cli, "%s deleted%s", label, dry);
    cli_result(cli, "ProxyIPPool", name, &reply->base);
    ipam_reply_free(reply);
    return 0;
}

static int delete_vip(struct cli *cli, struct ipam_client *client, const char *name, struct ipam_error *reterr)
{
    Ipam__V1__ReleaseRequest request = IPAM__V1__RELEASE_REQUEST__INIT;
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    Ipam__V1__ReleaseReply *reply;

    owner.kind = MANIFEST_VIP_KIND;
    owner.name = (char *)(uintptr_t)name;
    request.owner = &owner;
    request.dry_run = cli->options.dry_run;
    if (ipam_release(client, &request, &reply, reterr) < 0)
        return -1;
    int result = 0;
    if (reply->n_released == 0)
        result = ipam_error_set(reterr, IPAM_REASON_CLAIM_NOT_FOUND,
                                "claim not found: ProxyVIP/%s holds no address and waits for none", name);
    else
        cli_result(cli, MANIFEST_VIP_KIND, name, &reply->base);
    const char *label = arena_printf(&cli->arena, "proxyvip/%s", text_printable(&cli->arena, name));
    for (size_t i = 0; i < reply->n_released; i++)
        say_released(cli, label, reply->released[i]);
    ipam_reply_free(reply);
    return result;
}

static const struct {
    const char *kind;
    delete_one run;
    enum ipam_reason not_found;
} deleters[] = {
    [MANIFEST_POOL] = {"ProxyIPPool", delete_pool, IPAM_REASON_POOL_NOT_FOUND},
    [MANIFEST_VIP] = {MANIFEST_VIP_KIND, delete_vip, IPAM_REASON_CLAIM_NOT_FOUND},
};

static int delete_object(struct cli *cli, enum manifest_kind kind, const char *name, struct ipam_error *reterr)
{
    struct ipam_client *client;
    struct ipam_error error;

    if (cli_client(cli, &client, reterr) < 0)
        return -1;
    if (deleters[kind].run(cli, client, name, &error) == 0)
        return 0;
    if (error.reason == deleters[kind].not_found && cli->options.ignore_not_found)
        return 0;
    if (error.reason == IPAM_REASON_UNREACHABLE) {
        *reterr = error;
        return -1;
    }
    cli_failure(cli, deleters[kind].kind, name, &error);
    return 0;
}

static int delete_named(struct cli *cli, enum manifest_kind kind, struct ipam_error *reterr)
{
    for (size_t i = 0; i < cli->n_arguments; i++) {
        if (delete_object(cli, kind, cli->arguments[i], reterr) < 0)
            return -1;
    }
    cli_print_results(cli);
    return 0;
}

int cmd_delete_pools(struct cli *cli, struct ipam_error *reterr)
{
    return delete_named(cli, MANIFEST_POOL, reterr);
}

int cmd_delete_vips(struct cli *cli, struct ipam_error *reterr)
{
    return delete_named(cli, MANIFEST_VIP, reterr);
}

/* The other way round than apply: VIPs first, so that the pools are free to go. */
int cmd_delete_files(struct cli *cli, struct ipam_error *reterr)
{
    struct manifest manifest;
    int result;

    manifest_init(&manifest);
    if (cli->options.n_files == 0)
        result = usage_error(reterr, "delete what: write ipamc delete -f FILE, or ipamc delete pool|vip NAME");
    else
        result = manifest_read_files(&manifest, cli->options.files, cli->options.n_files, reterr);
    for (size_t i = manifest.count; result == 0 && i > 0; i--)
        result = delete_object(cli, manifest.items[i - 1].kind, manifest.items[i - 1].name, reterr);
    if (result == 0)
        cli_print_results(cli);
    manifest_done(&manifest);
    return result;
}
