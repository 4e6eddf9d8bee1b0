/* What peers send, damaged at random: the gRPC endpoint of a server and the messages of the bus.
 *
 * Each round begins with something good. It prints its seed; FUZZ_SEED and FUZZ_ROUNDS repeat and lengthen it. Sanitizers look on.
 */
#include "../unit/grpc_peer.h"
#include "event.h"
#include "fuzz.h"

#define ROUNDS 50000

static uint64_t seed;

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

static const struct grpc_limits limits = {
    .max_streams = 8, .max_message = 4096, .max_header_list = 1024, .max_unread = 256 * 1024};

/* What a server may hold for a peer with these limits, calls that nghttp2 has not closed yet among them. */
#define HELD_IDLE (144 * 1024) /* 80 KiB for what is sent, and header tables of 4 KiB with what makes them up */
#define HELD_MAX  (HELD_IDLE + 256 * 1024 + 4 * 4096 + 64 * 1024)

/* A client's whole session: preface, SETTINGS and a few calls; each frame is a piece. */
static void session_record(struct fuzz_input *input, struct fuzz_random *random)
{
    static const char *const paths[] = {"/t.T/Echo", "/t.T/Fail",   "/t.T/Bidi",
                                        "/t.T/Hold", "/t.T/Stream", "/t.T/Early"};
    static const uint8_t body[] = {0, 0, 0, 0, 5, 3, 'e', 'l', 'l', 'o', 0, 0, 0, 0, 1, 2};
    struct peer *peer = peer_new(true, &limits);
    const uint8_t *data;
    ssize_t size;
    for (uint32_t i = 0; i < 1 + fuzz_below(random, 6); i++) {
        const char *path = paths[fuzz_below(random, sizeof paths / sizeof *paths)];
        const char *const texts[] = {":method",
                                     "POST",
                                     ":scheme",
                                     "http",
                                     ":path",
                                     path,
                                     ":authority",
                                     "host",
                                     "te",
                                     "trailers",
                                     "content-type",
                                     "application/grpc",
                                     "grpc-timeout",
                                     "20S",
                                     "x-bin",
                                     "AAEC",
                                     NULL};
        nghttp2_nv headers[16];
        peer->bodies[i] = (struct body){body, fuzz_below(random, sizeof body + 1), fuzz_below(random, 4) > 0};
        nghttp2_data_provider provider = {{.ptr = &peer->bodies[i]}, peer_read};
        nghttp2_submit_request(peer->session, NULL, headers, headers_of(texts, headers), &provider, NULL);
    }
    nghttp2_submit_ping(peer->session, 0, NULL);
    while ((size = nghttp2_session_mem_send(peer->session, &data)) > 0 && input->n_pieces < FUZZ_PIECES) {
        input->pieces[input->n_pieces++] = input->size;
        fuzz_append(input, data, (size_t)size);
    }
    peer_free(peer);
}

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

/* In copies of just the size: reads past them show under AddressSanitizer. */
static int endpoint_feed(struct grpc_endpoint *endpoint, const uint8_t *bytes, size_t size)
{
    struct ipam_error error;
    uint8_t *copy = malloc(size);
    memcpy(copy, bytes, size);
    int status = grpc_endpoint_receive(endpoint, copy, size, &error);
    free(copy);
    return status;
}

static int endpoint_drain(struct grpc_endpoint *endpoint, struct fuzz_random *random)
{
    struct ipam_error error;
    const uint8_t *data;
    size_t size;
    if (grpc_endpoint_output(endpoint, &data, &size, &error) < 0)
        return -1;
    grpc_endpoint_sent(endpoint, size > 0 ? fuzz_below(random, size + 1) : 0);
    return 0;
}

/* Without a call, and with what is kept for one given back, there are the buffer of what is sent, header tables, and frames
 * that wait. */
static void endpoint_check_held(struct grpc_endpoint *endpoint)
{
    assert_true(grpc_endpoint_held(endpoint) <= HELD_MAX);
    if (grpc_endpoint_calls(endpoint) > 0)
        return;
    grpc_endpoint_trim(endpoint);
    assert_true(grpc_endpoint_held(endpoint) <= HELD_IDLE + 4 * grpc_endpoint_unread(endpoint));
}

static void endpoint_suffer(struct grpc_endpoint *endpoint, const struct fuzz_input *input, struct fuzz_random *random)
{
    int status = 0;
    for (size_t at = 0, size; at < input->size && status == 0; at += size) {
        size = 1 + fuzz_below(random, fuzz_below(random, 2) ? 16 : input->size);
        size = size < input->size - at ? size : input->size - at;
        status = endpoint_feed(endpoint, input->bytes + at, size);
        if (status == 0 && fuzz_below(random, 2))
            status = endpoint_drain(endpoint, random);
        endpoint_check_held(endpoint);
    }
    if (status < 0) /* for good */
        assert_int_equal(endpoint_feed(endpoint, input->bytes, 1), -1);
}

static size_t event_record(enum event_kind kind, uint8_t *ret)
{
    static uint8_t hash[32] = {1, 2, 3};
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    Ipam__V1__Claim claim = IPAM__V1__CLAIM__INIT;
    Ipam__V1__PoolSpec spec = IPAM__V1__POOL_SPEC__INIT;
    Ipam__V1__Pool pool = IPAM__V1__POOL__INIT;
    Ipam__V1__Change change = IPAM__V1__CHANGE__INIT;
    char cidr[] = "10.0.0.0/24", *cidrs[] = {cidr, cidr};
    if (kind == EVENT_TICK)
        return event_put_tick(1234567, 2000, ret);
    owner.kind = "ProxyVIP";
    owner.name = spec.name = "web";
    spec.cidrs = cidrs;
    spec.n_cidrs = 2;
    claim.owner = &owner;
    pool.spec = &spec;
    change.revision = 300;
    change.hash = (ProtobufCBinaryData){sizeof hash, hash};
    change.entity_case = kind == EVENT_POOL ? IPAM__V1__CHANGE__ENTITY_POOL : IPAM__V1__CHANGE__ENTITY_CLAIM;
    if (kind == EVENT_POOL)
        change.pool = &pool;
    else
        change.claim = &claim;
    uint8_t *end = event_put_topic(kind, "ProxyVIP", "web", ret);
    return (size_t)(end - ret) + ipam__v1__change__pack(&change, end);
}

static void event_suffer(const struct fuzz_input *input)
{
    uint8_t *copy = malloc(input->size);
    struct event event;
    struct ipam_error error = {0};
    uint64_t revision;
    uint32_t interval;
    Ipam__V1__Change *change = NULL;
    memcpy(copy, input->bytes, input->size);
    int status = event_parse(copy, input->size, &event, &error);
    if (status == 0 && event.kind == EVENT_TICK)
        status = event_read_tick(&event, &revision, &interval, &error);
    else if (status == 0)
        status = event_read_change(&event, NULL, &change, &error);
    if (status < 0)
        assert_int_equal(error.reason, IPAM_REASON_MALFORMED_MESSAGE);
    if (change) {
        assert_true(change->revision > 0);
        ipam__v1__change__free_unpacked(change, NULL);
    }
    free(copy);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

/* Whatever comes of it: no crash, no more memory than may be, and every call that began has ended. */
static void damaged_sessions_do_no_harm(void **state)
{
    static struct fuzz_input input;
    size_t requests = 0;
    (void)state;
    for (unsigned int round = 0, rounds = fuzz_rounds(ROUNDS); round < rounds; round++) {
        struct fuzz_random random = fuzz_random_of(seed, round);
        struct pair pair = {.seed = 1};
        input.size = input.n_pieces = 0;
        session_record(&input, &random);
        for (uint32_t n = fuzz_below(&random, 6); n > 0; n--)
            fuzz_damage(&input, &random);
        struct grpc_endpoint *endpoint = grpc_server_new(&limits, &pair_server_callbacks, &pair);
        endpoint_suffer(endpoint, &input, &random);
        grpc_endpoint_free(endpoint);
        assert_int_equal(pair.n_closed, pair.n_requests);
        requests += pair.n_requests;
    }
    assert_true(requests > fuzz_rounds(ROUNDS) / 2); /* not all of it ends at the door */
}

static void damaged_events_are_read_or_refused(void **state)
{
    static const enum event_kind kinds[] = {EVENT_TICK, EVENT_CLAIM, EVENT_POOL};
    static struct fuzz_input input;
    (void)state;
    for (unsigned int round = 0, rounds = 10 * fuzz_rounds(ROUNDS); round < rounds; round++) {
        struct fuzz_random random = fuzz_random_of(seed, round);
        input.size = event_record(kinds[round % 3], input.bytes);
        input.pieces[0] = 0;
        input.pieces[1] = strlen((char *)input.bytes) + 1;
        input.n_pieces = 2;
        for (uint32_t n = 1 + fuzz_below(&random, 4); n > 0; n--)
            fuzz_damage(&input, &random);
        event_suffer(&input);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_sessions_do_no_harm),
        cmocka_unit_test(damaged_events_are_read_or_refused),
    };
    seed = fuzz_seed();
    print_message("fuzz: seed %llu (FUZZ_SEED repeats it), %u rounds\n", (unsigned long long)seed, fuzz_rounds(ROUNDS));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
