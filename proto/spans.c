#include "spans.h"

#include <stdlib.h>

#include "arena.h"

void spans_add(struct spans *spans, addr_value first, addr_value last)
{
    if (spans->count == spans->capacity) {
        spans->capacity = spans->capacity ? spans->capacity * 2 : 4;
        spans->items = mem_realloc(spans->items, spans->capacity * sizeof(*spans->items));
    }
    spans->items[spans->count++] = (struct span){first, last};
}

void spans_done(struct spans *spans)
{
    free(spans->items);
    *spans = (struct spans){0};
}

static int span_compare(const void *a, const void *b)
{
    const struct span *left = a, *right = b;

    return (left->first > right->first) - (left->first < right->first);
}

void spans_normalise(struct spans *spans)
{
    size_t kept = 0;

    if (!spans->count)
        return;
    qsort(spans->items, spans->count, sizeof(*spans->items), span_compare);
    for (size_t i = 1; i < spans->count; i++) {
        struct span *last = &spans->items[kept], *next = &spans->items[i];

        if (last->last == NUMBER_MAX || next->first <= last->last + 1) {
            if (next->last > last->last)
                last->last = next->last;
        } else {
            spans->items[++kept] = *next;
        }
    }
    spans->count = kept + 1;
}

void spans_subtract(const struct spans *from, const struct spans *without, struct spans *ret)
{
    size_t w = 0;

    for (size_t i = 0; i < from->count; i++) {
        addr_value first = from->items[i].first, last = from->items[i].last;
        bool left = true;

        while (w < without->count && without->items[w].last < first)
            w++;
        for (size_t n = w; left && n < without->count && without->items[n].first <= last; n++) {
            if (without->items[n].first > first)
                spans_add(ret, first, without->items[n].first - 1);
            left = without->items[n].last < last;
            first = left ? without->items[n].last + 1 : first;
        }
        if (left)
            spans_add(ret, first, last);
    }
}

bool spans_meet(const struct spans *spans, const struct span *span)
{
    size_t i = spans_find(spans, span->last);

    return i < spans->count && spans->items[i].last >= span->first;
}

bool spans_same(const struct spans *a, const struct spans *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].first != b->items[i].first || a->items[i].last != b->items[i].last)
            return false;
    return true;
}

addr_value spans_size(const struct spans *spans)
{
    addr_value size = 0;

    for (size_t i = 0; i < spans->count; i++)
        size += spans->items[i].last - spans->items[i].first + 1;
    return size;
}
