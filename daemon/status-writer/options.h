/* options.h: the command line of ipam-status-writer, beside the rows that it shares with ipam-watcher.
 *
 * Read by main.c, writer.c and tests. It must not know what the options are for.
 */
#ifndef IPAM_STATUS_OPTIONS_H
#define IPAM_STATUS_OPTIONS_H

#include "program.h"

struct writer_options {
    struct program_options shared;
    uint64_t max_writes;    /* at once */
    uint64_t pool_interval; /* milliseconds */
};

extern const struct option_table writer_options;

#endif
