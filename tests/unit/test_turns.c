/* Whose call is handled in which turn of the loop: the RPC server without a loop, on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipam/ipam.pb-c.h"
#include "rpc.h"

#define CLAIMS 1000

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

static const struct grpc_limits limits = {
    .max_streams = 100, .max_message = 4 << 20, .max_header_list = 8192, .max_unread = 64 << 20};

/* A client with its connection. */
struct client {
    struct rpc_party party;
    struct rpc_peer peer;
    struct grpc_endpoint *here, *there;
    size_t answers, late; /* OK; DEADLINE_EXCEEDED */
};

struct fixture {
    char dir[64];
    int wake;
    struct store *store;
    struct writer *writer;
    struct pipeline pipeline;
    struct rpc_server *server;
    struct client heavy, light, heavy_too; /* heavy_too: of the same party as heavy */
    uint64_t now;                          /* ns */
};

static void wake(void *user)
{
    uint64_t one = 1;
    assert_int_equal(write(((struct fixture *)user)->wake, &one, sizeof one), sizeof one);
}

static struct elapsed_time elapsed_now(void *user)
{
    return (struct elapsed_time){(int64_t)((struct fixture *)user)->now};
}

static struct wall_time wall_now(void *user)
{
    return (struct wall_time){1700000000000000000 + (int64_t)((struct fixture *)user)->now};
}

static uint64_t monotonic_now(void *user)
{
    return ((struct fixture *)user)->now;
}

static void nothing(void *user)
{
    (void)user;
}

static void wake_nobody(struct grpc_endpoint *endpoint)
{
    (void)endpoint;
}

static void on_status(struct grpc_call *call, const struct grpc_status *status, void *user)
{
    (void)call;
    struct client *client = user;
    client->answers += status->code == IPAM_STATUS_OK;
    client->late += status->code == IPAM_STATUS_DEADLINE_EXCEEDED;
}

static void client_init(struct fixture *f, struct client *client, struct rpc_party *party)
{
    static const struct grpc_callbacks callbacks = {.on_status = on_status};
    struct actor actor = {.uid = 0, .command = "test", .method = ""};
    rpc_peer_init(&client->peer, f->server, party, &actor, RPC_ROLE_ADMIN, limits.max_unread);
    client->there = grpc_server_new(&limits, &rpc_callbacks, &client->peer);
    client->here = grpc_client_new(&limits, &callbacks, "test/1", client);
}

static void client_done(struct client *client)
{
    rpc_peer_done(&client->peer);
    grpc_endpoint_free(client->here);
    grpc_endpoint_free(client->there);
}

/* Claims that make a page of more than a turn's share; they are on disk when this returns. */
static void claims_make(struct fixture *f)
{
    static const char *const cidrs[] = {"10.0.0.0/20"};
    struct arena arena;
    arena_init(&arena);
    struct engine_ctx ctx = {
        .now = wall_now(f), .actor = {0, "test", "Test"}, .arena = &arena, .changes = f->pipeline.gathering};
    struct apply_pool_args pool = {.name = "p", .spec = {.cidrs = {cidrs, 1}, .uid = "", .auto_assign = true}};
    struct apply_pool_result result;
    struct claim_views claims;
    char name[201];
    assert_int_equal(engine_apply_pool(f->pipeline.engine, &ctx, &pool, &result, NULL), 0);
    for (int i = 0; i < CLAIMS; i++) {
        snprintf(name, sizeof name, "%0200d", i);
        struct allocate_args args = {.owner = {"Manual", name, ""},
                                     .pool = "p",
                                     .address = "",
                                     .ipv6_address = "",
                                     .preferred_address = "",
                                     .preferred_ipv6_address = ""};
        assert_int_equal(engine_allocate(f->pipeline.engine, &ctx, &args, &claims, NULL), 0);
    }
    struct pollfd ready = {.fd = f->wake, .events = POLLIN};
    pipeline_flush(&f->pipeline);
    assert_int_equal(poll(&ready, 1, 30000), 1);
    pipeline_take(&f->pipeline);
    assert_true(pipeline_idle(&f->pipeline));
    arena_done(&arena);
}

static int setup(void **state)
{
    static const uint8_t hash_key[16] = "0123456789abcdef";
    struct fixture *f = calloc(1, sizeof *f);
    struct ipam_error error;
    strcpy(f->dir, "/tmp/test_turns.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->wake = eventfd(0, EFD_CLOEXEC);
    f->now = 1000000000;
    struct store_options options = {.dir = f->dir};
    assert_int_equal(store_open(&options, &f->store, &error), 0);
    struct engine *engine = engine_new(hash_key);
    assert_int_equal(store_load(f->store, engine, &error), 0);
    f->writer = writer_new(f->store, hash_key, &(struct engine_clock){0}, wake, f);
    pipeline_init(&f->pipeline, engine, f->writer, nothing, f);
    struct rpc_server_options rpc = {.version = "1",
                                     .host = {wall_now, elapsed_now, monotonic_now, NULL, NULL, wake_nobody, f},
                                     .store = f->store,
                                     .pipeline = &f->pipeline,
                                     .request_timeout = 1500000};
    f->server = rpc_server_new(&rpc);
    claims_make(f);
    client_init(f, &f->heavy, &f->heavy.party);
    client_init(f, &f->light, &f->light.party);
    client_init(f, &f->heavy_too, &f->heavy.party);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    client_done(&f->heavy);
    client_done(&f->light);
    client_done(&f->heavy_too);
    f->writer = writer_free(f->writer);
    pipeline_done(&f->pipeline);
    rpc_server_free(f->server);
    f->store = store_close(f->store);
    close(f->wake);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

static bool bytes_move(struct grpc_endpoint *from, struct grpc_endpoint *to)
{
    const uint8_t *data;
    size_t size;
    assert_int_equal(grpc_endpoint_output(from, &data, &size, NULL), 0);
    if (size == 0)
        return false;
    assert_int_equal(grpc_endpoint_receive(to, data, size, NULL), 0);
    grpc_endpoint_sent(from, size);
    return true;
}

static void bytes_move_all_but(struct grpc_endpoint *from, struct grpc_endpoint *to, size_t less)
{
    const uint8_t *data;
    size_t size;
    assert_int_equal(grpc_endpoint_output(from, &data, &size, NULL), 0);
    assert_true(size > less);
    assert_int_equal(grpc_endpoint_receive(to, data, size - less, NULL), 0);
    grpc_endpoint_sent(from, size - less);
}

/* As the process does it: what was put off is looked at again when all is sent. */
static void client_run(struct client *client)
{
    while (bytes_move(client->here, client->there) || bytes_move(client->there, client->here))
        continue;
    rpc_peer_resume(&client->peer);
}

static void call_within(struct client *client, const char *path, const ProtobufCMessage *request, uint64_t timeout)
{
    uint8_t bytes[256];
    struct grpc_call *call = grpc_call_start(client->here, path, timeout, NULL, 0, NULL);
    assert_non_null(call);
    grpc_call_send(call, bytes, protobuf_c_message_pack(request, bytes), true);
}

static void call(struct client *client, const char *path, const ProtobufCMessage *request)
{
    call_within(client, path, request, GRPC_NO_DEADLINE);
}

static void ask_for_pages(struct client *client, int count)
{
    Ipam__V1__ListClaimsRequest request = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    request.page_size = CLAIMS;
    for (int i = 0; i < count; i++)
        call(client, "/ipam.v1.IPAM/ListClaims", &request.base);
    client_run(client);
}

static void ask_for_little(struct client *client)
{
    Ipam__V1__GetStatusRequest request = IPAM__V1__GET_STATUS_REQUEST__INIT;
    call(client, "/ipam.v1.IPAM/GetStatus", &request.base);
    client_run(client);
}

static void turn(struct fixture *f)
{
    rpc_server_turn(f->server);
    client_run(&f->heavy);
    client_run(&f->light);
    client_run(&f->heavy_too);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void large_answers_are_made_one_a_turn(void **state)
{
    struct fixture *f = *state;
    uint64_t wait;
    turn(f);
    ask_for_pages(&f->heavy, 5);
    assert_int_equal(f->heavy.answers, 1);
    assert_true(rpc_server_waits(f->server, &wait));
    turn(f); /* after one in which it was served; it has had nothing for long */
    for (size_t answers = 2; answers <= 5; answers++) {
        assert_int_equal(f->heavy.answers, answers);
        assert_int_equal(rpc_server_waits(f->server, &wait), answers < 5);
        assert_int_equal(wait, 0); /* nobody else has anything to do */
        turn(f);
    }
    assert_int_equal(f->heavy.answers, 5);
}

static void those_who_ask_for_little_are_served_in_between(void **state)
{
    struct fixture *f = *state;
    uint64_t wait;
    turn(f);
    ask_for_pages(&f->heavy, 5);
    turn(f);
    assert_int_equal(f->heavy.answers, 2);
    for (size_t i = 1; i <= 3; i++) {
        ask_for_little(&f->light);
        assert_int_equal(f->light.answers, i); /* at once */
        assert_true(rpc_server_waits(f->server, &wait));
        assert_int_equal(wait, 5);
        turn(f);
        assert_int_equal(f->heavy.answers, 2); /* it stands back */
    }
    f->now += 5000000;
    ask_for_little(&f->light);
    turn(f);
    assert_int_equal(f->heavy.answers, 3); /* but not for ever */
}

static void those_who_wait_take_turns(void **state)
{
    struct fixture *f = *state;
    turn(f);
    ask_for_pages(&f->heavy, 4);
    ask_for_pages(&f->light, 4);
    for (size_t answers = 1; answers <= 4; answers++) {
        assert_int_equal(f->heavy.answers, answers);
        assert_int_equal(f->light.answers, answers - 1);
        turn(f);
        turn(f);
    }
    assert_int_equal(f->light.answers, 4);
}

/* Two connections of one user get no more than one of another does. */
static void users_take_turns_whatever_connections_they_have(void **state)
{
    struct fixture *f = *state;
    turn(f);
    ask_for_pages(&f->heavy, 4);
    ask_for_pages(&f->heavy_too, 4);
    ask_for_pages(&f->light, 4);
    for (size_t turns = 0; f->light.answers < 4 && turns < 20; turns++)
        turn(f);
    assert_int_equal(f->light.answers, 4);
    assert_in_range(f->heavy.answers + f->heavy_too.answers, 4, 6);
    assert_in_range(f->heavy_too.answers, 2, 3);
    for (size_t turns = 0; turns < 20; turns++)
        turn(f);
    assert_int_equal(f->heavy.answers + f->heavy_too.answers, 8);
}

/* Whoever comes anew, too: else a client would only have to connect again. */
static void a_large_answer_is_not_made_while_others_are_served(void **state)
{
    struct fixture *f = *state;
    turn(f);
    ask_for_pages(&f->heavy, 1);
    assert_int_equal(f->heavy.answers, 1); /* there was nobody else */
    turn(f);
    ask_for_little(&f->light);
    ask_for_pages(&f->heavy, 1);
    turn(f);
    assert_int_equal(f->heavy.answers, 1);
    f->now += 5000000;
    ask_for_little(&f->light);
    ask_for_pages(&f->heavy, 1);
    turn(f);
    assert_int_equal(f->heavy.answers, 2); /* one, as in each turn */
    f->now += 5000000;
    turn(f);
    assert_int_equal(f->heavy.answers, 3);
}

/* What it leaves unread is all that is held for it, and not what that was made of. */
static void no_more_large_answers_are_made_for_one_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    const size_t mib = 1024 * 1024, calls = 20;
    Ipam__V1__ListClaimsRequest request = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    request.page_size = CLAIMS;
    for (size_t i = 0; i < calls; i++)
        call(&f->heavy, "/ipam.v1.IPAM/ListClaims", &request.base);
    while (bytes_move(f->heavy.here, f->heavy.there))
        continue;
    for (size_t i = 0; i < 2 * calls; i++) {
        rpc_server_turn(f->server);
        rpc_peer_resume(&f->heavy.peer);
        f->now += 5000000;
    }
    assert_in_range(grpc_endpoint_unread(f->heavy.there), mib, 3 * mib / 2);
    assert_in_range(grpc_endpoint_held(f->heavy.there) + f->heavy.peer.held, 0, 3 * mib);
    ask_for_little(&f->light);
    assert_int_equal(f->light.answers, 1);
    for (size_t i = 0; i < 2 * calls; i++) {
        turn(f);
        f->now += 5000000;
    }
    assert_int_equal(f->heavy.answers, calls); /* it has read on */
}

static void calls_end_when_their_deadline_has_passed(void **state)
{
    struct fixture *f = *state;
    static const uint64_t timeouts[] = {3000000, 1000000, 2000000, GRPC_NO_DEADLINE};
    Ipam__V1__ListClaimsRequest request = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    turn(f);
    ask_for_pages(&f->heavy, 1);
    ask_for_little(&f->light);
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++)
        call_within(&f->light, "/ipam.v1.IPAM/ListClaims", &request.base, timeouts[i]);
    client_run(&f->light);
    assert_int_equal(f->light.late, 0);
    for (size_t late = 0; late <= 3; late++) {
        rpc_server_expire(f->server);
        client_run(&f->light);
        assert_int_equal(f->light.late, late);
        f->now += 1000000;
    }
    f->now += 1000000000;
    rpc_server_expire(f->server);
    turn(f);
    assert_int_equal(f->light.late, 3);
    assert_int_equal(f->light.answers, 2); /* the little one, and the one that may wait for ever */
}

/* A stream may be open for ever, and a message of it may not stay half sent. */
static void a_half_sent_message_of_a_stream_has_an_end(void **state)
{
    struct fixture *f = *state;
    static const char *const info = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    uint8_t message[500] = {0};
    struct grpc_call *quiet = grpc_call_start(f->light.here, info, GRPC_NO_DEADLINE, NULL, 0, NULL);
    client_run(&f->heavy);
    grpc_call_send(grpc_call_start(f->heavy.here, info, GRPC_NO_DEADLINE, NULL, 0, NULL), message, sizeof message,
                   false);
    bytes_move_all_but(f->heavy.here, f->heavy.there, 100);
    for (int i = 0; i < 4; i++) {
        grpc_call_send(quiet, (const uint8_t *)"\x3a", 2, false); /* list_services: "" */
        client_run(&f->light);
        f->now += 1500000;
        rpc_server_expire(f->server);
        while (bytes_move(f->heavy.there, f->heavy.here))
            continue;
        assert_int_equal(f->heavy.late, i >= 1);
    }
    assert_int_equal(f->light.late, 0);
    assert_int_equal(grpc_endpoint_calls(f->light.there), 1);
}

static void a_connection_that_goes_waits_no_longer(void **state)
{
    struct fixture *f = *state;
    uint64_t wait;
    turn(f);
    ask_for_pages(&f->heavy, 4);
    rpc_peer_done(&f->heavy.peer);
    assert_false(rpc_server_waits(f->server, &wait));
    turn(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(large_answers_are_made_one_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(those_who_ask_for_little_are_served_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(those_who_wait_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(users_take_turns_whatever_connections_they_have, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_answer_is_not_made_while_others_are_served, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_large_answers_are_made_for_one_that_does_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_end_when_their_deadline_has_passed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_half_sent_message_of_a_stream_has_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connection_that_goes_waits_no_longer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
