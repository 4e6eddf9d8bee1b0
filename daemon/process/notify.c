#include "notify.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#define WAIT_MS 5000

/* A path, or "@name" of an abstract socket. -1: none is there, or what is there is none. */
static int notify_connect(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;
    if (length < 2 || length >= sizeof address.sun_path || !strchr("/@", *path))
        return -1;
    memcpy(address.sun_path, path, length);
    if (*path == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, size) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool has_no_room(int fd, const char *text)
{
    return send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 && errno == EAGAIN;
}

static void wait_for_room(int fd, const char *text)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    int line = (int)strcspn(text, "\n");
    log_warning("systemd does not read what it is told, waiting up to %d s with %.*s", WAIT_MS / 1000, line, text);
    if (poll(&room, 1, WAIT_MS) <= 0 || has_no_room(fd, text))
        log_warning("systemd was not told %.*s, ignoring", line, text);
}

static void notify(bool wait, const char *format, va_list arguments)
{
    char *text;
    int fd = notify_connect();
    if (fd < 0)
        return;
    if (vasprintf(&text, format, arguments) < 0)
        abort();
    if (has_no_room(fd, text) && wait)
        wait_for_room(fd, text);
    free(text);
    close(fd);
}

void notify_send(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    notify(false, format, arguments);
    va_end(arguments);
}

void notify_state(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    notify(true, format, arguments);
    va_end(arguments);
}
