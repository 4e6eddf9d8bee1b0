#include "absence.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"

#define NOT_FOUND 404
#define HTTP_OK   200

/* A path "/apis/GROUP/VERSION/PLURAL" in its parts. */
struct kube_absence_search {
    struct kube_client *client;
    char *group, *version;
    char *group_path, *version_path;
    const char *plural; /* within `collection` */
    char *collection;
    struct kube_request request;
    struct kube_call *call;
    kube_absence_cb callback;
    void *user;
};

static void done(struct kube_absence_search *search, enum kube_absence what, const struct ipam_error *error)
{
    kube_absence_cb callback = search->callback;
    void *user = search->user;
    struct ipam_error copy;
    if (error)
        copy = *error;
    free(search->collection);
    free(search->group);
    free(search->version);
    free(search->group_path);
    free(search->version_path);
    free(search);
    callback(what, error ? &copy : NULL, user);
}

static void unknown(struct kube_absence_search *search, const struct kube_response *response,
                    const struct ipam_error *error)
{
    struct ipam_error refusal;
    if (response)
        kube_response_error(&search->request, response, &refusal);
    done(search, KUBE_ABSENT_UNKNOWN, response ? &refusal : error);
}

static void fact_add(struct ipam_error *error, const char *what)
{
    ipam_error_add(error, "status", "404");
    ipam_error_add(error, "absent", what);
}

bool kube_error_is_absence(const struct ipam_error *error)
{
    for (unsigned int i = 0; i < error->n_details; i++)
        if (strcmp(error->details[i].key, "absent") == 0)
            return true;
    return false;
}

/* ---- Which versions are there? ------------------------------------------------------------------------------------ */

/* "v1, v1beta1"; "" for none. The caller frees. */
static char *versions_of(const json_t *group)
{
    const json_t *version, *versions = json_object_get(group, "versions");
    char *text = NULL;
    size_t i, size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        abort();
    json_array_foreach((json_t *)(uintptr_t)versions, i, version)
    {
        const char *name = json_string_value(json_object_get(version, "version"));
        fprintf(out, "%s%s", i > 0 ? ", " : "", name ? name : "?");
    }
    if (fclose(out) != 0)
        abort();
    return text;
}

static void kind_absent(struct kube_absence_search *search, const char *versions)
{
    struct ipam_error error;
    if (*versions && strcmp(versions, search->version) != 0)
        ipam_error_set(&error, IPAM_REASON_API_REFUSED,
                       "the API server serves %s in version %s only: install a CustomResourceDefinition of %s that "
                       "serves %s",
                       search->group, versions, search->plural, search->version);
    else
        ipam_error_set(&error, IPAM_REASON_API_REFUSED,
                       "the API server does not know this kind of object, %s of %s/%s: install its "
                       "CustomResourceDefinition",
                       search->plural, search->group, search->version);
    fact_add(&error, "kind");
    done(search, KUBE_ABSENT_KIND, &error);
}

static void on_group(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct kube_absence_search *search = user;
    if (error || (response->status != HTTP_OK && response->status != NOT_FOUND)) {
        unknown(search, response, error);
        return;
    }
    char *versions = versions_of(response->status == HTTP_OK ? response->body : NULL);
    kind_absent(search, versions);
    free(versions);
}

/* ---- Which kinds are there? -------------------------------------------------------------------------------------- */

static bool has_resource(const json_t *list, const char *plural, const char *subresource)
{
    const json_t *resource, *resources = json_object_get(list, "resources");
    size_t i, length = strlen(plural);
    json_array_foreach((json_t *)(uintptr_t)resources, i, resource)
    {
        const char *name = json_string_value(json_object_get(resource, "name"));
        if (name && strncmp(name, plural, length) == 0 && strcmp(name + length, subresource) == 0)
            return true;
    }
    return false;
}

static void status_absent(struct kube_absence_search *search)
{
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_API_REFUSED,
                   "the CustomResourceDefinition of %s has no subresource status, so nothing can be written there: "
                   "install one with subresources: {status: {}}",
                   search->plural);
    fact_add(&error, "status");
    done(search, KUBE_ABSENT_STATUS, &error);
}

static void on_version(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct kube_absence_search *search = user;
    if (!error && response->status == NOT_FOUND) {
        search->request.path = search->group_path;
        search->call = kube_call(search->client, &search->request, on_group, search);
    } else if (error || response->status != HTTP_OK) {
        unknown(search, response, error);
    } else if (!has_resource(response->body, search->plural, "")) {
        kind_absent(search, "");
    } else if (!has_resource(response->body, search->plural, "/status")) {
        status_absent(search);
    } else {
        done(search, KUBE_ABSENT_OBJECT, NULL);
    }
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

/* The part of a path up to the next slash. */
static char *segment(const char **path)
{
    size_t length = strcspn(*path, "/");
    char *text = mem_zalloc(length + 1);
    memcpy(text, *path, length);
    *path += length + ((*path)[length] == '/');
    return text;
}

struct kube_absence_search *kube_absence_ask(struct kube_client *client, const char *collection,
                                             kube_absence_cb callback, void *user)
{
    struct kube_absence_search *search = mem_zalloc(sizeof *search);
    search->collection = mem_strdup(collection);
    const char *at = search->collection + strspn(search->collection, "/");
    free(segment(&at)); /* "apis" */
    search->group = segment(&at);
    search->version = segment(&at);
    search->plural = at;
    search->group_path = kube_path("/apis/%s", search->group);
    search->version_path = kube_path("/apis/%s/%s", search->group, search->version);
    search->client = client;
    search->callback = callback;
    search->user = user;
    search->request = (struct kube_request){.method = "GET", .path = search->version_path};
    search->call = kube_call(client, &search->request, on_version, search);
    return search;
}

void kube_absence_cancel(struct kube_absence_search *search)
{
    kube_call_cancel(search->call);
}
