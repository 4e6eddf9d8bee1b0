#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"

bool file_is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A pipe or a device could keep us for ever. */
static int open_regular(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    int code = fstat(fd, &st) < 0 ? errno : S_ISDIR(st.st_mode) ? EISDIR : S_ISREG(st.st_mode) ? 0 : EINVAL;
    if (code == 0)
        return fd;
    close(fd);
    errno = code;
    return -1;
}

/* As realloc, but what stood there does not stay in memory that is free: it may be a secret. */
static char *grow(char *text, size_t size, size_t room)
{
    char *larger = mem_alloc(room);
    if (text) {
        memcpy(larger, text, size);
        explicit_bzero(text, size);
    }
    free(text);
    return larger;
}

static int read_all(int fd, char **text, size_t max, size_t *ret_size)
{
    size_t size = 0, room = 0;
    ssize_t n = 1;
    while (n != 0 && size < max) {
        if (room - size < 2) {
            room = room ? 2 * room : 4096;
            *text = grow(*text, size, room);
        }
        n = read(fd, *text + size, (room - size < max - size ? room - size : max - size + 1) - 1);
        if (n < 0 && errno != EINTR)
            return -1;
        size += n > 0 ? (size_t)n : 0;
        n = n < 0 ? 1 : n;
    }
    (*text)[size] = '\0';
    *ret_size = size;
    return 0;
}

char *file_text(const char *path, size_t max, size_t *ret_size)
{
    char *text = NULL;
    int fd = open_regular(path);
    if (fd < 0)
        return NULL;
    int status = read_all(fd, &text, max, ret_size), code = errno;
    close(fd);
    if (status == 0)
        return text;
    free(text);
    errno = code;
    return NULL;
}
