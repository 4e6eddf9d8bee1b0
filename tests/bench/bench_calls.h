/* bench_calls.h: the calls that the load generator can make, each a row of a table.
 *
 * Used by bench_load.c, which only sends them and counts. A row knows how the n-th request of its kind looks: every one is
 * another owner's, and the etcd row puts the very record that ipamd would write for the allocation.
 */
#ifndef IPAMD_BENCH_CALLS_H
#define IPAMD_BENCH_CALLS_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct bench_call {
    const char *name; /* as on the command line */
    const char *path;
    const ProtobufCMessageDescriptor *reply_type;
    /* The n-th request; borrowed until the next call of it. */
    const ProtobufCMessage *(*request)(uint64_t n);
};

const struct bench_call *bench_call_find(const char *name); /* NULL when there is none */

#define BENCH_POOL "bench"

#endif
