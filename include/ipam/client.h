/* ipam/client.h: calls to ipamd.
 *
 * For node agents, controllers and ipamc. Two ways to use it: `struct ipam_client` blocks until the answer or its deadline;
 * `struct ipam_channel` pipelines any number of calls on a libuv loop. Requests and replies are the plain structs that
 * protoc-c makes of proto/ipam.proto (ipam/ipam.pb-c.h). The library never logs, never exits, and uses no thread (but for
 * subscribers, ipam/subscriber.h); an object is used by one thread at a time. Include <uv.h> before this header to use channels.
 *
 * A call for which memory runs out fails with OUT_OF_MEMORY; within the HTTP/2 endpoint, whose memory the options bound,
 * running out aborts the process. A call that fails with UNREACHABLE or DEADLINE_EXCEEDED may or may not have taken effect:
 * repeating it is safe, since every method is idempotent. The library raises no SIGPIPE.
 */
#ifndef IPAM_CLIENT_H
#define IPAM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <ipam/addr.h>
#include <ipam/error.h>
#include <ipam/ipam.pb-c.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define IPAM_DEFAULT_SOCKET     "/run/ipamd/ipamd.sock"
#define IPAM_DEFAULT_TIMEOUT_MS 10000

struct ipam_options {
    const char *socket; /* path or unix:///path; NULL: $IPAMD_SOCKET if set and not empty, else IPAM_DEFAULT_SOCKET */
    const char *user_agent; /* NULL: "libipam/VERSION" */
    uint32_t timeout_ms;    /* of each call unless it says otherwise; 0: IPAM_DEFAULT_TIMEOUT_MS */
    bool
        wait_for_ready; /* calls wait for a connection until their deadline; else they fail as soon as it can't be had */
    uint32_t max_message;    /* bytes of one reply; 0: 4 MiB */
    uint32_t backoff_min_ms; /* between attempts to connect, doubling, with jitter; 0: 50 */
    uint32_t backoff_max_ms; /* 0: 5000 */
};

const char *ipam_version(void);

/* The methods of ipam.v1.IPAM: IPAM_METHOD(lower_name, UpperName): ipam_<lower_name>() takes an
 * Ipam__V1__<UpperName>Request and gives an Ipam__V1__<UpperName>Reply. */
#define IPAM_METHODS(IPAM_METHOD)          \
    IPAM_METHOD(apply_pool, ApplyPool)     \
    IPAM_METHOD(delete_pool, DeletePool)   \
    IPAM_METHOD(get_pool, GetPool)         \
    IPAM_METHOD(list_pools, ListPools)     \
    IPAM_METHOD(allocate, Allocate)        \
    IPAM_METHOD(release, Release)          \
    IPAM_METHOD(get_claims, GetClaims)     \
    IPAM_METHOD(list_claims, ListClaims)   \
    IPAM_METHOD(list_changes, ListChanges) \
    IPAM_METHOD(get_status, GetStatus)

/* ---- Blocking -------------------------------------------------------------------------------------------------- */

struct ipam_client;

/* Connects with the first call. -1: out of memory, or the socket path is too long. */
int ipam_client_new(const struct ipam_options *options, struct ipam_client **ret, struct ipam_error *reterr);
struct ipam_client *ipam_client_free(struct ipam_client *client); /* NULL is fine; returns NULL */
const char *ipam_client_socket(const struct ipam_client *client); /* the path in use; borrowed */

/* Of the calls that follow; 0: as in the options. */
void ipam_client_set_timeout(struct ipam_client *client, uint32_t timeout_ms);

/* ipam_allocate(client, &request, &reply, &error) and so on. 0, and *ret is the caller's to free with
 * ipam_reply_free(reply); or -1, and *ret is untouched. */
#define IPAM_METHOD(lower, upper)                                                           \
    int ipam_##lower(struct ipam_client *client, const Ipam__V1__##upper##Request *request, \
                     Ipam__V1__##upper##Reply **ret, struct ipam_error *reterr);
IPAM_METHODS(IPAM_METHOD)
#undef IPAM_METHOD

/* Any unary method of any service: `path` is "/package.Service/Method". The same rules. */
int ipam_call(struct ipam_client *client, const char *path, const ProtobufCMessage *request,
              const ProtobufCMessageDescriptor *reply_type, ProtobufCMessage **ret, struct ipam_error *reterr);

#define ipam_reply_free(reply) protobuf_c_message_free_unpacked((ProtobufCMessage *)(reply), NULL)

/* ---- On a libuv loop ------------------------------------------------------------------------------------------- */

#ifdef UV_H

struct ipam_channel;
struct ipam_pending; /* a call under way */

/* `error` is NULL and `reply` the answer, borrowed for the callback; or `reply` is NULL and `error` says why, borrowed too.
 * Comes once per call, never from within ipam_channel_call. */
typedef void (*ipam_reply_cb)(const ProtobufCMessage *reply, const struct ipam_error *error, void *user);

/* Connects at once and again with back-off whenever the connection is lost. The loop outlives the channel. */
int ipam_channel_new(uv_loop_t *loop, const struct ipam_options *options, struct ipam_channel **ret,
                     struct ipam_error *reterr);

/* Fails all calls under way (CANCELLED), then calls closed(user) (may be NULL) from the loop when the memory is gone. */
void ipam_channel_close(struct ipam_channel *channel, void (*closed)(void *user), void *user);

/* Queues a call; any number may be under way. timeout_ms 0: as in the options. `request` is not needed afterwards.
 * The calls of one turn of the loop leave together. NULL with *reterr when memory ran out. */
struct ipam_pending *ipam_channel_call(struct ipam_channel *channel, const char *path, const ProtobufCMessage *request,
                                       const ProtobufCMessageDescriptor *reply_type, uint32_t timeout_ms,
                                       ipam_reply_cb callback, void *user, struct ipam_error *reterr);

/* Gives a call up: its callback comes from the loop with CANCELLED. Only while the callback has not come. */
void ipam_channel_cancel(struct ipam_channel *channel, struct ipam_pending *pending);

bool ipam_channel_connected(const struct ipam_channel *channel);

#endif /* UV_H */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
