/* libipam against a server in a thread: the blocking client and the channel. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <uv.h>

#include <ipam/client.h>

#include "grpc_host.h"

/* ---- Fixture --------------------------------------------------------------------------------------------------- */

struct fixture {
    struct host host;
    struct ipam_options options;
    struct ipam_client *client;
    uv_loop_t loop;
    struct ipam_channel *channel;
    size_t n_done, n_ok;
    struct ipam_error error; /* of the last call */
    uint64_t revision;
    bool is_closed, in_call;
};

static int make_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    host_init(&fixture->host);
    host_start(&fixture->host);
    fixture->options.socket = fixture->host.path;
    fixture->options.timeout_ms = 5000;
    uv_loop_init(&fixture->loop);
    assert_int_equal(ipam_client_new(&fixture->options, &fixture->client, NULL), 0);
    *state = fixture;
    return 0;
}

static void on_closed(void *user)
{
    struct fixture *fixture = user;
    fixture->is_closed = true;
}

static void close_channel(struct fixture *fixture)
{
    if (fixture->channel != NULL) {
        ipam_channel_close(fixture->channel, on_closed, fixture);
        uv_run(&fixture->loop, UV_RUN_DEFAULT);
        assert_true(fixture->is_closed);
        fixture->channel = NULL;
    }
}

static int free_fixture(void **state)
{
    struct fixture *fixture = *state;
    close_channel(fixture);
    ipam_client_free(fixture->client);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    host_stop(&fixture->host);
    free(fixture);
    return 0;
}

/* ---- Helpers --------------------------------------------------------------------------------------------------- */

static int get_pool(struct fixture *fixture, const char *name, struct ipam_error *reterr)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    Ipam__V1__GetPoolReply *reply;
    request.name = (char *)name;
    if (ipam_get_pool(fixture->client, &request, &reply, reterr) < 0) {
        return -1;
    }
    assert_string_equal(reply->pool->spec->name, name);
    assert_int_equal(reply->revision, 7);
    ipam_reply_free(reply);
    return 0;
}

static void on_reply(const ProtobufCMessage *reply, const struct ipam_error *error, void *user)
{
    struct fixture *fixture = user;
    assert_false(fixture->in_call);
    assert_true((reply == NULL) != (error == NULL));
    fixture->n_done++;
    if (reply != NULL) {
        fixture->n_ok++;
        fixture->revision = ((const Ipam__V1__GetPoolReply *)reply)->revision;
    } else {
        fixture->error = *error;
    }
}

static struct ipam_pending *start(struct fixture *fixture, const char *name, uint32_t timeout_ms,
                                  ipam_reply_cb callback)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    request.name = (char *)name;
    if (fixture->channel == NULL) {
        assert_int_equal(ipam_channel_new(&fixture->loop, &fixture->options, &fixture->channel, NULL), 0);
    }
    fixture->in_call = true;
    struct ipam_pending *pending =
        ipam_channel_call(fixture->channel, "/ipam.v1.IPAM/GetPool", &request.base,
                          &ipam__v1__get_pool_reply__descriptor, timeout_ms, callback, fixture, NULL);
    fixture->in_call = false;
    assert_non_null(pending);
    return pending;
}

static void run_until(struct fixture *fixture, size_t n_done)
{
    while (fixture->n_done < n_done) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

static uint64_t ms(void)
{
    return uv_hrtime() / 1000000;
}

/* ---- Tests: blocking ------------------------------------------------------------------------------------------- */

static void blocking_call_returns_the_reply(void **state)
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get_pool(*state, "main", NULL), 0);
    }
    assert_int_equal(((struct fixture *)*state)->host.n_connections, 1);
}

static void server_error_arrives_with_reason_and_details(void **state)
{
    struct ipam_error error = {0};
    assert_int_equal(get_pool(*state, "missing", &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_POOL_NOT_FOUND);
    assert_int_equal(error.status, IPAM_STATUS_NOT_FOUND);
    assert_string_equal(error.message, "pool not found: missing");
    assert_int_equal(error.n_details, 1);
    assert_string_equal(error.details[0].value, "missing");
}

static void reply_that_is_no_reply_is_a_protocol_error(void **state)
{
    static const char *const names[][2] = {
        {"garbage", "can't be decoded"}, {"nothing", "is missing"}, {"twice", "is followed by another one"}};
    for (size_t i = 0; i < 3; i++) {
        struct ipam_error error = {0};
        assert_int_equal(get_pool(*state, names[i][0], &error), -1);
        assert_int_equal(error.reason, IPAM_REASON_PROTOCOL_ERROR);
        assert_non_null(strstr(error.message, names[i][1]));
        assert_non_null(strstr(error.message, "ipam.v1.GetPoolReply"));
    }
    assert_int_equal(get_pool(*state, "main", NULL), 0);
}

static void reply_past_max_message_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_error error = {0};
    fixture->client = ipam_client_free(fixture->client);
    fixture->options.max_message = 100000;
    assert_int_equal(ipam_client_new(&fixture->options, &fixture->client, NULL), 0);
    assert_int_equal(get_pool(fixture, "big", &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_MESSAGE_TOO_LARGE);
    assert_int_equal(get_pool(fixture, "main", NULL), 0);
}

static void blocking_call_ends_at_its_deadline(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_error error = {0};
    assert_int_equal(get_pool(fixture, "main", NULL), 0);
    ipam_client_set_timeout(fixture->client, 100);
    uint64_t begin = ms();
    assert_int_equal(get_pool(fixture, "hold", &error), -1);
    assert_in_range(ms() - begin, 99, 4000);
    assert_int_equal(error.reason, IPAM_REASON_DEADLINE_EXCEEDED);
    assert_int_equal(error.status, IPAM_STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(get_pool(fixture, "main", NULL), 0);
}

static void unreachable_says_where_and_why(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_error error = {0};
    struct ipam_options options = {.socket = "/tmp/no-such-folder/ipamd.sock"};
    struct ipam_client *client;
    assert_int_equal(ipam_client_new(&options, &client, NULL), 0);
    assert_string_equal(ipam_client_socket(client), options.socket);
    assert_int_equal(ipam_call(client, "/a/b",
                               (ProtobufCMessage *)&(Ipam__V1__GetPoolRequest)IPAM__V1__GET_POOL_REQUEST__INIT,
                               &ipam__v1__get_pool_reply__descriptor, NULL, &error),
                     -1);
    assert_int_equal(error.reason, IPAM_REASON_UNREACHABLE);
    assert_string_equal(
        error.message,
        "can't reach ipamd at /tmp/no-such-folder/ipamd.sock: No such file or directory; is ipamd running?");
    ipam_client_free(client);
    host_stop(&fixture->host);
    assert_int_equal(get_pool(fixture, "main", &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_UNREACHABLE);
    host_start(&fixture->host);
    assert_int_equal(get_pool(fixture, "main", NULL), 0);
}

static void permission_denied_names_the_permission(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_error error = {0};
    bool is_root = geteuid() == 0;
    assert_int_equal(chmod(fixture->host.path, 0), 0);
    if (is_root && seteuid(65534) != 0) {
        skip();
    }
    int code = get_pool(fixture, "main", &error);
    assert_int_equal(is_root ? seteuid(0) : 0, 0);
    assert_int_equal(code, -1);
    assert_non_null(strstr(error.message, "Permission denied; it takes write permission on the socket"));
}

static void too_long_socket_path_is_refused(void **state)
{
    struct ipam_client *client = NULL;
    struct ipam_error error = {0};
    char path[110] = {0};
    struct ipam_options options = {.socket = path};
    (void)state;
    memset(path, 'x', 107);
    assert_int_equal(ipam_client_new(&options, &client, NULL), 0);
    ipam_client_free(client);
    memset(path, 'x', 108);
    assert_int_equal(ipam_client_new(&options, &client, &error), -1);
    assert_non_null(strstr(error.message, "write at most 107"));
}

static void socket_may_be_written_as_grpc_writes_it(void **state)
{
    static const char *const addresses[] = {"unix:///run/x.sock", "unix:/run/x.sock", "/run/x.sock"};
    (void)state;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct ipam_options options = {.socket = addresses[i]};
        struct ipam_client *client = NULL;
        assert_int_equal(ipam_client_new(&options, &client, NULL), 0);
        assert_string_equal(ipam_client_socket(client), "/run/x.sock");
        ipam_client_free(client);
    }
}

static void client_finds_a_server_that_was_restarted(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get_pool(fixture, "main", NULL), 0);
        host_stop(&fixture->host);
        host_start(&fixture->host);
    }
    assert_int_equal(get_pool(fixture, "main", NULL), 0);
    assert_int_equal(fixture->host.n_connections, 4);
}

static void server_that_says_goaway_is_connected_to_again(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(get_pool(fixture, "goaway", NULL), 0);
    assert_int_equal(get_pool(fixture, "main", NULL), 0);
    assert_int_equal(fixture->host.n_connections, 2);
}

/* ---- Tests: the channel ---------------------------------------------------------------------------------------- */

static void pipelined_calls_are_all_answered(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 5000; i++) { /* more than the server takes at once */
        start(fixture, "main", 300000, on_reply);
    }
    run_until(fixture, 5000);
    assert_int_equal(fixture->n_ok, 5000);
    assert_int_equal(fixture->revision, 7);
    assert_true(ipam_channel_connected(fixture->channel));
    assert_int_equal(fixture->host.n_connections, 1);
}

static void on_reply_start_another(const ProtobufCMessage *reply, const struct ipam_error *error, void *user)
{
    struct fixture *fixture = user;
    on_reply(reply, error, user);
    if (fixture->n_done < 200) {
        start(fixture, "main", 0, on_reply_start_another);
    }
}

static void callback_may_start_calls(void **state)
{
    struct fixture *fixture = *state;
    start(fixture, "main", 0, on_reply_start_another);
    run_until(fixture, 200);
    assert_int_equal(fixture->n_ok, 200);
}

static void deadlines_fall_in_their_own_order(void **state)
{
    static const uint32_t timeouts[] = {300, 100, 200, 60, 250};
    struct fixture *fixture = *state;
    uint64_t begin = ms();
    for (size_t i = 0; i < 5; i++) {
        start(fixture, "hold", timeouts[i], on_reply);
    }
    start(fixture, "main", 0, on_reply);
    run_until(fixture, 2);
    assert_in_range(ms() - begin, 60, 4000); /* never early; how late is the machine's affair */
    run_until(fixture, 4);
    assert_in_range(ms() - begin, 200, 4000);
    run_until(fixture, 6);
    assert_in_range(ms() - begin, 300, 4000);
    assert_int_equal(fixture->n_ok, 1);
    assert_int_equal(fixture->error.reason, IPAM_REASON_DEADLINE_EXCEEDED);
}

static void cancelled_call_ends_from_the_loop(void **state)
{
    struct fixture *fixture = *state;
    start(fixture, "main", 0, on_reply);
    run_until(fixture, 1);
    struct ipam_pending *held = start(fixture, "hold", 0, on_reply);
    while (fixture->host.n_calls < 2) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
    ipam_channel_cancel(fixture->channel, held);
    assert_int_equal(fixture->n_done, 1);
    run_until(fixture, 2);
    assert_int_equal(fixture->error.reason, IPAM_REASON_CANCELLED);
    while (fixture->host.n_closed < 2) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
}

static void waiting_call_can_be_cancelled(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_pending *pending = start(fixture, "main", 0, on_reply); /* not connected yet */
    ipam_channel_cancel(fixture->channel, pending);
    assert_int_equal(fixture->n_done, 0);
    run_until(fixture, 1);
    assert_int_equal(fixture->error.reason, IPAM_REASON_CANCELLED);
}

static void close_cancels_calls_under_way(void **state)
{
    struct fixture *fixture = *state;
    start(fixture, "hold", 0, on_reply);
    start(fixture, "main", 0, on_reply);
    run_until(fixture, 1);
    start(fixture, "main", 0, on_reply);
    struct ipam_channel *channel = fixture->channel;
    ipam_channel_close(channel, on_closed, fixture);
    fixture->channel = NULL;
    assert_int_equal(fixture->n_done, 1);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_true(fixture->is_closed);
    assert_int_equal(fixture->n_done, 3);
    assert_int_equal(fixture->n_ok, 1);
    assert_int_equal(fixture->error.reason, IPAM_REASON_CANCELLED);
}

static void on_reply_close(const ProtobufCMessage *reply, const struct ipam_error *error, void *user)
{
    struct fixture *fixture = user;
    on_reply(reply, error, user);
    if (fixture->channel != NULL) {
        ipam_channel_close(fixture->channel, on_closed, fixture);
        fixture->channel = NULL;
    }
}

static void callback_may_close_the_channel(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 10; i++) {
        start(fixture, "main", 0, on_reply_close);
    }
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_true(fixture->is_closed);
    assert_int_equal(fixture->n_done, 10);
}

static void lost_connection_fails_calls_and_comes_back(void **state)
{
    struct fixture *fixture = *state;
    start(fixture, "main", 0, on_reply);
    run_until(fixture, 1);
    start(fixture, "hold", 0, on_reply);
    while (fixture->host.n_calls < 2) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
    host_stop(&fixture->host);
    run_until(fixture, 2);
    assert_int_equal(fixture->error.reason, IPAM_REASON_UNREACHABLE);
    assert_non_null(strstr(fixture->error.message, fixture->host.path));
    while (ipam_channel_connected(fixture->channel)) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    start(fixture, "main", 0, on_reply);
    run_until(fixture, 3);
    assert_int_equal(fixture->error.reason, IPAM_REASON_UNREACHABLE);
    host_start(&fixture->host);
    while (!ipam_channel_connected(fixture->channel)) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    start(fixture, "main", 0, on_reply);
    run_until(fixture, 4);
    assert_int_equal(fixture->n_ok, 2);
}

static void wait_for_ready_waits_for_the_server(void **state)
{
    struct fixture *fixture = *state;
    host_stop(&fixture->host);
    fixture->options.wait_for_ready = true;
    start(fixture, "main", 0, on_reply);
    start(fixture, "main", 150, on_reply);
    run_until(fixture, 1);
    assert_int_equal(fixture->error.reason, IPAM_REASON_DEADLINE_EXCEEDED);
    assert_non_null(strstr(fixture->error.message, "No such file or directory"));
    host_start(&fixture->host);
    run_until(fixture, 2);
    assert_int_equal(fixture->n_ok, 1);
}

static void backoff_spreads_attempts(void **state)
{
    struct fixture *fixture = *state;
    host_stop(&fixture->host);
    fixture->options.backoff_min_ms = 20;
    fixture->options.backoff_max_ms = 80;
    start(fixture, "main", 0, on_reply);
    run_until(fixture, 1);
    size_t n_turns = 0;
    for (uint64_t begin = ms(); ms() - begin < 500; n_turns++) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    /* Each attempt is one turn of the loop for its timer and one for the attempt: 20, 40, 80, 80 … ms, less jitter. */
    assert_in_range(n_turns, 3, 60);
    host_start(&fixture->host);
    while (!ipam_channel_connected(fixture->channel)) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, free_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocking_call_returns_the_reply),
        TEST(server_error_arrives_with_reason_and_details),
        TEST(reply_that_is_no_reply_is_a_protocol_error),
        TEST(reply_past_max_message_is_refused),
        TEST(blocking_call_ends_at_its_deadline),
        TEST(unreachable_says_where_and_why),
        TEST(permission_denied_names_the_permission),
        TEST(too_long_socket_path_is_refused),
        TEST(socket_may_be_written_as_grpc_writes_it),
        TEST(client_finds_a_server_that_was_restarted),
        TEST(server_that_says_goaway_is_connected_to_again),
        TEST(pipelined_calls_are_all_answered),
        TEST(callback_may_start_calls),
        TEST(deadlines_fall_in_their_own_order),
        TEST(cancelled_call_ends_from_the_loop),
        TEST(waiting_call_can_be_cancelled),
        TEST(close_cancels_calls_under_way),
        TEST(callback_may_close_the_channel),
        TEST(lost_connection_fails_calls_and_comes_back),
        TEST(wait_for_ready_waits_for_the_server),
        TEST(backoff_spreads_attempts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
