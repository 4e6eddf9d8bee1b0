#include "manifest_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "yaml_in.h"

static int fail_errno(const char *name, struct ipam_error *reterr)
{
    enum ipam_reason reason = errno == ENOMEM ? IPAM_REASON_OUT_OF_MEMORY : IPAM_REASON_INVALID_REQUEST;
    return ipam_error_set(reterr, reason, "%s: %s", name, strerror(errno));
}

/* Reads to the end or to one byte past the limit, which yaml_read then refuses. */
static int read_all(struct arena *arena, int fd, const char *name, char **ret, size_t *ret_size,
                    struct ipam_error *reterr)
{
    size_t capacity = 65536, size = 0;
    char *text = mem_alloc(capacity);
    ssize_t got;

    while ((got = read(fd, text + size, capacity - size)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        size += (size_t)got;
        if (size > YAML_SIZE_MAX)
            break;
        if (size == capacity)
            text = mem_realloc(text, capacity *= 2);
    }
    if (got < 0) {
        free(text);
        return fail_errno(name, reterr);
    }
    *ret = arena_memdup(arena, text, size);
    *ret_size = size;
    free(text);
    return 0;
}

int file_read(struct arena *arena, const char *name, char **ret, size_t *ret_size, struct ipam_error *reterr)
{
    bool standard = strcmp(name, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return fail_errno(name, reterr);
    int result = read_all(arena, fd, standard ? "standard input" : name, ret, ret_size, reterr);
    if (!standard)
        close(fd);
    return result;
}

static int add_file(struct manifest *manifest, const char *name, struct ipam_error *reterr)
{
    char *text;
    size_t size;

    if (file_read(&manifest->arena, name, &text, &size, reterr) < 0)
        return -1;
    return manifest_add(manifest, strcmp(name, "-") == 0 ? "stdin" : name, text, size, reterr);
}

static int is_manifest(const struct dirent *entry)
{
    static const char *const endings[] = {".yaml", ".yml", ".json"};
    size_t length = strlen(entry->d_name);

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t ending = strlen(endings[i]);
        if (entry->d_name[0] != '.' && length > ending && strcmp(entry->d_name + length - ending, endings[i]) == 0)
            return 1;
    }
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_folder(struct manifest *manifest, const char *name, struct ipam_error *reterr)
{
    struct dirent **entries;
    int count = scandir(name, &entries, is_manifest, by_name), result = 0;

    if (count < 0)
        return fail_errno(name, reterr);
    if (count == 0)
        result =
            ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "%s: no *.yaml, *.yml or *.json in this folder", name);
    for (int i = 0; i < count; i++) {
        if (result == 0)
            result = add_file(manifest, arena_printf(&manifest->arena, "%s/%s", name, entries[i]->d_name), reterr);
        free(entries[i]);
    }
    free(entries);
    return result;
}

int manifest_read_files(struct manifest *manifest, const char *const *names, size_t count, struct ipam_error *reterr)
{
    for (size_t i = 0; i < count; i++) {
        struct stat info;
        bool folder = strcmp(names[i], "-") != 0 && stat(names[i], &info) == 0 && S_ISDIR(info.st_mode);
        if ((folder ? add_folder : add_file)(manifest, names[i], reterr) < 0)
            return -1;
    }
    return manifest_finish(manifest, reterr);
}
