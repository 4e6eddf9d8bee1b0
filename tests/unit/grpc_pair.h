/* grpc_pair.h: a client and a server endpoint of proto/grpc.h tied together in memory, for tests.
 *
 * Used by tests/unit/test_grpc*.c. The server answers the methods of a small test service; the client notes what comes of
 * each call. It knows no socket and no clock: pair_run moves bytes until both sides are silent.
 */
#ifndef IPAM_TESTS_GRPC_PAIR_H
#define IPAM_TESTS_GRPC_PAIR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "grpc.h"

#define PAIR_MAX_MESSAGE 100000
#define PAIR_STREAM_SIZE 10000 /* bytes of each message of /t.T/Stream */

static const struct grpc_limits pair_limits = {
    .max_streams = 2000, .max_message = PAIR_MAX_MESSAGE, .max_header_list = 8192, .max_unread = 64 << 20};

/* What the client learned of a call. */
struct outcome {
    size_t n_messages, n_bytes;
    uint8_t last[64];
    size_t last_size;
    unsigned int n_status, n_close;
    enum ipam_status code;
    struct ipam_error error;
};

struct pair {
    struct grpc_endpoint *client, *server;
    struct ipam_error client_error, server_error;
    bool client_failed, server_failed;
    size_t chunk;      /* bytes moved at a time; 0: a random number of them */
    bool client_reads; /* false: what the server says stays where it is */
    unsigned int seed;
    /* What the server saw. */
    size_t n_requests, n_ends, n_closed, n_server_messages;
    struct grpc_call *held; /* the last call to /t.T/Hold that is open */
    uint64_t timeout;
    char metadata[1024];
};

/* ---- The service ----------------------------------------------------------------------------------------------- */

static void pair_stream(struct grpc_call *call)
{
    uintptr_t left = (uintptr_t)grpc_call_user(call);
    uint8_t *message = calloc(1, PAIR_STREAM_SIZE);
    for (; left > 0 && grpc_call_writable(call); left--) {
        memset(message, (int)left, PAIR_STREAM_SIZE);
        grpc_call_send(call, message, PAIR_STREAM_SIZE, false);
    }
    free(message);
    grpc_call_set_user(call, (void *)left);
    if (left == 0) {
        grpc_call_finish_ok(call);
    }
}

static void pair_on_request(struct grpc_call *call, void *user)
{
    struct pair *pair = user;
    size_t n, used = 0;
    const struct grpc_metadata *metadata = grpc_call_metadata(call, &n);
    pair->n_requests++;
    pair->timeout = grpc_call_timeout(call);
    pair->metadata[0] = '\0';
    for (size_t i = 0; i < n && used < sizeof(pair->metadata); i++) {
        used += (size_t)snprintf(pair->metadata + used, sizeof(pair->metadata) - used, "%s=%s;", metadata[i].name,
                                 metadata[i].value);
    }
    if (strcmp(grpc_call_path(call), "/t.T/Hold") == 0) {
        pair->held = call;
    } else if (strcmp(grpc_call_path(call), "/t.T/Early") == 0) {
        grpc_call_finish(call, &(struct grpc_status){.code = IPAM_STATUS_ABORTED, .message = " no need "});
    }
}

static void pair_on_server_message(struct grpc_call *call, const uint8_t *message, size_t size, void *user)
{
    struct pair *pair = user;
    const char *path = grpc_call_path(call);
    pair->n_server_messages++;
    if (strcmp(path, "/t.T/Echo") == 0 || strcmp(path, "/t.T/Bidi") == 0) {
        grpc_call_send(call, message, size, false);
    } else if (strcmp(path, "/t.T/Stream") == 0) {
        grpc_call_set_user(call, (void *)(uintptr_t)message[0]);
    }
}

static void pair_on_end(struct grpc_call *call, void *user)
{
    struct pair *pair = user;
    const char *path = grpc_call_path(call);
    struct ipam_error error = {0};
    pair->n_ends++;
    if (strcmp(path, "/t.T/Stream") == 0) {
        pair_stream(call);
    } else if (strcmp(path, "/t.T/Fail") == 0) {
        ipam_error_set(&error, IPAM_REASON_ADDRESS_IN_USE, "100%% belegt: 10.0.0.1 gehört „web-vip“");
        ipam_error_add(&error, "holder", "ProxyVIP/wéb-vip");
        ipam_error_add(&error, "pool", "main");
        grpc_call_finish_error(call, &error);
    } else if (strcmp(path, "/t.T/Hold") != 0) {
        grpc_call_finish_ok(call);
    }
}

static void pair_on_writable(struct grpc_call *call, void *user)
{
    (void)user;
    pair_stream(call);
}

static void pair_on_server_close(struct grpc_call *call, void *user)
{
    struct pair *pair = user;
    pair->n_closed++;
    if (pair->held == call) {
        pair->held = NULL;
    }
}

/* ---- The client ------------------------------------------------------------------------------------------------ */

static void pair_on_reply(struct grpc_call *call, const uint8_t *message, size_t size, void *user)
{
    struct outcome *outcome = grpc_call_user(call);
    (void)user;
    outcome->n_messages++;
    outcome->n_bytes += size;
    outcome->last_size = size < sizeof(outcome->last) ? size : sizeof(outcome->last);
    memcpy(outcome->last, message, outcome->last_size);
}

static void pair_on_status(struct grpc_call *call, const struct grpc_status *status, void *user)
{
    struct outcome *outcome = grpc_call_user(call);
    (void)user;
    outcome->n_status++;
    outcome->code = status->code;
    grpc_status_error(status, &outcome->error);
}

static void pair_on_client_close(struct grpc_call *call, void *user)
{
    struct outcome *outcome = grpc_call_user(call);
    (void)user;
    outcome->n_close++;
}

static const struct grpc_callbacks pair_server_callbacks = {
    .on_request = pair_on_request,
    .on_message = pair_on_server_message,
    .on_end = pair_on_end,
    .on_writable = pair_on_writable,
    .on_close = pair_on_server_close,
};

static const struct grpc_callbacks pair_client_callbacks = {
    .on_message = pair_on_reply,
    .on_status = pair_on_status,
    .on_close = pair_on_client_close,
};

/* ---- Moving bytes ---------------------------------------------------------------------------------------------- */

static inline struct pair *pair_new(const struct grpc_limits *server_limits, const struct grpc_limits *client_limits)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    pair->chunk = SIZE_MAX;
    pair->client_reads = true;
    pair->seed = 1;
    pair->server = grpc_server_new(server_limits, &pair_server_callbacks, pair);
    pair->client = grpc_client_new(client_limits, &pair_client_callbacks, "test/1", pair);
    return pair;
}

static inline void pair_free(struct pair *pair)
{
    grpc_endpoint_free(pair->client);
    grpc_endpoint_free(pair->server);
    free(pair);
}

/* Moves one chunk; true when there was one. */
static inline bool pair_move(struct pair *pair, struct grpc_endpoint *from, struct grpc_endpoint *to, bool *from_failed,
                             struct ipam_error *from_error, bool *to_failed, struct ipam_error *to_error)
{
    const uint8_t *data;
    size_t size, n;
    if (grpc_endpoint_output(from, &data, &size, from_error) < 0) {
        *from_failed = true;
        return false;
    }
    n = pair->chunk > 0 ? pair->chunk : 1 + (size_t)rand_r(&pair->seed) % 3000;
    n = n < size ? n : size;
    if (n == 0) {
        return false;
    }
    uint8_t *copy = malloc(n); /* so that reading past the end shows */
    memcpy(copy, data, n);
    if (grpc_endpoint_receive(to, copy, n, to_error) < 0) {
        *to_failed = true;
    }
    free(copy);
    grpc_endpoint_sent(from, n);
    return true;
}

static inline void pair_run(struct pair *pair)
{
    bool moved = true;
    while (moved) {
        moved = pair_move(pair, pair->client, pair->server, &pair->client_failed, &pair->client_error,
                          &pair->server_failed, &pair->server_error);
        if (pair->client_reads) {
            moved |= pair_move(pair, pair->server, pair->client, &pair->server_failed, &pair->server_error,
                               &pair->client_failed, &pair->client_error);
        }
    }
}

static inline struct grpc_call *pair_start(struct pair *pair, const char *path, struct outcome *outcome)
{
    struct grpc_call *call = grpc_call_start(pair->client, path, GRPC_NO_DEADLINE, NULL, 0, outcome);
    assert_non_null(call);
    return call;
}

static inline void pair_send_text(struct grpc_call *call, const char *text, bool end)
{
    grpc_call_send(call, (const uint8_t *)text, strlen(text), end);
}

/* One unary call from start to end. */
static inline struct outcome pair_call(struct pair *pair, const char *path, const char *text)
{
    struct outcome outcome = {0};
    pair_send_text(pair_start(pair, path, &outcome), text, true);
    pair_run(pair);
    assert_int_equal(outcome.n_status, 1);
    assert_int_equal(outcome.n_close, 1);
    return outcome;
}

#endif
