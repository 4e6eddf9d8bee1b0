/* options.h: the command line of ipamd: its rows for option_table.h, and what becomes of them.
 *
 * Read by main first of all, and by the parts that an option is for. It must not know more of an option than its row says.
 */
#ifndef IPAMD_OPTIONS_H
#define IPAMD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "option_table.h"

struct options {
    const char *socket, *events, *state_dir; /* paths */
    uint64_t socket_mode, events_mode;       /* permission bits */
    uint64_t tick_interval;                  /* ms */
    uint64_t bus_budget;                     /* deliveries a second */
    uint64_t max_subscribers;
    const char *socket_group;                                      /* name or number; NULL: the process's own */
    struct option_list read_groups, allocate_groups, admin_groups; /* names or numbers; "GROUP:KIND,…" to allocate */
    const char *log_format;                                        /* "text" or "json" */
    uint64_t max_connections, max_user_connections, max_streams, max_message, max_header_list;
    uint64_t max_unread, max_buffered;                       /* bytes: of a client, of all */
    uint64_t handshake_timeout, idle_timeout, stall_timeout; /* seconds; 0: none */
    struct option_list max_claims;                           /* "KIND=N" */
    uint64_t max_claims_total, max_user_claims, max_cooling; /* claims: of all, of a user, of an owner and family */
    struct option_list manual_addresses;                     /* "CIDR,…" or "none" */
    uint64_t max_name;                                       /* bytes */
    uint64_t history_limit;                                  /* changes; 0: all */
    uint64_t history_rate;                                   /* pages a second */
    uint64_t shutdown_timeout;                               /* seconds */
    bool check, help, version;
};

extern const struct option_table ipamd_options; /* into struct options; texts are borrowed from argv */

#endif
