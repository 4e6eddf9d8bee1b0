#include "yaml_in.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct anchor {
    const char *name;
    struct yaml_node *node;
    struct anchor *next; /* the one before it: a later anchor hides an earlier one of the same name */
};

struct reader {
    yaml_parser_t parser;
    struct arena *arena;
    const char *source;
    struct anchor *anchors; /* of the document being read */
    uint64_t nodes;
    struct ipam_error *reterr;
};

/* Nodes of a collection while it is being read. */
struct gather {
    struct yaml_node **items;
    size_t count, capacity;
};

static int read_node(struct reader *reader, const yaml_event_t *event, unsigned int depth, struct yaml_node **ret);

static int fail(struct reader *reader, size_t line, const char *what)
{
    return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_REQUEST, "%s:%zu: %s", reader->source, line + 1, what);
}

static int fail_parser(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    const char *what = parser->problem == NULL ? "not YAML" : parser->problem;

    if (parser->error == YAML_MEMORY_ERROR)
        return ipam_error_set(reader->reterr, IPAM_REASON_OUT_OF_MEMORY, "%s: out of memory", reader->source);
    if (parser->error == YAML_READER_ERROR)
        return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_REQUEST,
                              "%s: byte %zu: %s: write the file as UTF-8 text", reader->source, parser->problem_offset,
                              what);
    if (parser->context == NULL)
        return fail(reader, parser->problem_mark.line, what);
    return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_REQUEST, "%s:%zu: %s %s", reader->source,
                          parser->problem_mark.line + 1, what, parser->context);
}

static int next_event(struct reader *reader, yaml_event_t *ret)
{
    return yaml_parser_parse(&reader->parser, ret) ? 0 : fail_parser(reader);
}

static void gather_add(struct arena *arena, struct gather *gather, struct yaml_node *node)
{
    if (gather->count == gather->capacity) {
        size_t capacity = gather->capacity == 0 ? 8 : 2 * gather->capacity;
        struct yaml_node **items = arena_alloc(arena, capacity * sizeof(*items));
        if (gather->count > 0)
            memcpy(items, gather->items, gather->count * sizeof(*items));
        gather->items = items;
        gather->capacity = capacity;
    }
    gather->items[gather->count++] = node;
}

static struct yaml_node *new_node(struct reader *reader, enum yaml_kind kind, const yaml_event_t *event,
                                  const yaml_char_t *anchor)
{
    struct yaml_node *node = arena_zalloc(reader->arena, sizeof(*node));
    node->kind = kind;
    node->line = (unsigned int)event->start_mark.line + 1;
    if (anchor != NULL) {
        struct anchor *entry = arena_alloc(reader->arena, sizeof(*entry));
        *entry = (struct anchor){arena_strdup(reader->arena, (const char *)anchor), node, reader->anchors};
        reader->anchors = entry;
    }
    return node;
}

/* Counts nodes as a reader that follows aliases would meet them: few bytes of aliases can stand for billions of nodes. */
static int count_nodes(struct reader *reader, size_t line, uint64_t weight)
{
    reader->nodes += weight;
    if (reader->nodes > YAML_NODES_MAX)
        return ipam_error_set(reader->reterr, IPAM_REASON_LIMIT_EXCEEDED,
                              "%s:%zu: more than %d YAML nodes, aliases followed: write several smaller files",
                              reader->source, line + 1, YAML_NODES_MAX);
    return 0;
}

static int read_scalar(struct reader *reader, const yaml_event_t *event, struct yaml_node **ret)
{
    size_t length = event->data.scalar.length;
    const char *value = (const char *)event->data.scalar.value;

    if (memchr(value, '\0', length) != NULL)
        return fail(reader, event->start_mark.line, "a text contains the character NUL: take it out");
    struct yaml_node *node = new_node(reader, YAML_SCALAR, event, event->data.scalar.anchor);
    node->text = arena_memdup(reader->arena, value, length);
    node->plain = event->data.scalar.plain_implicit && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->weight = 1;
    *ret = node;
    return count_nodes(reader, event->start_mark.line, 1);
}

static int read_alias(struct reader *reader, const yaml_event_t *event, struct yaml_node **ret)
{
    const char *name = (const char *)event->data.alias.anchor;
    struct anchor *entry = reader->anchors;

    while (entry != NULL && strcmp(entry->name, name) != 0)
        entry = entry->next;
    if (entry == NULL)
        return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_REQUEST,
                              "%s:%zu: no anchor &%s stands before the alias *%s", reader->source,
                              event->start_mark.line + 1, name, name);
    if (entry->node->weight == 0)
        return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_REQUEST, "%s:%zu: the alias *%s contains itself",
                              reader->source, event->start_mark.line + 1, name);
    *ret = entry->node;
    return count_nodes(reader, event->start_mark.line, entry->node->weight);
}

static int compare_keys(const void *a, const void *b)
{
    const struct yaml_node *const *left = a, *const *right = b;
    int order = strcmp((*left)->text, (*right)->text);
    return order != 0 ? order : ((*left)->line > (*right)->line) - ((*left)->line < (*right)->line);
}

static int check_keys(struct reader *reader, const struct gather *gather)
{
    size_t pairs = gather->count / 2;
    struct yaml_node **keys = arena_alloc(reader->arena, (pairs + 1) * sizeof(*keys));

    for (size_t i = 0; i < pairs; i++) {
        keys[i] = gather->items[2 * i];
        if (keys[i]->kind != YAML_SCALAR)
            return fail(reader, keys[i]->line - 1, "a key is a list or a mapping: write a word");
        if (keys[i]->plain && strcmp(keys[i]->text, "<<") == 0)
            return fail(reader, keys[i]->line - 1, "merge keys (<<) are not read: write the fields out");
    }
    qsort(keys, pairs, sizeof(*keys), compare_keys);
    for (size_t i = 1; i < pairs; i++) {
        if (strcmp(keys[i - 1]->text, keys[i]->text) == 0)
            return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_REQUEST,
                                  "%s:%u: the key %s stands twice, first on line %u: keep one of them", reader->source,
                                  keys[i]->line, keys[i]->text, keys[i - 1]->line);
    }
    return 0;
}

/* What follows the start of a list or mapping, up to its end. */
static int read_members(struct reader *reader, yaml_event_type_t end, unsigned int depth, struct gather *gather)
{
    for (;;) {
        struct yaml_node *node;
        yaml_event_t event;

        if (next_event(reader, &event) < 0)
            return -1;
        bool done = event.type == end;
        int result = done ? 0 : read_node(reader, &event, depth + 1, &node);
        yaml_event_delete(&event);
        if (done || result < 0)
            return result;
        gather_add(reader->arena, gather, node);
    }
}

static int read_collection(struct reader *reader, const yaml_event_t *event, unsigned int depth, struct yaml_node **ret)
{
    bool mapping = event->type == YAML_MAPPING_START_EVENT;
    struct gather gather = {0};

    if (depth >= YAML_DEPTH_MAX)
        return ipam_error_set(reader->reterr, IPAM_REASON_LIMIT_EXCEEDED,
                              "%s:%zu: nested more than %d deep: write it flatter", reader->source,
                              event->start_mark.line + 1, YAML_DEPTH_MAX);
    if (count_nodes(reader, event->start_mark.line, 1) < 0)
        return -1;
    struct yaml_node *node = new_node(reader, mapping ? YAML_MAPPING : YAML_SEQUENCE, event,
                                      mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor);
    if (read_members(reader, mapping ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT, depth, &gather) < 0)
        return -1;
    if (mapping && check_keys(reader, &gather) < 0)
        return -1;
    node->items = gather.items;
    node->count = gather.count;
    node->weight = 1;
    for (size_t i = 0; i < gather.count; i++)
        node->weight += gather.items[i]->weight;
    *ret = node;
    return 0;
}

static int read_node(struct reader *reader, const yaml_event_t *event, unsigned int depth, struct yaml_node **ret)
{
    if (event->type == YAML_SCALAR_EVENT)
        return read_scalar(reader, event, ret);
    if (event->type == YAML_ALIAS_EVENT)
        return read_alias(reader, event, ret);
    return read_collection(reader, event, depth, ret);
}

/* libyaml's order of events: stream start, (document start, one node, document end)…, stream end. */
static int read_stream(struct reader *reader, struct gather *documents)
{
    for (;;) {
        struct yaml_node *node = NULL;
        yaml_event_t event;

        if (next_event(reader, &event) < 0)
            return -1;
        yaml_event_type_t type = event.type;
        int result = 0;
        if (type == YAML_DOCUMENT_START_EVENT)
            reader->anchors = NULL;
        else if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT && type != YAML_DOCUMENT_END_EVENT)
            result = read_node(reader, &event, 0, &node);
        yaml_event_delete(&event);
        if (result < 0 || type == YAML_STREAM_END_EVENT)
            return result;
        if (node != NULL && !yaml_is_null(node))
            gather_add(reader->arena, documents, node);
    }
}

int yaml_read(struct arena *arena, const char *source, const char *text, size_t size, struct yaml_documents *ret,
              struct ipam_error *reterr)
{
    struct reader reader = {.arena = arena, .source = source, .reterr = reterr};
    struct gather documents = {0};

    if (size > YAML_SIZE_MAX)
        return ipam_error_set(reterr, IPAM_REASON_LIMIT_EXCEEDED, "%s: larger than 16 MiB: write several smaller files",
                              source);
    if (!yaml_parser_initialize(&reader.parser))
        return ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "%s: out of memory", source);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, size);
    int result = read_stream(&reader, &documents);
    yaml_parser_delete(&reader.parser);
    if (result < 0)
        return -1;
    *ret = (struct yaml_documents){documents.items, documents.count};
    return 0;
}

bool yaml_is_null(const struct yaml_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

    if (node->kind != YAML_SCALAR || !node->plain)
        return false;
    for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++) {
        if (strcmp(node->text, nulls[i]) == 0)
            return true;
    }
    return false;
}

const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key)
{
    for (size_t i = 0; i + 1 < mapping->count; i += 2) {
        const struct yaml_node *value = mapping->items[i + 1];
        if (strcmp(mapping->items[i]->text, key) == 0)
            return yaml_is_null(value) ? NULL : value;
    }
    return NULL;
}
