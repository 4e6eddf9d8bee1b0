/* The hash chain, and how a subscriber follows it: what is asked for, what fits, and each way in which a history ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../client/libipam/follow.h"

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

#define N_CHANGES 20

/* Change i + 1 at index i, chained. */
struct history {
    Ipam__V1__Change changes[N_CHANGES];
    Ipam__V1__Actor actors[N_CHANGES];
    uint8_t hashes[N_CHANGES][IPAM_HASH_SIZE];
};

static void history_make(struct history *history, const char *command)
{
    static const uint8_t zero[IPAM_HASH_SIZE];
    for (size_t i = 0; i < N_CHANGES; i++) {
        ipam__v1__actor__init(&history->actors[i]);
        ipam__v1__change__init(&history->changes[i]);
        history->actors[i].command = (char *)command;
        history->changes[i].actor = &history->actors[i];
        history->changes[i].revision = i + 1;
        assert_int_equal(
            ipam_change_hash(i ? history->hashes[i - 1] : zero, &history->changes[i], history->hashes[i], NULL), 0);
        history->changes[i].hash = (ProtobufCBinaryData){IPAM_HASH_SIZE, history->hashes[i]};
    }
}

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

static uint64_t asked_after(const struct follow *follow)
{
    Ipam__V1__ListChangesRequest request;
    follow_request(follow, &request);
    assert_int_equal(request.limit, FOLLOW_PAGE);
    return request.after_revision;
}

/* ipamd's answer to what is asked now, with a history up to `newest`; the reason why it ends, or NONE. */
static enum ipam_reason answer(struct follow *follow, struct history *history, uint64_t compacted, uint64_t newest,
                               size_t limit)
{
    Ipam__V1__Change *items[N_CHANGES];
    Ipam__V1__ListChangesReply page = IPAM__V1__LIST_CHANGES_REPLY__INIT;
    struct ipam_error error;
    uint64_t after = asked_after(follow);
    size_t first;
    after = after < compacted ? compacted : after;
    for (; after < newest && page.n_changes < limit; after++)
        items[page.n_changes++] = &history->changes[after];
    page.changes = items;
    page.revision = newest;
    page.compacted_through = compacted;
    if (follow_page(follow, &page, &first, &error) < 0)
        return error.reason;
    for (; first < page.n_changes; first++)
        if (follow_take(follow, items[first], &error) < 0)
            return error.reason;
    return IPAM_REASON_NONE;
}

/* ---- Tests: the chain -------------------------------------------------------------------------------------------- */

static void chain_takes_what_fits_and_nothing_else(void **state)
{
    (void)state;
    static struct history history;
    struct ipam_chain chain;
    struct ipam_error error;
    history_make(&history, "a");
    ipam_chain_init(&chain, 0, NULL);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(ipam_chain_check(&chain, &history.changes[i], &error), 0);
    assert_int_equal(chain.revision, 3);
    struct ipam_chain before = chain;
    assert_int_equal(ipam_chain_check(&chain, &history.changes[4], &error), -1); /* one is left out */
    assert_int_equal(ipam_chain_check(&chain, &history.changes[2], &error), -1); /* one comes again */
    history.actors[3].command = "b";                                             /* one is altered */
    assert_int_equal(ipam_chain_check(&chain, &history.changes[3], &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_HISTORY_BROKEN);
    history.actors[3].command = "a";
    history.changes[3].hash.len = 31;
    assert_int_equal(ipam_chain_check(&chain, &history.changes[3], &error), -1);
    history.changes[3].hash.len = 32;
    assert_memory_equal(&chain, &before, sizeof chain);
    assert_int_equal(ipam_chain_check(&chain, &history.changes[3], &error), 0);
}

static void chain_of_unknown_hash_believes_the_first(void **state)
{
    (void)state;
    static struct history history;
    struct ipam_chain chain;
    history_make(&history, "a");
    ipam_chain_init(&chain, 5, NULL);
    assert_int_equal(ipam_chain_check(&chain, &history.changes[5], NULL), 0);
    history.hashes[6][0] ^= 1;
    assert_int_equal(ipam_chain_check(&chain, &history.changes[6], NULL), -1);
}

/* The hash covers the message as it is packed, however large. */
static void large_record_is_hashed_like_a_small_one(void **state)
{
    (void)state;
    static char long_text[5000];
    static struct history history;
    uint8_t once[IPAM_HASH_SIZE], again[IPAM_HASH_SIZE];
    memset(long_text, 'x', sizeof long_text - 1);
    history_make(&history, long_text);
    assert_int_equal(ipam_change_hash(history.hashes[0], &history.changes[1], once, NULL), 0);
    assert_memory_equal(once, history.hashes[1], IPAM_HASH_SIZE);
    long_text[4000] = 'y';
    assert_int_equal(ipam_change_hash(history.hashes[0], &history.changes[1], again, NULL), 0);
    assert_memory_not_equal(once, again, IPAM_HASH_SIZE);
}

/* ---- Tests: following -------------------------------------------------------------------------------------------- */

static void pages_are_taken_until_there_is_nothing_new(void **state)
{
    (void)state;
    static struct history history;
    struct follow follow;
    int pages = 0;
    history_make(&history, "a");
    follow_init(&follow, false, 0, NULL);
    for (; follow_is_behind(&follow); pages++)
        assert_int_equal(answer(&follow, &history, 0, 10, 4), IPAM_REASON_NONE);
    assert_int_equal(follow.chain.revision, 10);
    assert_int_equal(pages, 3); /* of 4, 3 and 3 new ones: each but the first begins with the last one again */
    follow_hear(&follow, 9);
    assert_false(follow_is_behind(&follow)); /* an old change */
    follow_hear_tick(&follow, 10);
    assert_false(follow_is_behind(&follow));
    follow_hear_tick(&follow, 11);
    assert_true(follow_is_behind(&follow));
    assert_int_equal(answer(&follow, &history, 0, 11, 1000), IPAM_REASON_NONE);
    assert_int_equal(follow.chain.revision, 11);
}

static void page_of_one_goes_on_behind_it(void **state)
{
    (void)state;
    static struct history history;
    struct follow follow;
    history_make(&history, "a");
    follow_init(&follow, false, 0, NULL);
    for (int i = 0; i < 10 && follow_is_behind(&follow); i++)
        assert_int_equal(answer(&follow, &history, 0, 4, 1), IPAM_REASON_NONE);
    assert_int_equal(follow.chain.revision, 4);
}

static void what_is_heard_while_a_page_is_under_way_is_asked_for(void **state)
{
    (void)state;
    static struct history history;
    struct follow follow;
    history_make(&history, "a");
    follow_init(&follow, false, 0, NULL);
    follow_hear(&follow, 6);
    assert_int_equal(answer(&follow, &history, 0, 5, 1000), IPAM_REASON_NONE);
    assert_true(follow_is_behind(&follow));
    assert_int_equal(answer(&follow, &history, 0, 6, 1000), IPAM_REASON_NONE);
    assert_false(follow_is_behind(&follow));
}

static void from_now_takes_what_comes_after_and_knows_the_hash(void **state)
{
    (void)state;
    static struct history history, other;
    struct follow follow;
    history_make(&history, "a");
    history_make(&other, "b");
    follow_init(&follow, true, 0, NULL);
    assert_true(asked_after(&follow) == UINT64_MAX);
    assert_int_equal(answer(&follow, &history, 0, 7, 1000), IPAM_REASON_NONE);
    assert_true(follow_is_behind(&follow));
    assert_int_equal(answer(&follow, &history, 0, 7, 1000), IPAM_REASON_NONE);
    assert_false(follow_is_behind(&follow));
    assert_int_equal(follow.chain.revision, 7);
    assert_true(follow.chain.known);
    assert_int_equal(answer(&follow, &other, 0, 9, 1000), IPAM_REASON_HISTORY_REPLACED);
}

static void from_now_of_nothing_starts_at_the_beginning(void **state)
{
    (void)state;
    static struct history history;
    struct follow follow;
    history_make(&history, "a");
    follow_init(&follow, true, 0, NULL);
    assert_int_equal(answer(&follow, &history, 0, 0, 1000), IPAM_REASON_NONE);
    assert_false(follow_is_behind(&follow));
    follow_hear(&follow, 2);
    assert_int_equal(answer(&follow, &history, 0, 2, 1000), IPAM_REASON_NONE);
    assert_int_equal(follow.chain.revision, 2);
}

static void lower_revision_or_another_hash_is_another_history(void **state)
{
    (void)state;
    static struct history history, other;
    struct follow follow;
    history_make(&history, "a");
    history_make(&other, "b");
    follow_init(&follow, false, 10, history.hashes[9]);
    assert_int_equal(answer(&follow, &history, 0, 10, 1000), IPAM_REASON_NONE);
    follow_hear_tick(&follow, 3);
    assert_true(follow_is_behind(&follow));
    struct follow before = follow;
    assert_int_equal(answer(&follow, &history, 0, 3, 1000), IPAM_REASON_HISTORY_REPLACED);
    follow = before;
    assert_int_equal(answer(&follow, &other, 0, 10, 1000), IPAM_REASON_HISTORY_REPLACED);
    follow = before;
    assert_int_equal(answer(&follow, &other, 0, 12, 1000), IPAM_REASON_HISTORY_REPLACED);
}

static void what_is_no_longer_kept_ends_it_only_when_it_is_missed(void **state)
{
    (void)state;
    static struct history history;
    struct follow follow;
    history_make(&history, "a");
    follow_init(&follow, false, 10, history.hashes[9]);
    struct follow before = follow;
    assert_int_equal(answer(&follow, &history, 10, 12, 1000), IPAM_REASON_NONE); /* 10 itself is gone, 11 is not */
    assert_int_equal(follow.chain.revision, 12);
    follow = before;
    assert_int_equal(answer(&follow, &history, 11, 12, 1000), IPAM_REASON_HISTORY_COMPACTED);
}

static void altered_or_missing_changes_are_a_broken_history(void **state)
{
    (void)state;
    static struct history history;
    struct follow follow;
    history_make(&history, "a");
    history.actors[5].command = "b";
    follow_init(&follow, false, 0, NULL);
    assert_int_equal(answer(&follow, &history, 0, 10, 1000), IPAM_REASON_HISTORY_BROKEN);
    assert_int_equal(follow.chain.revision, 5); /* up to there it was sound */

    history_make(&history, "a");
    follow_init(&follow, false, 10, history.hashes[9]);
    assert_int_equal(answer(&follow, &history, 0, 12, 0),
                     IPAM_REASON_HISTORY_BROKEN); /* there is more, and it never comes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_takes_what_fits_and_nothing_else),
        cmocka_unit_test(chain_of_unknown_hash_believes_the_first),
        cmocka_unit_test(large_record_is_hashed_like_a_small_one),
        cmocka_unit_test(pages_are_taken_until_there_is_nothing_new),
        cmocka_unit_test(page_of_one_goes_on_behind_it),
        cmocka_unit_test(what_is_heard_while_a_page_is_under_way_is_asked_for),
        cmocka_unit_test(from_now_takes_what_comes_after_and_knows_the_hash),
        cmocka_unit_test(from_now_of_nothing_starts_at_the_beginning),
        cmocka_unit_test(lower_revision_or_another_hash_is_another_history),
        cmocka_unit_test(what_is_no_longer_kept_ends_it_only_when_it_is_missed),
        cmocka_unit_test(altered_or_missing_changes_are_a_broken_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
