/* A connection's end, whatever libuv still has to say of it: each place that closes one, while a write is under way or is
 * done and not told yet. And what one user's connections may cost another's.
 *
 * Real sockets and a real loop; by --wrap, writes may be short, clients may be of any user, and time may be longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../daemon/ipamd/acceptor.h"
#include "../../daemon/ipamd/connection.h"
#include "grpc/health/v1/health.pb-c.h"
#include "ipam/ipam.pb-c.h"

#define CLAIMS      1000
#define CLIENTS     2 /* that every test begins with: root's */
#define CLIENTS_MAX 48
#define GROUP_READ  700
#define MS          UINT64_C(1000000)

/* ---- What is injected -------------------------------------------------------------------------------------------- */

static struct {
    bool writes_half;                /* of what it is given, so that libuv gets the rest */
    bool fails;                      /* with EPIPE */
    void (*before)(void *user);      /* each write */
    void (*after_flush)(void *user); /* once, in the iteration that has begun a write of libuv's */
    void *user;
    size_t rests;    /* writes that libuv was given */
    struct ucred as; /* who connects; pid 0: who it is */
    uint64_t now;    /* ms, of the loop; 0: as it is */
    uint64_t late;   /* ns that time is ahead */
    uint64_t slow;   /* ns that time passes when a call looks at it */
} inject;

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
uint64_t __real_uv_now(const uv_loop_t *loop);
uint64_t __wrap_uv_now(const uv_loop_t *loop);
uint64_t __real_uv_hrtime(void);
uint64_t __wrap_uv_hrtime(void);

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    if (inject.as.pid == 0 || level != SOL_SOCKET)
        return __real_getsockopt(fd, level, name, value, size);
    if (name == SO_PEERCRED)
        memcpy(value, &inject.as, sizeof inject.as);
    if (name == SO_PEERGROUPS)
        *size = 0;
    return 0;
}

uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    return inject.now > 0 ? inject.now : __real_uv_now(loop);
}

uint64_t __wrap_uv_hrtime(void)
{
    return __real_uv_hrtime() + inject.late;
}

int __real_uv_try_write(uv_stream_t *stream, const uv_buf_t buffers[], unsigned int count);
int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t buffers[], unsigned int count);
int __real_uv_write(uv_write_t *request, uv_stream_t *stream, const uv_buf_t buffers[], unsigned int count,
                    uv_write_cb done);
int __wrap_uv_write(uv_write_t *request, uv_stream_t *stream, const uv_buf_t buffers[], unsigned int count,
                    uv_write_cb done);

int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t buffers[], unsigned int count)
{
    if (inject.before)
        inject.before(inject.user);
    if (inject.fails)
        return UV_EPIPE;
    uv_buf_t some = buffers[0];
    some.len = inject.writes_half && some.len > 1 ? some.len / 2 : some.len;
    return __real_uv_try_write(stream, &some, count);
}

int __wrap_uv_write(uv_write_t *request, uv_stream_t *stream, const uv_buf_t buffers[], unsigned int count,
                    uv_write_cb done)
{
    inject.rests++;
    return __real_uv_write(request, stream, buffers, count, done);
}

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

struct client {
    int fd;
    struct grpc_endpoint *endpoint;
    size_t answers, lost;
};

struct fixture {
    char dir[64];
    int wake;
    struct store *store;
    struct writer *writer;
    struct pipeline pipeline;
    struct rpc_server *server;
    struct access access;
    struct connections all;
    uv_loop_t loop;
    struct acceptor acceptor;
    uv_prepare_t prepare;
    struct client clients[CLIENTS_MAX];
    int n;
};

static void wake(void *user)
{
    uint64_t one = 1;
    assert_int_equal(write(((struct fixture *)user)->wake, &one, sizeof one), sizeof one);
}

static struct elapsed_time elapsed_now(void *user)
{
    (void)user;
    return (struct elapsed_time){0};
}

static struct wall_time wall_now(void *user)
{
    (void)user;
    return (struct wall_time){1700000000000000000};
}

static uint64_t monotonic_now(void *user)
{
    inject.late += inject.slow;
    return uv_now(&((struct fixture *)user)->loop) * MS;
}

static void nothing(void *user)
{
    (void)user;
}

/* Claims that make a page of more than a socket takes. */
static void claims_make(struct fixture *f)
{
    static const char *const cidrs[] = {"10.0.0.0/20"};
    struct arena arena;
    arena_init(&arena);
    struct engine_ctx ctx = {
        .now = wall_now(f), .actor = {0, "test", "Test"}, .arena = &arena, .changes = pipeline_gather(&f->pipeline)};
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
    arena_done(&arena);
}

static void server_start(struct fixture *f)
{
    static const uint8_t hash_key[16] = "0123456789abcdef";
    struct ipam_error error;
    struct store_options options = {.dir = f->dir};
    assert_int_equal(store_open(&options, &f->store, &error), 0);
    struct engine *engine = engine_new(hash_key);
    assert_int_equal(store_load(f->store, engine, &error), 0);
    f->writer = writer_new(f->store, hash_key, &(struct engine_clock){0}, wake, f);
    pipeline_init(&f->pipeline, engine, f->writer, SIZE_MAX, NULL, nothing, f);
    struct rpc_server_options rpc = {.version = "1",
                                     .host = {wall_now, elapsed_now, monotonic_now, NULL, NULL, connection_wake, f},
                                     .store = f->store,
                                     .pipeline = &f->pipeline};
    f->server = rpc_server_new(&rpc);
    claims_make(f);
}

/* As the process does it: what was decided in the iteration goes out before the loop sleeps. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct fixture *f = prepare->data;
    rpc_server_turn(f->server);
    connections_flush(&f->all);
    if (inject.after_flush && inject.rests >= CLIENTS) {
        inject.after_flush(f);
        inject.after_flush = NULL;
    }
}

static void on_clients(struct acceptor *acceptor)
{
    struct fixture *f = acceptor->user;
    for (int fd; (fd = acceptor_take(acceptor)) >= 0;)
        connection_accept(&f->all, fd);
}

static const char *socket_path(const struct fixture *f)
{
    static char path[100];
    snprintf(path, sizeof path, "%s/socket", f->dir);
    return path;
}

static void loop_start(struct fixture *f)
{
    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_prepare_init(&f->loop, &f->prepare);
    f->prepare.data = f;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path(f));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(acceptor_start(&f->acceptor, &f->loop, fd, 100, on_clients, f), 0);
    uv_prepare_start(&f->prepare, on_prepare);
}

static void on_status(struct grpc_call *call, const struct grpc_status *status, void *user)
{
    (void)call;
    struct client *client = user;
    client->answers += status->code == IPAM_STATUS_OK;
    client->lost += status->code != IPAM_STATUS_OK;
}

static struct client *client_new(struct fixture *f)
{
    assert_true(f->n < CLIENTS_MAX);
    struct client *client = &f->clients[f->n++];
    static const struct grpc_callbacks callbacks = {.on_status = on_status};
    static const struct grpc_limits limits = {
        .max_streams = 100, .max_message = 64 << 20, .max_header_list = 8192, .max_unread = SIZE_MAX};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, socket_path(f));
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof address), 0);
    client->endpoint = grpc_client_new(&limits, &callbacks, "test/1", client);
    return client;
}

static void client_done(struct client *client)
{
    client->endpoint = grpc_endpoint_free(client->endpoint);
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    memset(&inject, 0, sizeof inject);
    strcpy(f->dir, "/tmp/test_connection.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->wake = eventfd(0, EFD_CLOEXEC);
    loop_start(f);
    server_start(f);
    f->access.groups[RPC_ROLE_READ] = (struct access_groups){.gids = {GROUP_READ}, .count = 1};
    f->all = (struct connections){
        .loop = &f->loop,
        .rpc = f->server,
        .access = &f->access,
        .limits = {.max_streams = 100, .max_message = 4 << 20, .max_header_list = 8192, .max_unread = 64 << 20},
        .max_buffered = 256 << 20,
    };
    connections_init(&f->all, 100, 100);
    while (f->n < CLIENTS)
        client_new(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    memset(&inject, 0, sizeof inject);
    for (int i = 0; i < f->n; i++)
        client_done(&f->clients[i]);
    connections_abort(&f->all);
    connections_done(&f->all);
    uv_close((uv_handle_t *)&f->prepare, NULL);
    acceptor_close(&f->acceptor);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
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

static void client_send(struct client *client)
{
    const uint8_t *data;
    size_t size;
    while (grpc_endpoint_output(client->endpoint, &data, &size, NULL) == 0 && size > 0) {
        ssize_t n = send(client->fd, data, size, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        grpc_endpoint_sent(client->endpoint, (size_t)n);
    }
}

static void client_receive(struct client *client)
{
    uint8_t bytes[65536];
    ssize_t n;
    while ((n = recv(client->fd, bytes, sizeof bytes, 0)) > 0)
        grpc_endpoint_receive(client->endpoint, bytes, (size_t)n, NULL);
}

/* Iterations of the loop, with the clients' bytes between them. */
static void run(struct fixture *f, int iterations, bool reads)
{
    for (int i = 0; i < iterations; i++) {
        for (int j = 0; j < f->n && f->clients[j].fd >= 0; j++) {
            client_send(&f->clients[j]);
            if (reads)
                client_receive(&f->clients[j]);
        }
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
}

static void call(struct client *client, const char *path, const ProtobufCMessage *request)
{
    uint8_t bytes[256];
    struct grpc_call *call = grpc_call_start(client->endpoint, path, GRPC_NO_DEADLINE, NULL, 0, NULL);
    assert_non_null(call);
    grpc_call_send(call, bytes, protobuf_c_message_pack(request, bytes), true);
}

static void ask_for_little(struct client *client)
{
    Ipam__V1__GetStatusRequest request = IPAM__V1__GET_STATUS_REQUEST__INIT;
    call(client, "/ipam.v1.IPAM/GetStatus", &request.base);
}

static const Grpc__Health__V1__HealthCheckRequest service_request = {
    .base = PROTOBUF_C_MESSAGE_INIT(&grpc__health__v1__health_check_request__descriptor), .service = ""};

/* What needs no role. */
static void ask_for_service(struct client *client)
{
    call(client, "/grpc.health.v1.Health/Check", &service_request.base);
}

static void ask_for_pages(struct client *client)
{
    Ipam__V1__ListClaimsRequest request = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    request.page_size = CLAIMS;
    for (int i = 0; i < 8; i++)
        call(client, "/ipam.v1.IPAM/ListClaims", &request.base);
}

/* ---- The places that close --------------------------------------------------------------------------------------- */

static void evict(void *user)
{
    ((struct fixture *)user)->all.max_buffered = 0;
}

static void stand_still_for_too_long(void *user)
{
    struct fixture *f = user;
    f->all.timeouts.stall = 1;
    connections_sweep(&f->all);
    uv_sleep(3);
    uv_update_time(&f->loop);
    connections_sweep(&f->all);
}

static void abort_all(void *user)
{
    connections_abort(&((struct fixture *)user)->all);
}

static void shut_down_and_abort(void *user)
{
    connections_shutdown(&((struct fixture *)user)->all);
    connections_flush(&((struct fixture *)user)->all);
    abort_all(user);
}

static void clients_go(void *user)
{
    struct fixture *f = user;
    for (int i = 0; i < f->n; i++)
        client_done(&f->clients[i]);
}

static void shut_down_and_clients_go(void *user)
{
    connections_shutdown(&((struct fixture *)user)->all);
    clients_go(user);
}

static void writes_fail(void *user)
{
    (void)user;
    inject.fails = true;
    inject.writes_half = false;
}

/* All connections end, and nothing of them is left but what the test's teardown finds. */
static void all_end(struct fixture *f)
{
    run(f, 20, false);
    for (int i = 0; i < 200 && f->all.first; i++) {
        usleep(1000);
        run(f, 1, true);
    }
    assert_null(f->all.first);
    assert_int_equal(f->all.seats.count, 0);
    assert_int_equal(f->all.buffered, 0);
    assert_int_equal(rpc_server_counters(f->server)->connections, 0);
    assert_false(rpc_server_busy(f->server));
}

static void begin(struct fixture *f)
{
    for (int i = 0; i < f->n; i++)
        ask_for_little(&f->clients[i]);
    run(f, 10, true);
    for (int i = 0; i < f->n; i++)
        assert_int_equal(f->clients[i].answers, 1);
    inject.user = f;
    inject.rests = 0;
}

/* libuv has written the rest at once, and has not said so when the connection ends. */
static void end_while_a_write_is_not_told(void **state, void (*close)(void *user))
{
    struct fixture *f = *state;
    begin(f);
    inject.writes_half = true;
    inject.after_flush = close;
    for (int i = 0; i < f->n; i++)
        ask_for_little(&f->clients[i]);
    run(f, 2, false);
    assert_null(inject.after_flush);
    all_end(f);
}

/* The client reads nothing, so that libuv waits for the socket. */
static void end_while_a_write_is_stuck(void **state, void (*close)(void *user))
{
    struct fixture *f = *state;
    begin(f);
    inject.after_flush = close;
    for (int i = 0; i < f->n; i++)
        ask_for_pages(&f->clients[i]);
    for (int i = 0; i < 2000 && inject.after_flush; i++) {
        run(f, 1, false);
        usleep(1000);
    }
    assert_null(inject.after_flush);
    all_end(f);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void eviction_comes_before_the_word_of_a_write(void **state)
{
    struct fixture *f = *state;
    begin(f);
    inject.writes_half = true;
    inject.before = evict;
    for (int i = 0; i < f->n; i++)
        ask_for_little(&f->clients[i]);
    run(f, 4, false);
    assert_true(inject.rests > 0);
    all_end(f);
}

static void eviction_comes_while_a_write_is_stuck(void **state)
{
    struct fixture *f = *state;
    begin(f);
    for (int i = 0; i < f->n; i++)
        ask_for_pages(&f->clients[i]);
    for (int i = 0; i < 2000 && inject.rests == 0; i++) {
        run(f, 1, false);
        usleep(1000);
    }
    assert_true(inject.rests > 0);
    f->all.max_buffered = 0;
    ask_for_little(&f->clients[0]);
    ask_for_little(&f->clients[1]);
    run(f, 4, false);
    all_end(f);
}

#define END(name, how)                                          \
    static void name##_before_the_word_of_a_write(void **state) \
    {                                                           \
        end_while_a_write_is_not_told(state, how);              \
    }                                                           \
    static void name##_while_a_write_is_stuck(void **state)     \
    {                                                           \
        end_while_a_write_is_stuck(state, how);                 \
    }

END(a_stall_ends_it, stand_still_for_too_long)
END(a_stop_ends_it, abort_all)
END(a_stop_that_asked_first_ends_it, shut_down_and_abort)
END(its_client_ends_it, clients_go)
END(its_client_ends_it_during_a_stop, shut_down_and_clients_go)

static void a_failed_write_ends_it(void **state)
{
    struct fixture *f = *state;
    begin(f);
    writes_fail(f);
    for (int i = 0; i < f->n; i++)
        ask_for_little(&f->clients[i]);
    run(f, 3, false);
    all_end(f);
}

static void a_failed_write_after_one_that_is_not_told_ends_it(void **state)
{
    struct fixture *f = *state;
    begin(f);
    inject.writes_half = true;
    inject.after_flush = writes_fail;
    for (int i = 0; i < f->n; i++)
        ask_for_little(&f->clients[i]);
    run(f, 3, false);
    for (int i = 0; i < f->n; i++)
        ask_for_little(&f->clients[i]);
    run(f, 3, false);
    all_end(f);
}

/* What is written in halves arrives as it was. */
static void short_writes_cut_no_answer(void **state)
{
    struct fixture *f = *state;
    begin(f);
    inject.writes_half = true;
    for (int i = 0; i < f->n; i++)
        ask_for_pages(&f->clients[i]);
    for (int i = 0; i < 2000 && (f->clients[0].answers < 9 || f->clients[1].answers < 9); i++) {
        run(f, 1, true);
        usleep(1000);
    }
    for (int i = 0; i < f->n; i++) {
        assert_int_equal(f->clients[i].answers, 9);
        assert_int_equal(f->clients[i].lost, 0);
    }
    assert_true(inject.rests > 8);
}

/* ---- Users ------------------------------------------------------------------------------------------------------- */

/* Clients of a user, who have had an answer. */
static struct client *clients_join(struct fixture *f, uid_t uid, gid_t gid, int count)
{
    struct client *first = &f->clients[f->n];
    run(f, 5, true); /* who is there is taken in as who it is */
    inject.as = (struct ucred){.pid = 1, .uid = uid, .gid = gid};
    for (int i = 0; i < count; i++)
        client_new(f);
    run(f, 10, true);
    inject.as.pid = 0;
    for (int i = 0; i < count; i++)
        ask_for_service(&first[i]);
    run(f, 10, true);
    for (int i = 0; i < count; i++)
        assert_int_equal(first[i].answers, 1);
    return first;
}

static int connected(struct fixture *f, const struct client *clients, int count)
{
    int found = 0;
    run(f, 3, false);
    for (int i = 0; i < count; i++) {
        char byte;
        found += recv(clients[i].fd, &byte, 1, MSG_PEEK) != 0;
    }
    return found;
}

/* Streams that wait, each of which costs a few KiB. */
static void hold(struct fixture *f, struct client *clients, int count, int streams)
{
    for (int i = 0; i < count; i++)
        for (int j = 0; j < streams; j++)
            call(&clients[i], "/grpc.health.v1.Health/Watch", &service_request.base);
    run(f, 10, true);
}

static void eviction_takes_from_the_user_that_holds_most_in_all(void **state)
{
    struct fixture *f = *state;
    struct client *many = clients_join(f, 1001, GROUP_READ, 10), *one = clients_join(f, 1002, GROUP_READ, 1);
    hold(f, one, 1, 40);
    hold(f, many, 10, 10);
    f->all.max_buffered = f->all.buffered_of[RPC_ROLE_READ] * 16 / 10 + 32 * 1024;
    for (int i = 0; i < 40 && connected(f, many, 10) == 10; i++)
        hold(f, one, 1, 1);
    assert_in_range(connected(f, many, 10), 1, 9);
    assert_int_equal(connected(f, one, 1), 1); /* though it holds more than any other */
    assert_int_equal(connected(f, f->clients, CLIENTS), CLIENTS);
}

static void what_clients_without_a_role_hold_costs_nobody_else_anything(void **state)
{
    struct fixture *f = *state;
    f->all.max_buffered = 4 << 20;
    struct client *none = clients_join(f, 1001, 1, 20), *read = clients_join(f, 1002, GROUP_READ, 1);
    hold(f, read, 1, 60);
    hold(f, f->clients, 1, 60);
    for (int i = 0; i < 10; i++)
        hold(f, none, 20, 10);
    assert_in_range(connected(f, none, 20), 1, 19);
    assert_true(f->all.buffered_of[RPC_ROLE_NONE] <= 1 << 20);
    assert_int_equal(connected(f, read, 1), 1);
    assert_int_equal(connected(f, f->clients, CLIENTS), CLIENTS);
}

/* What is kept for later is given back first. */
static void nobody_is_evicted_for_memory_that_is_only_kept(void **state)
{
    struct fixture *f = *state;
    struct client *many = clients_join(f, 1001, GROUP_READ, 20);
    assert_true(f->all.buffered > 20 * 8 * 1024);
    f->all.max_buffered = f->all.buffered;
    hold(f, many, 1, 1);
    assert_int_equal(connected(f, many, 20), 20);
    assert_true(f->all.buffered < f->all.max_buffered / 2);
}

static void memory_that_is_kept_goes_in_a_sweep_though_a_call_is_open(void **state)
{
    struct fixture *f = *state;
    struct client *one = clients_join(f, 1001, GROUP_READ, 1);
    hold(f, one, 1, 1);
    for (int i = 0; i < 60; i++)
        ask_for_service(one);
    run(f, 10, true);
    assert_int_equal(one->answers, 61);
    size_t kept = f->all.buffered_of[RPC_ROLE_READ];
    assert_true(kept > 60 * 4096);
    for (int i = 0; i < 2; i++) { /* the first one sees that calls have begun */
        connections_sweep(&f->all);
        run(f, 2, true);
    }
    assert_true(f->all.buffered_of[RPC_ROLE_READ] < kept / 4);
}

static void a_higher_role_takes_the_seat_of_an_idle_client(void **state)
{
    struct fixture *f = *state;
    f->all.seats.max = 16;
    struct client *none = clients_join(f, 1001, 1, 4);
    hold(f, &none[0], 1, 1);
    hold(f, &none[2], 2, 1);
    clients_join(f, 1002, GROUP_READ, 7);
    assert_int_equal(connected(f, none, 4), 3);
    assert_int_equal(connected(f, &none[1], 1), 0); /* the one without a call */
}

static void a_user_without_a_role_does_not_keep_another_out(void **state)
{
    struct fixture *f = *state;
    f->all.seats.max = 16;
    struct client *first = clients_join(f, 1001, 1, 4), *second = clients_join(f, 1002, 1, 2);
    assert_int_equal(connected(f, first, 4), 2);
    assert_int_equal(connected(f, second, 2), 2);
}

/* A client without a role stays without a call for as long as a stall may last. */
static void who_has_no_role_is_not_idle_for_long(void **state)
{
    struct fixture *f = *state;
    struct client *none = clients_join(f, 1001, 1, 1), *read = clients_join(f, 1002, GROUP_READ, 1);
    f->all.timeouts.stall = 20;
    for (int i = 0; i < 3; i++) {
        connections_sweep(&f->all);
        uv_sleep(15);
        uv_update_time(&f->loop);
    }
    run(f, 10, true);
    assert_int_equal(connected(f, none, 1), 0);
    assert_int_equal(connected(f, read, 1), 1);
}

static void clients_without_a_role_that_come_too_fast_are_sent_away(void **state)
{
    struct fixture *f = *state;
    run(f, 5, true);
    inject.now = f->all.roleless_at = uv_now(&f->loop);
    f->all.roleless_left = 0;
    inject.as = (struct ucred){.pid = 1, .uid = 1001, .gid = 1};
    struct client *none = client_new(f);
    run(f, 5, true);
    assert_int_equal(connected(f, none, 1), 0);
    assert_int_equal(connected(f, clients_join(f, 1002, GROUP_READ, 1), 1), 1);
}

static void what_is_said_of_one_user_hides_nothing_of_another(void **state)
{
    struct fixture *f = *state;
    struct client *noisy = clients_join(f, 1001, 1, 20), *other = clients_join(f, 1002, GROUP_READ, 1);
    for (int i = 0; i < 20; i++)
        send(noisy[i].fd, "\0\0\5\6\0\0\0\0\0short", 14, MSG_NOSIGNAL);
    run(f, 3, true);
    size_t said = f->all.lines[RPC_ROLE_NONE];
    assert_in_range(said, 1, 19);
    assert_int_equal(f->all.lines_left_out, 20 - said);
    send(other->fd, "\0\0\5\6\0\0\0\0\0short", 14, MSG_NOSIGNAL);
    run(f, 3, true);
    assert_int_equal(f->all.lines[RPC_ROLE_READ], 1);
}

/* Each call of theirs takes ms, and they come in one iteration. */
static void clients_of_one_user_take_no_more_than_its_share_of_an_iteration(void **state)
{
    struct fixture *f = *state;
    struct client *many = clients_join(f, 1001, GROUP_READ, 20), *one = clients_join(f, 1002, GROUP_READ, 1);
    inject.slow = MS;
    for (int i = 0; i < 20; i++)
        ask_for_little(&many[i]);
    ask_for_little(one);
    run(f, 3, true);
    size_t answers = 0;
    for (int i = 0; i < 20; i++)
        answers += many[i].answers - 1;
    assert_in_range(answers, 1, 8);
    assert_int_equal(one->answers, 2);
    for (int rounds = 0; rounds < 200; rounds++) {
        inject.late += 10 * MS;
        run(f, 1, true);
    }
    for (int i = 0; i < 20; i++)
        assert_int_equal(many[i].answers, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(eviction_comes_before_the_word_of_a_write),
        TEST(eviction_comes_while_a_write_is_stuck),
        TEST(a_stall_ends_it_before_the_word_of_a_write),
        TEST(a_stall_ends_it_while_a_write_is_stuck),
        TEST(a_stop_ends_it_before_the_word_of_a_write),
        TEST(a_stop_ends_it_while_a_write_is_stuck),
        TEST(a_stop_that_asked_first_ends_it_before_the_word_of_a_write),
        TEST(a_stop_that_asked_first_ends_it_while_a_write_is_stuck),
        TEST(its_client_ends_it_before_the_word_of_a_write),
        TEST(its_client_ends_it_while_a_write_is_stuck),
        TEST(its_client_ends_it_during_a_stop_before_the_word_of_a_write),
        TEST(its_client_ends_it_during_a_stop_while_a_write_is_stuck),
        TEST(a_failed_write_ends_it),
        TEST(a_failed_write_after_one_that_is_not_told_ends_it),
        TEST(short_writes_cut_no_answer),
        TEST(eviction_takes_from_the_user_that_holds_most_in_all),
        TEST(what_clients_without_a_role_hold_costs_nobody_else_anything),
        TEST(nobody_is_evicted_for_memory_that_is_only_kept),
        TEST(memory_that_is_kept_goes_in_a_sweep_though_a_call_is_open),
        TEST(a_higher_role_takes_the_seat_of_an_idle_client),
        TEST(a_user_without_a_role_does_not_keep_another_out),
        TEST(who_has_no_role_is_not_idle_for_long),
        TEST(clients_without_a_role_that_come_too_fast_are_sent_away),
        TEST(what_is_said_of_one_user_hides_nothing_of_another),
        TEST(clients_of_one_user_take_no_more_than_its_share_of_an_iteration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
