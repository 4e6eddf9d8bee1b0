/* A load for the crash test: `crash_load SOCKET LOG SEED` allocates and releases through several
 * connections with many calls in flight, until the daemon is gone. Every intent is in LOG before
 * its request can leave, every acknowledgement before anything else is done with it, each by one
 * write(2): so the last line of an owner tells what must be true of it.
 *
 *   a OWNER            asks for an address           A OWNER ADDRESS[,ADDRESS]  has it
 *   r OWNER            gives it back                 R OWNER                    gave it back
 *                                                    W OWNER                    waits in a queue
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <ipam/client.h>

#define CONNECTIONS 4
#define IN_FLIGHT   256 /* over all connections */
#define BURST       40  /* calls started every TICK_MS: about what a Python check of the history keeps up with */
#define TICK_MS     5
#define OWNERS_MAX  4096
#define NAME_SIZE   48

struct names {
    char items[OWNERS_MAX][NAME_SIZE];
    size_t count;
};

struct load {
    uv_loop_t loop;
    uv_timer_t tick;
    struct ipam_channel *channels[CONNECTIONS];
    struct names held, released;
    int log;
    uint64_t seed, random, made;
    size_t in_flight;
    bool lost;
    const char *unexpected;
};

struct operation {
    struct load *load;
    char owner[NAME_SIZE];
};

struct target {
    const char *pool;
    Ipam__V1__Family family;
    bool enqueue;
    unsigned int weight;
};

static const struct target targets[] = {
    {"plain", IPAM__V1__FAMILY__IPV4, false, 4}, {"cooling", IPAM__V1__FAMILY__IPV4, false, 3},
    {"six", IPAM__V1__FAMILY__IPV6, false, 2},   {"both", IPAM__V1__FAMILY__DUAL, false, 2},
    {"tiny", IPAM__V1__FAMILY__IPV4, true, 1},
};

#define N_TARGETS (sizeof targets / sizeof *targets)

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

/* xorshift64*: enough to mix operations. */
static uint64_t random_below(struct load *load, uint64_t bound)
{
    load->random ^= load->random >> 12;
    load->random ^= load->random << 25;
    load->random ^= load->random >> 27;
    return (load->random * 0x2545F4914F6CDD1DULL >> 33) % bound;
}

static void log_line(struct load *load, char what, const char *owner, const char *addresses)
{
    char line[256];
    int size = snprintf(line, sizeof line, "%c %s%s%s\n", what, owner, *addresses ? " " : "", addresses);
    if (write(load->log, line, (size_t)size) != size) {
        perror("crash_load: log");
        _exit(1);
    }
}

static void names_put(struct names *names, const char *name)
{
    if (names->count < OWNERS_MAX)
        snprintf(names->items[names->count++], NAME_SIZE, "%s", name);
}

static void names_take(struct load *load, struct names *names, char ret[NAME_SIZE])
{
    size_t chosen = random_below(load, names->count);
    memcpy(ret, names->items[chosen], NAME_SIZE);
    memmove(names->items[chosen], names->items[--names->count], NAME_SIZE);
}

static const struct target *choose_target(struct load *load)
{
    unsigned int total = 0;
    for (size_t i = 0; i < N_TARGETS; i++)
        total += targets[i].weight;
    uint64_t left = random_below(load, total);
    const struct target *target = targets;
    while (left >= target->weight)
        left -= (target++)->weight;
    return target;
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static void stop(struct load *load)
{
    if (load->lost)
        return;
    load->lost = true;
    uv_timer_stop(&load->tick);
    uv_close((uv_handle_t *)&load->tick, NULL);
    for (size_t i = 0; i < CONNECTIONS; i++)
        ipam_channel_close(load->channels[i], NULL, NULL);
}

static void failed(struct load *load, const struct ipam_error *error)
{
    if (error->status == IPAM_STATUS_UNAVAILABLE || error->status == IPAM_STATUS_CANCELLED) {
        stop(load);
    } else if (error->reason != IPAM_REASON_POOL_EXHAUSTED) {
        fprintf(stderr, "crash_load: %s: %s\n", ipam_reason_name(error->reason), error->message);
        load->unexpected = "an answer that no call should get";
        stop(load);
    }
}

static void allocated(const ProtobufCMessage *message, const struct ipam_error *error, void *user)
{
    struct operation *operation = user;
    struct load *load = operation->load;
    load->in_flight--;
    if (error) {
        failed(load, error);
    } else {
        const Ipam__V1__AllocateReply *reply = (const Ipam__V1__AllocateReply *)message;
        char addresses[128] = "";
        for (size_t i = 0; i < reply->n_claims; i++) {
            size_t used = strlen(addresses);
            snprintf(addresses + used, sizeof addresses - used, "%s%s", i ? "," : "", reply->claims[i]->address);
        }
        log_line(load, *addresses ? 'A' : 'W', operation->owner, addresses);
        names_put(&load->held, operation->owner);
    }
    free(operation);
}

static void released(const ProtobufCMessage *message, const struct ipam_error *error, void *user)
{
    struct operation *operation = user;
    struct load *load = operation->load;
    (void)message;
    load->in_flight--;
    if (error) {
        failed(load, error);
    } else {
        log_line(load, 'R', operation->owner, "");
        names_put(&load->released, operation->owner);
    }
    free(operation);
}

static void call(struct operation *operation, const char *path, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *reply_type, ipam_reply_cb callback)
{
    struct load *load = operation->load;
    struct ipam_channel *channel = load->channels[random_below(load, CONNECTIONS)];
    struct ipam_error error;
    if (!ipam_channel_call(channel, path, request, reply_type, 0, callback, operation, &error)) {
        fprintf(stderr, "crash_load: %s\n", error.message);
        _exit(1);
    }
    load->in_flight++;
}

static void start_allocate(struct load *load, struct operation *operation)
{
    if (load->released.count > 0 && random_below(load, 8) == 0)
        names_take(load, &load->released, operation->owner);
    else
        snprintf(operation->owner, NAME_SIZE, "vip-%llu-%llu", (unsigned long long)load->seed,
                 (unsigned long long)load->made++);
    const struct target *target = choose_target(load);
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    owner.kind = "ProxyVIP";
    owner.name = operation->owner;
    Ipam__V1__AllocateRequest request = IPAM__V1__ALLOCATE_REQUEST__INIT;
    request.owner = &owner;
    request.pool = (char *)target->pool;
    request.family = target->family;
    request.enqueue = target->enqueue;
    log_line(load, 'a', operation->owner, "");
    call(operation, "/ipam.v1.IPAM/Allocate", &request.base, &ipam__v1__allocate_reply__descriptor, allocated);
}

static void start_release(struct load *load, struct operation *operation)
{
    names_take(load, &load->held, operation->owner);
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    owner.kind = "ProxyVIP";
    owner.name = operation->owner;
    Ipam__V1__ReleaseRequest request = IPAM__V1__RELEASE_REQUEST__INIT;
    request.owner = &owner;
    log_line(load, 'r', operation->owner, "");
    call(operation, "/ipam.v1.IPAM/Release", &request.base, &ipam__v1__release_reply__descriptor, released);
}

static void on_tick(uv_timer_t *tick)
{
    struct load *load = tick->data;
    for (int i = 0; i < BURST && load->in_flight < IN_FLIGHT; i++) {
        struct operation *operation = calloc(1, sizeof *operation);
        if (!operation)
            abort();
        operation->load = load;
        if (load->held.count > 0 && random_below(load, 100) < 45)
            start_release(load, operation);
        else
            start_allocate(load, operation);
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    if (argc != 4) {
        fprintf(stderr, "usage: crash_load SOCKET LOG SEED\n");
        return 2;
    }
    load.log = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    load.seed = strtoull(argv[3], NULL, 10);
    load.random = load.seed * 0x9E3779B97F4A7C15ULL + 1;
    if (load.log < 0 || uv_loop_init(&load.loop) != 0) {
        perror("crash_load");
        return 1;
    }
    struct ipam_options options = {.socket = argv[1]};
    struct ipam_error error;
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (ipam_channel_new(&load.loop, &options, &load.channels[i], &error) < 0) {
            fprintf(stderr, "crash_load: %s\n", error.message);
            return 1;
        }
    uv_timer_init(&load.loop, &load.tick);
    load.tick.data = &load;
    uv_timer_start(&load.tick, on_tick, 0, TICK_MS);
    uv_run(&load.loop, UV_RUN_DEFAULT);
    uv_loop_close(&load.loop);
    close(load.log);
    return load.unexpected ? 1 : 0;
}
