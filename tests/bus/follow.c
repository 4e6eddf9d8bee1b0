/* A follower for the tests of the bus: `follow SOCKET EVENTS LOG [now]` writes to LOG, one write(2) a line:
 *
 *   C REVISION HASH   a change, delivered         S REVISION   synced
 *   T REASON          trouble                     O            trouble is over
 *   E REASON          the end
 *
 * It goes on after the last change in LOG, so that it can be killed at any moment and started again. With `now` it starts
 * after the newest change there is. It knows libipam's public interface only. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>
#include <ipam/subscriber.h>

#define TAIL 8192 /* bytes of LOG that hold its last change */

static int log_fd;
static struct ipam_subscriber *subscriber;

static void line_write(const char *line, int size)
{
    if (write(log_fd, line, (size_t)size) != size) {
        perror("follow: log");
        _exit(1);
    }
}

static void hash_format(const uint8_t *hash, char ret[2 * IPAM_HASH_SIZE + 1])
{
    for (int i = 0; i < IPAM_HASH_SIZE; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

static void on_change(const Ipam__V1__Change *change, void *user)
{
    char hash[2 * IPAM_HASH_SIZE + 1], line[128];
    (void)user;
    hash_format(change->hash.data, hash);
    line_write(line, snprintf(line, sizeof line, "C %" PRIu64 " %s\n", change->revision, hash));
}

static void on_synced(uint64_t revision, void *user)
{
    char line[32];
    (void)user;
    line_write(line, snprintf(line, sizeof line, "S %" PRIu64 "\n", revision));
}

static void on_trouble(const struct ipam_error *error, void *user)
{
    char line[64];
    (void)user;
    if (error)
        line_write(line, snprintf(line, sizeof line, "T %s\n", ipam_reason_name(error->reason)));
    else
        line_write("O\n", 2);
}

static void on_ended(const struct ipam_error *error, void *user)
{
    char line[64];
    (void)user;
    fprintf(stderr, "follow: %s\n", error->message);
    line_write(line, snprintf(line, sizeof line, "E %s\n", ipam_reason_name(error->reason)));
    ipam_subscriber_close(subscriber, NULL, NULL);
}

/* What the last whole line of a change says. */
static void last_change(uint64_t *ret_revision, uint8_t ret_hash[IPAM_HASH_SIZE])
{
    static char text[TAIL + 1];
    off_t end = lseek(log_fd, 0, SEEK_END);
    ssize_t size = pread(log_fd, text, TAIL, end > TAIL ? end - TAIL : 0);
    char *line = size > 0 ? strrchr(text, '\n') : NULL;
    while (line) {
        *line = '\0';
        line = strrchr(text, '\n');
        const char *start = line ? line + 1 : text;
        unsigned int byte;
        int used;
        if (sscanf(start, "C %" SCNu64 " %n", ret_revision, &used) != 1)
            continue;
        for (int i = 0; i < IPAM_HASH_SIZE && sscanf(start + used + 2 * i, "%2x", &byte) == 1; i++)
            ret_hash[i] = (uint8_t)byte;
        return;
    }
}

int main(int argc, char *argv[])
{
    static const struct ipam_subscriber_callbacks callbacks = {on_change, on_synced, on_trouble, on_ended};
    uint8_t hash[IPAM_HASH_SIZE] = {0};
    struct ipam_error error;
    uv_loop_t loop;
    if (argc < 4 || (log_fd = open(argv[3], O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0) {
        fprintf(stderr, "usage: follow SOCKET EVENTS LOG [now]\n");
        return 2;
    }
    struct ipam_options connection = {.socket = argv[1]};
    struct ipam_subscriber_options options = {
        .connection = &connection, .events = argv[2], .from_now = argc > 4, .hash = hash};
    last_change(&options.after_revision, hash);
    uv_loop_init(&loop);
    if (ipam_subscriber_new(&loop, &options, &callbacks, NULL, &subscriber, &error) < 0) {
        fprintf(stderr, "follow: %s\n", error.message);
        return 1;
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return 0;
}
