/* options.h: the command line of ipamd, one table for parsing, ranges, defaults and --help.
 *
 * Called by main first of all. It knows nothing of what the options are for, and prints nothing but
 * --help and --version.
 */
#ifndef IPAMD_OPTIONS_H
#define IPAMD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <ipam/error.h>

struct options {
    const char *socket, *events, *state_dir; /* paths */
    uint64_t socket_mode;                    /* permission bits */
    const char *log_format;                  /* "text" or "json" */
    uint64_t max_connections, max_streams, max_message, max_header_list, max_unread;
    uint64_t history_limit;    /* changes; 0: all */
    uint64_t shutdown_timeout; /* seconds */
    bool check, help, version;
};

/* 0, or -1 with INVALID_REQUEST: which option, what is wrong with it, what it takes. Texts are
 * borrowed from argv. */
int options_parse(int argc, char *const argv[], struct options *ret, struct ipam_error *reterr);
void options_help(FILE *out);

#endif
