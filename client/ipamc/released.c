#include "released.h"

#include "text.h"
#include "when.h"

void say_released(struct cli *cli, const char *label, const Ipam__V1__Claim *claim)
{
    const char *verb = cli->options.dry_run ? "would be released" : "released";
    const char *address = claim->address[0] == '\0' ? "waiting claim" : text_printable(&cli->arena, claim->address);
    char until[WHEN_RFC3339_MAX];

    if (cli->output.format == OUTPUT_NAME)
        cli_say(cli, "%s", label);
    else if (claim->state == IPAM__V1__CLAIM_STATE__COOLING && claim->cooling_until != NULL &&
             when_rfc3339_format(claim->cooling_until->seconds, 0, until) == 0)
        cli_say(cli, "%s %s %s, kept from other owners until %s", label, address, verb, until);
    else if (cli->options.end_cooling)
        cli_say(cli, "%s %s cooling %s", label, address, cli->options.dry_run ? "would end" : "ended");
    else
        cli_say(cli, "%s %s %s", label, address, verb);
}
