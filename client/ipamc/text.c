#include "text.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DISTANCE_WORD_MAX 64

/* RFC 3629: lead byte, length, lowest and highest code point of that length. */
static const struct utf8_row {
    unsigned char mask, lead;
    unsigned int length, first;
} utf8_rows[] = {
    {0x80, 0x00, 1, 0x0},
    {0xe0, 0xc0, 2, 0x80},
    {0xf0, 0xe0, 3, 0x800},
    {0xf8, 0xf0, 4, 0x10000},
};

/* Characters that are not seen but change what is: C0 and C1 controls, line separators, direction marks. */
static const struct {
    unsigned int first, last;
} unprintable[] = {
    {0x00, 0x1f}, {0x7f, 0x9f}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}, {0xfeff, 0xfeff},
};

size_t text_utf8(const char *text, const char *end, unsigned int *ret_code_point)
{
    unsigned char lead = (unsigned char)*text;
    for (size_t i = 0; i < sizeof(utf8_rows) / sizeof(utf8_rows[0]); i++) {
        const struct utf8_row *row = &utf8_rows[i];
        if ((lead & row->mask) != row->lead)
            continue;
        if ((size_t)(end - text) < row->length)
            return 0;
        unsigned int point = lead & (unsigned char)~row->mask;
        for (unsigned int k = 1; k < row->length; k++) {
            unsigned char next = (unsigned char)text[k];
            if ((next & 0xc0) != 0x80)
                return 0;
            point = point << 6 | (next & 0x3f);
        }
        if (point < row->first || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
            return 0;
        *ret_code_point = point;
        return row->length;
    }
    return 0;
}

size_t text_character(const char *text)
{
    unsigned int point;
    size_t length = text_utf8(text, text + strlen(text), &point);
    for (size_t i = 0; length > 0 && i < sizeof(unprintable) / sizeof(unprintable[0]); i++) {
        if (point >= unprintable[i].first && point <= unprintable[i].last)
            return 0;
    }
    return length;
}

const char *text_printable(struct arena *arena, const char *text)
{
    char *copy = arena_alloc(arena, 4 * strlen(text) + 1), *to = copy;
    while (*text != '\0') {
        size_t length = text_character(text);
        if (length > 0) {
            memcpy(to, text, length);
            to += length;
            text += length;
        } else {
            to += sprintf(to, "\\x%02x", (unsigned char)*text++);
        }
    }
    *to = '\0';
    return copy;
}

size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
    unsigned int least = a < b ? a : b;
    return least < c ? least : c;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Optimal string alignment with three rows: two back (for swaps), the last and the present one. */
unsigned int text_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    unsigned int rows[3][DISTANCE_WORD_MAX + 1];
    unsigned int *before = rows[0], *last = rows[1], *now = rows[2];

    if (a_length > DISTANCE_WORD_MAX || b_length > DISTANCE_WORD_MAX)
        return UINT_MAX;
    for (size_t j = 0; j <= b_length; j++)
        last[j] = (unsigned int)j;
    for (size_t i = 1; i <= a_length; i++) {
        now[0] = (unsigned int)i;
        for (size_t j = 1; j <= b_length; j++) {
            unsigned int change = same_letter(a[i - 1], b[j - 1]) ? 0 : 1;
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]) &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        unsigned int *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b_length];
}

const char *text_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    unsigned int allowed = (unsigned int)(strlen(word) + 2) / 3;
    unsigned int least = allowed + 1;

    for (size_t i = 0; i < count; i++) {
        unsigned int distance = text_distance(word, candidates[i]);
        if (distance < least) {
            least = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

const char *text_did_you_mean(struct arena *arena, const char *word, const char *const *candidates, size_t count)
{
    const char *nearest = text_nearest(word, candidates, count);
    return nearest == NULL ? "" : arena_printf(arena, "; did you mean %s?", nearest);
}
