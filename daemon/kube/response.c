#include "response.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "client.h"

/* Lines that were given out make room first. */
static void compact(struct response_bytes *bytes)
{
    if (bytes->taken == 0)
        return;
    memmove(bytes->data, bytes->data + bytes->taken, bytes->size - bytes->taken);
    bytes->size -= bytes->taken;
    bytes->scanned -= bytes->taken;
    bytes->taken = 0;
}

int response_add(struct response_bytes *bytes, const void *data, size_t size)
{
    compact(bytes);
    if (size > bytes->max - bytes->size)
        return -1;
    if (bytes->capacity - bytes->size < size) {
        bytes->capacity = bytes->capacity * 2 > bytes->size + size ? bytes->capacity * 2 : bytes->size + size;
        bytes->data = mem_realloc(bytes->data, bytes->capacity);
    }
    if (size > 0)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    return 0;
}

void response_done(struct response_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct response_bytes){0};
}

/* A text with \u0000 in one object must not make a whole list unreadable. */
static json_t *parse(const char *data, size_t size, json_error_t *error)
{
    return json_loadb(data, size, JSON_ALLOW_NUL, error);
}

json_t *response_parse(const struct response_bytes *bytes, struct ipam_error *reterr)
{
    json_error_t error;
    if (bytes->size == 0) {
        ipam_error_set(reterr, IPAM_REASON_API_UNREACHABLE, "the response is empty");
        return NULL;
    }
    json_t *body = parse(bytes->data, bytes->size, &error);
    if (!body)
        ipam_error_set(reterr, IPAM_REASON_API_UNREACHABLE, "the response is not JSON: byte %d of %zu: %s",
                       error.position, bytes->size, error.text);
    return body;
}

static bool is_blank(const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r\n", data[i]) || data[i] == '\0')
            return false;
    return true;
}

static int line_parse(struct response_bytes *bytes, const char *line, size_t size, json_t **ret,
                      struct ipam_error *reterr)
{
    json_error_t error;
    bytes->lines++;
    *ret = parse(line, size, &error);
    if (*ret)
        return 1;
    return ipam_error_set(reterr, IPAM_REASON_API_UNREACHABLE, "event %" PRIu64 " is not JSON: byte %d of %zu: %s",
                          bytes->lines, error.position, size, error.text);
}

int response_line(struct response_bytes *bytes, bool last, json_t **ret, struct ipam_error *reterr)
{
    while (bytes->taken < bytes->size) {
        char *newline = memchr(bytes->data + bytes->scanned, '\n', bytes->size - bytes->scanned);
        if (!newline && !last) {
            bytes->scanned = bytes->size;
            return 0;
        }
        const char *line = bytes->data + bytes->taken;
        size_t size = newline ? (size_t)(newline - line) : bytes->size - bytes->taken;
        bytes->taken += size + (newline ? 1 : 0);
        bytes->scanned = bytes->taken;
        if (!is_blank(line, size))
            return line_parse(bytes, line, size, ret, reterr);
    }
    return 0;
}

/* ---- Refusals ---------------------------------------------------------------------------------------------------- */

/* Where the body names no reason of its own: a proxy's answer, say. */
static const struct {
    int status;
    const char *name;
} status_names[] = {
    {301, "MovedPermanently"},
    {302, "Found"},
    {307, "TemporaryRedirect"},
    {308, "PermanentRedirect"},
    {400, "BadRequest"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "NotFound"},
    {405, "MethodNotAllowed"},
    {409, "Conflict"},
    {410, "Gone"},
    {415, "UnsupportedMediaType"},
    {422, "Invalid"},
    {429, "TooManyRequests"},
    {500, "InternalServerError"},
    {502, "BadGateway"},
    {503, "ServiceUnavailable"},
    {504, "GatewayTimeout"},
};

static const char *status_name(int status)
{
    for (size_t i = 0; i < sizeof status_names / sizeof *status_names; i++)
        if (status_names[i].status == status)
            return status_names[i].name;
    return "";
}

static const char *default_message(int status)
{
    return status >= 300 && status < 400 ? "redirects are not followed: give the API server's own address"
                                         : "the answer is not from a Kubernetes API server";
}

void kube_response_error(const struct kube_request *request, const struct kube_response *response,
                         struct ipam_error *ret)
{
    const char *reason = json_string_value(json_object_get(response->body, "reason"));
    const char *message = json_string_value(json_object_get(response->body, "message"));
    char code[16];
    ipam_error_set(ret, IPAM_REASON_API_REFUSED, "%s %.*s: %d %s: %s", request->method,
                   (int)strcspn(request->path, "?"), request->path, response->status,
                   reason && *reason ? reason : status_name(response->status),
                   message && *message ? message : default_message(response->status));
    snprintf(code, sizeof code, "%d", response->status);
    ipam_error_add(ret, "status", code);
}
