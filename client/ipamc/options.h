/* options.h: the options of ipamc: one table that gives parsing, ranges and --help.
 *
 * Called by main with the argument vector; commands read the filled struct. Which options a command takes is a set of
 * bits in its row of the command table (commands.h); global ones go with every command, before or after its name.
 */
#ifndef IPAMC_OPTIONS_H
#define IPAMC_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <ipam/chain.h>
#include <ipam/error.h>
#include <ipam/ipam.pb-c.h>

#include "arena.h"
#include "output.h"
#include "terminal.h"

enum option_id {
    OPTION_SOCKET,
    OPTION_TIMEOUT,
    OPTION_OUTPUT,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_FILE,
    OPTION_DRY_RUN,
    OPTION_ENQUEUE,
    OPTION_REPLACE,
    OPTION_END_COOLING,
    OPTION_FAMILY,
    OPTION_ADDRESS,
    OPTION_IPV6_ADDRESS,
    OPTION_PREFERRED_ADDRESS,
    OPTION_PREFERRED_IPV6_ADDRESS,
    OPTION_KIND,
    OPTION_UID,
    OPTION_POOL,
    OPTION_STATE,
    OPTION_ONLY_IF_UNUSED,
    OPTION_IGNORE_NOT_FOUND,
    OPTION_LIST,
    OPTION_WATCH,
    OPTION_AFTER,
    OPTION_LIMIT,
    OPTION_OWNER,
    OPTION_AT,
    OPTION_FROM,
    OPTION_EXPECT,
    OPTION_COLOR,
    OPTION_COUNT,
};

#define OPTION_BIT(id) (UINT32_C(1) << (id))
#define OPTIONS_GLOBAL                                                                                              \
    (OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_TIMEOUT) | OPTION_BIT(OPTION_OUTPUT) | OPTION_BIT(OPTION_HELP) | \
     OPTION_BIT(OPTION_VERSION))

/* A revision and its hash, as noted from `ipamc audit head` or ipamd's log. */
struct noted_head {
    uint64_t revision;
    uint8_t hash[IPAM_HASH_SIZE];
};

/* Texts are borrowed from argv; not given: NULL, false or 0. */
struct options {
    const char *socket;
    uint32_t timeout_ms;
    enum output_format output;
    bool help, version;
    const char **files; /* -f, in order */
    size_t n_files;
    bool dry_run, enqueue, replace, end_cooling, only_if_unused, ignore_not_found, list, watch;
    Ipam__V1__Family family;
    Ipam__V1__ClaimState state;
    const char *address, *ipv6_address, *preferred_address, *preferred_ipv6_address;
    const char *kind, *uid, *pool, *owner, *at;
    uint64_t after, limit, from; /* revisions and a count */
    struct noted_head *expected; /* --expect, in order */
    size_t n_expected;
    enum terminal_color color;

    uint32_t given;     /* OPTION_BIT of every option that stood there */
    const char **words; /* what is not an option: command and arguments */
    size_t n_words;
};

/* Fills *ret with all that is right, also after an error, so that it can be told in the format asked for. Lists live in
 * the arena. */
int options_parse(struct arena *arena, int argc, char *const *argv, struct options *ret, struct ipam_error *reterr);

const char *option_name(enum option_id id); /* "dry-run" */

/* Lines for the options of a set, for --help. */
void options_help(FILE *out, uint32_t set);

/* An error of the command line: INVALID_ARGUMENT without a reason, as none of ipamd's applies. Returns -1. */
int usage_error(struct ipam_error *reterr, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
