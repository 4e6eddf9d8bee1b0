/* bench_follow: N subscribers of libipam in one process, each with a bus socket and a connection of its own.
 *
 * Usage: bench_follow SOCKET EVENTS N. Says "ready" when all have come to the newest change; then for each REVISION on
 * stdin, when all have been delivered it, prints how many changes were delivered in all since the start. Ends with stdin. Knows
 * libipam's public interface only. A follower's end is the end of the program, with status 1. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>
#include <ipam/subscriber.h>

struct crowd {
    uv_loop_t loop;
    uv_pipe_t input;
    struct ipam_subscriber **followers;
    size_t count, n_synced;
    uint64_t delivered;
    uint64_t target; /* 0: none */
    char text[64];
    size_t text_size;
};

struct follower {
    struct crowd *crowd;
    bool is_synced;
};

static void say(const char *word, uint64_t number)
{
    printf("%s %" PRIu64 "\n", word, number);
    fflush(stdout);
}

static void target_check(struct crowd *crowd)
{
    if (crowd->target == 0)
        return;
    for (size_t i = 0; i < crowd->count; i++)
        if (ipam_subscriber_revision(crowd->followers[i]) < crowd->target)
            return;
    crowd->target = 0;
    say("delivered", crowd->delivered);
}

static void on_change(const Ipam__V1__Change *change, void *user)
{
    (void)change;
    ((struct follower *)user)->crowd->delivered++;
}

static void on_synced(uint64_t revision, void *user)
{
    struct follower *follower = user;
    struct crowd *crowd = follower->crowd;
    crowd->n_synced += !follower->is_synced;
    if (!follower->is_synced && crowd->n_synced == crowd->count)
        say("ready", revision);
    follower->is_synced = true;
    target_check(crowd);
}

static void on_ended(const struct ipam_error *error, void *user)
{
    (void)user;
    fprintf(stderr, "bench_follow: %s\n", error->message);
    exit(1);
}

static void input_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct crowd *crowd = handle->data;
    (void)suggested;
    *ret = uv_buf_init(crowd->text + crowd->text_size, (unsigned int)(sizeof crowd->text - 1 - crowd->text_size));
}

static void on_input(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct crowd *crowd = stream->data;
    (void)buffer;
    if (size < 0)
        exit(0);
    crowd->text_size += (size_t)size;
    crowd->text[crowd->text_size] = '\0';
    if (!strchr(crowd->text, '\n'))
        return;
    crowd->target = strtoull(crowd->text, NULL, 10);
    crowd->text_size = 0;
    target_check(crowd);
}

int main(int argc, char *argv[])
{
    static struct crowd crowd;
    static const struct ipam_subscriber_callbacks callbacks = {
        .change = on_change, .synced = on_synced, .ended = on_ended};
    struct ipam_error error;
    if (argc != 4 || (crowd.count = strtoul(argv[3], NULL, 10)) == 0) {
        fprintf(stderr, "usage: bench_follow SOCKET EVENTS N\n");
        return 2;
    }
    struct ipam_options connection = {.socket = argv[1]};
    struct ipam_subscriber_options options = {.connection = &connection, .events = argv[2], .from_now = true};
    struct follower *users = calloc(crowd.count, sizeof *users);
    crowd.followers = calloc(crowd.count, sizeof *crowd.followers);
    if (!users || !crowd.followers)
        abort();
    uv_loop_init(&crowd.loop);
    uv_pipe_init(&crowd.loop, &crowd.input, 0);
    crowd.input.data = &crowd;
    uv_pipe_open(&crowd.input, 0);
    uv_read_start((uv_stream_t *)&crowd.input, input_buffer, on_input);
    for (size_t i = 0; i < crowd.count; i++) {
        users[i].crowd = &crowd;
        if (ipam_subscriber_new(&crowd.loop, &options, &callbacks, &users[i], &crowd.followers[i], &error) < 0) {
            fprintf(stderr, "bench_follow: %s\n", error.message);
            return 1;
        }
    }
    return uv_run(&crowd.loop, UV_RUN_DEFAULT);
}
