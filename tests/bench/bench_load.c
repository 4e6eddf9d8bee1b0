/* bench_load: N connections, each with M calls in flight, for a time; prints calls a second and latencies as JSON.
 *
 * Usage: bench_load CALL SOCKET CONNECTIONS IN-FLIGHT WARM-UP-SECONDS SECONDS, where CALL is a row of bench_calls.c.
 * It knows libipam's public interface only. Any error of a call ends it with status 1: a figure with errors in it is none. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>
#include <ipam/client.h>

#include "bench_calls.h"
#include "histogram.h"

struct load {
    uv_loop_t loop;
    uv_timer_t timer;
    const struct bench_call *call;
    unsigned long connections, in_flight;
    double warm_up, seconds;
    struct ipam_channel **channels;
    uint64_t issued;
    uint64_t begin, end; /* of the measured window; 0: not yet */
    struct histogram latencies;
};

/* One call at a time, for ever. */
struct slot {
    struct load *load;
    struct ipam_channel *channel;
    uint64_t sent_at;
};

static _Noreturn void die(const char *what, const struct ipam_error *error)
{
    fprintf(stderr, "bench_load: %s: %s %s\n", what, ipam_status_name(error->status), error->message);
    exit(1);
}

static void slot_answered(const ProtobufCMessage *reply, const struct ipam_error *error, void *user);

static void slot_send(struct slot *slot)
{
    struct load *load = slot->load;
    struct ipam_error error;
    slot->sent_at = uv_hrtime();
    if (!ipam_channel_call(slot->channel, load->call->path, load->call->request(load->issued++), load->call->reply_type,
                           0, slot_answered, slot, &error))
        die("call", &error);
}

static void slot_answered(const ProtobufCMessage *reply, const struct ipam_error *error, void *user)
{
    struct slot *slot = user;
    struct load *load = slot->load;
    if (load->end)
        return; /* the channel is being closed */
    if (!reply)
        die(load->call->name, error);
    if (load->begin)
        histogram_add(&load->latencies, uv_hrtime() - slot->sent_at);
    slot_send(slot);
}

static void on_end(uv_timer_t *timer)
{
    struct load *load = timer->data;
    load->end = uv_hrtime();
    for (unsigned long i = 0; i < load->connections; i++)
        ipam_channel_close(load->channels[i], NULL, NULL);
    uv_close((uv_handle_t *)timer, NULL);
}

static void on_warm(uv_timer_t *timer)
{
    struct load *load = timer->data;
    load->begin = uv_hrtime();
    uv_timer_start(timer, on_end, (uint64_t)(load->seconds * 1000), 0);
}

/* 256 times a /16: more addresses than any run can use up. */
static void pool_apply(const struct ipam_options *options)
{
    enum { CIDRS = 256 };
    static char text[CIDRS][24], pool_name[] = BENCH_POOL;
    char *cidrs[CIDRS];
    Ipam__V1__PoolSpec pool = IPAM__V1__POOL_SPEC__INIT;
    Ipam__V1__ApplyPoolRequest request = IPAM__V1__APPLY_POOL_REQUEST__INIT;
    Ipam__V1__ApplyPoolReply *reply;
    struct ipam_client *client;
    struct ipam_error error;
    for (int i = 0; i < CIDRS; i++) {
        snprintf(text[i], sizeof text[i], "10.%d.0.0/16", i);
        cidrs[i] = text[i];
    }
    pool.name = pool_name;
    pool.cidrs = cidrs;
    pool.n_cidrs = CIDRS;
    pool.auto_assign = true;
    request.pool = &pool;
    if (ipam_client_new(options, &client, &error) < 0 || ipam_apply_pool(client, &request, &reply, &error) < 0)
        die("pool", &error);
    ipam_reply_free(reply);
    ipam_client_free(client);
}

static struct slot *slots_start(struct load *load, const struct ipam_options *options)
{
    struct ipam_error error;
    struct slot *slots = calloc(load->connections * load->in_flight, sizeof *slots);
    load->channels = calloc(load->connections, sizeof *load->channels);
    if (!slots || !load->channels)
        abort();
    for (unsigned long i = 0; i < load->connections; i++) {
        if (ipam_channel_new(&load->loop, options, &load->channels[i], &error) < 0)
            die("connect", &error);
        for (unsigned long j = 0; j < load->in_flight; j++) {
            struct slot *slot = &slots[i * load->in_flight + j];
            *slot = (struct slot){.load = load, .channel = load->channels[i]};
            slot_send(slot);
        }
    }
    return slots;
}

static void print(const struct load *load)
{
    double seconds = (double)(load->end - load->begin) / 1e9;
    printf("{\"call\": \"%s\", \"connections\": %lu, \"in_flight\": %lu, \"calls\": %" PRIu64
           ", \"calls_per_second\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
           load->call->name, load->connections, load->in_flight, load->latencies.count,
           (double)load->latencies.count / seconds, (double)histogram_quantile(&load->latencies, 0.50) / 1e3,
           (double)histogram_quantile(&load->latencies, 0.99) / 1e3);
}

int main(int argc, char *argv[])
{
    static struct load load;
    if (argc != 7 || !(load.call = bench_call_find(argv[1]))) {
        fprintf(stderr, "usage: bench_load allocate|health|put SOCKET CONNECTIONS IN-FLIGHT WARM-UP SECONDS\n");
        return 2;
    }
    struct ipam_options options = {.socket = argv[2], .wait_for_ready = true};
    load.connections = strtoul(argv[3], NULL, 10);
    load.in_flight = strtoul(argv[4], NULL, 10);
    load.warm_up = strtod(argv[5], NULL);
    load.seconds = strtod(argv[6], NULL);
    if (strcmp(load.call->name, "allocate") == 0)
        pool_apply(&options);
    uv_loop_init(&load.loop);
    uv_timer_init(&load.loop, &load.timer);
    load.timer.data = &load;
    struct slot *slots = slots_start(&load, &options);
    uv_timer_start(&load.timer, on_warm, (uint64_t)(load.warm_up * 1000), 0);
    uv_run(&load.loop, UV_RUN_DEFAULT);
    uv_loop_close(&load.loop);
    print(&load);
    free(slots);
    free(load.channels);
    return fflush(stdout) == 0 ? 0 : 1;
}
