#include "listening.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <nanomsg/nn.h>
#include <nanomsg/pubsub.h>

#define RECONNECT_MS     100
#define RECONNECT_MAX_MS 1000
#define TURN_MESSAGES    1000 /* taken before the loop does something else */

static bool is_closing(const struct listening *listening)
{
    return uv_is_closing((const uv_handle_t *)&listening->poll);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listening *listening = poll->data;
    (void)status;
    (void)events;
    int taken = 0; /* the descriptor may be readable for nothing: that is no sign of life */
    for (; taken < TURN_MESSAGES && !is_closing(listening); taken++) {
        void *message;
        int size = nn_recv(listening->socket, &message, NN_MSG, NN_DONTWAIT);
        if (size < 0) {
            break;
        }
        listening->message(listening->user, message, (size_t)size);
        nn_freemsg(message);
    }
    if (taken > 0 && !is_closing(listening)) {
        listening->idle(listening->user);
    }
}

static int set_up(int socket, const char *path, int *ret_fd)
{
    char address[sizeof("ipc://") + sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    int first = RECONNECT_MS, most = RECONNECT_MAX_MS;
    size_t size = sizeof(*ret_fd);
    snprintf(address, sizeof(address), "ipc://%s", path);
    if (nn_setsockopt(socket, NN_SUB, NN_SUB_SUBSCRIBE, "", 0) < 0 ||
        nn_setsockopt(socket, NN_SOL_SOCKET, NN_RECONNECT_IVL, &first, sizeof(first)) < 0 ||
        nn_setsockopt(socket, NN_SOL_SOCKET, NN_RECONNECT_IVL_MAX, &most, sizeof(most)) < 0 ||
        nn_getsockopt(socket, NN_SOL_SOCKET, NN_RCVFD, ret_fd, &size) < 0) {
        return -1;
    }
    return nn_connect(socket, address);
}

int listening_open(struct listening *listening, uv_loop_t *loop, const char *path, struct ipam_error *reterr)
{
    size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    int fd;
    if (strlen(path) > max) {
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "path of the bus is too long: %s has %zu bytes, write at most %zu", path, strlen(path),
                              max);
    }
    int socket = nn_socket(AF_SP, NN_SUB);
    if (socket < 0) {
        return ipam_error_set(reterr, IPAM_REASON_LIMIT_EXCEEDED, "no socket for the bus %s: %s", path,
                              nn_strerror(nn_errno()));
    }
    if (set_up(socket, path, &fd) < 0 || uv_poll_init(loop, &listening->poll, fd) < 0) {
        ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "no memory to listen to the bus %s", path);
        nn_close(socket);
        return -1;
    }
    listening->socket = socket;
    listening->poll.data = listening;
    uv_poll_start(&listening->poll, UV_READABLE, on_readable);
    return 0;
}

/* The descriptor is nanomsg's: it is closed when the loop has let go of it. */
static void on_poll_closed(uv_handle_t *handle)
{
    struct listening *listening = handle->data;
    nn_close(listening->socket);
    listening->closed(listening->user);
}

void listening_close(struct listening *listening)
{
    uv_close((uv_handle_t *)&listening->poll, on_poll_closed);
}
