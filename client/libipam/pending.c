#include "pending.h"

#include <stdlib.h>

void pending_append(struct pending_list *list, struct ipam_pending *pending)
{
    pending->list = list;
    pending->next = NULL;
    pending->previous = list->last;
    if (list->last != NULL) {
        list->last->next = pending;
    } else {
        list->first = pending;
    }
    list->last = pending;
}

void pending_remove(struct ipam_pending *pending)
{
    struct pending_list *list = pending->list;
    if (list == NULL) {
        return;
    }
    if (pending->previous != NULL) {
        pending->previous->next = pending->next;
    } else {
        list->first = pending->next;
    }
    if (pending->next != NULL) {
        pending->next->previous = pending->previous;
    } else {
        list->last = pending->previous;
    }
    pending->list = NULL;
    pending->next = pending->previous = NULL;
}

static void heap_put(struct deadline_heap *heap, size_t index, struct ipam_pending *pending)
{
    heap->items[index] = pending;
    pending->heap_index = index;
}

static size_t heap_rise(struct deadline_heap *heap, size_t index, struct ipam_pending *pending)
{
    while (index > 0 && heap->items[(index - 1) / 2]->deadline > pending->deadline) {
        heap_put(heap, index, heap->items[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_put(heap, index, pending);
    return index;
}

static void heap_sink(struct deadline_heap *heap, size_t index, struct ipam_pending *pending)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child + 1 < heap->n && heap->items[child + 1]->deadline < heap->items[child]->deadline) {
            child++;
        }
        if (child >= heap->n || heap->items[child]->deadline >= pending->deadline) {
            break;
        }
        heap_put(heap, index, heap->items[child]);
        index = child;
    }
    heap_put(heap, index, pending);
}

int deadline_add(struct deadline_heap *heap, struct ipam_pending *pending)
{
    if (heap->n == heap->room) {
        size_t room = heap->room == 0 ? 64 : 2 * heap->room;
        struct ipam_pending **items = realloc(heap->items, room * sizeof(struct ipam_pending *));
        if (items == NULL) {
            return -1;
        }
        heap->items = items;
        heap->room = room;
    }
    heap_rise(heap, heap->n++, pending);
    return 0;
}

void deadline_remove(struct deadline_heap *heap, struct ipam_pending *pending)
{
    size_t index = pending->heap_index;
    if (index == NOT_IN_HEAP) {
        return;
    }
    pending->heap_index = NOT_IN_HEAP;
    struct ipam_pending *last = heap->items[--heap->n];
    if (last != pending && heap_rise(heap, index, last) == index) {
        heap_sink(heap, index, last);
    }
}

struct ipam_pending *deadline_first(const struct deadline_heap *heap)
{
    return heap->n > 0 ? heap->items[0] : NULL;
}
