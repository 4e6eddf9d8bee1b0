#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "arena.h"

/* ---- From systemd ------------------------------------------------------------------------------------------------ */

static int listener_inherit(bool events, struct listener *ret, struct ipam_error *reterr)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(0, &names), found = -1;
    for (int i = 0; i < count; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        if (found < 0 && (strcmp(names[i], LISTENER_EVENTS_NAME) == 0) == events &&
            sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0)
            found = fd;
        free(names[i]);
    }
    free(names);
    if (found < 0 && count > 0 && !events)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "systemd passed %d sockets, none of them a listening Unix stream "
                              "socket: mend the .socket "
                              "unit (ListenStream=/run/ipamd/ipamd.sock)",
                              count);
    if (found >= 0 && fcntl(found, F_SETFL, O_NONBLOCK) < 0)
        return ipam_error_set(reterr, IPAM_REASON_UNREACHABLE, "socket from systemd: %s", strerror(errno));
    *ret = (struct listener){.fd = found};
    return 0;
}

/* ---- Our own ----------------------------------------------------------------------------------------------------- */

static int parent_make(const char *path, struct ipam_error *reterr)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    char *parent = mem_strdup(path);
    parent[slash - path] = '\0';
    int status = mkdir(parent, 0755) < 0 && errno != EEXIST
                     ? ipam_error_set(reterr, IPAM_REASON_UNREACHABLE, "socket %s: can't make directory %s: %s", path,
                                      parent, strerror(errno))
                     : 0;
    free(parent);
    return status;
}

/* Is anybody behind the file? Only a refused connection says that its process is dead. */
static int stale_remove(const struct listener_options *options, const struct sockaddr_un *address,
                        struct ipam_error *reterr)
{
    const char *path = options->path;
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT
                   ? 0
                   : ipam_error_set(reterr, IPAM_REASON_UNREACHABLE, "socket %s: %s", path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return ipam_error_set(reterr, IPAM_REASON_UNREACHABLE,
                              "socket %s: a file that is no socket is in the way: move it, or use another %s", path,
                              options->option);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused =
        fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    if (!refused)
        return ipam_error_set(reterr, IPAM_REASON_UNREACHABLE,
                              "socket %s: another process serves it: stop that one, or use another %s", path,
                              options->option);
    if (unlink(path) < 0)
        return ipam_error_set(reterr, IPAM_REASON_UNREACHABLE,
                              "socket %s: can't replace the file of a dead process: %s", path, strerror(errno));
    return 0;
}

static int socket_bind(int fd, const char *path, const struct sockaddr_un *address, mode_t mode, gid_t group,
                       struct ipam_error *reterr)
{
    mode_t before = umask(~mode & 0777);
    int bound = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int cause = errno;
    umask(before);
    if (bound == 0 && group != (gid_t)-1 && chown(path, (uid_t)-1, group) < 0) {
        ipam_error_set(reterr, IPAM_REASON_UNREACHABLE,
                       "socket %s: can't give it to group %u: %s; run ipamd as a member of the group, or as root", path,
                       group, strerror(errno));
        unlink(path);
        return -1;
    }
    if (bound == 0 && listen(fd, LISTENER_BACKLOG) == 0)
        return 0;
    if (bound == 0)
        cause = errno;
    return ipam_error_set(reterr, IPAM_REASON_UNREACHABLE, "socket %s: %s", path, strerror(cause));
}

static int listener_make(const struct listener_options *options, struct listener *ret, struct ipam_error *reterr)
{
    const char *path = options->path;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "socket %s: the path has %zu bytes, a Unix socket's may have %zu: use a shorter %s", path,
                              strlen(path), sizeof address.sun_path - 1, options->option);
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (parent_make(path, reterr) < 0 || stale_remove(options, &address, reterr) < 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ipam_error_set(reterr, IPAM_REASON_UNREACHABLE, "socket %s: %s", path, strerror(errno));
    if (socket_bind(fd, path, &address, options->mode, options->group, reterr) < 0) {
        close(fd);
        return -1;
    }
    *ret = (struct listener){.fd = fd, .path = path};
    return 0;
}

int listener_open(const struct listener_options *options, struct listener *ret, struct ipam_error *reterr)
{
    struct listener listener;
    if (listener_inherit(options->events, &listener, reterr) < 0)
        return -1;
    if (listener.fd < 0)
        return listener_make(options, ret, reterr);
    *ret = listener;
    return 0;
}

void listener_close(struct listener *listener)
{
    if (listener->path)
        unlink(listener->path);
    listener->path = NULL;
}
