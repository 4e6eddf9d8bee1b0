#include "grpc_internal.h"

#include <stdlib.h>
#include <string.h>

/* nghttp2 allocates a stream, frames and header arrays for every call, the same few sizes again and again. An endpoint
 * keeps those that were given back, by size, which costs less than malloc does. All that was got from malloc is counted,
 * whether it is in use or kept: streams, header tables and queued frames are what a peer makes us hold, too. */

#define CLASS_SIZE  64
#define MALLOC_COST 16 /* what malloc adds */

/* Before each allocation; as large as the strictest alignment. */
struct memory_head {
    union {
        struct memory_head *next; /* while it is free */
        size_t size;              /* what it can hold */
    };
    max_align_t data[];
};

static struct memory_head *head_of(void *data)
{
    return (struct memory_head *)((char *)data - offsetof(struct memory_head, data));
}

static struct memory_head **class_of(struct grpc_memory *memory, size_t size)
{
    size_t class = size / CLASS_SIZE;
    return class < GRPC_MEMORY_CLASSES ? &memory->free[class] : NULL;
}

static size_t cost_of(size_t size)
{
    return sizeof(struct memory_head) + size + MALLOC_COST;
}

static void *memory_alloc(size_t size, void *user)
{
    struct grpc_memory *memory = user;
    size_t rounded = (size + CLASS_SIZE - 1) / CLASS_SIZE * CLASS_SIZE;
    struct memory_head **free_list = class_of(memory, rounded), *head;
    if (free_list != NULL && *free_list != NULL) {
        head = *free_list;
        *free_list = head->next;
    } else {
        head = mem_alloc(sizeof(*head) + rounded);
        memory->held += cost_of(rounded);
    }
    head->size = rounded;
    return head->data;
}

static void memory_free(void *data, void *user)
{
    if (data == NULL) {
        return;
    }
    struct grpc_memory *memory = user;
    struct memory_head *head = head_of(data);
    struct memory_head **free_list = class_of(memory, head->size);
    if (free_list == NULL) {
        memory->held -= cost_of(head->size);
        free(head);
        return;
    }
    head->next = *free_list;
    *free_list = head;
}

static void *memory_calloc(size_t n, size_t size, void *user)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) {
        return NULL;
    }
    return memset(memory_alloc(total, user), 0, total);
}

static void *memory_realloc(void *data, size_t size, void *user)
{
    size_t old = data != NULL ? head_of(data)->size : 0;
    if (data != NULL && size <= old) {
        return data;
    }
    void *moved = memory_alloc(size, user);
    if (data != NULL) {
        memcpy(moved, data, old);
    }
    memory_free(data, user);
    return moved;
}

nghttp2_mem memory_functions(struct grpc_memory *memory)
{
    return (nghttp2_mem){memory, memory_alloc, memory_free, memory_calloc, memory_realloc};
}

void memory_done(struct grpc_memory *memory)
{
    for (size_t i = 0; i < GRPC_MEMORY_CLASSES; i++) {
        for (struct memory_head *head = memory->free[i], *next; head != NULL; head = next) {
            next = head->next;
            memory->held -= cost_of(i * CLASS_SIZE);
            free(head);
        }
        memory->free[i] = NULL;
    }
}
