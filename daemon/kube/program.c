#include "program.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "absence.h"
#include "arena.h"
#include "health.h"
#include "lease.h"
#include "log.h"
#include "notify.h"
#include "process.h"

#define LOOK_MS  250  /* how often the connection to ipamd is looked at */
#define GRACE_MS 1000 /* for connecting at the start */
#define CHANNEL  "ipamd"

#define LINES_MAX 10 /* about objects, in LINES_MS */
#define LINES_MS  10000

#define AT(field) offsetof(struct program_options, field)

static const struct option_row rows[] = {
    {"kubeconfig", "FILE", OPTION_TEXT, AT(kubeconfig), NULL, 0, 0, NULL,
     "how to reach the API server; else $KUBECONFIG, in a Pod its service account, ~/.kube/config"},
    {"context", "NAME", OPTION_TEXT, AT(context), NULL, 0, 0, NULL,
     "context of the kubeconfig; else its current-context"},
    {"socket", "PATH", OPTION_TEXT, AT(socket), "/run/ipamd/ipamd.sock", 0, 0, NULL, "where ipamd serves gRPC"},
    {"events", "PATH", OPTION_TEXT, AT(events), "/run/ipamd/events.sock", 0, 0, NULL, "where ipamd publishes changes"},
    {"leader-elect", NULL, OPTION_FLAG, AT(leader_elect), NULL, 0, 0, NULL,
     "act only while holding a lease, so that several can run"},
    {"lease-namespace", "NAME", OPTION_TEXT, AT(lease_namespace), "ipam-system", 0, 0, NULL, "namespace of the lease"},
    {"lease-name", "NAME", OPTION_TEXT, AT(lease_name), NULL, 0, 0, NULL, "its name; else the program's"},
    {"lease-duration", "SECONDS", OPTION_NUMBER, AT(lease_duration), "15", 5, 3600, NULL,
     "after which another one may take it when it is not renewed"},
    {"health", "ADDRESS", OPTION_TEXT, AT(health), NULL, 0, 0, NULL,
     "serve /healthz, /readyz and /metrics on 127.0.0.1:PORT, [::1]:PORT or a socket's path"},
    {"log-format", "FORMAT", OPTION_CHOICE, AT(log_format), "text", 0, 0, "text|json", "how log lines on stderr look"},
    {"shutdown-timeout", "SECONDS", OPTION_NUMBER, AT(shutdown_timeout), "10", 1, 3600, NULL,
     "how long SIGTERM waits for what is under way"},
    {"once", NULL, OPTION_FLAG, AT(once), NULL, 0, 0, NULL, "do all there is to do, then exit"},
    {"help", NULL, OPTION_FLAG, AT(help), NULL, 0, 0, NULL, "print this and exit"},
    {"version", NULL, OPTION_FLAG, AT(version), NULL, 0, 0, NULL, "print the version and exit"},
};

const struct option_table program_shared_options = {.program = "",
                                                    .summary = "",
                                                    .footer = "",
                                                    .rows = rows,
                                                    .n_rows = sizeof rows / sizeof *rows,
                                                    .size = sizeof(struct program_options)};

/* Acting goes IDLE -> ACTING -> STOPPING -> IDLE. */
enum act { ACT_IDLE, ACT_ACTING, ACT_STOPPING };

struct trouble {
    TAILQ_ENTRY(trouble) link;
    char *what;
    struct ipam_error error;
    bool of_the_frame; /* not of a turn of the program's */
};

struct program {
    const struct program_role *role;
    void *user;
    void *options; /* the program's struct, program_options first */
    const struct program_options *shared;
    const char *name;
    uv_loop_t loop;
    struct kube_config *config;
    struct kube_client *client, *lease_client; /* apart: a renewal waits behind no other request */
    struct kube_events *events;
    struct kube_lease *lease;
    struct ipam_channel *channel;
    struct health *health;
    char identity[128], user_agent[64], why[1400];
    uv_timer_t look, watchdog, shutdown;
    uv_signal_t term, interrupt;
    TAILQ_HEAD(, trouble) troubles;
    enum act act;
    bool wanted; /* it may act: there is no lease, or we hold it */
    bool stopping, connected, said_ready;
    uint64_t started_at, turns, troubles_begun, undefined;
    uint64_t lines_since; /* ms */
    unsigned int lines;   /* about objects since then */
    int step;             /* of the shut-down */
    int status;
};

/* ---- Troubles ---------------------------------------------------------------------------------------------------- */

static struct trouble *trouble_find(struct program *program, const char *what)
{
    struct trouble *trouble;
    TAILQ_FOREACH(trouble, &program->troubles, link)
    {
        if (strcmp(trouble->what, what) == 0)
            return trouble;
    }
    return NULL;
}

static void trouble_free(struct program *program, struct trouble *trouble)
{
    TAILQ_REMOVE(&program->troubles, trouble, link);
    free(trouble->what);
    free(trouble);
}

static void status_tell(struct program *program);

static struct trouble *trouble_new(struct program *program, const char *what, bool of_the_frame)
{
    struct trouble *trouble = mem_zalloc(sizeof *trouble);
    trouble->what = mem_strdup(what);
    trouble->of_the_frame = of_the_frame;
    TAILQ_INSERT_TAIL(&program->troubles, trouble, link);
    program->troubles_begun++;
    return trouble;
}

static void trouble_set(struct program *program, const char *what, const struct ipam_error *error, bool of_the_frame)
{
    struct trouble *trouble = trouble_find(program, what);
    if (!error && !trouble)
        return;
    if (!error) {
        log_info("%s: well again", what);
        trouble_free(program, trouble);
    } else if (!trouble || strcmp(trouble->error.message, error->message) != 0) {
        log_error(error, "%s", what);
        trouble = trouble ? trouble : trouble_new(program, what, of_the_frame);
        trouble->error = *error;
    }
    status_tell(program);
}

void program_trouble(struct program *program, const char *what, const struct ipam_error *error)
{
    trouble_set(program, what, error, false);
}

void program_watch_trouble(struct program *program, const char *what, const struct ipam_error *error)
{
    bool undefined = error && kube_error_is_absence(error);
    program_trouble(program, what, error);
    program->undefined += undefined;
    if (undefined && program->shared->once)
        program_finish(program, error);
}

/* Anybody who may write an object can have a line of it. */
static bool line_take(struct program *program)
{
    uint64_t now = uv_now(&program->loop);
    if (now - program->lines_since >= LINES_MS) {
        program->lines_since = now;
        program->lines = 0;
    }
    return program->lines++ < LINES_MAX;
}

void program_object_problem(struct program *program, const char *what, const char *name, const char *why)
{
    if (!line_take(program))
        return;
    if (why)
        log_warning("%s %s can't be read whole, so it is left as it is: %s", what, name, why);
    else
        log_info("%s %s can be read again", what, name);
}

/* Those of a turn end with it: the next one finds its own. */
static void troubles_end(struct program *program, bool all)
{
    struct trouble *next, *trouble = TAILQ_FIRST(&program->troubles);
    for (; trouble; trouble = next) {
        next = TAILQ_NEXT(trouble, link);
        if (all || !trouble->of_the_frame)
            trouble_free(program, trouble);
    }
}

/* ---- What others see --------------------------------------------------------------------------------------------- */

static const char *alive(void *user)
{
    (void)user; /* it answers */
    return NULL;
}

static const char *why_not(struct program *program, const char *what, const char *message)
{
    snprintf(program->why, sizeof program->why, "%s%s%s", what, *what ? ": " : "", message);
    return program->why;
}

/* One that waits for the lease is ready: to take over. */
static const char *ready(void *user)
{
    struct program *program = user;
    const struct trouble *trouble = TAILQ_FIRST(&program->troubles);
    if (program->stopping)
        return "stopping";
    if (trouble)
        return why_not(program, trouble->what, trouble->error.message);
    if (program->act != ACT_ACTING && program->shared->leader_elect)
        return NULL;
    return program->act == ACT_ACTING && program->connected ? program->role->ready(program->user) : "starting";
}

static void counter(FILE *out, const char *name, const char *help, const char *labels, uint64_t value)
{
    if (help)
        fprintf(out, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);
    fprintf(out, "%s%s %" PRIu64 "\n", name, labels, value);
}

static void gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %" PRIu64 "\n", name, help, name, name, value);
}

static void metrics(FILE *out, void *user)
{
    struct program *program = user;
    const struct kube_client_counters *api = kube_client_counters(program->client);
    size_t n_troubles = 0;
    struct trouble *trouble;
    TAILQ_FOREACH(trouble, &program->troubles, link)
    {
        n_troubles++;
    }
    gauge(out, "ipam_acting", "1 while this process acts: it needs no lease or holds it.", program->act == ACT_ACTING);
    gauge(out, "ipam_ready", "1 while /readyz says so.", ready(program) == NULL);
    gauge(out, "ipam_ipamd_connected", "1 while connected to ipamd.", program->connected);
    gauge(out, "ipam_troubles", "Things in trouble now.", n_troubles);
    counter(out, "ipam_troubles_total", "Troubles that began.", "", program->troubles_begun);
    counter(out, "ipam_turns_total", "Times that this process began to act.", "", program->turns);
    counter(out, "ipam_kube_requests_total", "Requests to the API server, those of the lease apart.", "",
            api->requests);
    counter(out, "ipam_kube_errors_total", "Requests that went wrong, by how.", "{error=\"no_answer\"}", api->failures);
    counter(out, "ipam_kube_errors_total", NULL, "{error=\"throttled\"}", api->throttled);
    counter(out, "ipam_kube_errors_total", NULL, "{error=\"server\"}", api->server_errors);
    counter(out, "ipam_kube_errors_total", NULL, "{error=\"conflict\"}", api->conflicts);
    counter(out, "ipam_kube_errors_total", NULL, "{error=\"undefined\"}", program->undefined);
    counter(out, "ipam_kube_events_dropped_total", "Events that were too many or could not be written.", "",
            kube_events_dropped(program->events));
    if (program->role->metrics)
        program->role->metrics(out, program->user);
}

static void status_tell(struct program *program)
{
    const struct trouble *trouble = TAILQ_FIRST(&program->troubles);
    if (program->stopping)
        return;
    if (trouble)
        notify_send("STATUS=%s: %s", trouble->what, trouble->error.message);
    else
        notify_send("STATUS=%s", program->act == ACT_ACTING ? "Acting" : "Waiting for the lease");
}

/* ---- Acting ------------------------------------------------------------------------------------------------------ */

static void shutdown_step(struct program *program);

static void act_update(struct program *program)
{
    bool wanted = program->wanted && !program->stopping;
    if (wanted && program->act == ACT_IDLE) {
        program->act = ACT_ACTING;
        program->turns++;
        log_info("acting%s", program->shared->leader_elect ? ": the lease is held" : "");
        program->role->start(program, program->user);
    } else if (!wanted && program->act == ACT_ACTING) {
        program->act = ACT_STOPPING;
        program->role->stop(program, program->user);
    }
    status_tell(program);
}

void program_stopped(struct program *program)
{
    assert(program->act == ACT_STOPPING);
    program->act = ACT_IDLE;
    troubles_end(program, false);
    if (program->stopping)
        shutdown_step(program);
    else
        act_update(program);
}

static void on_acquired(void *user)
{
    struct program *program = user;
    program->wanted = true;
    act_update(program);
}

static void on_lost(const struct ipam_error *error, void *user)
{
    struct program *program = user;
    log_error(error, "not acting any more");
    program->wanted = false;
    act_update(program);
}

static void on_lease_trouble(const struct ipam_error *error, void *user)
{
    trouble_set(user, "lease", error, true);
}

/* ---- The end: one step after the other, each when the one before has closed --------------------------------------- */

static void on_step_closed(void *user)
{
    shutdown_step(user);
}

/* 0: nothing to close. */
static int close_acting(struct program *program)
{
    bool was_acting = program->act == ACT_ACTING;
    bool busy = program->act != ACT_IDLE;
    if (was_acting) { /* program_stopped may come at once: it must find this step behind us */
        program->act = ACT_STOPPING;
        program->role->stop(program, program->user);
    }
    return busy;
}

static int close_events(struct program *program)
{
    if (program->events)
        kube_events_close(program->events, on_step_closed, program);
    return program->events != NULL;
}

static void on_lease_closed(void *user)
{
    struct program *program = user;
    program->lease = NULL;
    shutdown_step(program);
}

static int close_lease(struct program *program)
{
    if (program->lease)
        kube_lease_close(program->lease, on_lease_closed, program);
    return program->lease != NULL;
}

static int close_client(struct program *program)
{
    if (program->client)
        kube_client_close(program->client, on_step_closed, program);
    return program->client != NULL;
}

static int close_lease_client(struct program *program)
{
    if (program->lease_client)
        kube_client_close(program->lease_client, on_step_closed, program);
    return program->lease_client != NULL;
}

static int close_channel(struct program *program)
{
    if (program->channel)
        ipam_channel_close(program->channel, on_step_closed, program);
    return program->channel != NULL;
}

static int close_handles(struct program *program)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&program->look, (uv_handle_t *)&program->watchdog,
                              (uv_handle_t *)&program->shutdown, (uv_handle_t *)&program->term,
                              (uv_handle_t *)&program->interrupt};
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
        uv_close(handles[i], NULL);
    return 1;
}

/* Metrics ask the client: health goes first. */
static int close_health(struct program *program)
{
    if (program->health)
        health_close(program->health, on_step_closed, program);
    return program->health != NULL;
}

/* The lease is given back once nothing acts any more, so that the next one can begin. */
static int (*const shutdown_steps[])(struct program *program) = {
    close_acting, close_health,       close_events,  close_lease,
    close_client, close_lease_client, close_channel, close_handles,
};

static void shutdown_step(struct program *program)
{
    size_t n = sizeof shutdown_steps / sizeof *shutdown_steps;
    while ((size_t)program->step < n && shutdown_steps[program->step++](program) == 0)
        ;
}

static void on_shutdown_timeout(uv_timer_t *timer)
{
    struct program *program = timer->data;
    log_warning("what was under way did not end within %" PRIu64 " s, leaving it", program->shared->shutdown_timeout);
    uv_stop(&program->loop);
}

static void program_stop(struct program *program)
{
    if (program->stopping)
        return;
    program->stopping = true;
    notify_send("STOPPING=1");
    uv_timer_start(&program->shutdown, on_shutdown_timeout, program->shared->shutdown_timeout * 1000, 0);
    shutdown_step(program);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;
    if (!program->stopping)
        log_info("stopping on %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
    program_stop(program);
}

void program_finish(struct program *program, const struct ipam_error *error)
{
    if (program->stopping)
        return;
    if (error)
        log_error(error, "giving up");
    program->status = error ? ipam_error_exit_code(error) : IPAM_EXIT_OK;
    program_stop(program);
}

/* ---- The loop ---------------------------------------------------------------------------------------------------- */

/* libipam tells of a connection only to those who ask. */
static void on_look(uv_timer_t *timer)
{
    struct program *program = timer->data;
    struct ipam_error error;
    bool connected = ipam_channel_connected(program->channel);
    if (program->stopping)
        return;
    ipam_error_set(&error, IPAM_REASON_UNREACHABLE, "not connected to %s; is ipamd running, and may this user connect?",
                   program->shared->socket);
    if (connected || program->connected || uv_now(&program->loop) - program->started_at >= GRACE_MS)
        trouble_set(program, CHANNEL, connected ? NULL : &error, true);
    program->connected = connected;
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    notify_send("WATCHDOG=1");
}

static void watchdog_start(struct program *program)
{
    uint64_t usec = 0;
    if (sd_watchdog_enabled(0, &usec) <= 0)
        return;
    uint64_t half = usec / 2000 > 0 ? usec / 2000 : 1;
    uv_timer_start(&program->watchdog, on_watchdog, half, half);
}

static int handles_start(struct program *program, struct ipam_error *reterr)
{
    uv_timer_t *timers[] = {&program->look, &program->watchdog, &program->shutdown};
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) {
        uv_timer_init(&program->loop, timers[i]);
        timers[i]->data = program;
    }
    int status = uv_signal_init(&program->loop, &program->term);
    status = status ? status : uv_signal_init(&program->loop, &program->interrupt);
    program->term.data = program->interrupt.data = program;
    status = status ? status : uv_signal_start(&program->term, on_signal, SIGTERM);
    status = status ? status : uv_signal_start(&program->interrupt, on_signal, SIGINT);
    if (status < 0)
        return ipam_error_set(reterr, IPAM_REASON_INTERNAL, "event loop: %s", uv_strerror(status));
    program->started_at = uv_now(&program->loop);
    uv_timer_start(&program->look, on_look, LOOK_MS, LOOK_MS);
    watchdog_start(program);
    return 0;
}

/* ---- Start-up ---------------------------------------------------------------------------------------------------- */

static void on_warning(const char *text, void *user)
{
    (void)user;
    log_warning("%s", text);
}

static int config_open(struct program *program, struct ipam_error *reterr)
{
    struct kube_config_options options = {program->shared->kubeconfig, program->shared->context};
    if (kube_config_load(&options, &program->config, reterr) < 0)
        return -1;
    kube_config_warn(program->config, on_warning, NULL);
    return 0;
}

static void on_config_changed(const struct ipam_error *error, void *user)
{
    const struct program *program = user;
    if (error) {
        log_error(error, "kubeconfig has changed and can't be used; going on with the one before");
        return;
    }
    log_info("kubeconfig has changed: API server %s (%s)", program->config->server, program->config->source);
    kube_config_warn(program->config, on_warning, NULL);
}

/* One that waits for the lease has no calls under way. */
static bool may_write(void *user)
{
    const struct program *program = user;
    return !program->lease || kube_lease_held(program->lease);
}

static int clients_open(struct program *program, struct ipam_error *reterr)
{
    struct kube_client_options options = {.user_agent = program->user_agent}, lease = options;
    options.may_write = may_write;
    options.config_changed = on_config_changed;
    options.user = program;
    if (program->role->connections)
        options.max_connections = program->role->connections(program->options);
    snprintf(program->user_agent, sizeof program->user_agent, "%s/%s", program->name, IPAM_VERSION);
    if (kube_client_new(&program->loop, program->config, &options, &program->client, reterr) < 0)
        return -1;
    program->events = kube_events_new(program->client, program->name);
    if (!program->shared->leader_elect)
        return 0;
    return kube_client_new(&program->loop, program->config, &lease, &program->lease_client, reterr);
}

static int channel_open(struct program *program, struct ipam_error *reterr)
{
    struct ipam_options options = {
        .socket = program->shared->socket, .user_agent = program->user_agent, .wait_for_ready = true};
    return ipam_channel_new(&program->loop, &options, &program->channel, reterr);
}

static int health_start(struct program *program, struct ipam_error *reterr)
{
    static const struct health_callbacks callbacks = {alive, ready, metrics};
    if (!program->shared->health)
        return 0;
    return health_open(&program->loop, program->shared->health, &callbacks, program, &program->health, reterr);
}

static int lease_start(struct program *program, struct ipam_error *reterr)
{
    static const struct kube_lease_callbacks callbacks = {on_acquired, on_lost, on_lease_trouble};
    char host[64] = "";
    (void)reterr;
    gethostname(host, sizeof host - 1);
    snprintf(program->identity, sizeof program->identity, "%s_%d_%08x", host, (int)getpid(), arc4random());
    struct kube_lease_options options = {
        .namespace_ = program->shared->lease_namespace,
        .name = program->shared->lease_name ? program->shared->lease_name : program->name,
        .identity = program->identity,
        .duration_ms = (uint32_t)program->shared->lease_duration * 1000,
    };
    if (program->shared->leader_elect)
        program->lease = kube_lease_new(program->lease_client, &options, &callbacks, program);
    return 0;
}

static int (*const startup_steps[])(struct program *program, struct ipam_error *reterr) = {
    config_open, handles_start, clients_open, channel_open, health_start, lease_start,
};

/* An error is logged and closes what is open already. */
static void startup(struct program *program)
{
    struct ipam_error error;
    size_t n = sizeof startup_steps / sizeof *startup_steps, i = 0;
    while (i < n && startup_steps[i](program, &error) == 0)
        i++;
    if (i < n) {
        log_error(&error, "start");
        program->status = ipam_error_exit_code(&error);
        program->stopping = true;
        if (i > 1) /* there are handles */
            shutdown_step(program);
        return;
    }
    log_info("%s " IPAM_VERSION ": API server %s (%s), ipamd %s", program->name, program->config->server,
             program->config->source, program->shared->socket);
    notify_state("READY=1");
    program->wanted = !program->shared->leader_elect;
    act_update(program);
}

static int program_run(struct program *program)
{
    struct ipam_error error;
    TAILQ_INIT(&program->troubles);
    int status = uv_loop_init(&program->loop);
    if (status < 0) {
        ipam_error_set(&error, IPAM_REASON_INTERNAL, "event loop: %s", uv_strerror(status));
        log_error(&error, "start");
        return IPAM_EXIT_FAILURE;
    }
    startup(program);
    uv_run(&program->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&program->loop) < 0) /* the time was up: what still hangs goes with the process */
        return program->status;
    kube_config_free(program->config);
    troubles_end(program, true);
    if (program->status == 0)
        log_info("stopped");
    return program->status;
}

static int print(const struct program_options *options, const struct option_table *table)
{
    if (options->help)
        option_table_help(table, stdout);
    else
        printf("%s " IPAM_VERSION "\n", table->program);
    return fflush(stdout) == 0 ? IPAM_EXIT_OK : IPAM_EXIT_FAILURE;
}

int program_main(const struct program_role *role, int argc, char *argv[], void *user)
{
    struct ipam_error error;
    struct program program = {.role = role, .user = user, .name = role->options->program};
    process_init();
    program.options = mem_zalloc(role->options->size);
    program.shared = program.options;
    int status = IPAM_EXIT_USAGE;
    if (option_table_parse(role->options, argc, argv, program.options, &error) < 0) {
        fprintf(stderr, "%s: %s\n", program.name, error.message);
    } else if (program.shared->help || program.shared->version) {
        status = print(program.shared, role->options);
    } else {
        log_init(strcmp(program.shared->log_format, "json") == 0 ? LOG_JSON : LOG_TEXT);
        status = program_run(&program);
    }
    free(program.options);
    return status;
}

/* ---- What a program borrows -------------------------------------------------------------------------------------- */

uv_loop_t *program_loop(struct program *program)
{
    return &program->loop;
}

const void *program_options(const struct program *program)
{
    return program->options;
}

struct kube_client *program_client(struct program *program)
{
    return program->client;
}

struct kube_events *program_events(struct program *program)
{
    return program->events;
}

struct ipam_channel *program_channel(struct program *program)
{
    return program->channel;
}
