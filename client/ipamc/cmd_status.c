#include "commands.h"

#include "describe.h"
#include "text.h"

#define VERSION_TIMEOUT_MS 2000 /* nobody waits long for half of an answer */

int cmd_status(struct cli *cli, struct ipam_error *reterr)
{
    Ipam__V1__GetStatusRequest request = IPAM__V1__GET_STATUS_REQUEST__INIT;
    struct ipam_client *client;
    Ipam__V1__GetStatusReply *reply;

    if (cli_client(cli, &client, reterr) < 0 || ipam_get_status(client, &request, &reply, reterr) < 0)
        return -1;
    if (output_is_structured(&cli->output))
        output_message(&cli->output, &reply->base);
    else
        describe_row(&cli->output, &status_facts, reply);
    ipam_reply_free(reply);
    return 0;
}

/* That of ipamd is told if it can be had; that it can't is no failure of this command. */
int cmd_version(struct cli *cli, struct ipam_error *reterr)
{
    Ipam__V1__GetStatusRequest request = IPAM__V1__GET_STATUS_REQUEST__INIT;
    struct ipam_client *client;
    Ipam__V1__GetStatusReply *reply = NULL;
    struct ipam_error error;

    (void)reterr;
    if (cli->options.timeout_ms == 0)
        cli->options.timeout_ms = VERSION_TIMEOUT_MS;
    bool reached = cli_client(cli, &client, &error) == 0 && ipam_get_status(client, &request, &reply, &error) == 0;
    if (output_is_structured(&cli->output))
        output_json(&cli->output,
                    json_pack("{s:s, s:s?}", "ipamc", IPAM_VERSION, "ipamd", reached ? reply->version : NULL));
    cli_say(cli, "ipamc %s", IPAM_VERSION);
    if (reached)
        cli_say(cli, "ipamd %s", text_printable(&cli->arena, reply->version));
    else
        cli_say(cli, "ipamd not reached: %s", error.message);
    if (reached)
        ipam_reply_free(reply);
    return 0;
}
