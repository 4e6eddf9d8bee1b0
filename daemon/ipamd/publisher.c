#include "publisher.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "acceptor.h"
#include "arena.h"
#include "event.h"
#include "process.h"
#include "sp.h"

#define BACKLOG          1024
#define GREETING_WAIT_MS 5000
#define SWEEP_MS         1000
#define TICK_SOON_MS     150

/* Whole frames, one after the other. */
struct frames {
    uint8_t bytes[PUBLISHER_ROOM];
    size_t size;
};

struct subscriber {
    uv_pipe_t pipe;
    struct publisher *publisher;
    struct seat_user *user; /* NULL: it has no seat */
    struct subscriber *next, *prev;
    uint64_t since;  /* ms: connected */
    uint64_t behind; /* ms: since when it has taken nothing of what it was sent; 0: it takes */
    uint8_t greeting[SP_GREETING_SIZE];
    size_t greeted; /* bytes of its greeting; it is sent messages when all are there */
    uv_write_t write;
    uint8_t *rest; /* of a message that it has taken in part; NULL: it is ready for the next one */
};

struct publisher {
    struct publisher_options options;
    pthread_t thread;
    atomic_uint_fast64_t n_greeted, revision;
    atomic_bool left_out; /* until the next tick, which says so */
    atomic_bool stopping;
    pthread_mutex_t mutex; /* of `gathering` */
    struct frames *gathering;
    bool is_locked; /* the caller's: between publisher_reserve and publisher_commit */

    /* The thread's. */
    uv_loop_t loop;
    struct acceptor acceptor;
    uv_async_t wake;
    uv_timer_t tick, sweep;
    struct frames *sending;
    struct subscriber *subscribers; /* the newest first */
    struct seats seats;
    bool tick_is_soon;
    uint8_t input[256]; /* nobody has more to say than a greeting */
};

/* ---- Subscribers ------------------------------------------------------------------------------------------------- */

static void subscriber_closed(uv_handle_t *handle)
{
    struct subscriber *subscriber = handle->data;
    free(subscriber->rest);
    free(subscriber);
}

static void subscriber_close(struct subscriber *subscriber)
{
    struct publisher *publisher = subscriber->publisher;
    if (uv_is_closing((uv_handle_t *)&subscriber->pipe))
        return;
    *(subscriber->prev ? &subscriber->prev->next : &publisher->subscribers) = subscriber->next;
    if (subscriber->next)
        subscriber->next->prev = subscriber->prev;
    if (subscriber->user) {
        seat_leave(&publisher->seats, subscriber->user);
        user_let_go(&publisher->seats, subscriber->user);
    }
    publisher->n_greeted -= subscriber->greeted == SP_GREETING_SIZE;
    uv_close((uv_handle_t *)&subscriber->pipe, subscriber_closed);
}

static void on_tick(uv_timer_t *timer);

/* Ticks are deliveries, too, and wake everybody: those beyond the regular ones may take a tenth of the budget. */
static uint64_t soon_ms(const struct publisher *publisher)
{
    uint64_t budget = publisher->options.budget;
    uint64_t affordable = budget > 0 ? 10000 * publisher->n_greeted / budget : UINT64_MAX;
    return affordable > TICK_SOON_MS ? affordable : TICK_SOON_MS;
}

/* Somebody misses something: the next tick comes soon. */
static void tick_soon(struct publisher *publisher)
{
    if (publisher->tick_is_soon)
        return;
    publisher->tick_is_soon = true;
    uint64_t due = uv_timer_get_due_in(&publisher->tick), soon = soon_ms(publisher);
    if (due > soon)
        uv_timer_start(&publisher->tick, on_tick, soon, publisher->options.tick_ms);
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

static void on_rest_written(uv_write_t *request, int status)
{
    struct subscriber *subscriber = request->data;
    free(subscriber->rest);
    subscriber->rest = NULL;
    subscriber->behind = uv_now(&subscriber->publisher->loop); /* it has taken something */
    if (status < 0)
        subscriber_close(subscriber);
}

/* Only the message that it has begun to take: what comes after it is missed. */
static void rest_write(struct subscriber *subscriber, const uint8_t *bytes, size_t size)
{
    uv_buf_t buffer;
    subscriber->rest = malloc(size);
    if (!subscriber->rest) {
        subscriber_close(subscriber);
        return;
    }
    memcpy(subscriber->rest, bytes, size);
    buffer = uv_buf_init((char *)subscriber->rest, (unsigned int)size);
    subscriber->write.data = subscriber;
    if (uv_write(&subscriber->write, (uv_stream_t *)&subscriber->pipe, &buffer, 1, on_rest_written) < 0)
        subscriber_close(subscriber);
}

/* It has missed something: when it takes nothing at all for long, it goes. */
static void falls_behind(struct subscriber *subscriber, bool takes_some)
{
    uint64_t now = uv_now(&subscriber->publisher->loop);
    if (takes_some || subscriber->behind == 0)
        subscriber->behind = now;
}

/* False: it did not take everything. */
static bool subscriber_send(struct subscriber *subscriber, const uint8_t *frames, size_t size)
{
    uv_buf_t buffer = uv_buf_init((char *)frames, (unsigned int)size);
    if (subscriber->rest) {
        falls_behind(subscriber, false);
        return false;
    }
    int taken = uv_try_write((uv_stream_t *)&subscriber->pipe, &buffer, 1);
    if (taken < 0 && taken != UV_EAGAIN) {
        subscriber_close(subscriber);
        return true;
    }
    size_t sent = taken < 0 ? 0 : (size_t)taken;
    if (sent == size) {
        subscriber->behind = 0;
        return true;
    }
    falls_behind(subscriber, sent > 0);
    size_t end = sp_frame_end(frames, sent);
    if (end > sent)
        rest_write(subscriber, frames + sent, end - sent);
    return false;
}

static void send_to_all(struct publisher *publisher, const uint8_t *frames, size_t size)
{
    bool missed = false;
    for (struct subscriber *subscriber = publisher->subscribers, *next; subscriber; subscriber = next) {
        next = subscriber->next;
        if (subscriber->greeted == SP_GREETING_SIZE)
            missed |= !subscriber_send(subscriber, frames, size);
    }
    if (missed)
        tick_soon(publisher);
}

/* Swaps the buffers: what has gathered is to be sent. */
static void take(struct publisher *publisher)
{
    struct frames *empty = publisher->sending;
    empty->size = 0;
    pthread_mutex_lock(&publisher->mutex);
    publisher->sending = publisher->gathering;
    publisher->gathering = empty;
    pthread_mutex_unlock(&publisher->mutex);
}

static void publisher_close(struct publisher *publisher)
{
    while (publisher->subscribers)
        subscriber_close(publisher->subscribers);
    acceptor_close(&publisher->acceptor);
    uv_close((uv_handle_t *)&publisher->wake, NULL);
    uv_close((uv_handle_t *)&publisher->tick, NULL);
    uv_close((uv_handle_t *)&publisher->sweep, NULL);
}

/* Sends what has gathered; returns the revision up to which everything was in it, or left out. */
static uint64_t flush(struct publisher *publisher)
{
    uint64_t revision = publisher->revision; /* first: it is set when its changes are in */
    take(publisher);
    if (publisher->sending->size > 0)
        send_to_all(publisher, publisher->sending->bytes, publisher->sending->size);
    if (publisher->left_out)
        tick_soon(publisher);
    if (publisher->stopping && !uv_is_closing((uv_handle_t *)&publisher->wake))
        publisher_close(publisher);
    return revision;
}

static void on_wake(uv_async_t *wake)
{
    flush(wake->data);
}

/* ---- Ticks ------------------------------------------------------------------------------------------------------- */

static size_t tick_frame(const struct publisher *publisher, uint64_t revision,
                         uint8_t ret[SP_FRAME_HEADER + EVENT_TICK_MAX])
{
    size_t size = event_put_tick(revision, publisher->options.tick_ms, ret + SP_FRAME_HEADER);
    sp_put_frame_header(size, ret);
    return SP_FRAME_HEADER + size;
}

/* The changes up to the tick's revision go before it. */
static void on_tick(uv_timer_t *timer)
{
    struct publisher *publisher = timer->data;
    uint8_t frame[SP_FRAME_HEADER + EVENT_TICK_MAX];
    publisher->tick_is_soon = publisher->left_out = false;
    uint64_t revision = flush(publisher);
    size_t size = tick_frame(publisher, revision, frame);
    send_to_all(publisher, frame, size);
}

/* ---- Connecting -------------------------------------------------------------------------------------------------- */

/* A tick at once: the subscriber hears that the bus works, and how far it is. */
static void subscriber_greeted(struct subscriber *subscriber)
{
    struct publisher *publisher = subscriber->publisher;
    uint8_t frame[SP_FRAME_HEADER + EVENT_TICK_MAX];
    publisher->n_greeted++;
    size_t size = tick_frame(publisher, publisher->revision, frame);
    if (!subscriber_send(subscriber, frame, size))
        tick_soon(publisher);
}

static void on_input(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct subscriber *subscriber = stream->data;
    size_t missing = SP_GREETING_SIZE - subscriber->greeted;
    if (size == 0)
        return;
    if (size < 0 || (size_t)size > missing) {
        subscriber_close(subscriber);
        return;
    }
    memcpy(subscriber->greeting + subscriber->greeted, buffer->base, (size_t)size);
    if (!sp_subscriber_greets(subscriber->greeting, subscriber->greeted + (size_t)size)) {
        subscriber_close(subscriber);
        return;
    }
    subscriber->greeted += (size_t)size;
    if (subscriber->greeted == SP_GREETING_SIZE)
        subscriber_greeted(subscriber);
}

static void input_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct subscriber *subscriber = handle->data;
    (void)suggested;
    *ret = uv_buf_init((char *)subscriber->publisher->input, sizeof subscriber->publisher->input);
}

static void subscriber_add(struct publisher *publisher, struct subscriber *subscriber)
{
    subscriber->next = publisher->subscribers;
    if (subscriber->next)
        subscriber->next->prev = subscriber;
    publisher->subscribers = subscriber;
}

/* The user's one that is behind, or else has been there longest. */
static void seat_give_up(struct publisher *publisher, const struct seat_user *user)
{
    struct subscriber *last = NULL;
    for (struct subscriber *each = publisher->subscribers; each; each = each->next)
        if (each->user == user && (!last || each->behind > 0 || last->behind == 0))
            last = each;
    subscriber_close(last);
}

/* A seat of its user's, if need be one that another had to give up. */
static bool seat_find(struct publisher *publisher, struct subscriber *subscriber, uid_t uid, enum rank rank)
{
    struct seats *seats = &publisher->seats;
    struct seat_user *user = user_hold(seats, uid, rank), *victim = user;
    enum seats_state state;
    while ((state = seats_state(seats, user)) == SEATS_TAKEN && (victim = seats_victim(seats, user)))
        seat_give_up(publisher, victim);
    if (state != SEATS_FREE) {
        user_let_go(seats, user);
        return false;
    }
    subscriber->user = user;
    seat_take(seats, user);
    return true;
}

static bool is_welcome(struct publisher *publisher, struct subscriber *subscriber)
{
    uv_os_fd_t fd;
    uid_t uid;
    enum rank rank;
    return uv_fileno((const uv_handle_t *)&subscriber->pipe, &fd) == 0 &&
           publisher->options.identify(fd, publisher->options.user, &uid, &rank) &&
           seat_find(publisher, subscriber, uid, rank);
}

static void subscriber_accept(struct publisher *publisher, int fd)
{
    uv_buf_t greeting = uv_buf_init((char *)sp_publisher_greeting, SP_GREETING_SIZE);
    struct subscriber *subscriber = mem_zalloc(sizeof *subscriber);
    subscriber->publisher = publisher;
    subscriber->since = uv_now(&publisher->loop);
    uv_pipe_init(&publisher->loop, &subscriber->pipe, 0);
    subscriber->pipe.data = subscriber;
    subscriber_add(publisher, subscriber);
    bool opened = uv_pipe_open(&subscriber->pipe, fd) == 0;
    if (!opened)
        close(fd);
    if (!opened || !is_welcome(publisher, subscriber) ||
        uv_try_write((uv_stream_t *)&subscriber->pipe, &greeting, 1) != SP_GREETING_SIZE ||
        uv_read_start((uv_stream_t *)&subscriber->pipe, input_buffer, on_input) < 0)
        subscriber_close(subscriber);
}

static void on_clients(struct acceptor *acceptor)
{
    for (int fd; (fd = acceptor_take(acceptor)) >= 0;)
        subscriber_accept(acceptor->user, fd);
}

static bool is_overdue(const struct subscriber *subscriber, uint64_t now)
{
    uint64_t stall = subscriber->publisher->options.stall_ms;
    if (subscriber->greeted < SP_GREETING_SIZE)
        return now - subscriber->since >= GREETING_WAIT_MS;
    return stall > 0 && subscriber->behind > 0 && now - subscriber->behind >= stall;
}

/* Those that connect and say nothing, and those that take nothing. */
static void on_sweep(uv_timer_t *timer)
{
    struct publisher *publisher = timer->data;
    uint64_t now = uv_now(&publisher->loop);
    for (struct subscriber *subscriber = publisher->subscribers, *next; subscriber; subscriber = next) {
        next = subscriber->next;
        if (is_overdue(subscriber, now))
            subscriber_close(subscriber);
    }
}

/* ---- The thread -------------------------------------------------------------------------------------------------- */

static void *publisher_thread(void *user)
{
    struct publisher *publisher = user;
    process_background();
    uv_run(&publisher->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int handles_open(struct publisher *publisher)
{
    uv_loop_t *loop = &publisher->loop;
    int status = uv_async_init(loop, &publisher->wake, on_wake);
    status = status ? status : uv_timer_init(loop, &publisher->tick);
    status = status ? status : uv_timer_init(loop, &publisher->sweep);
    publisher->wake.data = publisher->tick.data = publisher->sweep.data = publisher;
    status = status ? status
                    : acceptor_start(&publisher->acceptor, loop, publisher->options.fd, BACKLOG, on_clients, publisher);
    uv_timer_start(&publisher->tick, on_tick, publisher->options.tick_ms, publisher->options.tick_ms);
    uv_timer_start(&publisher->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    return status;
}

static struct publisher *publisher_free(struct publisher *publisher)
{
    uv_loop_close(&publisher->loop);
    pthread_mutex_destroy(&publisher->mutex);
    free(publisher->gathering);
    free(publisher->sending);
    free(publisher);
    return NULL;
}

int publisher_start(const struct publisher_options *options, struct publisher **ret, struct ipam_error *reterr)
{
    struct publisher *publisher = mem_zalloc(sizeof *publisher);
    publisher->options = *options;
    publisher->revision = options->revision;
    seats_init(&publisher->seats, options->max_subscribers, options->max_user, sizeof(struct seat_user));
    publisher->gathering = mem_zalloc(sizeof *publisher->gathering);
    publisher->sending = mem_zalloc(sizeof *publisher->sending);
    pthread_mutex_init(&publisher->mutex, NULL);
    int status = uv_loop_init(&publisher->loop);
    status = status ? status : handles_open(publisher);
    status =
        status ? status : uv_translate_sys_error(pthread_create(&publisher->thread, NULL, publisher_thread, publisher));
    if (status == 0) {
        *ret = publisher;
        return 0;
    }
    publisher_free(publisher);
    return ipam_error_set(reterr, IPAM_REASON_INTERNAL, "bus: %s", uv_strerror(status));
}

struct publisher *publisher_stop(struct publisher *publisher)
{
    if (!publisher)
        return NULL;
    publisher->stopping = true;
    uv_async_send(&publisher->wake);
    pthread_join(publisher->thread, NULL);
    return publisher_free(publisher);
}

/* ---- The caller's side ------------------------------------------------------------------------------------------- */

uint64_t publisher_subscribers(const struct publisher *publisher)
{
    return publisher->n_greeted;
}

/* The thread holds the lock for a moment only, but it may be put aside just then: rather leave something out than wait. */
static bool lock(struct publisher *publisher)
{
    if (!publisher->is_locked)
        publisher->is_locked = pthread_mutex_trylock(&publisher->mutex) == 0;
    return publisher->is_locked;
}

uint8_t *publisher_reserve(struct publisher *publisher, size_t size)
{
    if (size > PUBLISHER_ROOM - SP_FRAME_HEADER || !lock(publisher))
        return NULL;
    struct frames *frames = publisher->gathering;
    if (PUBLISHER_ROOM - frames->size < SP_FRAME_HEADER + size)
        return NULL;
    uint8_t *frame = frames->bytes + frames->size;
    sp_put_frame_header(size, frame);
    frames->size += SP_FRAME_HEADER + size;
    return frame + SP_FRAME_HEADER;
}

void publisher_commit(struct publisher *publisher, uint64_t revision, bool left_out)
{
    bool given = publisher->is_locked;
    if (given)
        pthread_mutex_unlock(&publisher->mutex);
    publisher->is_locked = false;
    publisher->revision = revision;
    if (left_out)
        given |= !atomic_exchange(&publisher->left_out, true);
    if (given)
        uv_async_send(&publisher->wake);
}
