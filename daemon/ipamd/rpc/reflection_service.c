/* grpc.reflection.v1.ServerReflection and its v1alpha twin, whose messages are the same on the
 * wire: which services there are and how they are defined, from the descriptors that protoc wrote
 * at build time. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "descriptors.h"
#include "record.h"
#include "rpc.h"

#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

#define REQUEST_MAX 1024 /* the name of a file, a symbol or a type */

typedef Google__Protobuf__FileDescriptorProto File;
typedef Google__Protobuf__DescriptorProto Message;
typedef Google__Protobuf__EnumDescriptorProto Enum;
typedef Google__Protobuf__ServiceDescriptorProto Service;
typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

/* A fully qualified name, and the file that defines it. */
struct symbol {
    const char *name;
    size_t file;
};

struct reflection {
    struct arena *arena;
    const Google__Protobuf__FileDescriptorSet *set;
    ProtobufCBinaryData *files; /* each file of the set, serialised */
    struct symbol *symbols;     /* sorted by name */
    size_t n_symbols, capacity;
};

/* ---- The index --------------------------------------------------------------------------------------------------- */

static const char *symbol_add(struct reflection *index, size_t file, const char *scope, const char *name)
{
    if (index->n_symbols == index->capacity) {
        struct symbol *old = index->symbols;
        index->capacity = index->capacity ? index->capacity * 2 : 512;
        index->symbols = arena_alloc(index->arena, index->capacity * sizeof *index->symbols);
        if (old)
            memcpy(index->symbols, old, index->n_symbols * sizeof *old);
    }
    const char *full = *scope ? arena_printf(index->arena, "%s.%s", scope, name) : name;
    index->symbols[index->n_symbols++] = (struct symbol){.name = full, .file = file};
    return full;
}

static void enum_add(struct reflection *index, size_t file, const char *scope, const Enum *type)
{
    symbol_add(index, file, scope, type->name);
    for (size_t i = 0; i < type->n_value; i++)
        symbol_add(index, file, scope, type->value[i]->name); /* a value stands beside its enum, not in it */
}

static void message_add(struct reflection *index, size_t file, const char *scope, const Message *type)
{
    const char *name = symbol_add(index, file, scope, type->name);
    for (size_t i = 0; i < type->n_field; i++)
        symbol_add(index, file, name, type->field[i]->name);
    for (size_t i = 0; i < type->n_enum_type; i++)
        enum_add(index, file, name, type->enum_type[i]);
    for (size_t i = 0; i < type->n_nested_type; i++)
        message_add(index, file, name, type->nested_type[i]);
}

static void service_add(struct reflection *index, size_t file, const char *scope, const Service *service)
{
    const char *name = symbol_add(index, file, scope, service->name);
    for (size_t i = 0; i < service->n_method; i++)
        symbol_add(index, file, name, service->method[i]->name);
}

static void file_add(struct reflection *index, size_t at)
{
    const File *file = index->set->file[at];
    const char *scope = file->package ? file->package : "";
    for (size_t i = 0; i < file->n_message_type; i++)
        message_add(index, at, scope, file->message_type[i]);
    for (size_t i = 0; i < file->n_enum_type; i++)
        enum_add(index, at, scope, file->enum_type[i]);
    for (size_t i = 0; i < file->n_service; i++)
        service_add(index, at, scope, file->service[i]);

    ProtobufCBinaryData *bytes = &index->files[at];
    bytes->len = protobuf_c_message_get_packed_size(&file->base);
    bytes->data = arena_alloc(index->arena, bytes->len);
    protobuf_c_message_pack(&file->base, bytes->data);
}

static int symbol_compare(const void *a, const void *b)
{
    return strcmp(((const struct symbol *)a)->name, ((const struct symbol *)b)->name);
}

const struct reflection *reflection_new(struct arena *arena)
{
    struct reflection *index = arena_zalloc(arena, sizeof *index);
    ProtobufCAllocator allocator = record_allocator(arena);
    index->arena = arena;
    index->set = google__protobuf__file_descriptor_set__unpack(
        &allocator, (size_t)(ipam_descriptor_set_end - ipam_descriptor_set), ipam_descriptor_set);
    assert(index->set);
    index->files = arena_zalloc(arena, index->set->n_file * sizeof *index->files);
    for (size_t i = 0; i < index->set->n_file; i++)
        file_add(index, i);
    qsort(index->symbols, index->n_symbols, sizeof *index->symbols, symbol_compare);
    return index;
}

static bool file_find(const struct reflection *index, const char *name, size_t *ret)
{
    for (size_t i = 0; i < index->set->n_file; i++) {
        if (strcmp(index->set->file[i]->name, name) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool symbol_find(const struct reflection *index, const char *name, size_t *ret)
{
    struct symbol key = {.name = name};
    const struct symbol *symbol =
        bsearch(&key, index->symbols, index->n_symbols, sizeof *index->symbols, symbol_compare);
    if (symbol)
        *ret = symbol->file;
    return symbol != NULL;
}

static bool message_type_known(const struct reflection *index, const char *name)
{
    size_t file;
    return symbol_find(index, name, &file);
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static void answer_error(Response *response, struct arena *arena, enum ipam_status code, const char *message)
{
    Grpc__Reflection__V1__ErrorResponse *error = arena_alloc(arena, sizeof *error);
    grpc__reflection__v1__error_response__init(error);
    error->error_code = (int32_t)code;
    error->error_message = (char *)message;
    response->message_response_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = error;
}

/* The file itself first, then all that it imports, each once: what most clients expect of one
 * answer. */
static void file_collect(const struct reflection *index, size_t file, bool *seen, ProtobufCBinaryData *list,
                         size_t *count)
{
    if (seen[file])
        return;
    seen[file] = true;
    list[(*count)++] = index->files[file];
    const File *descriptor = index->set->file[file];
    for (size_t i = 0; i < descriptor->n_dependency; i++) {
        size_t dependency;
        if (file_find(index, descriptor->dependency[i], &dependency))
            file_collect(index, dependency, seen, list, count);
    }
}

static void answer_file(const struct reflection *index, struct arena *arena, size_t file, Response *response)
{
    Grpc__Reflection__V1__FileDescriptorResponse *files = arena_alloc(arena, sizeof *files);
    grpc__reflection__v1__file_descriptor_response__init(files);
    bool *seen = arena_zalloc(arena, index->set->n_file * sizeof *seen);
    files->file_descriptor_proto = arena_alloc(arena, index->set->n_file * sizeof *files->file_descriptor_proto);
    file_collect(index, file, seen, files->file_descriptor_proto, &files->n_file_descriptor_proto);
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = files;
}

static void answer_by_filename(const struct reflection *index, struct arena *arena, const Request *request,
                               Response *response)
{
    size_t file;
    if (file_find(index, request->file_by_filename, &file))
        answer_file(index, arena, file, response);
    else
        answer_error(response, arena, IPAM_STATUS_NOT_FOUND,
                     arena_printf(arena, "no file %s", request->file_by_filename));
}

static void answer_containing_symbol(const struct reflection *index, struct arena *arena, const Request *request,
                                     Response *response)
{
    size_t file;
    if (symbol_find(index, request->file_containing_symbol, &file))
        answer_file(index, arena, file, response);
    else
        answer_error(response, arena, IPAM_STATUS_NOT_FOUND,
                     arena_printf(arena, "no symbol %s", request->file_containing_symbol));
}

/* No contract here defines extensions: they are a matter of proto2. */
static void answer_containing_extension(const struct reflection *index, struct arena *arena, const Request *request,
                                        Response *response)
{
    (void)index;
    answer_error(response, arena, IPAM_STATUS_NOT_FOUND,
                 arena_printf(arena, "%s has no extension", request->file_containing_extension->containing_type));
}

static void answer_extension_numbers(const struct reflection *index, struct arena *arena, const Request *request,
                                     Response *response)
{
    if (!message_type_known(index, request->all_extension_numbers_of_type)) {
        answer_error(response, arena, IPAM_STATUS_NOT_FOUND,
                     arena_printf(arena, "no type %s", request->all_extension_numbers_of_type));
        return;
    }
    Grpc__Reflection__V1__ExtensionNumberResponse *numbers = arena_alloc(arena, sizeof *numbers);
    grpc__reflection__v1__extension_number_response__init(numbers);
    numbers->base_type_name = request->all_extension_numbers_of_type;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    response->all_extension_numbers_response = numbers;
}

static void answer_services(const struct reflection *index, struct arena *arena, const Request *request,
                            Response *response)
{
    (void)index, (void)request;
    Grpc__Reflection__V1__ListServiceResponse *list = arena_alloc(arena, sizeof *list);
    grpc__reflection__v1__list_service_response__init(list);
    while (rpc_service_at(list->n_service))
        list->n_service++;
    list->service = arena_alloc(arena, list->n_service * sizeof *list->service);
    for (size_t i = 0; i < list->n_service; i++) {
        list->service[i] = arena_alloc(arena, sizeof **list->service);
        grpc__reflection__v1__service_response__init(list->service[i]);
        list->service[i]->name = (char *)rpc_service_at(i)->name;
    }
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = list;
}

/* By the number of the request's field. */
static void (*const answers[])(const struct reflection *, struct arena *, const Request *, Response *) = {
    [GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME] = answer_by_filename,
    [GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL] =
        answer_containing_symbol,
    [GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION] =
        answer_containing_extension,
    [GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE] =
        answer_extension_numbers,
    [GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES] = answer_services,
};

static void handle_info(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Request *request = (const Request *)message;
    struct arena *arena = rpc_scratch(call);
    Response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    size_t which = (size_t)request->message_request_case;
    response.valid_host = request->host;
    response.original_request = (Request *)request;
    if (which < sizeof answers / sizeof *answers && answers[which])
        answers[which](rpc_server_reflection(rpc_call_server(call)), arena, request, &response);
    else
        answer_error(&response, arena, IPAM_STATUS_INVALID_ARGUMENT, "the request asks for nothing that is known");
    rpc_send(call, &response.base);
}

static const struct rpc_method methods[] = {
    {"ServerReflectionInfo", &grpc__reflection__v1__server_reflection_request__descriptor,
     &grpc__reflection__v1__server_reflection_response__descriptor, RPC_ROLE_NONE, RPC_ALWAYS | RPC_STREAM, handle_info,
     rpc_end, NULL, REQUEST_MAX},
};

const struct rpc_service reflection_service = {"grpc.reflection.v1.ServerReflection", methods, 1};
const struct rpc_service reflection_v1alpha_service = {"grpc.reflection.v1alpha.ServerReflection", methods, 1};
