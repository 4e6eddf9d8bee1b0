/* engine_fixture.h: an engine with a clock and a history of its own, and short ways to call it.
 *
 * For the engine's unit tests alone. Each call keeps its changes, so that the teardown can rebuild the engine from them
 * and compare: every test of the engine is one of replay as well. Knows nothing of how the engine works inside.
 */
#ifndef TESTS_ENGINE_FIXTURE_H
#define TESTS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "engine.h"

struct fixture {
    struct engine *engine;
    struct arena arena;
    struct changes changes; /* all since the beginning */
    int64_t seconds;        /* the time, by the wall clock */
    int64_t elapsed;        /* seconds since boot */
    size_t max_ends;
    uint32_t user;             /* who calls */
    struct engine_clock clock; /* of the start; a boot of its own */
    struct engine_limits limits;
    struct engine_scope scope;
    struct ipam_error error;
    struct apply_pool_result applied;
    struct delete_pool_result deleted;
    struct claim_views claims; /* of the last allocate or release */
};

extern struct fixture fx;

int engine_setup(void **state);
int engine_teardown(void **state); /* replays the history, and the last record of each object */
void fx_rebuild(void);             /* the engine goes, and another one is made of the history */

#define LIST(...)                                                                                             \
    {                                                                                                         \
        (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *) \
    }

/* Named fields of the args follow: apply("a", .spec.cidrs = LIST("10.0.0.0/24")). */
#define apply(pool, ...)       fx_apply(&(struct apply_pool_args){.name = (pool), __VA_ARGS__})
#define delete_pool(pool, ...) fx_delete(&(struct delete_pool_args){.name = (pool), __VA_ARGS__})
#define allocate_as(owner_kind, owner_name, owner_uid, pool_name, ...) \
    fx_allocate(                                                       \
        &(struct allocate_args){.owner = {(owner_kind), (owner_name), (owner_uid)}, .pool = (pool_name), __VA_ARGS__})
#define allocate(owner_name, pool_name, ...) allocate_as("ProxyVIP", owner_name, "", pool_name, __VA_ARGS__)
#define release(owner_name, ...) \
    fx_release(&(struct release_args){.kind = *(owner_name) ? "ProxyVIP" : "", .name = (owner_name), __VA_ARGS__})

int fx_apply(const struct apply_pool_args *args);
int fx_delete(const struct delete_pool_args *args);
int fx_allocate(const struct allocate_args *args);
int fx_release(const struct release_args *args);
void fx_wait(int64_t seconds); /* lets time pass, and what ends by then end */
/* The engine goes, and another one is rebuilt from the last records: `asleep` seconds later by the clock that is exact and
 * `by_clock` seconds later by the wall clock, in the same boot or in another one. */
void fx_restart(int64_t asleep, int64_t by_clock, bool same_boot);

/* A pool that gives addresses by itself; fails the test if it is refused. */
void make_pool(const char *name, const char *cidr);
void make_pool_cooling(const char *name, const char *cidr, uint32_t seconds);

const char *address_of(const char *owner);                              /* IPv4, else IPv6; "" when not bound */
const char *claim_text(const struct claim_view *claim);                 /* its address */
struct claim_view claim_of(const char *owner, enum ipam_family family); /* fails if there is none */
enum ipam_reason waits_for(const char *owner);                          /* NONE when it does not wait */
struct pool_view pool_of(const char *name);

#define expect_address(owner, address) assert_string_equal(address_of(owner), address)
/* The call was refused for the reason, and the message has the text in it. */
#define expect_refused(call, reason_name, text)                               \
    do {                                                                      \
        assert_int_equal((call), -1);                                         \
        assert_string_equal(ipam_reason_name(fx.error.reason), #reason_name); \
        if (!strstr(fx.error.message, (text)))                                \
            fail_msg("\"%s\" is not in \"%s\"", (text), fx.error.message);    \
    } while (0)

char *dump_of(struct engine *engine); /* the caller frees it */

#endif
