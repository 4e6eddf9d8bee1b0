#include "health.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "arena.h"

#define BACKLOG         16
#define MAX_CONNECTIONS 32
#define MAX_KEPT        16 /* beyond, the oldest makes room for the newest: who asks is answered at once, who waits is idle */
#define IDLE_S          10
#define CONNECTION_SIZE 16384 /* memory of one connection: request line and headers */
#define UNIX_MODE       0660

struct seat {
    TAILQ_ENTRY(seat) link;
    int fd;
    bool shut;
};

struct health {
    struct MHD_Daemon *http;
    TAILQ_HEAD(, seat) seats; /* oldest first, those that are shut left out */
    size_t n_seats;
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned int n_handles;
    struct health_callbacks callbacks;
    void *user;
    char *path; /* of the Unix socket; NULL: TCP */
    struct stat made;
    void (*closed)(void *user);
    void *closed_user;
};

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

struct answer {
    unsigned int status;
    char *text; /* malloc */
    size_t size;
    const char *type;
};

static void answer_state(struct answer *answer, const char *why_not)
{
    int size = asprintf(&answer->text, "%s\n", why_not ? why_not : "ok");
    if (size < 0)
        abort();
    answer->size = (size_t)size;
    answer->status = why_not ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;
}

static void answer_alive(struct health *health, struct answer *answer)
{
    answer_state(answer, health->callbacks.alive(health->user));
}

static void answer_ready(struct health *health, struct answer *answer)
{
    answer_state(answer, health->callbacks.ready(health->user));
}

static void answer_metrics(struct health *health, struct answer *answer)
{
    FILE *out = open_memstream(&answer->text, &answer->size);
    if (!out)
        abort();
    health->callbacks.metrics(out, health->user);
    if (fclose(out) != 0)
        abort();
    answer->status = MHD_HTTP_OK;
    answer->type = "text/plain; version=0.0.4; charset=utf-8";
}

static const struct {
    const char *path;
    void (*answer)(struct health *health, struct answer *answer);
} pages[] = {
    {"/healthz", answer_alive},
    {"/readyz", answer_ready},
    {"/metrics", answer_metrics},
};

static void answer_fixed(struct answer *answer, unsigned int status, const char *text)
{
    answer->status = status;
    answer->text = mem_strdup(text);
    answer->size = strlen(text);
}

static enum MHD_Result answer_send(struct MHD_Connection *connection, const struct answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(answer->size, answer->text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(answer->text);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                            answer->type ? answer->type : "text/plain; charset=utf-8");
    if (answer->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Called first when the headers are there; an answer then closes the connection on a body that nobody wants. */
static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *body, size_t *body_size, void **state)
{
    (void)version, (void)body, (void)body_size, (void)state;
    struct health *health = user;
    struct answer answer = {0};
    size_t i = 0, n = sizeof pages / sizeof *pages;
    while (i < n && strcmp(url, pages[i].path) != 0)
        i++;
    if (i == n)
        answer_fixed(&answer, MHD_HTTP_NOT_FOUND, "there are /healthz, /readyz and /metrics\n");
    else if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        answer_fixed(&answer, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    else
        pages[i].answer(health, &answer);
    return answer_send(connection, &answer);
}

/* ---- Who may stay ------------------------------------------------------------------------------------------------ */

static void seat_leave(struct health *health, struct seat *seat)
{
    TAILQ_REMOVE(&health->seats, seat, link);
    health->n_seats--;
    seat->shut = true;
}

static void *seat_take(struct health *health, struct MHD_Connection *connection)
{
    struct seat *seat = mem_zalloc(sizeof *seat), *oldest = TAILQ_FIRST(&health->seats);
    seat->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    if (health->n_seats >= MAX_KEPT) {
        shutdown(oldest->fd, SHUT_RDWR); /* libmicrohttpd finds it ended, and closes it */
        seat_leave(health, oldest);
    }
    TAILQ_INSERT_TAIL(&health->seats, seat, link);
    health->n_seats++;
    return seat;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct health *health = user;
    struct seat *seat = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = seat_take(health, connection);
        return;
    }
    if (!seat->shut)
        seat_leave(health, seat);
    free(seat);
}

/* ---- libmicrohttpd on the loop ----------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

static void health_run(struct health *health)
{
    MHD_UNSIGNED_LONG_LONG wait;
    MHD_run(health->http);
    if (MHD_get_timeout(health->http, &wait) == MHD_YES)
        uv_timer_start(&health->timer, on_timer, wait, 0);
    else
        uv_timer_stop(&health->timer);
}

static void on_timer(uv_timer_t *timer)
{
    health_run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    health_run(poll->data);
}

/* ---- The address ------------------------------------------------------------------------------------------------- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

static int address_wrong(const char *text, const char *what, struct ipam_error *reterr)
{
    return ipam_error_set(
        reterr, IPAM_REASON_INVALID_REQUEST,
        "health address %s: %s; write 127.0.0.1:PORT, [::1]:PORT, localhost:PORT or the path of a socket", text, what);
}

static int port_parse(const char *text, uint16_t *ret)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || port < 1 || port > 65535)
        return -1;
    *ret = htons((uint16_t)port);
    return 0;
}

static int loopback_parse(const char *host, uint16_t port, union address *ret)
{
    struct in6_addr one = IN6ADDR_LOOPBACK_INIT;
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = port;
        return ntohl(ret->v4.sin_addr.s_addr) >> 24 == 127 ? 0 : -1;
    }
    if (inet_pton(AF_INET6, host, &ret->v6.sin6_addr) != 1)
        return -1;
    ret->v6.sin6_family = AF_INET6;
    ret->v6.sin6_port = port;
    return memcmp(&ret->v6.sin6_addr, &one, sizeof one) == 0 ? 0 : -1;
}

static int tcp_parse(const char *text, union address *ret, struct ipam_error *reterr)
{
    char host[64];
    uint16_t port;
    const char *colon = strrchr(text, ':');
    if (!colon || port_parse(colon + 1, &port) < 0)
        return address_wrong(text, "there is no port from 1 to 65535 at its end", reterr);
    bool bracketed = *text == '[' && colon > text + 1 && colon[-1] == ']';
    const char *at = bracketed ? text + 1 : text, *end = bracketed ? colon - 1 : colon;
    size_t length = (size_t)(end - at);
    memcpy(host, at, length < sizeof host ? length : 0);
    host[length < sizeof host ? length : 0] = '\0';
    if (loopback_parse(host, port, ret) < 0)
        return address_wrong(text, "only this machine may ask, and that is no loopback address", reterr);
    return 0;
}

static int address_parse(const char *text, union address *ret, struct ipam_error *reterr)
{
    *ret = (union address){0};
    if (*text != '/')
        return tcp_parse(text, ret, reterr);
    if (strlen(text) >= sizeof ret->un.sun_path)
        return address_wrong(text, "the path is longer than the 107 bytes of a socket's path", reterr);
    ret->un.sun_family = AF_UNIX;
    memcpy(ret->un.sun_path, text, strlen(text) + 1);
    return 0;
}

/* ---- The socket -------------------------------------------------------------------------------------------------- */

static socklen_t address_size(const union address *address)
{
    return address->any.sa_family == AF_INET    ? sizeof address->v4
           : address->any.sa_family == AF_INET6 ? sizeof address->v6
                                                : sizeof address->un;
}

/* A socket file that nobody listens on is left over from a process that was killed. */
static void stale_remove(const union address *address)
{
    struct stat st;
    if (address->any.sa_family != AF_UNIX || lstat(address->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, &address->any, sizeof address->un) < 0 && errno == ECONNREFUSED)
        unlink(address->un.sun_path);
    if (fd >= 0)
        close(fd);
}

static int socket_listen(const char *text, const union address *address, struct ipam_error *reterr)
{
    int one = 1;
    bool is_unix = address->any.sa_family == AF_UNIX;
    stale_remove(address);
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && !is_unix)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd >= 0 && bind(fd, &address->any, address_size(address)) == 0 &&
        (!is_unix || chmod(address->un.sun_path, UNIX_MODE) == 0) && listen(fd, BACKLOG) == 0)
        return fd;
    ipam_error_set(reterr, IPAM_REASON_UNREACHABLE, "health address %s can't be opened: %s", text,
                   strerrordesc_np(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

/* Its own threads: none; what it has to do, its epoll descriptor and its timeout say. Takes fd. */
static struct MHD_Daemon *http_start(struct health *health, int fd)
{
    return MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, health, MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
                            MHD_OPTION_NOTIFY_CONNECTION, on_connection, health, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)CONNECTION_SIZE, MHD_OPTION_END);
}

int health_open(uv_loop_t *loop, const char *address, const struct health_callbacks *callbacks, void *user,
                struct health **ret, struct ipam_error *reterr)
{
    union address parsed;
    if (address_parse(address, &parsed, reterr) < 0)
        return -1;
    int fd = socket_listen(address, &parsed, reterr);
    if (fd < 0)
        return -1;
    struct health *health = mem_zalloc(sizeof *health);
    TAILQ_INIT(&health->seats);
    health->callbacks = *callbacks;
    health->user = user;
    health->path = parsed.any.sa_family == AF_UNIX ? mem_strdup(address) : NULL;
    if (health->path)
        stat(health->path, &health->made);
    health->http = http_start(health, fd);
    const union MHD_DaemonInfo *epoll =
        health->http ? MHD_get_daemon_info(health->http, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!epoll || uv_poll_init(loop, &health->poll, epoll->epoll_fd) < 0) {
        if (health->http)
            MHD_stop_daemon(health->http);
        else
            close(fd);
        free(health->path);
        free(health);
        return ipam_error_set(reterr, IPAM_REASON_INTERNAL, "health: libmicrohttpd can't be started");
    }
    uv_timer_init(loop, &health->timer);
    health->poll.data = health->timer.data = health;
    health->n_handles = 2;
    uv_poll_start(&health->poll, UV_READABLE, on_poll);
    *ret = health;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct health *health = handle->data;
    if (--health->n_handles > 0)
        return;
    void (*closed)(void *) = health->closed;
    void *user = health->closed_user;
    MHD_stop_daemon(health->http);
    free(health->path);
    free(health);
    if (closed)
        closed(user);
}

/* Another process may have put its own in the place by now. */
static void socket_remove(const struct health *health)
{
    struct stat st;
    if (health->path && lstat(health->path, &st) == 0 && st.st_dev == health->made.st_dev &&
        st.st_ino == health->made.st_ino)
        unlink(health->path);
}

void health_close(struct health *health, void (*closed)(void *user), void *user)
{
    health->closed = closed;
    health->closed_user = user;
    socket_remove(health);
    uv_close((uv_handle_t *)&health->poll, on_handle_closed);
    uv_close((uv_handle_t *)&health->timer, on_handle_closed);
}
