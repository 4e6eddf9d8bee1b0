#include "channel.h"

#include <stdlib.h>
#include <string.h>

/* One channel on a loop of its own: there is one way of making calls. */
struct ipam_client {
    uv_loop_t loop;
    struct ipam_channel *channel;
    char *socket;
    uint32_t timeout_ms; /* 0: as in the options */
};

/* A call that somebody waits for. */
struct waiting_call {
    bool is_done;
    ProtobufCMessage *reply;
    struct ipam_error error;
};

static void on_reply(ProtobufCMessage *reply, const struct ipam_error *error, void *user)
{
    struct waiting_call *call = user;
    call->is_done = true;
    call->reply = reply;
    if (error != NULL) {
        call->error = *error;
    }
}

int ipam_client_new(const struct ipam_options *options, struct ipam_client **ret, struct ipam_error *reterr)
{
    struct ipam_options resolved;
    if (options_resolve(options, &resolved, reterr) < 0) {
        return -1;
    }
    struct ipam_client *client = calloc(1, sizeof(*client));
    if (client == NULL || (client->socket = strdup(resolved.socket)) == NULL || uv_loop_init(&client->loop) < 0) {
        ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "no memory for a client");
        goto out;
    }
    if (ipam_channel_new(&client->loop, &resolved, &client->channel, reterr) < 0) {
        uv_loop_close(&client->loop);
        goto out;
    }
    *ret = client;
    return 0;
out:
    if (client != NULL) {
        free(client->socket);
    }
    free(client);
    return -1;
}

struct ipam_client *ipam_client_free(struct ipam_client *client)
{
    if (client == NULL) {
        return NULL;
    }
    ipam_channel_close(client->channel, NULL, NULL);
    uv_run(&client->loop, UV_RUN_DEFAULT);
    uv_loop_close(&client->loop);
    free(client->socket);
    free(client);
    return NULL;
}

const char *ipam_client_socket(const struct ipam_client *client)
{
    return client->socket;
}

void ipam_client_set_timeout(struct ipam_client *client, uint32_t timeout_ms)
{
    client->timeout_ms = timeout_ms;
}

/* The loop stands still between calls: the first turn finds out what became of the connection meanwhile. */
int ipam_call(struct ipam_client *client, const char *path, const ProtobufCMessage *request,
              const ProtobufCMessageDescriptor *reply_type, ProtobufCMessage **ret, struct ipam_error *reterr)
{
    struct waiting_call call = {0};
    uv_run(&client->loop, UV_RUN_NOWAIT);
    channel_connect_now(client->channel);
    if (channel_call_owned(client->channel, path, request, reply_type, client->timeout_ms, on_reply, &call, reterr) ==
        NULL) {
        return -1;
    }
    while (!call.is_done) {
        uv_run(&client->loop, UV_RUN_ONCE);
    }
    if (call.reply == NULL) {
        if (reterr != NULL) {
            *reterr = call.error;
        }
        return -1;
    }
    *ret = call.reply;
    return 0;
}

#define IPAM_METHOD(lower, upper)                                                                                 \
    int ipam_##lower(struct ipam_client *client, const Ipam__V1__##upper##Request *request,                       \
                     Ipam__V1__##upper##Reply **ret, struct ipam_error *reterr)                                   \
    {                                                                                                             \
        return ipam_call(client, "/ipam.v1.IPAM/" #upper, &request->base, &ipam__v1__##lower##_reply__descriptor, \
                         (ProtobufCMessage **)ret, reterr);                                                       \
    }
IPAM_METHODS(IPAM_METHOD)
#undef IPAM_METHOD
