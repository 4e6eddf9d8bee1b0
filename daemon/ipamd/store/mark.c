#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line in each of two slots of a disk sector, written in turn: one that a power loss tore leaves the other whole. The slot
 * with the higher revision counts. An operator can read it with cat.
 *
 *      ipamd-mark 1 <database, hex> <revision, 20 digits> <hash of that change, hex> <checksum of all before, hex>
 */
#define MARK_SLOT 512
#define MARK_BODY 131 /* up to the checksum */
#define MARK_LINE (MARK_BODY + 17)

static void mark_format(const struct mark *mark, char ret[MARK_LINE + 1])
{
    char database[2 * STORE_ID_SIZE + 1], hash[2 * STORE_HASH_SIZE + 1];
    sodium_bin2hex(database, sizeof(database), mark->database, STORE_ID_SIZE);
    sodium_bin2hex(hash, sizeof(hash), mark->hash, STORE_HASH_SIZE);
    snprintf(ret, MARK_LINE + 1, "ipamd-mark 1 %s %020" PRIu64 " %s ", database, mark->revision, hash);
    snprintf(ret + MARK_BODY, MARK_LINE + 1 - MARK_BODY, "%016" PRIx64 "\n", row_checksum(ret, MARK_BODY));
}

static bool get_hex(const char *text, uint8_t *ret, size_t size)
{
    return sodium_hex2bin(ret, size, text, 2 * size, NULL, NULL, NULL) == 0;
}

/* What a slot says is believed when it is written as mark_format writes it, checksum and all. */
static bool mark_parse(const char slot[MARK_LINE], struct mark *ret)
{
    char digits[21] = "", line[MARK_LINE + 1];
    struct mark mark;
    memcpy(digits, slot + 46, 20);
    mark.revision = strtoull(digits, NULL, 10);
    if (!get_hex(slot + 13, mark.database, STORE_ID_SIZE) || !get_hex(slot + 67, mark.hash, STORE_HASH_SIZE))
        return false;
    mark_format(&mark, line);
    if (memcmp(slot, line, MARK_LINE) != 0)
        return false;
    *ret = mark;
    return true;
}

int mark_read(const char *path, struct mark_file *ret, struct ipam_error *reterr)
{
    char slots[2 * MARK_SLOT] = "";
    struct mark mark;
    *ret = (struct mark_file){.fd = -1, .state = MARK_ABSENT};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    ssize_t size = fd < 0 ? -1 : pread(fd, slots, sizeof(slots), 0);
    int r = size < 0 ? path_fail(path, "read", reterr) : 0;
    if (fd >= 0)
        close(fd);
    ret->state = MARK_UNREADABLE;
    for (unsigned int i = 0; i < 2; i++)
        if (mark_parse(slots + i * MARK_SLOT, &mark) &&
            (ret->state != MARK_SOUND || mark.revision > ret->mark.revision))
            *ret = (struct mark_file){.fd = -1, .state = MARK_SOUND, .mark = mark, .next = 1 - i};
    return r;
}

int mark_open(const char *path, struct mark_file *file, struct ipam_error *reterr)
{
    file->fd = open(path, O_RDWR | O_CLOEXEC);
    return file->fd < 0 ? path_fail(path, "opened for writing", reterr) : 0;
}

static bool fill(int fd, const struct mark *mark)
{
    char slots[2 * MARK_SLOT], line[MARK_LINE + 1];
    memset(slots, ' ', sizeof(slots));
    mark_format(mark, line);
    for (size_t at = 0; at < sizeof(slots); at += MARK_SLOT) {
        memcpy(slots + at, line, MARK_LINE);
        slots[at + MARK_SLOT - 1] = '\n';
    }
    return pwrite(fd, slots, sizeof(slots), 0) == (ssize_t)sizeof(slots) && fsync(fd) == 0;
}

int mark_create(const char *dir, const char *path, const struct mark *mark, struct mark_file *file,
                struct ipam_error *reterr)
{
    char name[4096];
    snprintf(name, sizeof(name), "%s.new", path);
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return path_fail(path, "created", reterr);
    int r = fill(fd, mark) && rename(name, path) == 0 ? 0 : path_fail(path, "created", reterr);
    if (r == 0)
        r = path_sync(dir, O_RDONLY | O_DIRECTORY, reterr);
    if (r < 0) {
        unlink(name);
        close(fd);
        return r;
    }
    mark_close(file);
    *file = (struct mark_file){.fd = fd, .state = MARK_SOUND, .mark = *mark};
    return 0;
}

int mark_write(const char *path, const struct mark *mark, struct mark_file *file, struct ipam_error *reterr)
{
    char line[MARK_LINE + 1];
    mark_format(mark, line);
    ssize_t size = pwrite(file->fd, line, MARK_LINE, file->next * MARK_SLOT);
    if (size >= 0 && size < MARK_LINE)
        errno = ENOSPC;
    if (size < MARK_LINE)
        return path_fail(path, "written", reterr);
    file->mark = *mark;
    file->next = 1 - file->next;
    return 0;
}

void mark_close(struct mark_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}
