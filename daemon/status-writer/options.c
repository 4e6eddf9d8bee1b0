#include "options.h"

#include <stddef.h>

static const struct option_row rows[] = {
    {"max-writes", "N", OPTION_NUMBER, offsetof(struct writer_options, max_writes), "64", 1, 1024, NULL,
     "status writes under way at once"},
    {"pool-interval", "MS", OPTION_NUMBER, offsetof(struct writer_options, pool_interval), "1000", 0, 3600000, NULL,
     "milliseconds between two writes of one pool's status"},
};

const struct option_table writer_options = {
    .program = "ipam-status-writer",
    .summary = "writes what ipamd decides into the status of ProxyVIPs and ProxyIPPools",
    .footer = "It keeps no state: it may be killed and started again at any time.\n",
    .rows = rows,
    .n_rows = sizeof rows / sizeof *rows,
    .size = sizeof(struct writer_options),
    .shared = &program_shared_options,
};
