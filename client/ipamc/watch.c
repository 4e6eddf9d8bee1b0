#include <uv.h>

#include "watch.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <ipam/subscriber.h>

#define READER_LOOK_MS 500 /* how soon a reader that left is noticed while nothing happens */

struct watch {
    struct cli *cli;
    const struct watch_follower *follower;
    void *user;
    struct output output; /* the command's, with an arena of one call */
    struct arena arena;
    uv_loop_t loop;
    uv_timer_t reader;
    struct ipam_subscriber *subscriber;
    int result;
    struct ipam_error error;
    bool ended, away;
};

static void stop(struct watch *watch, int result)
{
    if (watch->ended)
        return;
    watch->ended = true;
    watch->result = result;
    ipam_subscriber_close(watch->subscriber, NULL, NULL);
    uv_close((uv_handle_t *)&watch->reader, NULL);
}

/* ---- The output ----------------------------------------------------------------------------------------------------- */

/* Writes what was printed, and ends the watch if that can't be: main says why. */
static void flush(struct watch *watch)
{
    if (fflush(watch->output.out) != 0 || ferror(watch->output.out))
        stop(watch, 0);
}

/* A reader that left while nothing happens is told by the pipe, as a write would be. */
static void look_for_reader(uv_timer_t *timer)
{
    struct watch *watch = timer->data;
    struct pollfd stream = {.fd = STDOUT_FILENO};

    if (poll(&stream, 1, 0) <= 0 || (stream.revents & (POLLERR | POLLNVAL)) == 0)
        return;
    watch->cli->exit_code = IPAM_EXIT_FAILURE;
    stop(watch, 0);
}

static void finish_call(struct watch *watch, int result)
{
    if (result != 0)
        stop(watch, result == WATCH_END ? 0 : result);
    if (!watch->ended)
        flush(watch);
    arena_reset(&watch->arena);
}

/* ---- From the subscriber -------------------------------------------------------------------------------------------- */

static void on_change(const Ipam__V1__Change *change, void *user)
{
    struct watch *watch = user;

    if (watch->ended || watch->follower->change == NULL)
        return;
    watch->output.now = (int64_t)time(NULL);
    finish_call(watch, watch->follower->change(watch->user, &watch->output, change, &watch->error));
}

static void on_synced(uint64_t revision, void *user)
{
    struct watch *watch = user;

    (void)revision;
    if (watch->ended || watch->follower->synced == NULL)
        return;
    watch->output.now = (int64_t)time(NULL);
    finish_call(watch, watch->follower->synced(watch->user, &watch->output, &watch->error));
}

/* Once when it goes away, once when it is back. */
static void on_trouble(const struct ipam_error *error, void *user)
{
    struct watch *watch = user;

    if (error == NULL && watch->away)
        cli_note(watch->cli, "ipamd is back, watching on");
    else if (error != NULL && !watch->away)
        output_error(watch->cli->err, watch->output.format, error);
    if (error != NULL && !watch->away)
        cli_note(watch->cli, "waiting for ipamd to come back");
    watch->away = error != NULL;
}

static void on_ended(const struct ipam_error *error, void *user)
{
    struct watch *watch = user;

    watch->error = *error;
    stop(watch, -1);
}

/* ---- The loop ------------------------------------------------------------------------------------------------------- */

static int start(struct watch *watch, uint64_t after_revision, struct ipam_error *reterr)
{
    static const struct ipam_subscriber_callbacks callbacks = {on_change, on_synced, on_trouble, on_ended};
    struct ipam_options connection;

    cli_connection(watch->cli, &connection);
    const struct ipam_subscriber_options options = {.connection = &connection, .after_revision = after_revision};
    if (ipam_subscriber_new(&watch->loop, &options, &callbacks, watch, &watch->subscriber, reterr) < 0)
        return -1;
    uv_timer_init(&watch->loop, &watch->reader);
    watch->reader.data = watch;
    uv_timer_start(&watch->reader, look_for_reader, READER_LOOK_MS, READER_LOOK_MS);
    return 0;
}

int watch_run(struct cli *cli, uint64_t after_revision, const struct watch_follower *follower, void *user,
              struct ipam_error *reterr)
{
    struct watch watch = {.cli = cli, .follower = follower, .user = user, .output = cli->output};

    fflush(cli->output.out);
    if (uv_loop_init(&watch.loop) < 0)
        return ipam_error_set(reterr, IPAM_REASON_INTERNAL, "no event loop can be made: too many open files?");
    arena_init(&watch.arena);
    watch.output.arena = &watch.arena;
    int result = start(&watch, after_revision, reterr);
    uv_run(&watch.loop, UV_RUN_DEFAULT);
    uv_loop_close(&watch.loop);
    arena_done(&watch.arena);
    if (result == 0 && watch.result < 0)
        *reterr = watch.error;
    return result < 0 ? result : watch.result;
}
