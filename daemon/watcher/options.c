#include <stddef.h>

#include "watcher.h"

#define AT(field) offsetof(struct watcher_options, field)

static const struct option_row rows[] = {
    {"max-in-flight", "N", OPTION_NUMBER, AT(max_in_flight), "256", 1, 65536, NULL,
     "objects that ipamd is asked about at once"},
    {"max-release-share", "PERCENT", OPTION_NUMBER, AT(max_release_share), "20", 0, 100, NULL,
     "of the claims of VIPs, released at one go because the VIPs are missing; more is held back"},
    {"max-release-count", "N", OPTION_NUMBER, AT(max_release_count), "10", 0, 1000000, NULL,
     "claims that may always be released at one go, whatever share they are"},
    {"confirm-delay", "SECONDS", OPTION_NUMBER, AT(confirm_delay), "10", 0, 3600, NULL,
     "between the two lists from which a VIP must be missing before its address is released"},
    {"accept-cluster", NULL, OPTION_FLAG, AT(accept_cluster), NULL, 0, 0, NULL,
     "go on though none of the cluster's objects is known to ipamd, which holds others"},
};

const struct option_table watcher_options_table = {
    .program = "ipam-watcher",
    .summary = "asks ipamd for what ProxyIPPool and ProxyVIP objects want",
    .footer = "SIGTERM and SIGINT stop it; nothing is lost, as it keeps no state of its own.\n",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .size = sizeof(struct watcher_options),
    .shared = &program_shared_options,
};
