/* ipamd: start-up, in order. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sodium.h>

#include "clock.h"
#include "daemon.h"
#include "log.h"
#include "process.h"

/* Exit codes as in ipamc: docs/errors.md. */
static int fail(const struct ipam_error *error, const char *what)
{
    log_error(error, "%s", what);
    return ipam_error_exit_code(error);
}

static int check(const struct options *options, struct store *store)
{
    struct ipam_error error;
    if (store_verify(store, &error) < 0)
        return fail(&error, "check");
    printf("%s: sound\n", options->state_dir);
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

static int serve(const struct options *options, struct store *store)
{
    uint8_t hash_key[16];
    struct engine_clock start;
    struct ipam_error error;
    struct listener listener, events;
    static struct rights rights;
    if (rights_init(&rights, options, &error) < 0)
        return fail(&error, "start");
    randombytes_buf(hash_key, sizeof hash_key);
    clock_start(&start);
    struct engine *engine = engine_new(hash_key);
    engine_set_clock(engine, &start);
    if (store_load(store, engine, &error) < 0) {
        engine_free(engine);
        return fail(&error, "start");
    }
    block_signals();
    if (check_files(&error) < 0 || listen_on(options, rights.socket_group, &listener, &events, &error) < 0) {
        engine_free(engine);
        return fail(&error, "start");
    }
    log_info("state directory %s, %s %s", options->state_dir,
             listener.path ? "socket" : "socket from systemd instead of", options->socket);
    int status = daemon_run(options, &rights.access, &rights.limits, store, engine, hash_key, &start, &listener,
                            &events, &error);
    listener_close(&listener);
    listener_close(&events);
    if (status < 0)
        return fail(&error, "start");
    log_info("stopped");
    return IPAM_EXIT_OK;
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
    struct store_options store_options = {
        .dir = options.state_dir, .history_limit = options.history_limit, .must_exist = options.check};
    if (store_open(&store_options, &store, &error) < 0)
        return fail(&error, options.check ? "check" : "start");
    int status = options.check ? check(&options, store) : serve(&options, store);
    store_close(store);
    return status;
}
