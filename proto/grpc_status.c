#include "grpc_internal.h"

#include <stdio.h>
#include <string.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#define ERROR_INFO_TYPE "type.googleapis.com/google.rpc.ErrorInfo"

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static ProtobufCBinaryData pack(struct arena *arena, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *data = arena_alloc(arena, size + 1);
    protobuf_c_message_pack(message, data);
    return (ProtobufCBinaryData){.len = size, .data = data};
}

static ProtobufCBinaryData pack_error_info(struct arena *arena, const struct ipam_error *error)
{
    typedef Google__Rpc__ErrorInfo__MetadataEntry entry;
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    entry entries[IPAM_ERROR_DETAILS], *pointers[IPAM_ERROR_DETAILS];
    for (unsigned int i = 0; i < error->n_details; i++) {
        google__rpc__error_info__metadata_entry__init(&entries[i]);
        entries[i].key = (char *)error->details[i].key;
        entries[i].value = (char *)error->details[i].value;
        pointers[i] = &entries[i];
    }
    info.reason = (char *)ipam_reason_name(error->reason);
    info.domain = (char *)GRPC_ERROR_DOMAIN;
    info.n_metadata = error->n_details;
    info.metadata = pointers;
    return pack(arena, &info.base);
}

struct grpc_status status_from_error(struct arena *arena, const struct ipam_error *error)
{
    struct grpc_status status = {.code = error->status, .reason = error->reason, .message = error->message};
    if (error->reason == IPAM_REASON_NONE) {
        return status;
    }
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT, *details[] = {&any};
    Google__Rpc__Status rich = GOOGLE__RPC__STATUS__INIT;
    any.type_url = (char *)ERROR_INFO_TYPE;
    any.value = pack_error_info(arena, error);
    rich.code = (int32_t)error->status;
    rich.message = (char *)error->message;
    rich.n_details = 1;
    rich.details = details;
    ProtobufCBinaryData packed = pack(arena, &rich.base);
    status.details = packed.data;
    status.details_size = packed.len;
    return status;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static void *allocate_in_arena(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void leave_in_arena(void *arena, void *data)
{
    (void)arena;
    (void)data;
}

static void read_error_info(const ProtobufCBinaryData *value, ProtobufCAllocator *allocator, struct ipam_error *ret)
{
    Google__Rpc__ErrorInfo *info = google__rpc__error_info__unpack(allocator, value->len, value->data);
    if (info == NULL || strcmp(info->domain, GRPC_ERROR_DOMAIN) != 0) {
        return;
    }
    ret->reason = ipam_reason_parse(info->reason);
    for (size_t i = 0; i < info->n_metadata; i++) {
        ipam_error_add(ret, info->metadata[i]->key, info->metadata[i]->value);
    }
}

static void read_details(const struct grpc_status *status, ProtobufCAllocator *allocator, struct ipam_error *ret)
{
    Google__Rpc__Status *rich = google__rpc__status__unpack(allocator, status->details_size, status->details);
    for (size_t i = 0; rich != NULL && i < rich->n_details; i++) {
        if (strcmp(rich->details[i]->type_url, ERROR_INFO_TYPE) == 0) {
            read_error_info(&rich->details[i]->value, allocator, ret);
        }
    }
}

/* The message goes through ipam_error_set for its rules on unprintable bytes; the code is the
 * peer's, whatever the table says. */
void grpc_status_error(const struct grpc_status *status, struct ipam_error *ret)
{
    struct arena arena;
    ProtobufCAllocator allocator = {allocate_in_arena, leave_in_arena, &arena};
    *ret = (struct ipam_error){0};
    ipam_error_set(ret, status->reason, "%s", status->message != NULL ? status->message : "");
    ret->status = status->code;
    if (status->details_size > 0) {
        arena_init(&arena);
        read_details(status, &allocator, ret);
        arena_done(&arena);
    }
    if (ret->message[0] == '\0') {
        snprintf(ret->message, sizeof(ret->message), "%s", ipam_status_name(status->code));
    }
}
