#include "response.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

/* ---- What is kept ------------------------------------------------------------------------------------------------ */

/* Of a Status, which may come instead of anything else. */
static const struct kube_field status_rows[] = {KUBE_LEAF("code"), KUBE_LEAF("reason"), KUBE_LEAF("message"), KUBE_END};

static void rows_add(struct kube_field rows[RESPONSE_ROWS], const struct kube_field *more)
{
    size_t count = 0;
    while (rows[count].name)
        count++;
    for (; more->name; more++) {
        assert(count + 1 < RESPONSE_ROWS);
        rows[count++] = *more;
    }
}

static struct kube_field object_row(struct response *response, const struct kube_field *fields)
{
    rows_add(response->object, fields);
    rows_add(response->object, status_rows);
    return (struct kube_field){"object", response->object, KUBE_OBJECT};
}

static struct kube_field list_row(struct response *response, const struct kube_field *fields)
{
    const struct kube_field rows[] = {KUBE_LEAF("metadata"), {"items", fields, KUBE_LIST}, KUBE_END};
    rows_add(response->rows, rows);
    rows_add(response->rows, status_rows);
    return (struct kube_field){"list", response->rows, KUBE_FIELD};
}

static struct kube_field events_row(struct response *response, const struct kube_field *fields)
{
    const struct kube_field rows[] = {KUBE_LEAF("type"), object_row(response, fields), KUBE_END};
    rows_add(response->rows, rows);
    rows_add(response->rows, status_rows);
    return (struct kube_field){"event", response->rows, KUBE_FIELD};
}

static struct kube_field (*const shapes[])(struct response *response, const struct kube_field *fields) = {
    [KUBE_ONE] = object_row,
    [KUBE_PAGE] = list_row,
    [KUBE_EVENTS] = events_row,
};

/* ---- What comes -------------------------------------------------------------------------------------------------- */

static void on_value(json_t *value, void *user)
{
    struct response *response = user;
    response->n_values++;
    if (json_array_append_new(response->values, value) < 0)
        abort();
}

void response_init(struct response *response, enum kube_shape shape, const struct kube_field *fields, uint64_t max)
{
    *response = (struct response){.max = max, .is_stream = shape == KUBE_EVENTS, .values = json_array()};
    if (fields)
        response->top = shapes[shape](response, fields);
    response->filter = filter_new(&response->top, response->is_stream, on_value, response);
}

void response_done(struct response *response)
{
    filter_free(response->filter);
    json_decref(response->values);
    *response = (struct response){0};
}

enum filter_result response_add(struct response *response, const void *data, size_t size)
{
    enum filter_result result = filter_add(response->filter, data, size);
    response->size += size;
    response->too_large = response->too_large || result == FILTER_LARGE ||
                          (response->is_stream ? filter_position(response->filter) : response->size) > response->max;
    return response->too_large ? FILTER_LARGE : result;
}

bool response_has_value(const struct response *response)
{
    return json_array_size(response->values) > 0;
}

json_t *response_take(struct response *response)
{
    json_t *value = json_incref(json_array_get(response->values, 0));
    json_array_remove(response->values, 0);
    return value;
}

static int too_large(const struct response *response, struct ipam_error *reterr)
{
    ipam_error_set(reterr, IPAM_REASON_API_UNREACHABLE, "the response is larger than %" PRIu64 " bytes", response->max);
    ipam_error_add(reterr, "limit", "size");
    return -1;
}

int response_check(struct response *response, struct ipam_error *reterr)
{
    if (response->too_large)
        return too_large(response, reterr);
    if (response->size == 0 && !response->is_stream)
        return ipam_error_set(reterr, IPAM_REASON_API_UNREACHABLE, "the response is empty");
    if (filter_end(response->filter) == FILTER_GOOD)
        return 0;
    size_t position = filter_position(response->filter);
    if (response->is_stream)
        return ipam_error_set(reterr, IPAM_REASON_API_UNREACHABLE, "event %" PRIu64 " is not JSON: byte %zu: %s",
                              response->n_values + 1, position, filter_error(response->filter));
    return ipam_error_set(reterr, IPAM_REASON_API_UNREACHABLE, "the response is not JSON: byte %zu of %" PRIu64 ": %s",
                          position, response->size, filter_error(response->filter));
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

static const char *fact(const struct ipam_error *error, const char *key)
{
    for (unsigned int i = 0; i < error->n_details; i++)
        if (strcmp(error->details[i].key, key) == 0)
            return error->details[i].value;
    return "";
}

bool kube_error_is_too_large(const struct ipam_error *error)
{
    return strcmp(fact(error, "limit"), "size") == 0;
}

int kube_error_status(const struct ipam_error *error)
{
    return atoi(fact(error, "status"));
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
