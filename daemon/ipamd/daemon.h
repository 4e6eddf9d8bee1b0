/* daemon.h: the process at work: one loop that ties sockets, pipeline, timers and signals together.
 *
 * Made by main after options, store and socket are ready. It knows libuv and systemd's notify
 * protocol; what calls mean is the RPC layer's business.
 */
#ifndef IPAMD_DAEMON_H
#define IPAMD_DAEMON_H

#include "access.h"
#include "engine.h"
#include "limits.h"
#include "listener.h"
#include "options.h"
#include "store.h"

/* Serves until SIGTERM or SIGINT and then until calls in flight are answered. Takes `engine`, which has `hash_key` and `start`;
 * the rest stays the caller's: `listener` of calls, `events` of the bus. 0, or -1 when the loop could not be set up. */
int daemon_run(const struct options *options, const struct access *access, const struct limits *limits,
               struct store *store, struct engine *engine, const uint8_t hash_key[16], const struct engine_clock *start,
               struct listener *listener, struct listener *events, struct ipam_error *reterr);

#endif
