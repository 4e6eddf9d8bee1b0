/* The gRPC endpoint, both sides of it against each other. */
#include <malloc.h>

#include "grpc_pair.h"

#define PAIR_MANY 200

/* ---- Fixture --------------------------------------------------------------------------------------------------- */

static int make_pair(void **state)
{
    *state = pair_new(&pair_limits, &pair_limits);
    return 0;
}

static int free_pair(void **state)
{
    pair_free(*state);
    return 0;
}

/* ---- Helpers --------------------------------------------------------------------------------------------------- */

static void assert_text(const struct outcome *outcome, const char *text)
{
    assert_int_equal(outcome->last_size, strlen(text));
    assert_memory_equal(outcome->last, text, strlen(text));
}

static struct outcome call_with_size(struct pair *pair, size_t size)
{
    struct outcome outcome = {0};
    uint8_t *message = calloc(1, size);
    grpc_call_send(pair_start(pair, "/t.T/Echo", &outcome), message, size, true);
    pair_run(pair);
    free(message);
    assert_int_equal(outcome.n_status, 1);
    return outcome;
}

/* ---- Tests: calls ---------------------------------------------------------------------------------------------- */

static void unary_call_returns_reply_and_ok(void **state)
{
    struct pair *pair = *state;
    struct outcome outcome = pair_call(pair, "/t.T/Echo", "hello");
    assert_int_equal(outcome.code, IPAM_STATUS_OK);
    assert_int_equal(outcome.n_messages, 1);
    assert_text(&outcome, "hello");
    assert_int_equal(pair->n_requests, 1);
    assert_int_equal(pair->n_ends, 1);
    assert_int_equal(pair->n_closed, 1);
    assert_true(grpc_endpoint_ready(pair->client));
    assert_true(grpc_endpoint_ready(pair->server));
}

static void chunking_of_bytes_changes_nothing(void **state)
{
    static const size_t chunks[] = {1, 2, 3, 5, 7, 9, 64, 1000, 0};
    struct pair *pair = *state;
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        pair->chunk = chunks[i];
        struct outcome outcome = pair_call(pair, "/t.T/Echo", "hello");
        assert_int_equal(outcome.code, IPAM_STATUS_OK);
        assert_text(&outcome, "hello");
        outcome = pair_call(pair, "/t.T/Stream", "\3");
        assert_int_equal(outcome.n_bytes, 3 * PAIR_STREAM_SIZE);
        outcome = pair_call(pair, "/t.T/Fail", "");
        assert_int_equal(outcome.error.reason, IPAM_REASON_ADDRESS_IN_USE);
    }
    assert_false(pair->client_failed || pair->server_failed);
}

static void empty_message_is_a_message(void **state)
{
    struct outcome outcome = pair_call(*state, "/t.T/Echo", "");
    assert_int_equal(outcome.code, IPAM_STATUS_OK);
    assert_int_equal(outcome.n_messages, 1);
    assert_int_equal(outcome.n_bytes, 0);
}

static void server_stream_arrives_whole(void **state)
{
    struct outcome outcome = pair_call(*state, "/t.T/Stream", "\310");
    assert_int_equal(outcome.code, IPAM_STATUS_OK);
    assert_int_equal(outcome.n_messages, 200);
    assert_int_equal(outcome.n_bytes, 200 * PAIR_STREAM_SIZE);
    assert_int_equal(outcome.last[0], 1);
}

static void bidi_stream_answers_before_the_end(void **state)
{
    struct pair *pair = *state;
    struct outcome outcome = {0};
    struct grpc_call *call = pair_start(pair, "/t.T/Bidi", &outcome);
    for (size_t i = 1; i <= 50; i++) {
        pair_send_text(call, "tick", false);
        pair_run(pair);
        assert_int_equal(outcome.n_messages, i);
        assert_int_equal(outcome.n_status, 0);
    }
    pair_send_text(call, "tock", true);
    pair_run(pair);
    assert_text(&outcome, "tock");
    assert_int_equal(outcome.code, IPAM_STATUS_OK);
    assert_int_equal(outcome.n_close, 1);
}

static void thousand_calls_at_once_all_end(void **state)
{
    struct pair *pair = *state;
    struct outcome *outcomes = calloc(1000, sizeof(*outcomes));
    pair_call(pair, "/t.T/Echo", "SETTINGS come first");
    pair->chunk = 0;
    for (size_t i = 0; i < 1000; i++) {
        char text[16];
        snprintf(text, sizeof(text), "call %zu", i);
        pair_send_text(pair_start(pair, "/t.T/Echo", &outcomes[i]), text, true);
    }
    assert_int_equal(grpc_endpoint_calls(pair->client), 1000);
    pair_run(pair);
    for (size_t i = 0; i < 1000; i++) {
        char text[16];
        snprintf(text, sizeof(text), "call %zu", i);
        assert_int_equal(outcomes[i].code, IPAM_STATUS_OK);
        assert_int_equal(outcomes[i].n_close, 1);
        assert_text(&outcomes[i], text);
    }
    assert_int_equal(grpc_endpoint_calls(pair->client), 0);
    assert_int_equal(grpc_endpoint_calls(pair->server), 0);
    free(outcomes);
}

static void start_refuses_calls_past_the_peers_limit(void **state)
{
    struct grpc_limits few = pair_limits;
    few.max_streams = 3;
    struct pair *pair = pair_new(&few, &pair_limits);
    struct outcome outcome = pair_call(pair, "/t.T/Echo", "SETTINGS come first"), held[3] = {0};
    (void)state;
    for (int i = 0; i < 3; i++) {
        pair_start(pair, "/t.T/Hold", &held[i]);
    }
    assert_null(grpc_call_start(pair->client, "/t.T/Echo", GRPC_NO_DEADLINE, NULL, 0, &outcome));
    pair_run(pair);
    grpc_call_finish_ok(pair->held);
    pair_run(pair);
    assert_non_null(grpc_call_start(pair->client, "/t.T/Hold", GRPC_NO_DEADLINE, NULL, 0, &outcome));
    pair_free(pair);
}

static void metadata_reaches_the_handler(void **state)
{
    static const struct grpc_metadata metadata[] = {
        {"x-1", "a"}, {"x-2", "b"}, {"x-3", "c"}, {"x-4", "d"},       {"x-5", "e"},
        {"x-6", "f"}, {"x-7", "g"}, {"x-8", "h"}, {"key-bin", "AAE"}, {"last", "two words"},
    };
    struct pair *pair = *state;
    struct outcome outcome = {0};
    pair->chunk = 1;
    struct grpc_call *call = grpc_call_start(pair->client, "/t.T/Echo", GRPC_NO_DEADLINE, metadata, 10, &outcome);
    pair_send_text(call, "", true);
    pair_run(pair);
    assert_string_equal(pair->metadata, "user-agent=test/1;x-1=a;x-2=b;x-3=c;x-4=d;x-5=e;x-6=f;x-7=g;x-8=h;key-bin=AAE;"
                                        "last=two words;");
}

static void timeout_reaches_the_handler_rounded_up(void **state)
{
    static const struct {
        uint64_t sent, seen;
    } rows[] = {
        {GRPC_NO_DEADLINE, GRPC_NO_DEADLINE},
        {0, 0},
        {1, 1},
        {99999999, 99999999},
        {100000001, 100001000},
        {10000000000, 10000000000},
        {3600000000000, 3600000000000},
        {UINT64_MAX - 1, GRPC_NO_DEADLINE}, /* more than 64 bits of ns once it is whole hours */
    };
    struct pair *pair = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct outcome outcome = {0};
        struct grpc_call *call = grpc_call_start(pair->client, "/t.T/Echo", rows[i].sent, NULL, 0, &outcome);
        pair_send_text(call, "", true);
        pair_run(pair);
        assert_true(pair->timeout >= rows[i].sent);
        assert_int_equal(pair->timeout, rows[i].seen);
    }
}

/* ---- Tests: errors --------------------------------------------------------------------------------------------- */

static void error_travels_with_reason_message_and_details(void **state)
{
    struct outcome outcome = pair_call(*state, "/t.T/Fail", "");
    assert_int_equal(outcome.code, IPAM_STATUS_ALREADY_EXISTS);
    assert_int_equal(outcome.error.status, IPAM_STATUS_ALREADY_EXISTS);
    assert_int_equal(outcome.error.reason, IPAM_REASON_ADDRESS_IN_USE);
    assert_string_equal(outcome.error.message, "100% belegt: 10.0.0.1 gehört „web-vip“");
    assert_int_equal(outcome.error.n_details, 2);
    assert_string_equal(outcome.error.details[0].key, "holder");
    assert_string_equal(outcome.error.details[0].value, "ProxyVIP/wéb-vip");
    assert_string_equal(outcome.error.details[1].value, "main");
}

static void status_without_details_gives_code_and_message(void **state)
{
    struct outcome outcome = pair_call(*state, "/t.T/Early", "");
    assert_int_equal(outcome.code, IPAM_STATUS_ABORTED);
    assert_int_equal(outcome.error.status, IPAM_STATUS_ABORTED);
    assert_int_equal(outcome.error.reason, IPAM_REASON_NONE);
    assert_string_equal(outcome.error.message, " no need ");
}

static void early_answer_cuts_the_request_short(void **state)
{
    struct pair *pair = *state;
    struct outcome outcome = {0};
    struct grpc_call *call = pair_start(pair, "/t.T/Early", &outcome);
    pair_send_text(call, "first of many", false);
    pair_run(pair);
    assert_int_equal(outcome.n_status, 1);
    assert_int_equal(outcome.code, IPAM_STATUS_ABORTED);
    assert_int_equal(outcome.n_close, 1);
    assert_int_equal(pair->n_closed, 1);
    assert_int_equal(grpc_endpoint_calls(pair->server), 0);
}

static void client_cancel_closes_both_ends(void **state)
{
    struct pair *pair = *state;
    struct outcome cancelled = {0}, late = {0}, unsent = {0};
    struct grpc_call *call = pair_start(pair, "/t.T/Hold", &cancelled);
    pair_run(pair);
    assert_non_null(pair->held);
    grpc_call_cancel(call, false);
    assert_int_equal(cancelled.n_status, 0); /* never from within grpc_call_cancel */
    pair_run(pair);
    assert_int_equal(cancelled.error.reason, IPAM_REASON_CANCELLED);
    assert_int_equal(cancelled.n_close, 1);
    assert_null(pair->held);

    call = pair_start(pair, "/t.T/Hold", &late);
    pair_run(pair);
    grpc_call_cancel(call, true);
    pair_run(pair);
    assert_int_equal(late.code, IPAM_STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(late.error.reason, IPAM_REASON_DEADLINE_EXCEEDED);

    call = pair_start(pair, "/t.T/Echo", &unsent);
    pair_send_text(call, "never leaves", true);
    grpc_call_cancel(call, false);
    grpc_call_cancel(call, true);
    pair_run(pair);
    assert_int_equal(unsent.n_status, 1);
    assert_int_equal(unsent.code, IPAM_STATUS_CANCELLED);
    assert_int_equal(pair->n_requests, 2);
}

static void server_cancel_reaches_the_client(void **state)
{
    struct pair *pair = *state;
    struct outcome outcome = {0};
    pair_start(pair, "/t.T/Hold", &outcome);
    pair_run(pair);
    grpc_call_cancel(pair->held, false);
    pair_run(pair);
    assert_int_equal(outcome.code, IPAM_STATUS_CANCELLED);
    assert_null(pair->held);
}

static void free_ends_calls_as_unreachable(void **state)
{
    struct pair *pair = *state;
    struct outcome sent = {0}, unsent = {0};
    pair_start(pair, "/t.T/Hold", &sent);
    pair_run(pair);
    pair_send_text(pair_start(pair, "/t.T/Hold", &unsent), "x", true);
    pair->client = grpc_endpoint_free(pair->client);
    pair->server = grpc_endpoint_free(pair->server);
    assert_int_equal(sent.error.reason, IPAM_REASON_UNREACHABLE);
    assert_int_equal(unsent.error.reason, IPAM_REASON_UNREACHABLE);
    assert_int_equal(sent.n_close, 1);
    assert_int_equal(unsent.n_close, 1);
    assert_int_equal(pair->n_closed, 1);
}

/* ---- Tests: sizes and flow control ----------------------------------------------------------------------------- */

static void message_of_the_limit_passes_and_one_more_byte_does_not(void **state)
{
    struct grpc_limits more = pair_limits;
    more.max_message = PAIR_MAX_MESSAGE + 1;
    struct pair *pair = pair_new(&pair_limits, &more);
    (void)state;
    pair->chunk = 0;
    struct outcome outcome = call_with_size(pair, PAIR_MAX_MESSAGE);
    assert_int_equal(outcome.code, IPAM_STATUS_OK);
    assert_int_equal(outcome.n_bytes, PAIR_MAX_MESSAGE);
    outcome = call_with_size(pair, PAIR_MAX_MESSAGE + 1);
    assert_int_equal(outcome.code, IPAM_STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(outcome.error.reason, IPAM_REASON_MESSAGE_TOO_LARGE);
    assert_int_equal(pair->n_server_messages, 1);
    assert_int_equal(pair->n_closed, 2);
    pair_free(pair);
}

static void reply_past_the_servers_limit_arrives(void **state)
{
    struct grpc_limits less = pair_limits;
    less.max_message = PAIR_STREAM_SIZE - 1;
    struct pair *pair = pair_new(&less, &pair_limits);
    struct outcome outcome = pair_call(pair, "/t.T/Stream", "\1");
    (void)state;
    assert_int_equal(outcome.code, IPAM_STATUS_OK);
    assert_int_equal(outcome.n_bytes, PAIR_STREAM_SIZE);
    pair_free(pair);
}

static void hold_many(struct pair *pair, struct grpc_call *calls[PAIR_MANY])
{
    static struct outcome outcomes[PAIR_MANY];
    memset(outcomes, 0, sizeof(outcomes));
    for (int i = 0; i < PAIR_MANY; i++) {
        calls[i] = pair_start(pair, "/t.T/Hold", &outcomes[i]);
        pair_send_text(calls[i], "x", false);
    }
    pair_run(pair);
}

static void cancel_many(struct pair *pair, struct grpc_call *calls[PAIR_MANY])
{
    for (int i = 0; i < PAIR_MANY; i++)
        grpc_call_cancel(calls[i], false);
    pair_run(pair);
}

/* What stays of calls: nghttp2's tables, which never shrink. */
static size_t held_without_calls(struct pair *pair)
{
    struct grpc_call *calls[PAIR_MANY];
    struct outcome outcome = {0};
    pair_run(pair);
    hold_many(pair, calls);
    cancel_many(pair, calls);
    pair_send_text(pair_start(pair, "/t.T/Stream", &outcome), "\x01", true);
    pair_run(pair);
    grpc_endpoint_trim(pair->server);
    return grpc_endpoint_held(pair->server);
}

static void what_open_calls_hold_is_counted_until_they_end(void **state)
{
    struct pair *pair = *state;
    struct outcome held = {0}, streams = {0};
    size_t none = held_without_calls(pair);
    struct grpc_call *call = pair_start(pair, "/t.T/Hold", &held);
    pair_send_text(call, "x", false);
    pair_run(pair);
    size_t one = grpc_endpoint_held(pair->server);
    assert_in_range(one - none, 4096, 16384); /* a block of memory, and room to send */
    arena_alloc(grpc_call_arena(pair->held), 100000);
    assert_true(grpc_endpoint_held(pair->server) >= one + 100000);
    pair->client_reads = false;
    pair_send_text(pair_start(pair, "/t.T/Stream", &streams), "\x20", true);
    pair_run(pair);
    assert_true(grpc_endpoint_held(pair->server) >= one + 100000 + 3 * PAIR_STREAM_SIZE);
    pair->client_reads = true;
    pair_run(pair);
    assert_int_equal(streams.n_messages, 32);
    grpc_call_cancel(call, false);
    pair_run(pair);
    grpc_endpoint_trim(pair->server);
    assert_int_equal(grpc_endpoint_held(pair->server), none);
}

static void what_is_kept_of_calls_is_counted_and_is_given_back_beside_an_open_one(void **state)
{
    struct pair *pair = *state;
    struct outcome open = {0};
    struct grpc_call *calls[PAIR_MANY];
    held_without_calls(pair);
    struct grpc_call *call = pair_start(pair, "/t.T/Hold", &open);
    pair_send_text(call, "x", false);
    pair_run(pair);
    grpc_endpoint_trim(pair->server);
    size_t one = grpc_endpoint_held(pair->server);
    hold_many(pair, calls);
    cancel_many(pair, calls);
    assert_int_equal(grpc_endpoint_calls(pair->server), 1);
    assert_true(grpc_endpoint_held(pair->server) >= one + (size_t)PAIR_MANY * 4096);
    grpc_endpoint_trim(pair->server);
    assert_int_equal(grpc_endpoint_held(pair->server), one);
    grpc_call_cancel(call, false);
    pair_run(pair);
}

/* What malloc gives is what is counted, or less: for calls, for streams, and for what is kept. A sanitizer's tells nothing. */
static void all_that_a_client_makes_it_hold_is_counted(void **state)
{
    struct pair *pair = *state;
    struct grpc_call *calls[PAIR_MANY];
    pair_run(pair);
    size_t counted = grpc_endpoint_held(pair->server) + grpc_endpoint_held(pair->client), given = mallinfo2().uordblks;
    hold_many(pair, calls);
    counted = grpc_endpoint_held(pair->server) + grpc_endpoint_held(pair->client) - counted;
    given = mallinfo2().uordblks - given;
    assert_true(given <= counted + counted / 50);
    cancel_many(pair, calls);
}

static void reply_past_the_clients_limit_fails_the_call(void **state)
{
    struct grpc_limits less = pair_limits;
    less.max_message = PAIR_STREAM_SIZE - 1;
    struct pair *pair = pair_new(&pair_limits, &less);
    struct outcome outcome = pair_call(pair, "/t.T/Stream", "\1");
    (void)state;
    assert_int_equal(outcome.error.reason, IPAM_REASON_MESSAGE_TOO_LARGE);
    assert_int_equal(outcome.n_messages, 0);
    assert_int_equal(pair_call(pair, "/t.T/Echo", "still well").code, IPAM_STATUS_OK);
    pair_free(pair);
}

static void sending_past_the_limit_fails_the_call(void **state)
{
    struct grpc_limits more = pair_limits;
    more.max_message = PAIR_MAX_MESSAGE + 1;
    struct pair *pair = pair_new(&more, &pair_limits);
    (void)state;
    struct outcome outcome = call_with_size(pair, PAIR_MAX_MESSAGE + 1);
    assert_int_equal(outcome.error.reason, IPAM_REASON_MESSAGE_TOO_LARGE);
    assert_int_equal(pair->n_requests, 0);
    pair_free(pair);
}

static void stream_waits_for_a_reader_that_stops(void **state)
{
    struct pair *pair = *state;
    struct outcome outcome = {0};
    pair_run(pair);
    pair->client_reads = false;
    pair_send_text(pair_start(pair, "/t.T/Stream", &outcome), "\377", true);
    pair_run(pair);
    assert_in_range(grpc_endpoint_unread(pair->server), 64 * 1024, 256 * 1024);
    pair->client_reads = true;
    pair_run(pair);
    assert_int_equal(outcome.code, IPAM_STATUS_OK);
    assert_int_equal(outcome.n_messages, 255);
    assert_int_equal(grpc_endpoint_unread(pair->server), 0);
}

static void peer_that_never_reads_is_given_up(void **state)
{
    struct grpc_limits limits = pair_limits;
    limits.max_unread = 400000;
    struct pair *pair = pair_new(&limits, &pair_limits);
    struct outcome outcomes[10] = {0};
    (void)state;
    pair_run(pair);
    pair->client_reads = false;
    for (int i = 0; i < 10 && !pair->server_failed; i++) {
        uint8_t *message = calloc(1, PAIR_MAX_MESSAGE);
        grpc_call_send(pair_start(pair, "/t.T/Echo", &outcomes[i]), message, PAIR_MAX_MESSAGE, true);
        free(message);
        pair_run(pair);
        assert_int_equal(pair->server_failed, i >= 3);
    }
    assert_non_null(strstr(pair->server_error.message, "unread"));
    pair_free(pair);
}

static void output_stays_until_it_is_sent(void **state)
{
    struct pair *pair = *state;
    struct outcome outcome = {0};
    const uint8_t *first, *second;
    size_t first_size, second_size;
    assert_int_equal(grpc_endpoint_output(pair->client, &first, &first_size, NULL), 0);
    uint8_t *copy = malloc(first_size);
    memcpy(copy, first, first_size);
    pair_send_text(pair_start(pair, "/t.T/Echo", &outcome), "more", true);
    assert_int_equal(grpc_endpoint_output(pair->client, &second, &second_size, NULL), 0);
    assert_ptr_equal(first, second);
    assert_true(second_size > first_size);
    assert_memory_equal(copy, second, first_size);
    free(copy);
    pair_run(pair);
    assert_int_equal(outcome.code, IPAM_STATUS_OK);
}

/* ---- Tests: the end of a connection ---------------------------------------------------------------------------- */

static void server_shutdown_finishes_calls_and_takes_no_more(void **state)
{
    struct pair *pair = *state;
    struct outcome held = {0}, crossing = {0};
    pair_start(pair, "/t.T/Hold", &held);
    pair_run(pair);
    grpc_endpoint_shutdown(pair->server);
    pair_send_text(pair_start(pair, "/t.T/Echo", &crossing), "on its way already", true);
    pair_run(pair);
    assert_int_equal(crossing.code, IPAM_STATUS_UNAVAILABLE);
    assert_int_equal(crossing.error.reason, IPAM_REASON_UNREACHABLE);
    assert_int_equal(pair->n_requests, 1);
    assert_null(grpc_call_start(pair->client, "/t.T/Echo", GRPC_NO_DEADLINE, NULL, 0, &crossing));
    assert_false(grpc_endpoint_done(pair->server));
    assert_false(grpc_endpoint_done(pair->client));
    grpc_call_finish_ok(pair->held);
    pair_run(pair);
    assert_int_equal(held.code, IPAM_STATUS_OK);
    assert_true(grpc_endpoint_done(pair->server));
    assert_true(grpc_endpoint_done(pair->client));
}

static void client_shutdown_finishes_calls(void **state)
{
    struct pair *pair = *state;
    struct outcome held = {0};
    pair_start(pair, "/t.T/Hold", &held);
    pair_run(pair);
    grpc_endpoint_shutdown(pair->client);
    assert_null(grpc_call_start(pair->client, "/t.T/Echo", GRPC_NO_DEADLINE, NULL, 0, NULL));
    pair_run(pair);
    assert_false(grpc_endpoint_done(pair->client));
    grpc_call_finish_ok(pair->held);
    pair_run(pair);
    assert_int_equal(held.code, IPAM_STATUS_OK);
    assert_true(grpc_endpoint_done(pair->client));
    assert_true(grpc_endpoint_done(pair->server));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_pair, free_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unary_call_returns_reply_and_ok),
        TEST(chunking_of_bytes_changes_nothing),
        TEST(empty_message_is_a_message),
        TEST(server_stream_arrives_whole),
        TEST(bidi_stream_answers_before_the_end),
        TEST(thousand_calls_at_once_all_end),
        cmocka_unit_test(start_refuses_calls_past_the_peers_limit),
        TEST(metadata_reaches_the_handler),
        TEST(timeout_reaches_the_handler_rounded_up),
        TEST(error_travels_with_reason_message_and_details),
        TEST(status_without_details_gives_code_and_message),
        TEST(early_answer_cuts_the_request_short),
        TEST(client_cancel_closes_both_ends),
        TEST(server_cancel_reaches_the_client),
        TEST(free_ends_calls_as_unreachable),
        cmocka_unit_test(message_of_the_limit_passes_and_one_more_byte_does_not),
        cmocka_unit_test(reply_past_the_clients_limit_fails_the_call),
        cmocka_unit_test(reply_past_the_servers_limit_arrives),
        TEST(what_open_calls_hold_is_counted_until_they_end),
        TEST(what_is_kept_of_calls_is_counted_and_is_given_back_beside_an_open_one),
        TEST(all_that_a_client_makes_it_hold_is_counted),
        cmocka_unit_test(sending_past_the_limit_fails_the_call),
        TEST(stream_waits_for_a_reader_that_stops),
        cmocka_unit_test(peer_that_never_reads_is_given_up),
        TEST(output_stays_until_it_is_sent),
        TEST(server_shutdown_finishes_calls_and_takes_no_more),
        TEST(client_shutdown_finishes_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
