/* grpc_peer.h: an nghttp2 session of the test's own as the peer of one of our endpoints.
 *
 * Used by test_grpc_peer.c to send what our endpoints never would, and to see frame by frame what they say. It checks
 * nothing itself.
 */
#ifndef IPAM_TESTS_GRPC_PEER_H
#define IPAM_TESTS_GRPC_PEER_H

#include <nghttp2/nghttp2.h>

#include "grpc_pair.h"

#define MAX_STREAMS 64

/* What the peer sends as a body: all at once, then the end or silence. */
struct body {
    const uint8_t *data;
    size_t size;
    bool end;
};

struct peer {
    nghttp2_session *session;
    struct grpc_endpoint *endpoint; /* ours, the other end */
    struct pair pair;               /* what the service and the client's callbacks note */
    struct body bodies[MAX_STREAMS];
    char seen[MAX_STREAMS][4096]; /* by stream: "[name=value;…]" a header block, "data(n)", "rst(code)" */
    bool is_failed;
    struct ipam_error error;
    const char *const *answer; /* server: headers of each answer, a NULL, trailers, a NULL; or nothing */
    const char *answer_body;
    size_t answer_size;
    uint32_t answer_reset; /* instead of trailers */
};

static void note(struct peer *peer, int32_t stream_id, const char *format, ...)
{
    char *to = peer->seen[stream_id / 2 % MAX_STREAMS];
    size_t used = strlen(to);
    va_list args;
    va_start(args, format);
    vsnprintf(to + used, sizeof(peer->seen[0]) - used, format, args);
    va_end(args);
}

static size_t headers_of(const char *const *from, nghttp2_nv *to)
{
    size_t n = 0;
    for (; from[2 * n] != NULL; n++) {
        to[n] = (nghttp2_nv){(uint8_t *)from[2 * n], (uint8_t *)from[2 * n + 1], strlen(from[2 * n]),
                             strlen(from[2 * n + 1]), 0};
    }
    return n;
}

static ssize_t peer_read(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    struct body *body = source->ptr;
    struct peer *peer = user;
    nghttp2_nv trailers[16];
    size_t n = body->size < room ? body->size : room;
    if (n == 0 && !body->end) {
        return NGHTTP2_ERR_DEFERRED;
    }
    memcpy(to, body->data, n);
    body->data += n;
    body->size -= n;
    if (body->size == 0 && body->end) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (peer->answer != NULL && peer->answer_reset == 0) {
            const char *const *at = peer->answer;
            while (*at != NULL) {
                at++;
            }
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(session, stream_id, trailers, headers_of(at + 1, trailers));
        }
    }
    return (ssize_t)n;
}

static void peer_answer(struct peer *peer, int32_t stream_id)
{
    nghttp2_nv headers[16];
    struct body *body = &peer->bodies[stream_id / 2];
    nghttp2_data_provider provider = {{.ptr = body}, peer_read};
    *body = (struct body){(const uint8_t *)peer->answer_body, peer->answer_size, peer->answer_reset == 0};
    bool only = peer->answer_body == NULL && peer->answer_reset == 0;
    nghttp2_submit_response(peer->session, stream_id, headers, headers_of(peer->answer, headers),
                            only ? NULL : &provider);
}

static int peer_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    note(user, frame->hd.stream_id, "[");
    return 0;
}

static int peer_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                          const uint8_t *value, size_t value_size, uint8_t flags, void *user)
{
    (void)session;
    (void)name_size;
    (void)value_size;
    (void)flags;
    note(user, frame->hd.stream_id, "%s=%s;", (const char *)name, (const char *)value);
    return 0;
}

static int peer_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct peer *peer = user;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        note(peer, frame->hd.stream_id, "]");
    } else if (frame->hd.type == NGHTTP2_DATA && frame->hd.length > 0) {
        note(peer, frame->hd.stream_id, "data(%zu)", frame->hd.length);
    } else if (frame->hd.type == NGHTTP2_RST_STREAM) {
        note(peer, frame->hd.stream_id, "rst(%u)", frame->rst_stream.error_code);
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        note(peer, 0, "goaway(%u)", frame->goaway.error_code);
    }
    if (peer->answer != NULL && frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        peer_answer(peer, frame->hd.stream_id);
        if (peer->answer_reset != 0) {
            nghttp2_submit_rst_stream(session, 0, frame->hd.stream_id, peer->answer_reset);
        }
    }
    return 0;
}

static struct peer *peer_new(bool is_client, const struct grpc_limits *limits)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *options;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_option_new(&options);
    nghttp2_option_set_no_http_messaging(options, 1); /* it sends whatever the test wants */
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, peer_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, peer_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, peer_on_frame);
    if (is_client) {
        nghttp2_session_client_new2(&peer->session, callbacks, peer, options);
        peer->endpoint = grpc_server_new(limits, &pair_server_callbacks, &peer->pair);
    } else {
        nghttp2_session_server_new2(&peer->session, callbacks, peer, options);
        peer->endpoint = grpc_client_new(limits, &pair_client_callbacks, "test/1", &peer->pair);
        peer->pair.client = peer->endpoint;
    }
    nghttp2_submit_settings(peer->session, NGHTTP2_FLAG_NONE, NULL, 0);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    return peer;
}

static void peer_free(struct peer *peer)
{
    grpc_endpoint_free(peer->endpoint);
    nghttp2_session_del(peer->session);
    free(peer);
}

#endif
