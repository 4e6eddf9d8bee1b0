#include <stdlib.h>

#include "internal.h"

#define SLAB_BLOCK 65536

/* The sanitizer finds use after free only where malloc is asked each time. */
#ifdef __SANITIZE_ADDRESS__
#define SLAB_REUSE false
#else
#define SLAB_REUSE true
#endif

struct slab_block {
    struct slab_block *older;
    uint8_t data[SLAB_BLOCK - sizeof(void *)];
};

struct slab_piece { /* one that is free */
    struct slab_piece *next;
};

static struct slab_piece **slab_class(struct slab *slab, size_t size)
{
    assert(size && size <= SLAB_SIZE_MAX);
    return &slab->pieces[(size - 1) / SLAB_STEP];
}

static void slab_grow(struct slab *slab)
{
    struct slab_block *block = mem_alloc(sizeof(*block));

    block->older = slab->blocks;
    slab->blocks = block;
    slab->next = block->data;
    slab->end = block->data + sizeof(block->data);
}

static void *slab_cut(struct slab *slab, size_t size)
{
    size_t rounded = (size + SLAB_STEP - 1) / SLAB_STEP * SLAB_STEP;
    void *piece;

    if ((size_t)(slab->end - slab->next) < rounded)
        slab_grow(slab);
    piece = slab->next;
    slab->next += rounded;
    return piece;
}

void *slab_alloc(struct slab *slab, size_t size)
{
    struct slab_piece **class = slab_class(slab, size), *piece = *class;

    if (!SLAB_REUSE)
        return mem_alloc(size);
    if (!piece)
        return slab_cut(slab, size);
    *class = piece->next;
    return piece;
}

void slab_free(struct slab *slab, void *ptr, size_t size)
{
    struct slab_piece **class = slab_class(slab, size), *piece = ptr;

    if (!SLAB_REUSE) {
        free(ptr);
        return;
    }
    piece->next = *class;
    *class = piece;
}

void slab_done(struct slab *slab)
{
    while (slab->blocks) {
        struct slab_block *older = slab->blocks->older;

        free(slab->blocks);
        slab->blocks = older;
    }
}
