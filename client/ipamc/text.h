/* text.h: words of the command line: what is safe to print, how wide it is, and which known word was meant.
 *
 * Used by tables, usage errors and the manifest reader. Knows nothing of what the words stand for.
 * Results live in the caller's arena or are the caller's own candidates.
 */
#ifndef IPAMC_TEXT_H
#define IPAMC_TEXT_H

#include <stddef.h>

#include "arena.h"

/* A copy of `text` that a terminal shows as it is: control characters, direction marks and bytes that are not UTF-8
 * stand as \xNN. */
const char *text_printable(struct arena *arena, const char *text);

/* Columns that `text` takes, one for each character. */
size_t text_width(const char *text);

/* Bytes of the well-formed, printable UTF-8 character at `text`; 0 if there is none. */
size_t text_character(const char *text);

/* Bytes of the well-formed UTF-8 character at `text`, which ends at `end`; 0 if there is none. */
size_t text_utf8(const char *text, const char *end, unsigned int *ret_code_point);

/* Edits (insert, delete, change, swap neighbours; letters of either case are the same) from one word to the other. Words of
 * more than 64 bytes are as far apart as can be. */
unsigned int text_distance(const char *a, const char *b);

/* The candidate nearest to `word`, or NULL when none is near enough to be what was meant. */
const char *text_nearest(const char *word, const char *const *candidates, size_t count);

/* "; did you mean …?" or "". */
const char *text_did_you_mean(struct arena *arena, const char *word, const char *const *candidates, size_t count);

#endif
