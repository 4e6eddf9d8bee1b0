/* The gRPC endpoint against peers that are wrong, odd or hostile: an nghttp2 session of the test's own, or raw bytes. */
#include "grpc_peer.h"

/* ---- Fixture --------------------------------------------------------------------------------------------------- */

static int make_peer_client(void **state)
{
    *state = peer_new(true, &pair_limits);
    return 0;
}

static int make_peer_server(void **state)
{
    *state = peer_new(false, &pair_limits);
    return 0;
}

static int free_peer(void **state)
{
    peer_free(*state);
    return 0;
}

/* ---- Helpers --------------------------------------------------------------------------------------------------- */

static void feed(struct peer *peer, const void *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    memcpy(copy, data, size);
    if (grpc_endpoint_receive(peer->endpoint, copy, size, &peer->error) < 0) {
        peer->is_failed = true;
    }
    free(copy);
}

static void peer_run(struct peer *peer)
{
    const uint8_t *data;
    size_t size = 0;
    bool moved = true;
    while (moved) {
        ssize_t n = nghttp2_session_mem_send(peer->session, &data);
        if (n > 0) {
            feed(peer, data, (size_t)n);
        }
        if (grpc_endpoint_output(peer->endpoint, &data, &size, &peer->error) < 0) {
            peer->is_failed = true;
            return;
        }
        if (size > 0) {
            nghttp2_session_mem_recv(peer->session, data, size);
            grpc_endpoint_sent(peer->endpoint, size);
        }
        moved = n > 0 || size > 0;
    }
}

/* The usual headers with some changed ("name", "value") or left out ("name", NULL), and then more. */
struct request {
    const char *method, *path, *type, *extra[8];
};

static const struct request usual = {"POST", "/t.T/Echo", "application/grpc", {NULL}};

static int32_t peer_request(struct peer *peer, const struct request *request, const void *body, size_t size, bool end)
{
    const char *texts[32] = {":method",     request->method, ":scheme",   "http", ":path",
                             request->path, ":authority",    "localhost", "te",   "trailers"};
    nghttp2_nv headers[16];
    size_t n = 10;
    if (request->type != NULL) {
        texts[n++] = "content-type";
        texts[n++] = request->type;
    }
    for (size_t i = 0; request->extra[i] != NULL; i++) {
        texts[n++] = request->extra[i];
    }
    int32_t next = (int32_t)nghttp2_session_get_next_stream_id(peer->session);
    struct body *slot = &peer->bodies[next / 2];
    *slot = (struct body){body, size, end};
    nghttp2_data_provider provider = {{.ptr = slot}, peer_read};
    int32_t id = nghttp2_submit_request(peer->session, NULL, headers, headers_of(texts, headers), &provider, NULL);
    assert_int_equal(id, next);
    return id;
}

/* What the server has to say to it. */
static const char *answer_to(struct peer *peer, const struct request *request, const void *body, size_t size, bool end)
{
    int32_t id = peer_request(peer, request, body, size, end);
    peer_run(peer);
    assert_false(peer->is_failed);
    return peer->seen[id / 2];
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("%s is not in: %s", part, text);
    }
}

static const char hello[] = "\0\0\0\0\5hello";
#define HELLO hello, sizeof(hello) - 1

/* One call of our client, answered by the peer as `answer` says. */
static struct outcome call_peer(struct peer *peer, const char *const *answer, const void *body, size_t size,
                                uint32_t reset)
{
    struct outcome outcome = {0};
    peer->answer = answer;
    peer->answer_body = body;
    peer->answer_size = size;
    peer->answer_reset = reset;
    pair_send_text(pair_start(&peer->pair, "/t.T/Echo", &outcome), "x", true);
    peer_run(peer);
    assert_int_equal(outcome.n_status, 1);
    assert_int_equal(outcome.n_close, 1);
    return outcome;
}

/* ---- Tests: requests ------------------------------------------------------------------------------------------- */

static void right_request_is_answered(void **state)
{
    assert_string_equal(answer_to(*state, &usual, HELLO, true),
                        "[:status=200;content-type=application/grpc;]data(10)[grpc-status=0;]");
}

static void content_type_may_name_proto_or_have_parameters(void **state)
{
    struct request request = usual;
    request.type = "application/grpc+proto";
    assert_has(answer_to(*state, &request, HELLO, true),
               "content-type=application/grpc+proto;]data(10)[grpc-status=0;");
    request.type = "application/grpc ; charset=utf-8";
    assert_has(answer_to(*state, &request, HELLO, true), "content-type=application/grpc;]data(10)[grpc-status=0;");
}

static void other_content_types_get_415(void **state)
{
    static const char *const types[] = {
        NULL, "", "text/html", "application/grpcx", "application/grpc+json", "application/json"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct request request = usual;
        request.type = types[i];
        assert_has(answer_to(*state, &request, HELLO, true), "[:status=415;");
    }
    assert_int_equal(((struct peer *)*state)->pair.n_requests, 0);
}

static void other_methods_get_405(void **state)
{
    struct request request = usual;
    request.method = "GET";
    assert_has(answer_to(*state, &request, "", 0, true), "[:status=405;");
}

static void path_that_is_no_method_is_unimplemented(void **state)
{
    static const char *const paths[] = {"/", "*", "/a", "//", "/a/", "//b", "/a/b/c", "a/b"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct request request = usual;
        request.path = paths[i];
        int32_t id = peer_request(*state, &request, HELLO, true);
        peer_run(*state);
        const char *seen = ((struct peer *)*state)->seen[id / 2];
        if (strcmp(seen, "rst(1)") != 0) { /* nghttp2 refuses those that are no path at all */
            assert_has(seen, "grpc-status=12;");
        }
    }
    assert_int_equal(((struct peer *)*state)->pair.n_requests, 0);
}

static void encoding_other_than_identity_is_unimplemented(void **state)
{
    struct request request = usual;
    request.extra[0] = "grpc-encoding";
    request.extra[1] = "gzip";
    const char *seen = answer_to(*state, &request, HELLO, true);
    assert_has(seen, "[:status=200;content-type=application/grpc;grpc-accept-encoding=identity;grpc-status=12;");
    request.extra[1] = "identity";
    assert_has(answer_to(*state, &request, HELLO, true), "[grpc-status=0;]");
}

static void malformed_timeout_is_internal(void **state)
{
    static const char *const timeouts[] = {"", "S", "10", "123456789S", "1s", "-1S", "1 S", "0x1S", "1.5S"};
    struct peer *peer = *state;
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
        struct request request = usual;
        request.extra[0] = "grpc-timeout";
        request.extra[1] = timeouts[i];
        assert_has(answer_to(peer, &request, HELLO, true), "grpc-status=13;");
    }
    assert_int_equal(peer->pair.n_requests, 0);
}

static void timeout_units_are_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } rows[] = {{"1H", 3600000000000},
                {"2M", 120000000000},
                {"3S", 3000000000},
                {"4m", 4000000},
                {"5u", 5000},
                {"6n", 6},
                {"0n", 0},
                {"99999999H", GRPC_NO_DEADLINE}};
    struct peer *peer = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct request request = usual;
        request.extra[0] = "grpc-timeout";
        request.extra[1] = rows[i].text;
        assert_has(answer_to(peer, &request, HELLO, true), "[grpc-status=0;]");
        assert_int_equal(peer->pair.timeout, rows[i].ns);
    }
}

static void headers_past_the_limit_are_refused(void **state)
{
    char value[8192];
    struct request request = usual;
    memset(value, 'v', sizeof(value));
    request.extra[0] = "x-large";
    request.extra[1] = value;
    value[7800] = '\0';
    assert_has(answer_to(*state, &request, HELLO, true), "[grpc-status=0;]");
    value[7800] = 'v';
    value[8000] = '\0';
    assert_has(answer_to(*state, &request, HELLO, true), "grpc-status=8;");
}

/* ---- Tests: messages ------------------------------------------------------------------------------------------- */

static void compressed_message_is_unimplemented(void **state)
{
    const char *seen = answer_to(*state, &usual, "\1\0\0\0\5hello", 10, true);
    assert_has(seen, "grpc-status=12;");
    assert_has(seen, "compressed");
}

static void unknown_flag_is_internal(void **state)
{
    assert_has(answer_to(*state, &usual, "\7\0\0\0\5hello", 10, true), "grpc-status=13;");
}

static void too_large_message_is_refused_by_its_prefix(void **state)
{
    /* 100,001 bytes, of which none is sent and the stream stays open. */
    const char *seen = answer_to(*state, &usual, "\0\0\1\x86\xa1", 5, false);
    assert_has(seen, "[:status=200;content-type=application/grpc;grpc-status=8;");
    assert_has(seen, "]rst(0)");
}

static void truncated_message_is_internal(void **state)
{
    for (size_t size = 1; size < 10; size++) {
        assert_has(answer_to(*state, &usual, hello, size, true), "grpc-status=13;");
    }
    assert_int_equal(((struct peer *)*state)->pair.n_ends, 0);
}

static void trailers_only_is_one_frame_without_padding(void **state)
{
    struct request request = usual;
    request.path = "/t.T/Fail";
    const char *seen = answer_to(*state, &request, HELLO, true);
    assert_has(seen, "[:status=200;content-type=application/grpc;grpc-status=6;grpc-message=100%25 belegt: ");
    assert_has(seen, "%E2%80%9Eweb-vip%E2%80%9C;grpc-status-details-bin=");
    assert_null(strstr(seen, "]["));
    assert_null(strstr(seen, "=;]"));
    assert_null(strstr(seen, "==;]"));
}

static void half_received_messages_are_bounded_per_connection(void **state)
{
    struct peer *peer = *state;
    size_t size = 5 + PAIR_MAX_MESSAGE, n_refused = 0;
    uint8_t *body = calloc(1, size);
    memcpy(body, "\0\0\1\x86\xa0", 5); /* 100,000 */
    for (int i = 0; i < 8; i++) {
        const char *seen = answer_to(peer, &usual, body, size - 1, false);
        n_refused += strstr(seen, "grpc-status=8;") != NULL;
        assert_int_equal((int)n_refused, i < 4 ? 0 : i - 3);
    }
    for (int i = 0; i < 4; i++) { /* memory comes back with the calls */
        nghttp2_submit_rst_stream(peer->session, 0, 1 + 2 * i, NGHTTP2_CANCEL);
    }
    assert_has(answer_to(peer, &usual, body, size, true), "[grpc-status=0;]");
    free(body);
}

static void calls_past_max_streams_are_refused(void **state)
{
    struct grpc_limits few = pair_limits;
    few.max_streams = 2;
    struct peer *peer = peer_new(true, &few);
    struct request hold = usual;
    (void)state;
    hold.path = "/t.T/Hold";
    for (int i = 0; i < 3; i++) { /* before it knows the limit */
        peer_request(peer, &hold, HELLO, true);
    }
    const uint8_t *data;
    for (ssize_t n; (n = nghttp2_session_mem_send(peer->session, &data)) > 0;) {
        feed(peer, data, (size_t)n);
    }
    peer_run(peer);
    assert_int_equal(peer->pair.n_requests, 2);
    assert_string_equal(peer->seen[2], "rst(7)");
    peer_free(peer);
}

/* ---- Tests: connections ---------------------------------------------------------------------------------------- */

static void other_protocol_is_an_error(void **state)
{
    struct peer *peer = *state;
    const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    feed(peer, request, sizeof(request) - 1);
    assert_true(peer->is_failed);
    assert_int_equal(peer->error.reason, IPAM_REASON_PROTOCOL_ERROR);
}

static void broken_frame_is_an_error_and_gets_goaway(void **state)
{
    struct peer *peer = *state;
    peer_run(peer);
    feed(peer, "\0\0\5\0\0\0\0\0\0hello", 14); /* DATA on stream 0 */
    assert_true(peer->is_failed);
    const uint8_t *data;
    size_t size;
    assert_int_equal(grpc_endpoint_output(peer->endpoint, &data, &size, NULL), 0);
    nghttp2_session_mem_recv(peer->session, data, size);
    grpc_endpoint_sent(peer->endpoint, size);
    assert_string_equal(peer->seen[0], "goaway(1)");
    assert_true(grpc_endpoint_done(peer->endpoint));
    assert_int_equal(grpc_endpoint_output(peer->endpoint, &data, &size, NULL), -1);
}

static void control_frames_without_end_are_an_error(void **state)
{
    struct peer *peer = *state;
    peer_run(peer);
    for (size_t i = 0; i < 1000000 && !peer->is_failed; i++) {
        feed(peer,
             "\0\0\x8\6\0\0\0\0\0"
             "pingpong",
             17); /* and nobody takes the answers */
    }
    assert_true(peer->is_failed);
}

static void ping_and_read(struct peer *peer, int count)
{
    for (int i = 0; i < count && !peer->is_failed; i++) {
        feed(peer, "\0\0\x8\6\0\0\0\0\0pingpong", 17);
        peer_run(peer);
    }
}

/* SETTINGS and its acknowledgement have taken two of the 10,000. */
static void control_frames_are_too_many_for_a_peer_that_reads_too(void **state)
{
    struct peer *peer = *state;
    peer_run(peer);
    ping_and_read(peer, 9998);
    assert_false(peer->is_failed);
    assert_string_equal(peer->seen[0], "");
    ping_and_read(peer, 1);
    assert_true(peer->is_failed);
    assert_string_equal(peer->seen[0], "goaway(11)"); /* ENHANCE_YOUR_CALM */
}

static void credit_that_is_earned_lets_more_control_frames_in(void **state)
{
    struct peer *peer = *state;
    peer_run(peer);
    ping_and_read(peer, 9998);
    grpc_endpoint_earn(peer->endpoint, 100);
    ping_and_read(peer, 100);
    assert_false(peer->is_failed);
    ping_and_read(peer, 1);
    assert_true(peer->is_failed);
}

static void refused_streams_hold_no_memory(void **state)
{
    struct grpc_limits few = pair_limits;
    struct peer *peer;
    (void)state;
    few.max_streams = 1;
    peer = peer_new(true, &few);
    peer_run(peer);
    for (uint32_t id = 1; id < 200000; id += 2) { /* HEADERS without a path, and nobody takes the resets */
        uint8_t frame[] = {0,           0,   1, 1, 4, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
                           (uint8_t)id, 0x82};
        feed(peer, frame, sizeof(frame));
    }
    assert_in_range(grpc_endpoint_unread(peer->endpoint), 60000, 70000);
    assert_int_equal(grpc_endpoint_calls(peer->endpoint), 1);
    peer_free(peer);
}

static void random_bytes_are_an_error(void **state)
{
    unsigned int seed = 42;
    uint8_t noise[4096];
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct peer *server = peer_new(true, &pair_limits), *client = peer_new(false, &pair_limits);
        struct outcome outcome = {0};
        pair_start(&client->pair, "/t.T/Echo", &outcome);
        for (size_t i = 0; i < sizeof(noise); i++) {
            noise[i] = (uint8_t)(rand_r(&seed) >> 5);
        }
        if (round % 2 == 0) { /* noise that gets past the greeting */
            feed(server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
            feed(client, "\0\0\0\4\0\0\0\0\0", 9);
            assert_false(server->is_failed || client->is_failed);
        }
        for (int i = 0; i < 8; i++) { /* a long random frame swallows much */
            feed(server, noise, sizeof(noise));
            feed(client, noise, sizeof(noise));
        }
        assert_true(server->is_failed && client->is_failed);
        peer_free(server);
        peer_free(client);
        assert_int_equal(outcome.n_status, 1);
    }
}

/* ---- Tests: answers to the client ------------------------------------------------------------------------------ */

static void padded_details_and_odd_escapes_are_read(void **state)
{
    /* google.rpc.Status {5, "m", ErrorInfo {POOL_NOT_FOUND, our domain}} in base64; Python made it. */
    static const char details[] = "CAUSAW0aTgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxIiCg5QT09MX05PVF9G"
                                  "T1VORBIQaXBhbS5ub3ZhZWRnZS5pbw==";
    char unpadded[sizeof(details)];
    const char *answer[] = {":status",     "200", "content-type", "application/grpc",    NULL,
                            "grpc-status", "5",   "grpc-message", "50% of %C3%A4 %zz%4", "grpc-status-details-bin",
                            details,       NULL};
    struct outcome padded = call_peer(*state, answer, hello, 10, 0);
    snprintf(unpadded, sizeof(unpadded), "%.*s", (int)strcspn(details, "="), details);
    assert_int_equal(strlen(unpadded), strlen(details) - 2);
    answer[10] = unpadded;
    struct outcome bare = call_peer(*state, answer, hello, 10, 0);
    answer[10] = "not base64!";
    struct outcome broken = call_peer(*state, answer, hello, 10, 0);
    assert_int_equal(padded.code, IPAM_STATUS_NOT_FOUND);
    assert_string_equal(padded.error.message, "50% of ä %zz%4");
    assert_int_equal(padded.error.reason, IPAM_REASON_POOL_NOT_FOUND);
    assert_int_equal(bare.error.reason, IPAM_REASON_POOL_NOT_FOUND);
    assert_int_equal(broken.error.reason, IPAM_REASON_NONE);
    assert_int_equal(broken.error.status, IPAM_STATUS_NOT_FOUND);
    assert_int_equal(broken.n_messages, 1);
}

static void reason_of_another_domain_is_not_ours(void **state)
{
    static const char *const answer[] = {
        ":status",
        "200",
        "content-type",
        "application/grpc",
        NULL,
        "grpc-status",
        "5",
        "grpc-status-details-bin",
        "CAUSAW0aSQoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxIdCg5QT09MX05PVF9GT1VORBILZXhhbXBsZS5vcmc",
        NULL};
    struct outcome outcome = call_peer(*state, answer, hello, 10, 0);
    assert_int_equal(outcome.code, IPAM_STATUS_NOT_FOUND);
    assert_int_equal(outcome.error.reason, IPAM_REASON_NONE);
    assert_string_equal(outcome.error.message, "NOT_FOUND");
}

static void answer_before_the_requests_end_ends_the_call(void **state)
{
    static const char *const answer[] = {":status", "200", "content-type", "application/grpc", "grpc-status",
                                         "0",       NULL};
    struct peer *peer = *state;
    struct outcome outcome = {0};
    pair_send_text(pair_start(&peer->pair, "/t.T/Echo", &outcome), "more will follow", false);
    peer_run(peer);
    peer->answer = answer;
    peer_answer(peer, 1);
    peer_run(peer);
    assert_int_equal(outcome.n_close, 1);
    assert_has(peer->seen[0], "rst(0)");
}

static void http_status_stands_in_for_a_grpc_status(void **state)
{
    static const struct {
        const char *http;
        enum ipam_status status;
    } rows[] = {{"400", IPAM_STATUS_INTERNAL},          {"401", IPAM_STATUS_UNAUTHENTICATED},
                {"403", IPAM_STATUS_PERMISSION_DENIED}, {"404", IPAM_STATUS_UNIMPLEMENTED},
                {"429", IPAM_STATUS_UNAVAILABLE},       {"502", IPAM_STATUS_UNAVAILABLE},
                {"503", IPAM_STATUS_UNAVAILABLE},       {"504", IPAM_STATUS_UNAVAILABLE},
                {"500", IPAM_STATUS_UNKNOWN},           {"200", IPAM_STATUS_UNKNOWN}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *const answer[] = {":status", rows[i].http, "content-type", "text/html", NULL, NULL};
        struct outcome outcome = call_peer(*state, answer, NULL, 0, 0);
        assert_int_equal(outcome.code, rows[i].status);
        assert_has(outcome.error.message, rows[i].http);
    }
}

static void body_of_another_protocol_is_no_message(void **state)
{
    static const char *const answer[] = {":status", "200", "content-type", "text/html", NULL, "x", "y", NULL};
    struct outcome outcome = call_peer(*state, answer, hello, 10, 0);
    assert_int_equal(outcome.n_messages, 0);
    assert_int_equal(outcome.code, IPAM_STATUS_UNKNOWN);
}

static void grpc_status_of_an_http_error_counts(void **state)
{
    static const char *const answer[] = {":status", "415", "content-type", "application/grpc", "grpc-status",
                                         "13",      NULL};
    assert_int_equal(call_peer(*state, answer, NULL, 0, 0).code, IPAM_STATUS_INTERNAL);
}

static void status_that_grpc_lacks_is_unknown(void **state)
{
    static const char *const codes[] = {"17", "-1", "", "x", "100000"};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        const char *const answer[] = {":status", "200", "content-type", "application/grpc", "grpc-status",
                                      codes[i],  NULL};
        assert_int_equal(call_peer(*state, answer, NULL, 0, 0).code, IPAM_STATUS_UNKNOWN);
    }
}

static void reset_is_mapped_to_a_status(void **state)
{
    static const char *const answer[] = {":status", "200", "content-type", "application/grpc", NULL};
    static const struct {
        uint32_t h2;
        enum ipam_status status;
    } rows[] = {{NGHTTP2_PROTOCOL_ERROR, IPAM_STATUS_INTERNAL},
                {NGHTTP2_INTERNAL_ERROR, IPAM_STATUS_INTERNAL},
                {NGHTTP2_REFUSED_STREAM, IPAM_STATUS_UNAVAILABLE},
                {NGHTTP2_CANCEL, IPAM_STATUS_CANCELLED},
                {NGHTTP2_ENHANCE_YOUR_CALM, IPAM_STATUS_RESOURCE_EXHAUSTED},
                {NGHTTP2_INADEQUATE_SECURITY, IPAM_STATUS_PERMISSION_DENIED},
                {NGHTTP2_HTTP_1_1_REQUIRED, IPAM_STATUS_UNKNOWN}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(call_peer(*state, answer, hello, 10, rows[i].h2).code, rows[i].status);
    }
}

static void truncated_answer_is_internal(void **state)
{
    static const char *const answer[] = {":status", "200", "content-type", "application/grpc", NULL, "grpc-status",
                                         "0",       NULL};
    assert_int_equal(call_peer(*state, answer, hello, 10, 0).code, IPAM_STATUS_OK);
    struct outcome outcome = call_peer(*state, answer, hello, 9, 0);
    assert_int_equal(outcome.code, IPAM_STATUS_INTERNAL);
    assert_int_equal(outcome.error.reason, IPAM_REASON_PROTOCOL_ERROR);
}

static void goaway_ends_calls_that_were_not_looked_at(void **state)
{
    struct peer *peer = *state;
    struct outcome first = {0}, second = {0};
    pair_send_text(pair_start(&peer->pair, "/t.T/Echo", &first), "x", true);
    pair_send_text(pair_start(&peer->pair, "/t.T/Echo", &second), "x", true);
    peer_run(peer);
    nghttp2_submit_goaway(peer->session, 0, 1, NGHTTP2_NO_ERROR, NULL, 0);
    peer_run(peer);
    assert_int_equal(second.error.reason, IPAM_REASON_UNREACHABLE);
    assert_int_equal(first.n_status, 0);
    assert_null(grpc_call_start(peer->endpoint, "/t.T/Echo", GRPC_NO_DEADLINE, NULL, 0, &second));
    grpc_endpoint_free(peer->endpoint);
    peer->endpoint = NULL;
}

#define CLIENT(name) cmocka_unit_test_setup_teardown(name, make_peer_client, free_peer)
#define SERVER(name) cmocka_unit_test_setup_teardown(name, make_peer_server, free_peer)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT(right_request_is_answered),
        CLIENT(content_type_may_name_proto_or_have_parameters),
        CLIENT(other_content_types_get_415),
        CLIENT(other_methods_get_405),
        CLIENT(path_that_is_no_method_is_unimplemented),
        CLIENT(encoding_other_than_identity_is_unimplemented),
        CLIENT(malformed_timeout_is_internal),
        CLIENT(timeout_units_are_read),
        CLIENT(headers_past_the_limit_are_refused),
        CLIENT(compressed_message_is_unimplemented),
        CLIENT(unknown_flag_is_internal),
        CLIENT(too_large_message_is_refused_by_its_prefix),
        CLIENT(truncated_message_is_internal),
        CLIENT(trailers_only_is_one_frame_without_padding),
        CLIENT(half_received_messages_are_bounded_per_connection),
        cmocka_unit_test(calls_past_max_streams_are_refused),
        CLIENT(other_protocol_is_an_error),
        CLIENT(broken_frame_is_an_error_and_gets_goaway),
        CLIENT(control_frames_without_end_are_an_error),
        cmocka_unit_test(refused_streams_hold_no_memory),
        CLIENT(control_frames_are_too_many_for_a_peer_that_reads_too),
        CLIENT(credit_that_is_earned_lets_more_control_frames_in),
        cmocka_unit_test(random_bytes_are_an_error),
        SERVER(padded_details_and_odd_escapes_are_read),
        SERVER(reason_of_another_domain_is_not_ours),
        SERVER(answer_before_the_requests_end_ends_the_call),
        SERVER(http_status_stands_in_for_a_grpc_status),
        SERVER(body_of_another_protocol_is_no_message),
        SERVER(grpc_status_of_an_http_error_counts),
        SERVER(status_that_grpc_lacks_is_unknown),
        SERVER(reset_is_mapped_to_a_status),
        SERVER(truncated_answer_is_internal),
        SERVER(goaway_ends_calls_that_were_not_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
