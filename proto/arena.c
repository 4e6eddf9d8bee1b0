#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

#define BLOCK_MIN  4096u
#define BLOCK_KEPT 65536u /* what arena_reset keeps at most, and how large blocks grow by themselves */

struct arena_block {
    struct arena_block *older;
    size_t size; /* of the whole block, this header included */
    alignas(max_align_t) uint8_t data[];
};

static void *out_of_memory(size_t size)
{
    fprintf(stderr, "out of memory: can't get %zu bytes\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    void *ptr = malloc(size ? size : 1);

    return ptr ? ptr : out_of_memory(size);
}

void *mem_zalloc(size_t size)
{
    void *ptr = calloc(1, size ? size : 1);

    return ptr ? ptr : out_of_memory(size);
}

void *mem_realloc(void *ptr, size_t size)
{
    void *moved = realloc(ptr, size ? size : 1);

    return moved ? moved : out_of_memory(size);
}

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(mem_alloc(size), text, size);
}

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

static void arena_use(struct arena *arena, struct arena_block *block)
{
    arena->blocks = block;
    arena->next = block->data;
    arena->end = (uint8_t *)block + block->size;
}

/* Frees every block but `kept`, which may be NULL. */
static void arena_drop(struct arena *arena, const struct arena_block *kept)
{
    struct arena_block *block = arena->blocks;

    while (block) {
        struct arena_block *older = block->older;

        if (block != kept)
            free(block);
        block = older;
    }
}

void arena_done(struct arena *arena)
{
    arena_drop(arena, NULL);
    arena_init(arena);
}

void arena_wipe(struct arena *arena)
{
    for (struct arena_block *block = arena->blocks; block; block = block->older)
        explicit_bzero(block->data, block->size - sizeof(*block));
    arena_done(arena);
}

void arena_reset(struct arena *arena)
{
    struct arena_block *kept = arena->blocks;

    while (kept && kept->size > BLOCK_KEPT)
        kept = kept->older;
    arena_drop(arena, kept);
    arena_init(arena);
    if (kept) {
        kept->older = NULL;
        arena_use(arena, kept);
        arena->held = kept->size;
    }
}

/* Each block is twice the one before, so that many small pieces cost few blocks. */
static void arena_grow(struct arena *arena, size_t size)
{
    size_t wanted = arena->blocks ? arena->blocks->size * 2 : BLOCK_MIN;
    size_t least = sizeof(struct arena_block) + size;
    struct arena_block *block;

    if (least < size)
        out_of_memory(size);
    if (wanted > BLOCK_KEPT)
        wanted = BLOCK_KEPT;
    if (wanted < least)
        wanted = least;
    block = mem_alloc(wanted);
    *block = (struct arena_block){.older = arena->blocks, .size = wanted};
    arena_use(arena, block);
    arena->held += wanted;
    if (arena->total)
        *arena->total += wanted;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t rounded = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    void *ptr;

    if (rounded < size)
        out_of_memory(size);
    if (!arena->blocks || (size_t)(arena->end - arena->next) < rounded)
        arena_grow(arena, rounded);
    ptr = arena->next;
    arena->next += rounded;
    return ptr;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

char *arena_memdup(struct arena *arena, const void *data, size_t size)
{
    char *copy = arena_alloc(arena, size + 1);

    if (size)
        memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_memdup(arena, text, text ? strlen(text) : 0);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    int length;
    char *text;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return arena_strdup(arena, "");
    text = arena_alloc(arena, (size_t)length + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}
