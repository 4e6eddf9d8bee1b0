/* listener.h: a listening Unix socket, made here or passed by systemd.
 *
 * Called by start-up. It knows socket files and LISTEN_FDS, and nothing of what is spoken on them.
 */
#ifndef IPAMD_LISTENER_H
#define IPAMD_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

#include <ipam/error.h>

struct listener {
    int fd;           /* listening, non-blocking, close-on-exec */
    const char *path; /* of the socket file that we made and remove when done; NULL: it is systemd's */
};

/* Clients that wait to be accepted: as many as Linux allows by default. Past these one that does not block gets EAGAIN. */
#define LISTENER_BACKLOG 4096

/* The name that systemd's socket unit gives the socket of the bus (FileDescriptorName=). */
#define LISTENER_EVENTS_NAME "events"

struct listener_options {
    const char *option; /* "--socket", for messages */
    const char *path;
    mode_t mode;
    gid_t group; /* of the file; (gid_t)-1: as it comes */
    bool events; /* the bus: takes systemd's socket only if it is named so; else the first one that is not */
};

/* Takes the socket that systemd passes for it, else makes `path`: the file of a dead process is replaced, a living one's is
 * not. -1: INVALID_REQUEST (the path), or UNREACHABLE with the cause. */
int listener_open(const struct listener_options *options, struct listener *ret, struct ipam_error *reterr);
void listener_close(struct listener *listener); /* removes the file; the fd is the caller's */

#endif
