#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- The lock ---------------------------------------------------------------------------------------------------- */

/* Of fixed width and written over the old one: that works on a full disk too. It is for the message
 * only, so a failure to write it matters to nobody. */
static void lock_write_pid(int fd)
{
    char text[16];
    int size = snprintf(text, sizeof(text), "%-11d\n", (int)getpid());
    ssize_t written = pwrite(fd, text, (size_t)size, 0);
    (void)written;
}

static int lock_refuse(const char *dir, int fd, struct ipam_error *reterr)
{
    char text[16] = "";
    ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
    long pid = size > 0 ? strtol(text, NULL, 10) : 0;
    char who[48] = "another process";
    if (pid > 0)
        snprintf(who, sizeof(who), "process %ld", pid);
    return ipam_error_set(reterr, IPAM_REASON_STORE_LOCKED,
                          "state directory %s is in use by %s: stop it, or give this one another --state-dir", dir,
                          who);
}

static int lock_open(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd >= 0 || errno == ENOENT)
        return fd;
    int first = errno;
    fd = open(path, O_RDONLY | O_CLOEXEC); /* enough for flock */
    if (fd < 0)
        errno = first;
    return fd;
}

int lock_take(const char *dir, bool read_only, int *ret_fd, struct ipam_error *reterr)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/ipamd.lock", dir);
    int fd = read_only ? open(path, O_RDONLY | O_CLOEXEC) : lock_open(path);
    if (fd < 0 && errno == (read_only ? ENOENT : EROFS)) {
        *ret_fd = -1;
        return 0;
    }
    if (fd < 0)
        return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s can't be opened: %s", path, strerror(errno));
    int r = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        r = errno == EWOULDBLOCK ? lock_refuse(dir, fd, reterr)
                                 : ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s can't be locked: %s", path,
                                                  strerror(errno));
    if (r < 0) {
        close(fd);
        return r;
    }
    if (!read_only)
        lock_write_pid(fd);
    *ret_fd = fd;
    return 0;
}

/* ---- The files --------------------------------------------------------------------------------------------------- */

/* SQLite file format 3, section 1.3 "The Database Header"; numbers are big-endian. */
enum {
    HEADER_SIZE = 100,
    HEADER_PAGE_SIZE = 16,
    HEADER_WRITE_VERSION = 18,
    HEADER_PAGE_COUNT = 28,
    HEADER_USER_VERSION = 60,
    HEADER_APPLICATION_ID = 68,
};

/* Section 4.1, "WAL File Format". */
enum { LOG_HEADER_SIZE = 32, LOG_MAGIC = 0x377f0682 };

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t little_endian(const uint8_t *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

struct file_start {
    bool exists;
    uint64_t size;
    uint8_t bytes[HEADER_SIZE];
};

static int file_read_start(const char *path, struct file_start *ret, struct ipam_error *reterr)
{
    struct file_start start = {.exists = true};
    struct stat status;
    int r = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        *ret = (struct file_start){.exists = false};
        return 0;
    }
    if (fd < 0 || fstat(fd, &status) < 0 || pread(fd, start.bytes, HEADER_SIZE, 0) < 0)
        r = ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s can't be read: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (r < 0)
        return r;
    start.size = (uint64_t)status.st_size;
    *ret = start;
    return 0;
}

/* A log with frames has a sound header, because SQLite syncs the header before it writes the first
 * frame; with another one SQLite would take the log for empty, and acknowledged changes would be
 * gone unseen. */
static bool log_header_sound(const uint8_t *header)
{
    uint32_t magic = big_endian(header), first = 0, second = 0;
    if ((magic & ~1u) != LOG_MAGIC)
        return false;
    uint32_t (*word)(const uint8_t *) = magic & 1 ? big_endian : little_endian;
    for (size_t i = 0; i < 24; i += 8) {
        first += word(header + i) + second;
        second += word(header + i + 4) + first;
    }
    return first == big_endian(header + 24) && second == big_endian(header + 28);
}

static int inspect_header(const char *path, const struct file_start *file, bool has_log, struct ipam_error *reterr)
{
    static const char magic[16] = "SQLite format 3";
    if (file->size < HEADER_SIZE)
        return report_damage(path, reterr, "it is cut short to %" PRIu64 " bytes", file->size);
    if (memcmp(file->bytes, magic, sizeof(magic)) != 0)
        return report_damage(path, reterr, "it does not begin as a database does");
    uint32_t application = big_endian(file->bytes + HEADER_APPLICATION_ID);
    if (application != STORE_APPLICATION_ID)
        return ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED,
                              "%s is the database of another program (application id 0x%08x): give "
                              "ipamd another --state-dir",
                              path, application);
    uint32_t version = big_endian(file->bytes + HEADER_USER_VERSION);
    if (schema_refuse_newer(path, version, reterr) < 0)
        return -1;
    uint64_t page_size = (uint64_t)file->bytes[HEADER_PAGE_SIZE] << 8 | file->bytes[HEADER_PAGE_SIZE + 1];
    uint64_t expected = (page_size == 1 ? 65536 : page_size) * big_endian(file->bytes + HEADER_PAGE_COUNT);
    if (!has_log && file->size < expected) /* with a log, it says how long the database is */
        return report_damage(path, reterr, "it is %" PRIu64 " bytes long where %" PRIu64 " were written", file->size,
                             expected);
    if (version == 0 || expected == 0 || file->bytes[HEADER_WRITE_VERSION] != 2 ||
        file->bytes[HEADER_WRITE_VERSION + 1] != 2)
        return report_damage(path, reterr, "its header is not as ipamd writes it");
    return 0;
}

int inspect_files(const char *db_path, const char *wal_path, bool *ret_exists, bool *ret_has_log,
                  struct ipam_error *reterr)
{
    struct file_start db, log;
    if (file_read_start(db_path, &db, reterr) < 0 || file_read_start(wal_path, &log, reterr) < 0)
        return -1;
    if (!db.exists && log.exists)
        return ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED,
                              "%s is missing, but its log %s is there: restore both from a backup, "
                              "or use an empty --state-dir",
                              db_path, wal_path);
    if (log.size > LOG_HEADER_SIZE && !log_header_sound(log.bytes))
        return ipam_error_set(
            reterr, IPAM_REASON_STORE_DAMAGED,
            "%s is damaged: its header is not as SQLite writes it; nothing was altered: restore the newest "
            "backup, or move the log away, start ipamd, and it says which changes were in it",
            wal_path);
    if (db.exists && inspect_header(db_path, &db, log.size > 0, reterr) < 0)
        return -1;
    *ret_exists = db.exists;
    *ret_has_log = log.size > 0;
    return 0;
}
