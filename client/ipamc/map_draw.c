#include "map_draw.h"

#include <inttypes.h>
#include <string.h>

#include "text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define ROW_CELLS_MAX 32
#define ROW_CELLS_MIN 8
#define LABEL_GAP     2
#define RULER_STEP    8 /* cells from one offset of the ruler to the next */

struct glyph {
    const char *utf8, *ascii;
    const char *color; /* SGR parameters; "" for none */
};

static const struct glyph state_glyphs[MAP_STATES] = {
    [MAP_NOTHING] = {" ", " ", ""},    [MAP_FREE] = {"·", ".", "32"},       [MAP_HELD] = {"■", "#", "1;34"},
    [MAP_MANUAL] = {"◆", "M", "1;35"}, [MAP_COOLING] = {"○", "o", "33"},    [MAP_EXCLUDED] = {"×", "x", "90"},
    [MAP_RESERVED] = {"-", "-", "90"}, [MAP_ORPHANED] = {"!", "!", "1;31"},
};

/* Shades of cells that stand for several addresses, by how much of them is in use. */
static const struct shade {
    struct glyph glyph;
    const char *meaning;
} shades[] = {
    {{"·", ".", "32"}, "none"},   {{"░", ":", "34"}, "to a third"}, {{"▒", "+", "34"}, "to two thirds"},
    {{"▓", "%", "1;34"}, "more"}, {{"█", "#", "1;31"}, "all"},
};
#define SHADE_NONE 0
#define SHADE_ALL  4

struct cell {
    uint64_t counts[MAP_STATES];
};

struct drawing {
    FILE *out;
    struct arena *arena;
    const struct terminal *terminal;
    const struct map_block *block;
    size_t label_width; /* of the widest label */
    bool short_labels;  /* only the tail of an address fits */
    size_t row_cells;
    unsigned int pitch; /* columns of a cell: 1 or 2 */
    /* The row that is being filled. */
    struct ipam_addr base;
    struct cell cells[ROW_CELLS_MAX];
    bool filled;
};

/* ---- Cells ---------------------------------------------------------------------------------------------------------- */

static const char *glyph_text(const struct terminal *terminal, const struct glyph *glyph)
{
    return terminal->utf8 ? glyph->utf8 : glyph->ascii;
}

static void put_colored(FILE *out, const struct terminal *terminal, const char *color, const char *text)
{
    if (terminal->color && color[0] != '\0')
        fprintf(out, "\033[%sm%s\033[0m", color, text);
    else
        fputs(text, out);
}

static const struct glyph *shade_glyph(const struct cell *cell)
{
    uint64_t used = cell->counts[MAP_HELD] + cell->counts[MAP_MANUAL] + cell->counts[MAP_COOLING];
    uint64_t usable = used + cell->counts[MAP_FREE];
    size_t shade = used == 0 ? SHADE_NONE : used == usable ? SHADE_ALL : (size_t)(1 + 3 * used / (usable + 1));

    if (usable > 0)
        return &shades[shade].glyph;
    for (enum map_state state = MAP_EXCLUDED; state < MAP_STATES; state++) {
        if (cell->counts[state] > 0)
            return &state_glyphs[state];
    }
    return &state_glyphs[MAP_NOTHING];
}

static const struct glyph *cell_glyph(const struct drawing *drawing, const struct cell *cell)
{
    if (drawing->block->per_cell > 1)
        return shade_glyph(cell);
    for (enum map_state state = MAP_FREE; state < MAP_STATES; state++) {
        if (cell->counts[state] > 0)
            return &state_glyphs[state];
    }
    return &state_glyphs[MAP_NOTHING];
}

/* A wide shaded cell is filled, so that neighbours make an area; single addresses stand apart. */
static void put_cell(const struct drawing *drawing, const struct cell *cell, bool last)
{
    const struct glyph *glyph = cell_glyph(drawing, cell);
    const char *text = glyph_text(drawing->terminal, glyph);
    bool filled = drawing->block->per_cell > 1;

    if (drawing->pitch == 2 && filled)
        text = arena_printf(drawing->arena, "%s%s", text, text);
    put_colored(drawing->out, drawing->terminal, glyph->color, text);
    if (drawing->pitch == 2 && !filled && !last)
        fputc(' ', drawing->out);
}

/* ---- Rows ----------------------------------------------------------------------------------------------------------- */

static const char *label_of(const struct drawing *drawing, const struct ipam_addr *address)
{
    char text[IPAM_ADDR_TEXT_MAX];
    const char *tail = strrchr(ipam_addr_format(address, text), ':');

    if (!drawing->short_labels || tail == NULL)
        return arena_strdup(drawing->arena, text);
    return arena_printf(drawing->arena, "%s%s", drawing->terminal->utf8 ? "…" : "..", tail);
}

static bool is_nothing(const struct cell *cell)
{
    for (size_t i = MAP_FREE; i < MAP_STATES; i++) {
        if (cell->counts[i] > 0)
            return false;
    }
    return true;
}

static void put_row(struct drawing *drawing)
{
    size_t used = drawing->row_cells;

    while (used > 0 && is_nothing(&drawing->cells[used - 1]))
        used--;
    if (drawing->filled && used > 0) {
        const char *label = label_of(drawing, &drawing->base);
        fprintf(drawing->out, "%s%*s", label, (int)(drawing->label_width + LABEL_GAP - text_width(label)), "");
        for (size_t i = 0; i < used; i++)
            put_cell(drawing, &drawing->cells[i], i + 1 == used);
        fputc('\n', drawing->out);
    }
    memset(drawing->cells, 0, sizeof(drawing->cells));
    drawing->filled = false;
}

static uint64_t row_addresses(const struct drawing *drawing)
{
    return drawing->row_cells * drawing->block->per_cell;
}

/* Rows begin at multiples of their length, so that a label ends in a round number. */
static struct ipam_addr row_base(const struct drawing *drawing, const struct ipam_addr *address)
{
    struct ipam_addr base = *address;
    base.lo -= base.lo % row_addresses(drawing);
    return base;
}

static void put_span(struct drawing *drawing, const struct map_span *span)
{
    struct ipam_addr address = span->range.first;

    for (size_t i = 0; i < span->size; i++, address = ipam_addr_add(&address, 1)) {
        size_t within = (size_t)(address.lo % row_addresses(drawing));
        if (!drawing->filled || within == 0 || i == 0) {
            struct ipam_addr base = row_base(drawing, &address);
            if (drawing->filled && !ipam_addr_equal(&base, &drawing->base))
                put_row(drawing);
            drawing->base = base;
            drawing->filled = true;
        }
        drawing->cells[within / drawing->block->per_cell].counts[span->states[i]]++;
    }
}

/* ---- Layout --------------------------------------------------------------------------------------------------------- */

/* Of the labels of all rows: the first and the last need not be the widest. */
static size_t label_width(const struct drawing *drawing)
{
    size_t width = 0;

    for (size_t i = 0; i < drawing->block->n_spans; i++) {
        const struct map_span *span = &drawing->block->spans[i];
        for (uint64_t at = 0; at < span->size + row_addresses(drawing); at += row_addresses(drawing)) {
            struct ipam_addr address = ipam_addr_add(&span->range.first, at < span->size ? at : span->size - 1);
            struct ipam_addr base = row_base(drawing, &address);
            size_t one = text_width(label_of(drawing, &base));
            width = one > width ? one : width;
        }
    }
    return width;
}

/* A CIDR of up to 8 addresses: one row, whose label is its first address. */
static bool is_small(const struct map_block *block)
{
    const struct map_span *span = &block->spans[0];
    return block->n_spans == 1 && span->size <= RULER_STEP && (span->size & (span->size - 1)) == 0 &&
           span->range.first.lo % span->size == 0;
}

static size_t block_cells(const struct map_block *block)
{
    size_t cells = 0;
    for (size_t i = 0; i < block->n_spans; i++)
        cells += block->spans[i].size / block->per_cell;
    return block->n_spans > 1 ? ROW_CELLS_MAX : cells;
}

/* The widest of these that fits, but no wider than the block; the last is taken even if it does not fit. */
static const struct layout {
    size_t row_cells;
    unsigned int pitch;
    bool short_labels;
} layouts[] = {
    {32, 2, false}, {16, 2, false}, {16, 1, false}, {16, 2, true}, {16, 1, true}, {8, 1, true},
};

static void choose_layout(struct drawing *drawing)
{
    size_t cells = block_cells(drawing->block);

    for (size_t i = 0; i < COUNT(layouts); i++) {
        drawing->row_cells = is_small(drawing->block) ? cells : layouts[i].row_cells;
        drawing->pitch = layouts[i].pitch;
        drawing->short_labels = layouts[i].short_labels;
        drawing->label_width = label_width(drawing);
        if ((drawing->row_cells <= cells || drawing->row_cells <= 16) &&
            drawing->label_width + LABEL_GAP + drawing->row_cells * drawing->pitch <= drawing->terminal->columns)
            return;
    }
}

/* Offsets within a row, to be added to its label; in the base in which the addresses are written. */
static void put_ruler(const struct drawing *drawing)
{
    bool hexadecimal = drawing->block->spans[0].range.first.family == IPAM_IPV6;
    size_t at = 0;

    if (is_small(drawing->block))
        return;
    fprintf(drawing->out, "%*s", (int)(drawing->label_width + LABEL_GAP), "");
    for (size_t cell = 0; cell < drawing->row_cells; cell += RULER_STEP) {
        size_t offset = cell * drawing->block->per_cell;
        const char *text = arena_printf(drawing->arena, hexadecimal ? "+%zx" : "+%zu", offset);
        fprintf(drawing->out, "%*s%s", (int)(cell * drawing->pitch - at), "", text);
        at = cell * drawing->pitch + strlen(text);
    }
    fputc('\n', drawing->out);
}

/* ---- Words around it ------------------------------------------------------------------------------------------------ */

/* Words with two spaces between, on as many lines as the width takes. */
struct flow {
    FILE *out;
    size_t columns, used;
};

static void flow_put(struct flow *flow, const struct terminal *terminal, const struct glyph *glyph, const char *words)
{
    const char *mark = glyph == NULL ? "" : glyph_text(terminal, glyph);
    size_t width = text_width(mark) + (glyph != NULL) + text_width(words);

    if (flow->used > 0 && flow->used + 2 + width > flow->columns) {
        fputc('\n', flow->out);
        flow->used = 0;
    }
    if (flow->used > 0)
        fputs("  ", flow->out);
    flow->used += width + (flow->used > 0 ? 2 : 0);
    if (glyph != NULL) {
        put_colored(flow->out, terminal, glyph->color, mark);
        fputc(' ', flow->out);
    }
    fputs(words, flow->out);
}

static void flow_end(struct flow *flow)
{
    if (flow->used > 0)
        fputc('\n', flow->out);
    flow->used = 0;
}

static uint64_t in_use(const uint64_t counts[MAP_STATES])
{
    return counts[MAP_HELD] + counts[MAP_MANUAL];
}

static void put_heading(const struct drawing *drawing)
{
    const struct map_block *block = drawing->block;
    struct flow flow = {drawing->out, drawing->terminal->columns, 0};
    uint64_t usable = in_use(block->counts) + block->counts[MAP_FREE] + block->counts[MAP_COOLING];

    fputc('\n', drawing->out);
    flow_put(&flow, drawing->terminal, NULL, text_printable(drawing->arena, block->heading));
    flow_put(&flow, drawing->terminal, NULL,
             arena_printf(drawing->arena, "%" PRIu64 " of %" PRIu64 " free", block->counts[MAP_FREE], usable));
    if (block->per_cell > 1)
        flow_put(&flow, drawing->terminal, NULL,
                 arena_printf(drawing->arena, "a cell is %" PRIu32 " addresses", block->per_cell));
    if (block->clipped)
        flow_put(&flow, drawing->terminal, NULL, "clipped to its first 65536");
    flow_end(&flow);
}

static void put_legend(FILE *out, struct arena *arena, const struct map *map, const struct terminal *terminal)
{
    struct flow flow = {out, terminal->columns, 0};
    bool shaded = false;

    for (size_t i = 0; i < map->n_blocks; i++)
        shaded = shaded || map->blocks[i].per_cell > 1;
    fputc('\n', out);
    for (enum map_state state = MAP_FREE; state < MAP_STATES; state++) {
        if (map->counts[state] > 0 || state == MAP_FREE || state == MAP_HELD)
            flow_put(&flow, terminal, &state_glyphs[state],
                     arena_printf(arena, "%s %" PRIu64, map_state_name(state), map->counts[state]));
    }
    flow_end(&flow);
    if (shaded)
        flow_put(&flow, terminal, NULL, "Used of a cell:");
    for (size_t i = 0; shaded && i < COUNT(shades); i++)
        flow_put(&flow, terminal, &shades[i].glyph, shades[i].meaning);
    flow_end(&flow);
    if (map->orphaned_elsewhere > 0)
        fprintf(out, "%" PRIu64 " more held outside of these ranges\n", map->orphaned_elsewhere);
}

void map_draw(FILE *out, struct arena *arena, const struct map *map, const struct terminal *terminal)
{
    fprintf(out, "%s  %s\n", text_printable(arena, map->pool), map->state);
    for (size_t i = 0; i < map->n_blocks; i++) {
        struct drawing drawing = {.out = out, .arena = arena, .terminal = terminal, .block = &map->blocks[i]};
        choose_layout(&drawing);
        put_heading(&drawing);
        put_ruler(&drawing);
        for (size_t s = 0; s < drawing.block->n_spans; s++)
            put_span(&drawing, &drawing.block->spans[s]);
        put_row(&drawing);
    }
    put_legend(out, arena, map, terminal);
}
