/* The proto3 JSON mapping: round trips over every message, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <google/protobuf/descriptor.pb-c.h>
#include <google/rpc/error_details.pb-c.h>
#include <grpc/health/v1/health.pb-c.h>
#include <ipam/ipam.pb-c.h>

#include "base64.h"
#include "json_message.h"
#include "methods.h"

#define ROUNDS    300
#define DEPTH_MAX 5

/* ---- Fixture -------------------------------------------------------------------------------------------------------- */

struct fixture {
    struct arena arena;
    uint64_t random;
    struct ipam_error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const char *seed = getenv("SEED");

    arena_init(&fixture->arena);
    fixture->random = seed == NULL ? 0x9e3779b97f4a7c15u : strtoull(seed, NULL, 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

/* ---- Helpers -------------------------------------------------------------------------------------------------------- */

static uint64_t draw(struct fixture *fixture)
{
    fixture->random ^= fixture->random << 13;
    fixture->random ^= fixture->random >> 7;
    fixture->random ^= fixture->random << 17;
    return fixture->random;
}

static uint64_t below(struct fixture *fixture, uint64_t limit)
{
    return draw(fixture) % limit;
}

/* Numbers at the edges are likelier than the others. */
static uint64_t draw_number(struct fixture *fixture)
{
    static const uint64_t edges[] = {0, 1, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_C(1) << 63, 1u << 31};
    return below(fixture, 2) ? edges[below(fixture, 8)] : draw(fixture) >> below(fixture, 64);
}

static char *draw_text(struct fixture *fixture)
{
    static const char *const parts[] = {"a", "10.200.0.1/32", "\"", "\\", "\n",   "\x01", "ü", "€", "\U0001F600",
                                        "/", "null",          "0",  " ",  "\x7f", ",",    "Z"};
    char *text = "";
    for (uint64_t i = below(fixture, 6); i > 0; i--)
        text = arena_printf(&fixture->arena, "%s%s", text, parts[below(fixture, 16)]);
    return text;
}

static ProtobufCBinaryData draw_bytes(struct fixture *fixture)
{
    ProtobufCBinaryData bytes = {below(fixture, 40), NULL};
    bytes.data = arena_alloc(&fixture->arena, bytes.len + 1);
    for (size_t i = 0; i < bytes.len; i++)
        bytes.data[i] = (uint8_t)draw(fixture);
    return bytes;
}

static ProtobufCMessage *draw_message(struct fixture *fixture, const ProtobufCMessageDescriptor *type,
                                      unsigned int depth);

/* Writes one random value of the field's type, returns its size. */
static size_t draw_value(struct fixture *fixture, const ProtobufCFieldDescriptor *field, unsigned int depth, void *ret)
{
    uint64_t number = draw_number(fixture);
    double real = (double)(int64_t)draw(fixture) / 1048576.0;
    const ProtobufCEnumDescriptor *type = field->descriptor;

    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)ret = (protobuf_c_boolean)(number & 1);
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_ENUM: /* one in eight is a number that has no name */
        *(int *)ret = below(fixture, 8) ? type->values[below(fixture, type->n_values)].value : (int)(number & 0xffff);
        return sizeof(int);
    case PROTOBUF_C_TYPE_STRING:
        *(char **)ret = draw_text(fixture);
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES:
        *(ProtobufCBinaryData *)ret = draw_bytes(fixture);
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)ret = draw_message(fixture, field->descriptor, depth + 1);
        return sizeof(void *);
    case PROTOBUF_C_TYPE_DOUBLE:
        *(double *)ret = real;
        return 8;
    case PROTOBUF_C_TYPE_FLOAT:
        *(float *)ret = (float)real;
        return 4;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        *(uint32_t *)ret = (uint32_t)number;
        return 4;
    default:
        *(uint64_t *)ret = number;
        return 8;
    }
}

static void draw_list(struct fixture *fixture, const ProtobufCMessageDescriptor *type,
                      const ProtobufCFieldDescriptor *field, unsigned int depth, char *base)
{
    size_t count = depth >= DEPTH_MAX ? 0 : below(fixture, 4), used = 0;
    char *items = arena_zalloc(&fixture->arena, (count + 1) * sizeof(ProtobufCBinaryData));

    for (size_t i = 0; i < count; i++) {
        used += draw_value(fixture, field, depth, items + used);
        if (json_field_is_map(field, type)) /* keys of a map differ */
            *(char **)(void *)((*(char **)(void *)(items + used - sizeof(void *))) +
                               ((const ProtobufCMessageDescriptor *)field->descriptor)->fields[0].offset) =
                arena_printf(&fixture->arena, "key%zu", i);
    }
    *(size_t *)(void *)(base + field->quantifier_offset) = count;
    *(void **)(void *)(base + field->offset) = count == 0 ? NULL : items;
}

/* Sets the field, or leaves it unset where it can be. */
static void draw_field(struct fixture *fixture, const ProtobufCMessageDescriptor *type,
                       const ProtobufCFieldDescriptor *field, unsigned int depth, char *base)
{
    bool message = field->type == PROTOBUF_C_TYPE_MESSAGE, required = field->label == PROTOBUF_C_LABEL_REQUIRED;

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        draw_list(fixture, type, field, depth, base);
        return;
    }
    if (!required && (below(fixture, 3) == 0 || (message && depth >= DEPTH_MAX)))
        return;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        if (*(uint32_t *)(void *)(base + field->quantifier_offset) != 0)
            return;
        *(uint32_t *)(void *)(base + field->quantifier_offset) = field->id;
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !message && field->type != PROTOBUF_C_TYPE_STRING) {
        *(protobuf_c_boolean *)(void *)(base + field->quantifier_offset) = 1;
    }
    draw_value(fixture, field, depth, base + field->offset);
}

static ProtobufCMessage *draw_message(struct fixture *fixture, const ProtobufCMessageDescriptor *type,
                                      unsigned int depth)
{
    ProtobufCMessage *message = arena_alloc(&fixture->arena, type->sizeof_message);

    protobuf_c_message_init(type, message);
    for (unsigned int i = 0; i < type->n_fields; i++)
        draw_field(fixture, type, &type->fields[i], depth, (char *)message);
    if (strcmp(type->name, "google.protobuf.Timestamp") == 0 && below(fixture, 4) != 0) {
        Google__Protobuf__Timestamp *at = (Google__Protobuf__Timestamp *)message;
        at->seconds = (int64_t)below(fixture, 315537897600u) - 62135596800;
        at->nanos = below(fixture, 2) ? (int32_t)below(fixture, 1000000000) : (int32_t)below(fixture, 1000) * 1000000;
    }
    return message;
}

static uint8_t *pack(struct fixture *fixture, const ProtobufCMessage *message, size_t *ret_size)
{
    *ret_size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = arena_alloc(&fixture->arena, *ret_size + 1);
    protobuf_c_message_pack(message, bytes);
    return bytes;
}

/* Message -> JSON text -> message must pack to the same bytes. */
static void assert_round_trip(struct fixture *fixture, const ProtobufCMessage *message)
{
    json_t *json = json_message_encode(message), *again;
    char *text = json_dumps(json, 0);
    size_t before_size, after_size;
    uint8_t *before = pack(fixture, message, &before_size);
    ProtobufCMessage *decoded;

    assert_int_equal(json_text_parse("test", text, strlen(text), &again, &fixture->error), 0);
    if (json_message_decode(&fixture->arena, message->descriptor, again, &decoded, &fixture->error) < 0)
        fail_msg("%s\n%s", fixture->error.message, text);
    uint8_t *after = pack(fixture, decoded, &after_size);
    if (before_size != after_size || memcmp(before, after, before_size) != 0)
        fail_msg("%s came back as another message: %s", message->descriptor->name, text);
    json_decref(json);
    json_decref(again);
    free(text);
}

static ProtobufCMessage *decode(struct fixture *fixture, const ProtobufCMessageDescriptor *type, const char *text)
{
    ProtobufCMessage *message = NULL;
    json_t *json = NULL;

    fixture->error = (struct ipam_error){0};
    if (json_text_parse("test", text, strlen(text), &json, &fixture->error) == 0)
        (void)json_message_decode(&fixture->arena, type, json, &message, &fixture->error);
    json_decref(json);
    return message;
}

static void assert_refused(struct fixture *fixture, const ProtobufCMessageDescriptor *type, const char *text,
                           const char *why)
{
    assert_null(decode(fixture, type, text));
    if (strstr(fixture->error.message, why) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", text, fixture->error.message, why);
    assert_int_equal(fixture->error.status, IPAM_STATUS_INVALID_ARGUMENT);
}

static Ipam__V1__AllocateRequest *decode_allocate(struct fixture *fixture, const char *text)
{
    Ipam__V1__AllocateRequest *request = (void *)decode(fixture, &ipam__v1__allocate_request__descriptor, text);
    if (request == NULL)
        fail_msg("%s: %s", text, fixture->error.message);
    return request;
}

/* ---- Tests ---------------------------------------------------------------------------------------------------------- */

static void every_message_comes_back_as_the_same_bytes(void **state)
{
    struct fixture *fixture = *state;
    const ProtobufCMessageDescriptor *others[] = {&ipam__v1__change__descriptor, &google__rpc__error_info__descriptor,
                                                  &google__protobuf__file_descriptor_set__descriptor};
    size_t count;
    const struct method *methods = methods_all(&fixture->arena, &count);
    struct arena methods_arena = fixture->arena; /* kept while rounds take and drop memory of their own */

    arena_init(&fixture->arena);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < count; i++) {
            assert_round_trip(fixture, draw_message(fixture, methods[i].request, 0));
            assert_round_trip(fixture, draw_message(fixture, methods[i].reply, 0));
        }
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
            assert_round_trip(fixture, draw_message(fixture, others[i], 0));
        arena_done(&fixture->arena);
        arena_init(&fixture->arena);
    }
    arena_done(&methods_arena);
}

static void names_are_camel_case_going_out_and_either_coming_in(void **state)
{
    struct fixture *fixture = *state;
    Ipam__V1__AllocateRequest request = IPAM__V1__ALLOCATE_REQUEST__INIT;

    request.ipv6_address = "2001:db8::1";
    json_t *json = json_message_encode(&request.base);
    assert_string_equal(json_string_value(json_object_get(json, "ipv6Address")), "2001:db8::1");
    assert_null(json_object_get(json, "ipv6_address"));
    json_decref(json);
    assert_string_equal(decode_allocate(fixture, "{\"ipv6Address\": \"a\"}")->ipv6_address, "a");
    assert_string_equal(decode_allocate(fixture, "{\"ipv6_address\": \"b\"}")->ipv6_address, "b");
    assert_refused(fixture, &ipam__v1__allocate_request__descriptor,
                   "{\"ipv6Address\": \"a\", \"ipv6_address\": \"b\"}", "stands twice");
}

static void wide_numbers_are_strings_and_read_from_either(void **state)
{
    struct fixture *fixture = *state;
    Ipam__V1__ListChangesRequest request = IPAM__V1__LIST_CHANGES_REQUEST__INIT, *read;

    request.after_revision = UINT64_MAX;
    json_t *json = json_message_encode(&request.base);
    assert_string_equal(json_string_value(json_object_get(json, "afterRevision")), "18446744073709551615");
    assert_true(json_is_integer(json_object_get(json, "limit")));
    json_decref(json);
    read = (void *)decode(fixture, &ipam__v1__list_changes_request__descriptor,
                          "{\"afterRevision\": 12, \"limit\": \"7\"}");
    assert_non_null(read);
    assert_int_equal(read->after_revision, 12);
    assert_int_equal(read->limit, 7);
}

static void fields_at_their_default_are_written_and_unset_messages_are_not(void **state)
{
    Ipam__V1__Pool pool = IPAM__V1__POOL__INIT;
    Ipam__V1__PoolCounts counts = IPAM__V1__POOL_COUNTS__INIT;

    (void)state;
    pool.counts = &counts;
    json_t *json = json_message_encode(&pool.base);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "counts"), "available")), "0");
    assert_null(json_object_get(json, "ipv4"));
    assert_int_equal(json_array_size(json_object_get(json, "clippedCidrs")), 0);
    json_decref(json);
}

static void enums_go_by_name_or_number(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(decode_allocate(fixture, "{\"family\": \"DUAL\"}")->family, IPAM__V1__FAMILY__DUAL);
    assert_int_equal(decode_allocate(fixture, "{\"family\": 2}")->family, IPAM__V1__FAMILY__IPV6);
    assert_refused(fixture, &ipam__v1__allocate_request__descriptor, "{\"family\": \"IPV5\"}", "IPV4, IPV6, DUAL");
}

static void nulls_are_defaults(void **state)
{
    struct fixture *fixture = *state;
    assert_string_equal(decode_allocate(fixture, "{\"pool\": null, \"owner\": null}")->pool, "");
}

static void times_are_rfc_3339(void **state)
{
    struct fixture *fixture = *state;
    Ipam__V1__Claim *claim =
        (void *)decode(fixture, &ipam__v1__claim__descriptor, "{\"createdAt\": \"2024-01-15T11:30:00.5+01:00\"}");

    assert_non_null(claim);
    assert_int_equal(claim->created_at->seconds, 1705314600);
    assert_int_equal(claim->created_at->nanos, 500000000);
    json_t *json = json_message_encode(&claim->base);
    assert_string_equal(json_string_value(json_object_get(json, "createdAt")), "2024-01-15T10:30:00.500Z");
    json_decref(json);
    assert_refused(fixture, &ipam__v1__claim__descriptor, "{\"createdAt\": \"2024-02-30T10:30:00Z\"}", "createdAt");
    assert_refused(fixture, &ipam__v1__claim__descriptor, "{\"createdAt\": 5}", "2024-01-15T10:30:00Z");
}

static void maps_are_objects(void **state)
{
    struct fixture *fixture = *state;
    Google__Rpc__ErrorInfo *info = (void *)decode(fixture, &google__rpc__error_info__descriptor,
                                                  "{\"metadata\": {\"pool\": \"p\", \"holder\": \"h\"}}");

    assert_non_null(info);
    assert_int_equal(info->n_metadata, 2);
    assert_string_equal(info->metadata[1]->key, "holder");
    json_t *json = json_message_encode(&info->base);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "metadata"), "pool")), "p");
    json_decref(json);
}

static void one_field_of_a_oneof_is_taken(void **state)
{
    struct fixture *fixture = *state;
    assert_refused(fixture, &ipam__v1__change__descriptor, "{\"pool\": {}, \"claim\": {}}", "same oneof");
}

static void what_does_not_fit_is_refused_by_path(void **state)
{
    static const struct {
        const char *json, *why;
    } rows[] = {
        {"{\"pool\": {\"cidrs\": [\"a\", 5]}}", "pool.cidrs[1] is not a string"},
        {"{\"pool\": {\"cidrs\": \"a\"}}", "pool.cidrs is not a list"},
        {"{\"pool\": {\"autoAssign\": \"true\"}}", "pool.autoAssign is not true or false"},
        {"{\"pool\": {\"reuseDelaySeconds\": -1}}",
         "pool.reuseDelaySeconds is not a whole number from 0 to 4294967295"},
        {"{\"pool\": {\"reuseDelaySeconds\": 4294967296}}", "pool.reuseDelaySeconds"},
        {"{\"pool\": {\"reuseDelaySeconds\": 1.5}}", "pool.reuseDelaySeconds"},
        {"{\"pool\": {\"generation\": \"9223372036854775808\"}}", "pool.generation"},
        {"{\"pool\": {\"generation\": \" 1\"}}", "pool.generation"},
        {"{\"pool\": {\"autoasign\": true}}",
         "unknown field pool.autoasign in ipam.v1.PoolSpec; did you mean autoAssign?"},
        {"{\"pool\": []}", "pool is not an object"},
        {"[]", "the message is not an object"},
        {"{\"pool\": {}", "test:1"},
        {"{\"pool\": {}, \"pool\": {}}", "duplicate"},
        {"", "test:1"},
        {"{\"pool\": {\"name\": \"\\u0000\"}}", "test:1"},
        {"{\"pool\": {\"name\": \"\xff\"}}", "test:1"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_refused(fixture, &ipam__v1__apply_pool_request__descriptor, rows[i].json, rows[i].why);
}

static void deep_nesting_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char *text = "{}";

    for (int i = 0; i < 100; i++)
        text = arena_printf(&fixture->arena, "{\"nestedType\": [%s]}", text);
    assert_refused(fixture, &google__protobuf__descriptor_proto__descriptor, text, "too deep");
}

static void texts_that_are_not_utf8_become_replacement_characters(void **state)
{
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;

    (void)state;
    owner.name = "a\xff\xc3z";
    json_t *json = json_message_encode(&owner.base);
    assert_string_equal(json_string_value(json_object_get(json, "name")), "a\xef\xbf\xbd\xef\xbf\xbdz");
    json_decref(json);
}

static void base64_reads_both_alphabets_and_any_padding(void **state)
{
    static const struct {
        const char *text, *bytes;
    } rows[] = {{"", ""},        {"Zg==", "f"},        {"Zg", "f"},          {"Zm8=", "fo"},
                {"Zm9v", "foo"}, {"Zm9vYg==", "foob"}, {"+/8=", "\xfb\xff"}, {"-_8", "\xfb\xff"}};
    static const char *const wrong[] = {"Z", "Zg=", "Zg===", "Z g=", "Zm9vY", "=", "Zg==Zg=="};
    struct fixture *fixture = *state;
    uint8_t *bytes;
    size_t size;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(base64_decode(&fixture->arena, rows[i].text, &bytes, &size), 0);
        assert_int_equal(size, strlen(rows[i].bytes));
        assert_memory_equal(bytes, rows[i].bytes, size);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(base64_decode(&fixture->arena, wrong[i], &bytes, &size), -1);
}

static void methods_go_by_full_or_short_name(void **state)
{
    static const char *const names[] = {"Allocate", "ipam.v1.IPAM/Allocate", "/ipam.v1.IPAM/Allocate"};
    struct fixture *fixture = *state;
    struct method method;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(method_find(&fixture->arena, names[i], &method, &fixture->error), 0);
        assert_string_equal(method.path, "/ipam.v1.IPAM/Allocate");
        assert_ptr_equal(method.reply, &ipam__v1__allocate_reply__descriptor);
    }
    assert_int_equal(method_find(&fixture->arena, "Check", &method, &fixture->error), 0);
    assert_int_equal(method_find(&fixture->arena, "Watch", &method, &fixture->error), -1); /* streams */
    assert_int_equal(method_find(&fixture->arena, "ipam.v1.IPAM/Alocate", &method, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message, "did you mean ipam.v1.IPAM/Allocate?"));
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(every_message_comes_back_as_the_same_bytes),
        ROW(names_are_camel_case_going_out_and_either_coming_in),
        ROW(wide_numbers_are_strings_and_read_from_either),
        ROW(fields_at_their_default_are_written_and_unset_messages_are_not),
        ROW(enums_go_by_name_or_number),
        ROW(nulls_are_defaults),
        ROW(times_are_rfc_3339),
        ROW(maps_are_objects),
        ROW(one_field_of_a_oneof_is_taken),
        ROW(what_does_not_fit_is_refused_by_path),
        ROW(deep_nesting_is_refused),
        ROW(texts_that_are_not_utf8_become_replacement_characters),
        ROW(base64_reads_both_alphabets_and_any_padding),
        ROW(methods_go_by_full_or_short_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
