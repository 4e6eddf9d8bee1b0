/* The Kubernetes client at work, one line an event, for tests that drive it: see usage. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "absence.h"
#include "config.h"
#include "event.h"
#include "lease.h"
#include "watch.h"

static const char usage[] = "usage: kube_probe call METHOD PATH [CONTENT-TYPE BODY]\n"
                            "       kube_probe many N CONNECTIONS METHOD PATH [BACKGROUND-PATH]\n"
                            "       kube_probe watch PATH [PAGE-SIZE [WATCH-SECONDS [IDLE-MS [CHECK-MS]]]]\n"
                            "       kube_probe absence PATH\n"
                            "       kube_probe lease NAMESPACE NAME IDENTITY MILLISECONDS\n"
                            "       kube_probe event COUNT KIND NAME UID REASON MESSAGE\n"
                            "       kube_probe config [CONTEXT]\n"
                            "$PROBE_MAX: bytes of a response; $PROBE_TIMEOUT: of a request, ms. SIGTERM ends it in "
                            "peace, SIGUSR1 is an hour of suspend.\n";

struct probe {
    uv_loop_t loop;
    uv_signal_t term, sleep;
    struct kube_config *config;
    struct kube_client *client;
    struct kube_watch *watch;
    struct kube_lease *lease;
    struct kube_events *events;
    unsigned int calls;
};

static void on_closed(void *user)
{
    struct probe *probe = user;
    uv_close((uv_handle_t *)&probe->term, NULL);
    uv_close((uv_handle_t *)&probe->sleep, NULL);
}

static void client_close(void *user)
{
    struct probe *probe = user;
    kube_client_close(probe->client, on_closed, probe);
}

static void finish(struct probe *probe)
{
    if (probe->watch)
        kube_watch_close(probe->watch, client_close, probe);
    else if (probe->lease)
        kube_lease_close(probe->lease, client_close, probe);
    else if (probe->events)
        kube_events_close(probe->events, client_close, probe);
    else
        client_close(probe);
}

static void on_term(uv_signal_t *signal, int number)
{
    (void)number;
    uv_signal_stop(signal);
    finish(signal->data);
}

/* ---- A machine that sleeps: CLOCK_BOOTTIME goes on, CLOCK_MONOTONIC does not ------------------------------------------ */

static time_t slept; /* s */

int __real_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);

int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
    int status = __real_clock_gettime(id, ret);
    ret->tv_sec += id == CLOCK_BOOTTIME ? slept : 0;
    return status;
}

static void on_sleep(uv_signal_t *signal, int number)
{
    const struct probe *probe = signal->data;
    (void)number;
    slept += 3600;
    printf("slept %s\n", probe->lease && kube_lease_held(probe->lease) ? "held" : "not held");
}

/* ---- call, many -------------------------------------------------------------------------------------------------- */

static void error_print(const char *what, const struct ipam_error *error)
{
    printf("%s %s %s\n", what, ipam_reason_name(error->reason), error->message);
}

static struct kube_request request;

static void on_response(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct probe *probe = user;
    struct ipam_error refused;
    char *text = response && response->body ? json_dumps(response->body, JSON_COMPACT) : NULL;
    if (error)
        error_print("error", error);
    else
        printf("status %d %" PRIu32 " %s\n", response->status, response->retry_after_ms, text ? text : "-");
    if (response && response->status >= 300) {
        kube_response_error(&request, response, &refused);
        error_print("refused", &refused);
    }
    free(text);
    if (--probe->calls == 0)
        finish(probe);
}

static int command_call(struct probe *probe, char *argv[])
{
    json_t *body = argv[2] ? json_loads(argv[3], 0, NULL) : NULL;
    request = (struct kube_request){.method = argv[0], .path = argv[1], .content_type = argv[2], .body = body};
    probe->calls = 1;
    kube_call(probe->client, &request, on_response, probe);
    json_decref(body);
    return 0;
}

static int command_many(struct probe *probe, char *argv[])
{
    struct kube_request later = {.method = argv[2], .path = argv[4], .background = true};
    request = (struct kube_request){.method = argv[2], .path = argv[3]};
    for (int i = atoi(argv[0]); i > 0; i--) {
        kube_call(probe->client, &request, on_response, probe);
        if (later.path)
            kube_call(probe->client, &later, on_response, probe);
        probe->calls += later.path ? 2 : 1;
    }
    return 0;
}

/* ---- watch ------------------------------------------------------------------------------------------------------- */

static void on_object(const json_t *object, void *user)
{
    (void)user;
    const json_t *metadata = json_object_get(object, "metadata");
    printf("object %s %s\n", json_string_value(json_object_get(metadata, "name")),
           json_string_value(json_object_get(metadata, "resourceVersion")));
}

static void on_problem(const char *name, const char *why, void *user)
{
    (void)user;
    printf("problem %s %s\n", name, why ? why : "-");
}

static void on_deleted(const char *name, const char *uid, const json_t *object, void *user)
{
    (void)user;
    printf("deleted %s %s %s\n", name, uid, object ? "seen" : "missing");
}

static void on_listed(size_t count, void *user)
{
    (void)user;
    printf("listed %zu\n", count);
}

static void on_trouble(const struct ipam_error *error, void *user)
{
    (void)user;
    if (error)
        error_print("trouble", error);
    else
        puts("well");
}

static int command_watch(struct probe *probe, char *argv[])
{
    static const struct kube_watch_callbacks callbacks = {
        .object = on_object, .problem = on_problem, .deleted = on_deleted, .listed = on_listed, .trouble = on_trouble};
    static const struct kube_field metadata[] = {KUBE_LEAF("name"), KUBE_LEAF("uid"), KUBE_LEAF("resourceVersion"),
                                                 KUBE_END};
    static const struct kube_field spec[] = {KUBE_LEAF("address"), KUBE_LEAF("list"), KUBE_END};
    static const struct kube_field fields[] = {KUBE_TABLE("metadata", metadata), KUBE_TABLE("spec", spec), KUBE_END};
    struct kube_watch_options options = {.path = argv[0]};
    options.fields = fields;
    options.page_size = argv[1] ? (uint32_t)atoi(argv[1]) : 0;
    options.timeout_s = argv[1] && argv[2] ? (uint32_t)atoi(argv[2]) : 0;
    options.idle_ms = argv[1] && argv[2] && argv[3] ? (uint32_t)atoi(argv[3]) : 0;
    options.check_ms = argv[1] && argv[2] && argv[3] && argv[4] ? (uint32_t)atoi(argv[4]) : 0;
    probe->watch = kube_watch_new(probe->client, &options, &callbacks, probe);
    return 0;
}

static void on_absence(enum kube_absence what, const struct ipam_error *error, void *user)
{
    static const char *const names[] = {"absent object", "absent status", "absent kind", "absent unknown"};
    if (error)
        error_print(names[what], error);
    else
        puts(names[what]);
    finish(user);
}

static int command_absence(struct probe *probe, char *argv[])
{
    kube_absence_ask(probe->client, argv[0], on_absence, probe);
    return 0;
}

/* ---- lease, event, config ---------------------------------------------------------------------------------------- */

static void on_acquired(void *user)
{
    struct probe *probe = user;
    printf("acquired %s\n", kube_lease_held(probe->lease) ? "held" : "not held");
}

static void on_lost(const struct ipam_error *error, void *user)
{
    struct probe *probe = user;
    error_print(kube_lease_held(probe->lease) ? "lost yet held" : "lost", error);
}

static int command_lease(struct probe *probe, char *argv[])
{
    static const struct kube_lease_callbacks callbacks = {on_acquired, on_lost, on_trouble};
    struct kube_lease_options options = {argv[0], argv[1], argv[2], (uint32_t)atoi(argv[3])};
    probe->lease = kube_lease_new(probe->client, &options, &callbacks, probe);
    return 0;
}

static int command_event(struct probe *probe, char *argv[])
{
    struct kube_object_ref object = {"novaedge.io/v1alpha1", argv[1], argv[2], argv[3]};
    probe->events = kube_events_new(probe->client, "kube-probe");
    for (int i = atoi(argv[0]); i > 0; i--)
        kube_event(probe->events, &object, KUBE_EVENT_NORMAL, argv[4], argv[5]);
    return 0;
}

static int command_config(struct probe *probe, char *argv[])
{
    (void)argv;
    printf("server %s\nnamespace %s\nsource %s\n", probe->config->server, probe->config->namespace_,
           probe->config->source);
    finish(probe);
    return 0;
}

static const struct {
    const char *name;
    int arguments; /* at least */
    int (*run)(struct probe *probe, char *argv[]);
} commands[] = {
    {"call", 2, command_call},       {"many", 4, command_many},   {"watch", 1, command_watch},
    {"absence", 1, command_absence}, {"lease", 4, command_lease}, {"event", 6, command_event},
    {"config", 0, command_config},
};

static void on_config_changed(const struct ipam_error *error, void *user)
{
    (void)user;
    if (error)
        error_print("config", error);
    else
        puts("config changed");
}

static int probe_run(struct probe *probe, int argc, char *argv[])
{
    const char *max = getenv("PROBE_MAX"), *timeout = getenv("PROBE_TIMEOUT");
    struct kube_config_options config = {.context = argc > 2 && strcmp(argv[1], "config") == 0 ? argv[2] : NULL};
    struct ipam_error error;
    struct kube_client_options options = {
        .user_agent = "kube-probe/1",
        .config_changed = on_config_changed,
        .timeout_ms = timeout ? (uint32_t)atoi(timeout) : 0,
        .max_response = max ? (uint64_t)atoll(max) : 0,
        .max_connections = strcmp(argv[1], "many") == 0 ? (uint32_t)atoi(argv[3]) : 0,
    };
    if (kube_config_load(&config, &probe->config, &error) < 0 ||
        kube_client_new(&probe->loop, probe->config, &options, &probe->client, &error) < 0) {
        error_print("error", &error);
        kube_config_free(probe->config);
        return ipam_error_exit_code(&error);
    }
    uv_signal_init(&probe->loop, &probe->term);
    probe->term.data = probe;
    uv_signal_start(&probe->term, on_term, SIGTERM);
    uv_signal_init(&probe->loop, &probe->sleep);
    probe->sleep.data = probe;
    uv_signal_start(&probe->sleep, on_sleep, SIGUSR1);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            commands[i].run(probe, argv + 2);
    uv_run(&probe->loop, UV_RUN_DEFAULT);
    kube_config_free(probe->config);
    puts("closed");
    return 0;
}

int main(int argc, char *argv[])
{
    struct probe probe = {0};
    bool known = false;
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
        known = known || (strcmp(argv[1], commands[i].name) == 0 && argc - 2 >= commands[i].arguments);
    if (!known) {
        fputs(usage, stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    uv_loop_init(&probe.loop);
    int status = probe_run(&probe, argc, argv);
    return uv_loop_close(&probe.loop) < 0 ? 99 : status;
}
