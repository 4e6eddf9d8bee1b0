#include "acceptor.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define REST_MS 100

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct acceptor *acceptor = poll->data;
    acceptor->ready(acceptor);
}

static void on_rested(uv_timer_t *timer)
{
    struct acceptor *acceptor = timer->data;
    acceptor->resting = false;
    acceptor_resume(acceptor);
}

int acceptor_start(struct acceptor *acceptor, uv_loop_t *loop, int fd, int backlog,
                   void (*ready)(struct acceptor *acceptor), void *user)
{
    int status = uv_poll_init(loop, &acceptor->poll, fd); /* makes it non-blocking */
    acceptor->fd = status == 0 ? fd : -1;
    acceptor->ready = ready;
    acceptor->user = user;
    if (status < 0)
        return status;
    uv_timer_init(loop, &acceptor->rest);
    acceptor->poll.data = acceptor->rest.data = acceptor;
    if (listen(fd, backlog) < 0)
        return uv_translate_sys_error(errno);
    return uv_poll_start(&acceptor->poll, UV_READABLE, on_readable);
}

static void rest(struct acceptor *acceptor)
{
    acceptor_pause(acceptor);
    acceptor->resting = true;
    uv_timer_start(&acceptor->rest, on_rested, REST_MS, 0);
}

int acceptor_take(struct acceptor *acceptor)
{
    int fd;
    do
        fd = accept4(acceptor->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd >= 0)
        return fd;
    int status = uv_translate_sys_error(errno);
    if (status != UV_EAGAIN)
        rest(acceptor);
    return status;
}

void acceptor_pause(struct acceptor *acceptor)
{
    if (acceptor->fd >= 0)
        uv_poll_stop(&acceptor->poll);
}

void acceptor_resume(struct acceptor *acceptor)
{
    if (acceptor->fd >= 0 && !acceptor->resting)
        uv_poll_start(&acceptor->poll, UV_READABLE, on_readable);
}

void acceptor_close(struct acceptor *acceptor)
{
    if (acceptor->fd < 0)
        return;
    uv_close((uv_handle_t *)&acceptor->poll, NULL);
    uv_close((uv_handle_t *)&acceptor->rest, NULL);
    close(acceptor->fd);
    acceptor->fd = -1;
}
