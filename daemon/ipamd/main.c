/* ipamd: start-up, in order. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <sodium.h>

#include "clock.h"
#include "daemon.h"
#include "log.h"
#include "process.h"

/* How a start may end. A service manager is told not to start ipamd again after IPAM_EXIT_USAGE: it would end so each time,
 * until somebody has looked at it. docs/operations.md has the table. */
static int exit_code(const struct ipam_error *error)
{
    static const struct {
        enum ipam_reason reason;
        int code;
    } rows[] = {
        {IPAM_REASON_STORE_DAMAGED, IPAM_EXIT_USAGE},       {IPAM_REASON_STORE_TOO_NEW, IPAM_EXIT_USAGE},
        {IPAM_REASON_CHANGES_LOST, IPAM_EXIT_USAGE},        {IPAM_REASON_STORE_LOCKED, IPAM_EXIT_UNAVAILABLE},
        {IPAM_REASON_OUT_OF_MEMORY, IPAM_EXIT_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].reason == error->reason)
            return rows[i].code;
    return ipam_error_exit_code(error); /* bad options: USAGE; what may pass by itself: UNAVAILABLE */
}

static int fail(const struct ipam_error *error, const char *what)
{
    log_error(error, "%s", what);
    return exit_code(error);
}

/* Whoever can write there can give addresses away. */
static void warn_of_mode(const char *path)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return;
    if (status.st_mode & S_IWOTH)
        log_warning("%s can be written by every user of the machine (mode %04o): chmod o-w %s", path,
                    status.st_mode & 07777, path);
    if (status.st_uid != 0 && status.st_uid != geteuid())
        log_warning("%s belongs to uid %u, who can change all that ipamd holds, and ipamd runs as uid %u", path,
                    status.st_uid, geteuid());
}

static void check_modes(const char *state_dir)
{
    char path[4096];
    warn_of_mode(state_dir);
    snprintf(path, sizeof path, "%s/ipamd.db", state_dir);
    warn_of_mode(path);
}

static int check(const struct options *options, struct store *store)
{
    struct ipam_error error;
    if (store_verify(store, &error) < 0)
        return fail(&error, "check");
    printf("%s: sound\n", options->state_dir);
    return fflush(stdout) == 0 ? IPAM_EXIT_OK : IPAM_EXIT_FAILURE;
}

/* Records the loss as the next change. */
static int loss_record(struct store *store, struct engine *engine, const struct loss_record *loss,
                       struct loss_record *ret, struct ipam_error *reterr)
{
    struct changes changes;
    struct arena arena;
    struct timespec now;
    changes_init(&changes);
    arena_init(&arena);
    clock_gettime(CLOCK_REALTIME, &now);
    struct engine_ctx ctx = {
        .now = {(int64_t)now.tv_sec * 1000000000 + now.tv_nsec},
        .actor = {.uid = getuid(), .command = "ipamd", .method = "--accept-lost-changes"},
        .arena = &arena,
        .changes = &changes,
    };
    engine_record_loss(engine, &ctx, loss);
    *ret = changes.items[0].loss;
    int status = store_commit_loss(store, &changes, reterr);
    arena_done(&arena);
    changes_done(&changes);
    return status;
}

static int accept_lost_changes(const struct options *options, struct store *store)
{
    static const uint8_t no_key[16];
    struct ipam_error error;
    struct loss_record loss;
    if (!store_lost(store, &loss)) {
        printf("%s: nothing is missing, nothing was recorded\n", options->state_dir);
        return fflush(stdout) == 0 ? IPAM_EXIT_OK : IPAM_EXIT_FAILURE;
    }
    struct engine *engine = engine_new(no_key);
    int status = store_load(store, engine, &error);
    if (status == 0)
        status = loss_record(store, engine, &loss, &loss, &error);
    engine_free(engine);
    if (status < 0)
        return fail(&error, "accept lost changes");
    if (loss.lost > loss.kept)
        printf("%s: recorded as change %" PRIu64 " that changes %" PRIu64 " to %" PRIu64
               " are lost; ipamd can be started\n",
               options->state_dir, loss.kept + 1, loss.kept + 1, loss.lost);
    else
        printf("%s: recorded as change %" PRIu64 " that changes after %" PRIu64 " may be lost; ipamd can be started\n",
               options->state_dir, loss.kept + 1, loss.kept);
    return fflush(stdout) == 0 ? IPAM_EXIT_OK : IPAM_EXIT_FAILURE;
}

/* A signal that comes once the socket is there, and before the loop listens to signals, waits for the loop. */
static void block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
}

/* Two event loops and a few clients; libuv ends the process rather than say that it gets no file for a loop. */
#define FILES_NEEDED 32

static int check_files(struct ipam_error *reterr)
{
    int files[FILES_NEEDED], count = 0;
    while (count < FILES_NEEDED && (files[count] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)) >= 0)
        count++;
    for (int i = 0; i < count; i++)
        close(files[i]);
    if (count == FILES_NEEDED)
        return 0;
    return ipam_error_set(reterr, IPAM_REASON_LIMIT_EXCEEDED,
                          "%d more files can be opened and %d are needed to start, one more for each client: raise the "
                          "limit on open files (LimitNOFILE= of the unit, ulimit -n)",
                          count, FILES_NEEDED);
}

/* What clients may, as the options say. */
struct rights {
    struct access access;
    struct limits limits;
    gid_t socket_group;
};

static int rights_init(struct rights *rights, const struct options *options, struct ipam_error *reterr)
{
    rights->socket_group = (gid_t)-1;
    if (options->socket_group &&
        access_group_find("socket-group", options->socket_group, &rights->socket_group, reterr) < 0)
        return -1;
    if (access_init(&rights->access, options, reterr) < 0 || limits_init(&rights->limits, options, reterr) < 0)
        return -1;
    if (rights->access.open && options->socket_mode & 2)
        log_warning("--socket-mode %04" PRIo64 " lets every user of the machine in, and without --read-group, "
                    "--allocate-group and --admin-group all of them may do all",
                    options->socket_mode);
    return 0;
}

/* The sockets, of calls and of the bus. */
static int listen_on(const struct options *options, gid_t group, struct listener *ret_calls,
                     struct listener *ret_events, struct ipam_error *reterr)
{
    struct listener_options calls = {"--socket", options->socket, (mode_t)options->socket_mode, group, false};
    struct listener_options events = {"--events", options->events, (mode_t)options->events_mode, group, true};
    if (listener_open(&calls, ret_calls, reterr) < 0)
        return -1;
    if (listener_open(&events, ret_events, reterr) == 0)
        return 0;
    listener_close(ret_calls);
    return -1;
}

static int serve_with(const struct rights *rights, const struct options *options, struct store *store)
{
    uint8_t hash_key[16];
    struct engine_clock start;
    struct ipam_error error;
    struct listener listener, events;
    randombytes_buf(hash_key, sizeof hash_key);
    clock_start(&start);
    struct engine *engine = engine_new(hash_key);
    engine_set_clock(engine, &start);
    if (store_load(store, engine, &error) < 0) {
        engine_free(engine);
        return fail(&error, "start");
    }
    check_modes(options->state_dir);
    block_signals();
    if (check_files(&error) < 0 || listen_on(options, rights->socket_group, &listener, &events, &error) < 0) {
        engine_free(engine);
        return fail(&error, "start");
    }
    log_info("state directory %s, %s %s", options->state_dir,
             listener.path ? "socket" : "socket from systemd instead of", options->socket);
    int status = daemon_run(options, &rights->access, &rights->limits, store, engine, hash_key, &start, &listener,
                            &events, &error);
    listener_close(&listener);
    listener_close(&events);
    if (status < 0)
        return fail(&error, "start");
    log_info("stopped");
    return IPAM_EXIT_OK;
}

static int serve(const struct options *options, struct store *store)
{
    static struct rights rights;
    struct ipam_error error;
    int status =
        rights_init(&rights, options, &error) < 0 ? fail(&error, "start") : serve_with(&rights, options, store);
    access_done(&rights.access);
    return status;
}

int main(int argc, char *argv[])
{
    struct options options;
    struct ipam_error error;
    struct store *store;
    process_init();
    if (option_table_parse(&ipamd_options, argc, argv, &options, &error) < 0) {
        fprintf(stderr, "ipamd: %s\n", error.message);
        return IPAM_EXIT_USAGE;
    }
    if (options.help) {
        option_table_help(&ipamd_options, stdout);
        return fflush(stdout) == 0 ? IPAM_EXIT_OK : IPAM_EXIT_FAILURE;
    }
    if (options.version) {
        puts("ipamd " IPAM_VERSION);
        return fflush(stdout) == 0 ? IPAM_EXIT_OK : IPAM_EXIT_FAILURE;
    }
    log_init(strcmp(options.log_format, "json") == 0 ? LOG_JSON : LOG_TEXT);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk, not the end */
    if (sodium_init() < 0) {
        ipam_error_set(&error, IPAM_REASON_INTERNAL, "libsodium can't be used");
        return fail(&error, "start");
    }
    if (options.check && options.accept_lost_changes) {
        ipam_error_set(&error, IPAM_REASON_INVALID_REQUEST,
                       "--check and --accept-lost-changes are two commands: give one of them");
        return fail(&error, "start");
    }
    struct store_options store_options = {
        .dir = options.state_dir,
        .history_limit = options.history_limit,
        .read_only = options.check,
        .accept_loss = options.accept_lost_changes,
    };
    if (store_open(&store_options, &store, &error) < 0)
        return fail(&error, options.check ? "check" : options.accept_lost_changes ? "accept lost changes" : "start");
    int status = options.check                 ? check(&options, store)
                 : options.accept_lost_changes ? accept_lost_changes(&options, store)
                                               : serve(&options, store);
    store_close(store);
    return status;
}
