#include "record.h"

#include <limits.h>
#include <string.h>

/* Written and read by hand rather than through protobuf-c: a start with a million claims decodes a
 * million records, and the hash wants the same bytes for ever. One table a message drives both
 * directions; the tests hold it against protobuf-c. Fields stand in number order, which is the
 * canonical order; a record that has them otherwise, or has one that no table knows, was not
 * written by this code and is refused. */

/* ---- What the tables are made of --------------------------------------------------------------------------------- */

/* Grows downwards, so that a message's length is known by the time it has to be written before it.
 */
struct sink {
    struct arena *arena;
    uint8_t *start, *at, *end;
};

/* Errors are sticky: `bad` is looked at once, at the end. */
struct source {
    struct arena *arena;
    const uint8_t *at, *end;
    bool bad;
};

struct field;

struct codec {
    void (*put)(struct sink *sink, const struct field *field, const void *base);
    void (*get)(struct source *source, const struct field *field, void *base);
    void (*clear)(struct source *source, const struct field *field, void *base); /* NULL: zero bytes will do */
    bool repeated;
};

struct message {
    const struct field *fields;
    size_t count;
};

struct field {
    uint32_t tag; /* number << 3 | wire type */
    uint32_t offset;
    const struct codec *codec;
    const struct message *message; /* of a nested message */
    uint32_t extra; /* nested, optional: offset of the bool that says it is there; enumeration: its last number */
};

#define ALWAYS_THERE UINT32_MAX

#define VARINT(number)    (((number) << 3) | 0)
#define DELIMITED(number) (((number) << 3) | 2)

#define MEMBER(type, field, base) ((type *)((char *)(base) + (field)->offset))

/* ---- Bytes out --------------------------------------------------------------------------------------------------- */

static void sink_grow(struct sink *sink, size_t more)
{
    size_t used = (size_t)(sink->end - sink->at);
    size_t size = 2 * ((size_t)(sink->end - sink->start) + more);
    uint8_t *start = arena_alloc(sink->arena, size);
    memcpy(start + size - used, sink->at, used);
    *sink = (struct sink){sink->arena, start, start + size - used, start + size};
}

static uint8_t *sink_take(struct sink *sink, size_t size)
{
    if ((size_t)(sink->at - sink->start) < size)
        sink_grow(sink, size);
    return sink->at -= size;
}

static void put_varint(struct sink *sink, uint64_t value)
{
    uint8_t bytes[10];
    size_t size = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[size++] = (uint8_t)(value | 0x80);
    bytes[size++] = (uint8_t)value;
    memcpy(sink_take(sink, size), bytes, size);
}

static void put_number(struct sink *sink, uint32_t tag, uint64_t value)
{
    if (value == 0)
        return;
    put_varint(sink, value);
    put_varint(sink, tag);
}

static void put_text(struct sink *sink, uint32_t tag, const char *text, size_t size)
{
    memcpy(sink_take(sink, size), text, size);
    put_varint(sink, size);
    put_varint(sink, tag);
}

static void put_message(struct sink *sink, const struct message *message, const void *base)
{
    for (size_t i = message->count; i-- > 0;)
        message->fields[i].codec->put(sink, &message->fields[i], base);
}

/* ---- Bytes in ---------------------------------------------------------------------------------------------------- */

static uint64_t source_fail(struct source *source)
{
    source->bad = true;
    source->at = source->end;
    return 0;
}

static uint64_t get_varint(struct source *source)
{
    uint64_t value = 0;
    for (unsigned int shift = 0; shift < 64 && source->at < source->end; shift += 7) {
        uint8_t byte = *source->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    return source_fail(source);
}

/* 0 at the end, which is no valid tag. */
static uint64_t get_tag(struct source *source)
{
    return source->at < source->end ? get_varint(source) : 0;
}

/* The next length-delimited bytes as a source of their own; empty when they don't fit. */
static struct source get_delimited(struct source *source)
{
    uint64_t size = get_varint(source);
    if (size > (uint64_t)(source->end - source->at)) {
        source_fail(source);
        size = 0;
    }
    struct source inner = {source->arena, source->at, source->at + size, false};
    source->at = inner.end;
    return inner;
}

static const char *get_text(struct source *source)
{
    struct source inner = get_delimited(source);
    size_t size = (size_t)(inner.end - inner.at);
    char *text = arena_alloc(source->arena, size + 1);
    memcpy(text, inner.at, size);
    text[size] = '\0';
    if (memchr(text, '\0', size))
        source_fail(source);
    return text;
}

static void get_message(struct source *source, const struct message *message, void *base)
{
    uint64_t tag = get_tag(source);
    for (const struct field *field = message->fields; field < message->fields + message->count; field++) {
        if (tag != field->tag) {
            if (field->codec->clear)
                field->codec->clear(source, field, base);
            continue;
        }
        do {
            field->codec->get(source, field, base);
            tag = get_tag(source);
        } while (tag == field->tag && field->codec->repeated);
    }
    if (tag != 0)
        source_fail(source);
}

/* ---- One codec a type -------------------------------------------------------------------------------------------- */

static void put_uint64(struct sink *sink, const struct field *field, const void *base)
{
    put_number(sink, field->tag, *MEMBER(const uint64_t, field, base));
}

static void get_uint64(struct source *source, const struct field *field, void *base)
{
    *MEMBER(uint64_t, field, base) = get_varint(source);
}

/* int64 goes as the same 64 bits, int32 and negative numbers sign-extended (protobuf, "Encoding").
 */
static void put_int64(struct sink *sink, const struct field *field, const void *base)
{
    put_number(sink, field->tag, (uint64_t)*MEMBER(const int64_t, field, base));
}

static void get_int64(struct source *source, const struct field *field, void *base)
{
    *MEMBER(int64_t, field, base) = (int64_t)get_varint(source);
}

static void put_uint32(struct sink *sink, const struct field *field, const void *base)
{
    put_number(sink, field->tag, *MEMBER(const uint32_t, field, base));
}

static void get_limited(struct source *source, uint64_t last, uint32_t *ret)
{
    uint64_t value = get_varint(source);
    if (value > last)
        value = source_fail(source);
    *ret = (uint32_t)value;
}

static void get_uint32(struct source *source, const struct field *field, void *base)
{
    get_limited(source, UINT32_MAX, MEMBER(uint32_t, field, base));
}

/* 0 is a number like others: whether there is one is told by the bool. */
static void put_optional(struct sink *sink, const struct field *field, const void *base)
{
    if (!*((const bool *)base + field->extra))
        return;
    put_varint(sink, *MEMBER(const uint32_t, field, base));
    put_varint(sink, field->tag);
}

static void get_optional(struct source *source, const struct field *field, void *base)
{
    get_limited(source, UINT32_MAX, MEMBER(uint32_t, field, base));
    *((bool *)base + field->extra) = true;
}

_Static_assert(sizeof(enum claim_state) == sizeof(uint32_t) && sizeof(enum pool_state) == sizeof(uint32_t) &&
                   sizeof(enum ipam_family) == sizeof(uint32_t),
               "enumerations are read and written as uint32_t");

static void get_enum(struct source *source, const struct field *field, void *base)
{
    get_limited(source, field->extra, MEMBER(uint32_t, field, base));
}

static void put_bool(struct sink *sink, const struct field *field, const void *base)
{
    put_number(sink, field->tag, *MEMBER(const bool, field, base));
}

static void get_bool(struct source *source, const struct field *field, void *base)
{
    uint32_t value;
    get_limited(source, 1, &value);
    *MEMBER(bool, field, base) = value;
}

static void put_string(struct sink *sink, const struct field *field, const void *base)
{
    const char *text = *MEMBER(const char *const, field, base);
    if (*text)
        put_text(sink, field->tag, text, strlen(text));
}

static void get_string(struct source *source, const struct field *field, void *base)
{
    *MEMBER(const char *, field, base) = get_text(source);
}

static void clear_string(struct source *source, const struct field *field, void *base)
{
    (void)source;
    *MEMBER(const char *, field, base) = "";
}

static void put_strings(struct sink *sink, const struct field *field, const void *base)
{
    const struct string_list *list = MEMBER(const struct string_list, field, base);
    for (size_t i = list->count; i-- > 0;)
        put_text(sink, field->tag, list->items[i], strlen(list->items[i]));
}

static void get_strings(struct source *source, const struct field *field, void *base)
{
    struct string_list *list = MEMBER(struct string_list, field, base);
    size_t count = list->count;
    if ((count & (count - 1)) == 0) { /* full: room doubles at 0, 1, 2, 4, … */
        const char **items = arena_alloc(source->arena, (count ? 2 * count : 1) * sizeof(*items));
        if (count)
            memcpy(items, list->items, count * sizeof(*items));
        list->items = items;
    }
    ((const char **)list->items)[count] = get_text(source);
    list->count = count + 1;
}

static void put_reason(struct sink *sink, const struct field *field, const void *base)
{
    const char *name = ipam_reason_name(*MEMBER(const enum ipam_reason, field, base));
    if (*name)
        put_text(sink, field->tag, name, strlen(name));
}

static void get_reason(struct source *source, const struct field *field, void *base)
{
    enum ipam_reason reason = ipam_reason_parse(get_text(source));
    if (reason == IPAM_REASON_NONE)
        source_fail(source);
    *MEMBER(enum ipam_reason, field, base) = reason;
}

static void put_address(struct sink *sink, const struct field *field, const void *base)
{
    const struct ipam_addr *address = MEMBER(const struct ipam_addr, field, base);
    char text[IPAM_ADDR_TEXT_MAX];
    if (address->family == IPAM_FAMILY_NONE)
        return;
    ipam_addr_format_cidr(address, text);
    put_text(sink, field->tag, text, strlen(text));
}

static void get_address(struct source *source, const struct field *field, void *base)
{
    struct source inner = get_delimited(source);
    size_t size = (size_t)(inner.end - inner.at);
    char text[IPAM_ADDR_TEXT_MAX] = "";
    if (size < sizeof(text))
        memcpy(text, inner.at, size);
    if (ipam_addr_parse(text, MEMBER(struct ipam_addr, field, base), NULL) < 0)
        source_fail(source);
}

#define NS_PER_S    INT64_C(1000000000)
#define TAG_SECONDS VARINT(1)
#define TAG_NANOS   VARINT(2)

/* Timestamp's nanos count forward, before 1970 too. */
static void put_time(struct sink *sink, const struct field *field, const void *base)
{
    int64_t ns = MEMBER(const struct wall_time, field, base)->ns;
    if (ns == 0)
        return;
    int64_t nanos = ((ns % NS_PER_S) + NS_PER_S) % NS_PER_S;
    size_t used = (size_t)(sink->end - sink->at);
    put_number(sink, TAG_NANOS, (uint64_t)nanos);
    put_number(sink, TAG_SECONDS, (uint64_t)((ns - nanos) / NS_PER_S));
    put_varint(sink, (size_t)(sink->end - sink->at) - used);
    put_varint(sink, field->tag);
}

static void get_time(struct source *source, const struct field *field, void *base)
{
    struct source inner = get_delimited(source);
    uint64_t tag = get_tag(&inner);
    int64_t seconds = 0, ns;
    uint32_t nanos = 0;
    if (tag == TAG_SECONDS) {
        seconds = (int64_t)get_varint(&inner);
        tag = get_tag(&inner);
    }
    if (tag == TAG_NANOS) {
        get_limited(&inner, (uint64_t)(NS_PER_S - 1), &nanos);
        tag = get_tag(&inner);
    }
    if (tag != 0 || inner.bad || __builtin_mul_overflow(seconds, NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)nanos, &ns))
        ns = (int64_t)source_fail(source);
    MEMBER(struct wall_time, field, base)->ns = ns;
}

static void put_boot_id(struct sink *sink, const struct field *field, const void *base)
{
    put_text(sink, field->tag, MEMBER(const char, field, base), BOOT_ID_SIZE);
}

static void get_boot_id(struct source *source, const struct field *field, void *base)
{
    struct source inner = get_delimited(source);
    if (inner.end - inner.at == BOOT_ID_SIZE)
        memcpy(MEMBER(char, field, base), inner.at, BOOT_ID_SIZE);
    else
        source_fail(source);
}

static void put_nested(struct sink *sink, const struct field *field, const void *base)
{
    if (field->extra != ALWAYS_THERE && !*((const bool *)base + field->extra))
        return;
    size_t used = (size_t)(sink->end - sink->at);
    put_message(sink, field->message, MEMBER(const char, field, base));
    put_varint(sink, (size_t)(sink->end - sink->at) - used);
    put_varint(sink, field->tag);
}

static void get_nested(struct source *source, const struct field *field, void *base)
{
    struct source inner = get_delimited(source);
    get_message(&inner, field->message, MEMBER(char, field, base));
    if (inner.bad)
        source_fail(source);
    if (field->extra != ALWAYS_THERE)
        *((bool *)base + field->extra) = true;
}

static void clear_nested(struct source *source, const struct field *field, void *base)
{
    struct source nothing = {source->arena, NULL, NULL, false};
    get_message(&nothing, field->message, MEMBER(char, field, base));
}

/* What few claims have lies elsewhere. */
static void put_cooling(struct sink *sink, const struct field *field, const void *base)
{
    const struct cooling_record *cooling = *MEMBER(const struct cooling_record *const, field, base);
    if (!cooling)
        return;
    size_t used = (size_t)(sink->end - sink->at);
    put_message(sink, field->message, cooling);
    put_varint(sink, (size_t)(sink->end - sink->at) - used);
    put_varint(sink, field->tag);
}

static void get_cooling(struct source *source, const struct field *field, void *base)
{
    struct source inner = get_delimited(source);
    struct cooling_record *cooling = arena_zalloc(source->arena, sizeof(*cooling));
    get_message(&inner, field->message, cooling);
    if (inner.bad)
        source_fail(source);
    *MEMBER(const struct cooling_record *, field, base) = cooling;
}

static const struct codec codec_uint64 = {put_uint64, get_uint64, NULL, false};
static const struct codec codec_int64 = {put_int64, get_int64, NULL, false};
static const struct codec codec_uint32 = {put_uint32, get_uint32, NULL, false};
static const struct codec codec_optional = {put_optional, get_optional, NULL, false};
static const struct codec codec_enum = {put_uint32, get_enum, NULL, false};
static const struct codec codec_bool = {put_bool, get_bool, NULL, false};
static const struct codec codec_string = {put_string, get_string, clear_string, false};
static const struct codec codec_strings = {put_strings, get_strings, NULL, true};
static const struct codec codec_reason = {put_reason, get_reason, NULL, false};
static const struct codec codec_address = {put_address, get_address, NULL, false};
static const struct codec codec_boot_id = {put_boot_id, get_boot_id, NULL, false};
static const struct codec codec_cooling = {put_cooling, get_cooling, NULL, false};
static const struct codec codec_time = {put_time, get_time, NULL, false};
static const struct codec codec_nested = {put_nested, get_nested, clear_nested, false};

/* ---- The messages of proto/ipam.proto ---------------------------------------------------------------------------- */

/* A PoolSpec carries the pool's name, which stands beside the spec in our structs. */
struct wire_spec {
    const char *name;
    struct pool_spec spec;
};

struct wire_pool {
    bool has_spec, has_rejected;
    struct wire_spec spec, rejected;
    enum pool_state state;
    enum ipam_reason reason;
    const char *message;
    struct wall_time created_at;
    uint64_t id;
};

struct wire_change {
    bool has_pool, has_claim;
    uint64_t revision;
    struct wall_time at;
    struct actor actor;
    struct wire_pool pool;
    struct claim_record claim;
};

#define FIELD(wire, number, type, member, codec)                      \
    {                                                                 \
        wire(number), offsetof(type, member), &codec_##codec, NULL, 0 \
    }
#define FIELD_ENUM(number, type, member, last)                          \
    {                                                                   \
        VARINT(number), offsetof(type, member), &codec_enum, NULL, last \
    }
#define FIELD_OPTIONAL(number, type, member, there)                                          \
    {                                                                                        \
        VARINT(number), offsetof(type, member), &codec_optional, NULL, offsetof(type, there) \
    }
#define FIELD_NESTED(number, type, member, message, there)                        \
    {                                                                             \
        DELIMITED(number), offsetof(type, member), &codec_nested, &message, there \
    }
#define MESSAGE(table)                            \
    {                                             \
        table, sizeof(table) / sizeof((table)[0]) \
    }

static const struct field actor_fields[] = {
    FIELD(VARINT, 1, struct actor, uid, uint32),
    FIELD(DELIMITED, 2, struct actor, command, string),
    FIELD(DELIMITED, 3, struct actor, method, string),
};
static const struct message actor_message = MESSAGE(actor_fields);

static const struct field owner_fields[] = {
    FIELD(DELIMITED, 1, struct owner_ref, kind, string),
    FIELD(DELIMITED, 2, struct owner_ref, name, string),
    FIELD(DELIMITED, 3, struct owner_ref, uid, string),
};
static const struct message owner_message = MESSAGE(owner_fields);

static const struct field spec_fields[] = {
    FIELD(DELIMITED, 1, struct wire_spec, name, string),
    FIELD(DELIMITED, 2, struct wire_spec, spec.uid, string),
    FIELD(VARINT, 3, struct wire_spec, spec.generation, int64),
    FIELD(DELIMITED, 4, struct wire_spec, spec.cidrs, strings),
    FIELD(DELIMITED, 5, struct wire_spec, spec.addresses, strings),
    FIELD(DELIMITED, 6, struct wire_spec, spec.excluded, strings),
    FIELD(VARINT, 7, struct wire_spec, spec.auto_assign, bool),
    FIELD(VARINT, 8, struct wire_spec, spec.reuse_delay_seconds, uint32),
    FIELD(VARINT, 9, struct wire_spec, spec.paused, bool),
};
static const struct message spec_message = MESSAGE(spec_fields);

static const struct field pool_fields[] = {
    FIELD_NESTED(1, struct wire_pool, spec, spec_message, offsetof(struct wire_pool, has_spec)),
    FIELD_ENUM(2, struct wire_pool, state, POOL_REMOVED),
    FIELD(DELIMITED, 3, struct wire_pool, reason, reason),
    FIELD(DELIMITED, 4, struct wire_pool, message, string),
    FIELD(DELIMITED, 9, struct wire_pool, created_at, time),
    FIELD_NESTED(11, struct wire_pool, rejected, spec_message, offsetof(struct wire_pool, has_rejected)),
    FIELD(VARINT, 12, struct wire_pool, id, uint64),
};
static const struct message pool_message = MESSAGE(pool_fields);

static const struct field cooling_fields[] = {
    FIELD(DELIMITED, 1, struct cooling_record, released_at, time),
    FIELD(VARINT, 2, struct cooling_record, delay_seconds, uint32),
    FIELD(DELIMITED, 3, struct cooling_record, boot_id, boot_id),
    FIELD(VARINT, 4, struct cooling_record, boot_time.ns, int64),
};
static const struct message cooling_message = MESSAGE(cooling_fields);

static const struct field claim_fields[] = {
    FIELD_NESTED(1, struct claim_record, owner, owner_message, ALWAYS_THERE),
    FIELD_ENUM(2, struct claim_record, family, IPAM_IPV6),
    FIELD_ENUM(3, struct claim_record, state, CLAIM_RELEASED),
    FIELD(DELIMITED, 4, struct claim_record, pool, string),
    FIELD(DELIMITED, 5, struct claim_record, address, address),
    FIELD(DELIMITED, 6, struct claim_record, requested, string),
    FIELD(DELIMITED, 7, struct claim_record, preferred, string),
    FIELD(VARINT, 8, struct claim_record, dual, bool),
    FIELD(DELIMITED, 9, struct claim_record, reason, reason),
    FIELD(DELIMITED, 10, struct claim_record, message, string),
    FIELD(DELIMITED, 11, struct claim_record, created_at, time),
    FIELD(DELIMITED, 12, struct claim_record, allocated_at, time),
    FIELD(DELIMITED, 13, struct claim_record, cooling_until, time),
    FIELD(VARINT, 14, struct claim_record, waiting_since, uint64),
    FIELD(VARINT, 17, struct claim_record, id, uint64),
    {DELIMITED(18), offsetof(struct claim_record, cooling), &codec_cooling, &cooling_message, 0},
    FIELD_OPTIONAL(22, struct claim_record, user, has_user),
};
static const struct message claim_message = MESSAGE(claim_fields);

static const struct field change_fields[] = {
    FIELD(VARINT, 1, struct wire_change, revision, uint64),
    FIELD(DELIMITED, 2, struct wire_change, at, time),
    FIELD_NESTED(3, struct wire_change, actor, actor_message, ALWAYS_THERE),
    FIELD_NESTED(4, struct wire_change, pool, pool_message, offsetof(struct wire_change, has_pool)),
    FIELD_NESTED(5, struct wire_change, claim, claim_message, offsetof(struct wire_change, has_claim)),
};
static const struct message change_message = MESSAGE(change_fields);

/* ---- Pools between their two shapes ------------------------------------------------------------------------------ */

/* A pool that was never accepted shows the rejected spec as its only one. */
static void pool_to_wire(const struct pool_record *pool, struct wire_pool *ret)
{
    bool never_accepted = !pool->has_spec;
    *ret = (struct wire_pool){
        .has_spec = true,
        .spec = {pool->name, never_accepted ? pool->rejected : pool->spec},
        .has_rejected = pool->has_rejected && !never_accepted,
        .rejected = {pool->name, pool->rejected},
        .state = pool->state,
        .reason = pool->reason,
        .message = pool->message,
        .created_at = pool->created_at,
        .id = pool->id,
    };
    if (never_accepted && !pool->has_rejected)
        ret->spec.spec = (struct pool_spec){.uid = ""};
}

static void pool_from_wire(const struct wire_pool *wire, struct pool_record *ret)
{
    bool never_accepted = wire->state == POOL_REJECTED && !wire->has_rejected;
    *ret = (struct pool_record){
        .id = wire->id,
        .name = wire->spec.name,
        .state = wire->state,
        .reason = wire->reason,
        .message = wire->message,
        .has_spec = !never_accepted,
        .spec = never_accepted ? wire->rejected.spec : wire->spec.spec,
        .has_rejected = wire->has_rejected || never_accepted,
        .rejected = never_accepted ? wire->spec.spec : wire->rejected.spec,
        .created_at = wire->created_at,
    };
}

/* ---- In and out -------------------------------------------------------------------------------------------------- */

#define RECORD_SIZE_USUAL 512

uint8_t *record_encode(const struct change *change, struct arena *arena, size_t *ret_size)
{
    struct wire_change wire;
    wire.has_pool = change->kind == CHANGE_POOL;
    wire.has_claim = change->kind == CHANGE_CLAIM;
    wire.revision = change->revision;
    wire.at = change->at;
    wire.actor = change->actor;
    if (wire.has_pool)
        pool_to_wire(&change->pool, &wire.pool);
    else
        wire.claim = change->claim;

    uint8_t *start = arena_alloc(arena, RECORD_SIZE_USUAL);
    struct sink sink = {arena, start, start + RECORD_SIZE_USUAL, start + RECORD_SIZE_USUAL};
    put_message(&sink, &change_message, &wire);
    *ret_size = (size_t)(sink.end - sink.at);
    return sink.at;
}

uint8_t *record_put_hash(const uint8_t hash[32], uint8_t *ret)
{
    *ret++ = DELIMITED(15);
    *ret++ = 32;
    memcpy(ret, hash, 32);
    return ret + 32;
}

/* The rules that the tables can't say. */
static const char *wire_defect(const struct wire_change *wire)
{
    if (wire->has_pool == wire->has_claim)
        return "it holds neither one pool nor one claim";
    if (wire->revision == 0)
        return "it has no revision";
    if (wire->has_pool && (!wire->pool.has_spec || wire->pool.state == 0 || wire->pool.id == 0))
        return "its pool lacks spec, state or id";
    if (wire->has_claim && (wire->claim.state == 0 || wire->claim.family == 0 || wire->claim.id == 0))
        return "its claim lacks state, family or id";
    return NULL;
}

int record_decode(const uint8_t *record, size_t size, struct arena *arena, struct change *ret,
                  struct ipam_error *reterr)
{
    struct wire_change wire = {.revision = 0};
    struct source source = {arena, record, record + size, false};
    get_message(&source, &change_message, &wire);
    const char *defect = source.bad ? "its bytes are not a Change of this version" : wire_defect(&wire);
    if (defect)
        return ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED, "a record can't be read: %s", defect);

    ret->revision = wire.revision;
    ret->at = wire.at;
    ret->actor = wire.actor;
    ret->kind = wire.has_pool ? CHANGE_POOL : CHANGE_CLAIM;
    if (wire.has_pool)
        pool_from_wire(&wire.pool, &ret->pool);
    else
        ret->claim = wire.claim;
    return 0;
}
