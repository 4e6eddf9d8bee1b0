/* Messages of the bus, both ways, and the frames that carry them: what is made is read back, what is malformed is an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../daemon/ipamd/sp.h"
#include "event.h"

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

struct message {
    uint8_t bytes[1024];
    size_t size;
};

static uint8_t hash[32] = {1, 2, 3};

static struct message change_message(enum event_kind kind, const char *topic_name, uint64_t revision, bool is_pool)
{
    struct message message;
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    Ipam__V1__Claim claim = IPAM__V1__CLAIM__INIT;
    Ipam__V1__PoolSpec spec = IPAM__V1__POOL_SPEC__INIT;
    Ipam__V1__Pool pool = IPAM__V1__POOL__INIT;
    Ipam__V1__Change change = IPAM__V1__CHANGE__INIT;
    owner.kind = "ProxyVIP";
    owner.name = spec.name = "web";
    claim.owner = &owner;
    pool.spec = &spec;
    change.revision = revision;
    change.hash = (ProtobufCBinaryData){sizeof hash, hash};
    change.entity_case = is_pool ? IPAM__V1__CHANGE__ENTITY_POOL : IPAM__V1__CHANGE__ENTITY_CLAIM;
    if (is_pool)
        change.pool = &pool;
    else
        change.claim = &claim;
    uint8_t *end = event_put_topic(kind, "ProxyVIP", topic_name, message.bytes);
    assert_int_equal(end - message.bytes, event_topic_size(kind, "ProxyVIP", topic_name));
    message.size = (size_t)(end - message.bytes) + ipam__v1__change__pack(&change, end);
    return message;
}

/* -1: some step refused it; 0: all is well. A copy of exact size, so that sanitizers see a read past the end. */
static int read_all(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size + !size);
    struct event event;
    struct ipam_error error = {0};
    uint64_t revision;
    uint32_t interval;
    Ipam__V1__Change *change = NULL;
    memcpy(copy, bytes, size);
    int status = event_parse(copy, size, &event, &error);
    if (status == 0 && event.kind == EVENT_TICK)
        status = event_read_tick(&event, &revision, &interval, &error);
    else if (status == 0)
        status = event_read_change(&event, NULL, &change, &error);
    if (status < 0)
        assert_int_equal(error.reason, IPAM_REASON_MALFORMED_MESSAGE);
    if (change)
        ipam__v1__change__free_unpacked(change, NULL);
    free(copy);
    return status;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void tick_is_read_back(void **state)
{
    (void)state;
    const uint64_t revisions[] = {0, 1, 300, UINT64_MAX};
    for (size_t i = 0; i < sizeof revisions / sizeof *revisions; i++) {
        uint8_t bytes[EVENT_TICK_MAX];
        struct event event;
        uint64_t revision;
        uint32_t interval;
        size_t size = event_put_tick(revisions[i], UINT32_MAX, bytes);
        assert_true(size <= EVENT_TICK_MAX);
        assert_int_equal(event_parse(bytes, size, &event, NULL), 0);
        assert_int_equal(event.kind, EVENT_TICK);
        assert_string_equal(event.topic, "tick");
        assert_int_equal(event_read_tick(&event, &revision, &interval, NULL), 0);
        assert_true(revision == revisions[i]);
        assert_int_equal(interval, UINT32_MAX);
    }
}

static void change_is_read_back_under_its_topic(void **state)
{
    (void)state;
    static const struct {
        enum event_kind kind;
        const char *topic;
        bool is_pool;
    } rows[] = {{EVENT_CLAIM, "claim/ProxyVIP/web", false}, {EVENT_POOL, "pool/web", true}};
    for (size_t i = 0; i < 2; i++) {
        struct message message = change_message(rows[i].kind, "web", 7, rows[i].is_pool);
        struct event event;
        Ipam__V1__Change *change;
        assert_int_equal(event_parse(message.bytes, message.size, &event, NULL), 0);
        assert_int_equal(event.kind, rows[i].kind);
        assert_string_equal(event.topic, rows[i].topic);
        assert_int_equal(event_read_change(&event, NULL, &change, NULL), 0);
        assert_int_equal(change->revision, 7);
        assert_memory_equal(change->hash.data, hash, 32);
        ipam__v1__change__free_unpacked(change, NULL);
    }
}

static void change_under_a_topic_of_another_is_refused(void **state)
{
    (void)state;
    struct message message = change_message(EVENT_CLAIM, "web", 7, false);
    assert_int_equal(read_all(message.bytes, message.size), 0);
    message = change_message(EVENT_CLAIM, "web2", 7, false);
    assert_int_equal(read_all(message.bytes, message.size), -1);
    message = change_message(EVENT_CLAIM, "we", 7, false);
    assert_int_equal(read_all(message.bytes, message.size), -1);
    message = change_message(EVENT_POOL, "web", 7, false);
    assert_int_equal(read_all(message.bytes, message.size), -1);
    message = change_message(EVENT_CLAIM, "web", 7, true);
    assert_int_equal(read_all(message.bytes, message.size), -1);
    message = change_message(EVENT_POOL, "web", 0, true);
    assert_int_equal(read_all(message.bytes, message.size), -1);
}

static void message_without_topic_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {{"", 0},      {"tick", 4}, {"ticks", 6},   {"\0", 1},        {"tic\0", 4},
                {"claim", 6}, {"pool", 5}, {"pools/x", 8}, {"claim/A/b", 10} /* and no Change */};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(read_all((const uint8_t *)rows[i].bytes, rows[i].size), -1);
}

/* Every cut and every flipped byte is read or refused: none crashes (sanitizers look on). */
static void damaged_message_is_no_more_than_an_error(void **state)
{
    (void)state;
    struct message message = change_message(EVENT_CLAIM, "web", 7, false);
    size_t refused = 0;
    for (size_t size = 0; size < message.size; size++)
        refused += read_all(message.bytes, size) < 0;
    assert_true(refused > message.size / 2);
    for (size_t i = 0; i < message.size; i++) {
        for (unsigned int bit = 0; bit < 8; bit++) {
            message.bytes[i] ^= (uint8_t)(1u << bit);
            read_all(message.bytes, message.size);
            message.bytes[i] ^= (uint8_t)(1u << bit);
        }
    }
}

static void subscriber_is_told_by_its_greeting(void **state)
{
    (void)state;
    const uint8_t subscriber[] = {0, 'S', 'P', 0, 0, 33, 0, 0}, publisher[] = {0, 'S', 'P', 0, 0, 32, 0, 0};
    for (size_t size = 0; size <= SP_GREETING_SIZE; size++)
        assert_true(sp_subscriber_greets(subscriber, size));
    assert_true(sp_subscriber_greets(publisher, 5));
    assert_false(sp_subscriber_greets(publisher, 6));
    assert_memory_equal(sp_publisher_greeting, publisher, SP_GREETING_SIZE);
}

static void frame_ends_where_the_next_begins(void **state)
{
    (void)state;
    uint8_t frames[2 * SP_FRAME_HEADER + 300 + 1] = {0};
    const size_t first = SP_FRAME_HEADER + 300, both = sizeof frames;
    sp_put_frame_header(300, frames);
    sp_put_frame_header(1, frames + first);
    assert_memory_equal(frames, "\1\0\0\0\0\0\0\1\54", 9);
    assert_int_equal(sp_frame_end(frames, 0), 0);
    assert_int_equal(sp_frame_end(frames, 1), first);
    assert_int_equal(sp_frame_end(frames, first - 1), first);
    assert_int_equal(sp_frame_end(frames, first), first);
    assert_int_equal(sp_frame_end(frames, first + 1), both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tick_is_read_back),
        cmocka_unit_test(change_is_read_back_under_its_topic),
        cmocka_unit_test(change_under_a_topic_of_another_is_refused),
        cmocka_unit_test(message_without_topic_is_refused),
        cmocka_unit_test(damaged_message_is_no_more_than_an_error),
        cmocka_unit_test(subscriber_is_told_by_its_greeting),
        cmocka_unit_test(frame_ends_where_the_next_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
