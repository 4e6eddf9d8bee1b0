#include "commands.h"

#include <stdarg.h>

#include "json_message.h"
#include "requests.h"
#include "special.h"
#include "text.h"

void cli_connection(const struct cli *cli, struct ipam_options *ret)
{
    *ret = (struct ipam_options){.socket = cli->options.socket,
                                 .user_agent = "ipamc/" IPAM_VERSION,
                                 .timeout_ms = cli->options.timeout_ms,
                                 .max_message = 64u * 1024 * 1024};
}

int cli_client(struct cli *cli, struct ipam_client **ret, struct ipam_error *reterr)
{
    struct ipam_options options;

    cli_connection(cli, &options);
    if (cli->client == NULL && ipam_client_new(&options, &cli->client, reterr) < 0)
        return -1;
    *ret = cli->client;
    return 0;
}

void cli_report(struct cli *cli, const struct ipam_error *error)
{
    fflush(cli->output.out); /* so that both streams read in order on a terminal */
    output_error(cli->err, cli->output.format, error);
    if (cli->exit_code == 0)
        cli->exit_code = ipam_error_exit_code(error);
}

static void add_result(struct cli *cli, const char *kind, const char *name, const char *key, json_t *value)
{
    if (cli->results == NULL)
        cli->results = json_array();
    json_array_append_new(cli->results,
                          json_pack("{s:s, s:o, s:o}", "kind", kind, "name", json_text(name), key, value));
}

void cli_result(struct cli *cli, const char *kind, const char *name, const ProtobufCMessage *reply)
{
    if (output_is_structured(&cli->output))
        add_result(cli, kind, name, "reply", json_message_encode(reply));
}

void cli_failure(struct cli *cli, const char *kind, const char *name, const struct ipam_error *error)
{
    if (output_is_structured(&cli->output))
        add_result(cli, kind, name, "error", output_error_json(error));
    cli_report(cli, error);
}

void cli_print_results(struct cli *cli)
{
    if (!output_is_structured(&cli->output))
        return;
    output_json(&cli->output, json_pack("{s:o}", "results", cli->results != NULL ? cli->results : json_array()));
    cli->results = NULL;
}

void cli_say(struct cli *cli, const char *format, ...)
{
    va_list args;

    if (output_is_structured(&cli->output))
        return;
    va_start(args, format);
    vfprintf(cli->output.out, format, args);
    va_end(args);
    fputc('\n', cli->output.out);
}

void cli_note(struct cli *cli, const char *format, ...)
{
    va_list args;

    if (output_is_structured(&cli->output))
        return;
    fputs("ipamc: ", cli->err);
    va_start(args, format);
    vfprintf(cli->err, format, args);
    va_end(args);
    fputc('\n', cli->err);
}

void cli_note_special(struct cli *cli, const Ipam__V1__Claim *claim)
{
    const struct special_range *special = NULL;
    struct ipam_addr address;

    if (ipam_addr_parse(claim->address, &address, NULL) == 0)
        special = special_range_find(&address);
    if (special != NULL && !special->refused)
        cli_note(cli, "%s: hosts and routers may not accept %s: %s is %s (%s)", claim_label(&cli->arena, claim),
                 text_printable(&cli->arena, claim->address), special->text, special->what, special->source);
}
