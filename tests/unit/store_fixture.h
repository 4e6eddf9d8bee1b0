/* store_fixture.h: what the tests of the store share: a state directory, changes made by hand, and comparisons.
 *
 * Included by test_store*.c and test_writer.c. It makes changes without asking the engine to decide anything, so that the store
 * is tested by itself; the engine is only there to be replayed into and dumped.
 */
#ifndef IPAMD_TESTS_STORE_FIXTURE_H
#define IPAMD_TESTS_STORE_FIXTURE_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store.h"

extern const uint8_t test_hash_key[16];

/* A directory of the test's own, removed at the end. cmocka setup and teardown. */
struct fixture {
    char dir[64];
    char db[96], wal[96], mark[96];
    bool mounted; /* a disk of its own */
};
int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_empty(const struct fixture *fixture); /* all that a store leaves there */

/* A made-up past: pool main (10.0.0.0/16), then claims of ProxyVIP/vip-0, vip-1, …; every fourth change takes the oldest back. */
struct world {
    uint64_t revision;
    uint32_t allocated, released;
};
void world_append(struct world *world, struct changes *changes, size_t count);
/* The owner's id as the world gives it. */
uint64_t world_claim_id(uint32_t n);

struct store *must_open(const char *dir, uint64_t history_limit);
void must_commit(struct store *store, struct world *world, size_t count);
/* Opens, commits `batches` times `count` changes, closes. */
void fill_store(const char *dir, struct world *world, size_t batches, size_t count);

/* A process of its own does the same and is killed before it closes: its log stays. */
void killed_store(const char *dir, struct world *world, size_t batches, size_t count);

/* Dumps, to be freed: of what a store loads, and of an engine that the world's past was replayed into. */
char *dump_store(struct store *store);
char *dump_world(const struct world *world);
void assert_store_holds(struct store *store, const struct world *world);

struct file_copy {
    char path[96];
    uint8_t *bytes; /* NULL: no such file */
    size_t size;
};
struct file_copy file_read(const char *path);
void file_write(const char *path, const void *bytes, size_t size);
void assert_file_same(const struct file_copy *before);
void file_copy_free(struct file_copy *copy);

#endif
