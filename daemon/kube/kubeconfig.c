#include "kubeconfig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "files.h"
#include "yaml_in.h"

struct file {
    const char *path;
    const char *folder; /* what relative paths in it start from; ends in a slash */
    const struct yaml_node *root;
};

struct reader {
    struct arena arena;
    struct file *files;
    size_t n_files;
    struct kube_config *config;
    struct ipam_error *reterr;
};

/* An entry of a list of the file: `contexts: - {name: admin, context: {…}}`. */
struct entry {
    const struct file *file;
    const struct yaml_node *value; /* NULL: not there */
};

static int fail(struct reader *reader, const struct file *file, const struct yaml_node *node, const char *what)
{
    return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_CONFIG, "%s:%u: %s", file->path, node->line, what);
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static int root_check(struct reader *reader, const struct file *file)
{
    if (file->root->kind != YAML_MAPPING)
        return fail(reader, file, file->root, "this is no kubeconfig: write clusters, users and contexts");
    const struct yaml_node *kind = yaml_get(file->root, "kind");
    if (kind && (kind->kind != YAML_SCALAR || strcmp(kind->text, "Config") != 0))
        return fail(reader, file, kind, "this is no kubeconfig: its kind is not Config");
    return 0;
}

static int file_read(struct reader *reader, const char *path, struct file *ret)
{
    static const struct yaml_node empty = {.kind = YAML_MAPPING, .line = 1};
    struct yaml_documents documents;
    struct ipam_error error;
    size_t size;
    char *text = file_text(path, YAML_SIZE_MAX + 1, &size);
    if (!text)
        return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_CONFIG, "kubeconfig %s: %s", path,
                              strerrordesc_np(errno));
    int status = yaml_read(&reader->arena, path, text, size, &documents, &error);
    explicit_bzero(text, size);
    free(text);
    if (status < 0)
        return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_CONFIG, "%s", error.message);
    const char *slash = strrchr(path, '/');
    *ret = (struct file){
        .path = path,
        .folder = slash ? arena_memdup(&reader->arena, path, (size_t)(slash - path) + 1) : "./",
        .root = documents.count > 0 ? documents.items[0] : &empty,
    };
    if (documents.count > 1)
        return fail(reader, ret, documents.items[1], "a second document: write one to a file");
    return root_check(reader, ret);
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

static const char *entry_name(const struct yaml_node *item)
{
    const struct yaml_node *name = item->kind == YAML_MAPPING ? yaml_get(item, "name") : NULL;
    return name && name->kind == YAML_SCALAR ? name->text : "";
}

static size_t list_count(const struct file *file, const char *list, const struct yaml_node **ret)
{
    *ret = yaml_get(file->root, list);
    return *ret && (*ret)->kind == YAML_SEQUENCE ? (*ret)->count : 0;
}

/* "admin, dev", or "none". */
static const char *entry_names(struct reader *reader, const char *list)
{
    const struct yaml_node *items;
    char *names = NULL;
    for (size_t f = 0; f < reader->n_files; f++)
        for (size_t i = 0, n = list_count(&reader->files[f], list, &items); i < n; i++)
            names = arena_printf(&reader->arena, "%s%s%s", names ? names : "", names ? ", " : "",
                                 entry_name(items->items[i]));
    return names ? names : "none";
}

/* Its value must be a mapping. 0 with value NULL when no file has it. */
static int entry_find(struct reader *reader, const char *list, const char *key, const char *name, struct entry *ret)
{
    const struct yaml_node *items;
    *ret = (struct entry){0};
    for (size_t f = 0; f < reader->n_files; f++) {
        const struct file *file = &reader->files[f];
        for (size_t i = 0, n = list_count(file, list, &items); i < n; i++) {
            if (strcmp(entry_name(items->items[i]), name) != 0)
                continue;
            const struct yaml_node *value = yaml_get(items->items[i], key);
            if (!value || value->kind != YAML_MAPPING)
                return fail(reader, file, items->items[i],
                            arena_printf(&reader->arena, "%s %s has no field %s with its settings", key, name, key));
            *ret = (struct entry){file, value};
            return 0;
        }
    }
    return 0;
}

/* ---- Fields ------------------------------------------------------------------------------------------------------ */

struct field {
    const char *key;
    size_t offset; /* in struct kube_config */
    int (*take)(struct reader *reader, const struct entry *entry, const struct field *field,
                const struct yaml_node *value, void *to);
};

static int take_text(struct reader *reader, const struct entry *entry, const struct field *field,
                     const struct yaml_node *value, void *to)
{
    (void)reader, (void)entry, (void)field;
    *(char **)to = *value->text ? mem_strdup(value->text) : NULL;
    return 0;
}

static int take_path(struct reader *reader, const struct entry *entry, const struct field *field,
                     const struct yaml_node *value, void *to)
{
    (void)field;
    const char *folder = *value->text == '/' ? "" : entry->file->folder;
    *(char **)to = *value->text ? mem_strdup(arena_printf(&reader->arena, "%s%s", folder, value->text)) : NULL;
    return 0;
}

/* YAML may have folded the text over several lines. */
static const char *without_blanks(struct arena *arena, const char *text)
{
    char *copy = arena_strdup(arena, text), *to = copy;
    for (; *text; text++)
        if (!strchr(" \t\r\n", *text))
            *to++ = *text;
    *to = '\0';
    return copy;
}

static int take_data(struct reader *reader, const struct entry *entry, const struct field *field,
                     const struct yaml_node *value, void *to)
{
    uint8_t *data;
    size_t size;
    if (!*value->text) /* as kubectl does: as if it were not there */
        return 0;
    if (base64_decode(&reader->arena, without_blanks(&reader->arena, value->text), &data, &size) < 0)
        return fail(reader, entry->file, value, arena_printf(&reader->arena, "%s is not base64", field->key));
    if (!memmem(data, size, "-----BEGIN ", 11) || memchr(data, '\0', size))
        return fail(reader, entry->file, value,
                    arena_printf(&reader->arena, "%s is not PEM in base64: PEM starts with -----BEGIN", field->key));
    *(char **)to = mem_strdup(arena_memdup(&reader->arena, data, size));
    return 0;
}

static int take_flag(struct reader *reader, const struct entry *entry, const struct field *field,
                     const struct yaml_node *value, void *to)
{
    *(bool *)to = strcmp(value->text, "true") == 0;
    if (*(bool *)to || strcmp(value->text, "false") == 0)
        return 0;
    return fail(reader, entry->file, value, arena_printf(&reader->arena, "%s: write true or false", field->key));
}

/* Fields that would change who we are, or how we get there, and that we don't know: not heeding them could do harm. */
static int refuse(struct reader *reader, const struct entry *entry, const struct field *field,
                  const struct yaml_node *value, void *to)
{
    (void)to;
    return fail(reader, entry->file, value,
                arena_printf(&reader->arena,
                             "%s is not supported: use token, tokenFile or client-certificate and client-key",
                             field->key));
}

#define AT(field) offsetof(struct kube_config, field)

static const struct field cluster_fields[] = {
    {"server", AT(server), take_text},
    {"certificate-authority", AT(ca_file), take_path},
    {"certificate-authority-data", AT(ca_data), take_data},
    {"tls-server-name", AT(tls_server_name), take_text},
    {"insecure-skip-tls-verify", AT(insecure_skip_tls_verify), take_flag},
    {"proxy-url", AT(proxy_url), take_text},
    {NULL, 0, NULL},
};

static const struct field user_fields[] = {
    {"exec", 0, refuse},
    {"auth-provider", 0, refuse},
    {"as", 0, refuse},
    {"as-uid", 0, refuse},
    {"as-groups", 0, refuse},
    {"as-user-extra", 0, refuse},
    {"token", AT(token), take_text},
    {"tokenFile", AT(token_file), take_path},
    {"client-certificate", AT(client_certificate_file), take_path},
    {"client-certificate-data", AT(client_certificate_data), take_data},
    {"client-key", AT(client_key_file), take_path},
    {"client-key-data", AT(client_key_data), take_data},
    {"username", AT(username), take_text},
    {"password", AT(password), take_text},
    {NULL, 0, NULL},
};

static const struct field context_fields[] = {
    {"namespace", AT(namespace_), take_text},
    {NULL, 0, NULL},
};

static int fields_take(struct reader *reader, const struct entry *entry, const struct field *fields)
{
    for (const struct field *field = fields; field->key; field++) {
        const struct yaml_node *value = yaml_get(entry->value, field->key);
        if (!value)
            continue;
        if (value->kind != YAML_SCALAR && field->take != refuse)
            return fail(reader, entry->file, value,
                        arena_printf(&reader->arena, "%s is a list or a mapping: write a text", field->key));
        if (field->take(reader, entry, field, value, (char *)reader->config + field->offset) < 0)
            return -1;
    }
    return 0;
}

/* ---- The context ------------------------------------------------------------------------------------------------- */

static const char *current_context(const struct reader *reader)
{
    for (size_t i = 0; i < reader->n_files; i++) {
        const struct yaml_node *current = yaml_get(reader->files[i].root, "current-context");
        if (current && current->kind == YAML_SCALAR && *current->text)
            return current->text;
    }
    return NULL;
}

/* The cluster or user that a context names. A context may do without a user: requests are anonymous then. */
static int reference_take(struct reader *reader, const struct entry *context, const char *list, const char *key,
                          const struct field *fields)
{
    struct entry entry;
    const struct yaml_node *name = yaml_get(context->value, key);
    if (!name)
        return 0;
    if (name->kind != YAML_SCALAR)
        return fail(reader, context->file, name, arena_printf(&reader->arena, "%s: write a name", key));
    if (entry_find(reader, list, key, name->text, &entry) < 0)
        return -1;
    if (!entry.value)
        return fail(reader, context->file, name,
                    arena_printf(&reader->arena, "there is no %s %s; there are: %s", key, name->text,
                                 entry_names(reader, list)));
    return fields_take(reader, &entry, fields);
}

static int context_take(struct reader *reader, const char *name)
{
    struct entry context;
    const char *first = reader->files[0].path;
    if (!name)
        return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_CONFIG,
                              "%s has no current-context: choose one by --context; there are: %s", first,
                              entry_names(reader, "contexts"));
    if (entry_find(reader, "contexts", "context", name, &context) < 0)
        return -1;
    if (!context.value)
        return ipam_error_set(reader->reterr, IPAM_REASON_INVALID_CONFIG, "%s has no context %s; there are: %s", first,
                              name, entry_names(reader, "contexts"));
    reader->config->source = mem_strdup(arena_printf(&reader->arena, "context %s of %s", name, context.file->path));
    if (reference_take(reader, &context, "clusters", "cluster", cluster_fields) < 0 ||
        reference_take(reader, &context, "users", "user", user_fields) < 0)
        return -1;
    return fields_take(reader, &context, context_fields);
}

int kubeconfig_read(char *const *paths, size_t n_paths, const char *context, struct kube_config *config,
                    struct ipam_error *reterr)
{
    struct reader reader = {.n_files = n_paths, .config = config, .reterr = reterr};
    int status = 0;
    arena_init(&reader.arena);
    reader.files = arena_alloc(&reader.arena, n_paths * sizeof *reader.files);
    for (size_t i = 0; i < n_paths && status == 0; i++)
        status = file_read(&reader, paths[i], &reader.files[i]);
    if (status == 0)
        status = context_take(&reader, context ? context : current_context(&reader));
    arena_wipe(&reader.arena);
    return status;
}
