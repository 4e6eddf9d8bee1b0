/* A program on the frame that does nothing but ask for the server's version: what the frame does by itself, tests see. */
#include <stddef.h>

#include "program.h"

struct options {
    struct program_options shared;
    uint64_t requests;
};

static const struct option_row rows[] = {
    {"requests", "N", OPTION_NUMBER, offsetof(struct options, requests), "1", 1, 100, NULL, "requests with --once"},
};

static const struct option_table table = {
    .program = "program_probe",
    .summary = "the frame of the programs, for tests",
    .footer = "For tests only.\n",
    .rows = rows,
    .n_rows = 1,
    .size = sizeof(struct options),
    .shared = &program_shared_options,
};

static struct state {
    struct program *program;
    struct kube_call *call;
    uint64_t left;
    bool asked, stopping;
} state;

static void ask(void);

static void on_version(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    (void)user;
    const struct options *options = program_options(state.program);
    state.call = NULL;
    if (state.stopping) {
        program_stopped(state.program);
        return;
    }
    program_trouble(state.program, "version", error);
    state.asked = response && response->status == 200;
    if (!options->shared.once)
        return;
    if (error || --state.left == 0)
        program_finish(state.program, error);
    else
        ask();
}

static void ask(void)
{
    struct kube_request request = {.method = "GET", .path = "/version"};
    state.call = kube_call(program_client(state.program), &request, on_version, NULL);
}

static void start(struct program *program, void *user)
{
    (void)user;
    state = (struct state){.program = program, .left = ((const struct options *)program_options(program))->requests};
    ask();
}

static void stop(struct program *program, void *user)
{
    (void)user;
    state.stopping = true;
    if (state.call)
        kube_call_cancel(state.call);
    else
        program_stopped(program);
}

static const char *ready(void *user)
{
    (void)user;
    return state.asked ? NULL : "the server has not answered yet";
}

static void metrics(FILE *out, void *user)
{
    (void)user;
    fprintf(out, "# TYPE probe_asked gauge\nprobe_asked %d\n", state.asked);
}

int main(int argc, char *argv[])
{
    static const struct program_role role = {&table, start, stop, ready, metrics};
    return program_main(&role, argc, argv, NULL);
}
