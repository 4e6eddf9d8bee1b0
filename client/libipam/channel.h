/* channel.h: what client.c needs of a channel beyond ipam/client.h.
 *
 * Called by the blocking client, which drives a channel on a loop of its own. It must not know how a channel works.
 */
#ifndef IPAM_CLIENT_CHANNEL_H
#define IPAM_CLIENT_CHANNEL_H

#include <uv.h>

#include <ipam/client.h>

/* As ipam_reply_cb, but the reply is the callback's to free with ipam_reply_free. */
typedef void (*channel_owned_reply_cb)(ProtobufCMessage *reply, const struct ipam_error *error, void *user);

struct ipam_pending *channel_call_owned(struct ipam_channel *channel, const char *path, const ProtobufCMessage *request,
                                        const ProtobufCMessageDescriptor *reply_type, uint32_t timeout_ms,
                                        channel_owned_reply_cb callback, void *user, struct ipam_error *reterr);

/* Tries at once if it waits to try again. */
void channel_connect_now(struct ipam_channel *channel);

/* Fills in the defaults. `options` may be NULL; what the result points to is borrowed from it or from the environment. */
int options_resolve(const struct ipam_options *options, struct ipam_options *ret, struct ipam_error *reterr);

#endif
