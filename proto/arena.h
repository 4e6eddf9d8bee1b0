/* arena.h: memory that lives as long as a call or a batch and goes all at once.
 *
 * Used by the gRPC endpoint (one arena a call), the engine's results and the lists of changes; knows nothing of them.
 * An arena keeps its first block through arena_reset, so a recycled arena allocates nothing in the usual case.
 */
#ifndef IPAM_PROTO_ARENA_H
#define IPAM_PROTO_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    uint8_t *next, *end;        /* free part of the newest block */
    size_t held;                /* bytes in all blocks */
    size_t *total;              /* counts what arena_alloc adds to `held` as well; NULL: nothing does */
};

void arena_init(struct arena *arena);
void arena_done(struct arena *arena);  /* frees everything; the arena is as after arena_init */
void arena_wipe(struct arena *arena);  /* the same, for secrets: overwrites everything before */
void arena_reset(struct arena *arena); /* forgets all that was given out; keeps one block of at most 64 KiB */

/* Aligned for any type, not cleared. Never NULL: a process that is out of memory aborts with a message on stderr
 * (what a peer can make us allocate is bounded by the limits, so this is the machine's failure, and state is on disk). */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zalloc(struct arena *arena, size_t size);
char *arena_strdup(struct arena *arena, const char *text);              /* NULL gives "" */
char *arena_memdup(struct arena *arena, const void *data, size_t size); /* NUL-terminated copy */
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* malloc, calloc and realloc for daemon state, with the same rule: they abort rather than return NULL. */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *ptr, size_t size);
char *mem_strdup(const char *text);

#endif
