/* map_draw.h: the picture of a pool in the terminal.
 *
 * Called by the map command with what map_make made. It knows glyphs, colours and widths, and nothing of pools: every state
 * has a character of its own, so that the picture reads the same without colour.
 */
#ifndef IPAMC_MAP_DRAW_H
#define IPAMC_MAP_DRAW_H

#include <stdio.h>

#include "map.h"
#include "terminal.h"

/* Write errors stay with the stream. Texts live in the arena. */
void map_draw(FILE *out, struct arena *arena, const struct map *map, const struct terminal *terminal);

#endif
