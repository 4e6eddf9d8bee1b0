/* program.h: what the programs between Kubernetes and ipamd have in common as processes, so that each main is one call.
 *
 * Called by the mains of ipam-watcher and ipam-status-writer. It has the options that both take, start-up, the loop, signals,
 * systemd's notifications, leader election, health and metrics, and must not know what a program does while it acts.
 */
#ifndef IPAM_KUBE_PROGRAM_H
#define IPAM_KUBE_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <uv.h>

#include <ipam/client.h>

#include "client.h"
#include "event.h"
#include "option_table.h"

struct program;

/* What the shared rows fill; stands first in a program's own struct of options. Texts are borrowed from argv. */
struct program_options {
    const char *kubeconfig, *context; /* NULL: not given */
    const char *socket, *events;      /* ipamd's, never NULL */
    bool leader_elect;
    const char *lease_namespace, *lease_name; /* lease_name NULL: the program's name */
    uint64_t lease_duration;                  /* seconds */
    const char *health;                       /* NULL: none */
    const char *log_format;
    uint64_t shutdown_timeout; /* seconds */
    bool once, help, version;
};

extern const struct option_table program_shared_options; /* for `shared` of a program's table */

/* A program acts from start to stopped: from the beginning, or with --leader-elect while it holds the lease; any number of
 * times in the life of the process and never twice at once. All of these come from the loop. */
struct program_role {
    const struct option_table *options; /* shared: &program_shared_options */
    /* Begins to act, with nothing remembered of an earlier turn. */
    void (*start)(struct program *program, void *user);
    /* Ceases: from now on nothing is sent that changes anything; calls under way are given up. When all is closed and freed,
     * then or later, it says so with program_stopped. */
    void (*stop)(struct program *program, void *user);
    /* NULL: in step with the API server and ipamd. Else why not, in one line, borrowed until the next call. Only while acting. */
    const char *(*ready)(void *user);
    /* Its own lines of /metrics, whether it acts or not. NULL: none. */
    void (*metrics)(FILE *out, void *user);
    /* Requests to the API server at once, by its options. NULL: as many as the client takes by itself. */
    uint32_t (*connections)(const void *options);
};

/* Everything: reads the command line, runs until a signal or program_finish, returns what main returns. */
int program_main(const struct program_role *role, int argc, char *argv[], void *user);

void program_stopped(struct program *program); /* after stop, once each */

/* Ends the process with --once when all is done (error NULL: exit status 0), or because it can't go on
 * (ipam_error_exit_code, and the error is logged). stop comes yet, maybe from
 * within this call. */
void program_finish(struct program *program, const struct ipam_error *error);

/* Something (`what`: "proxyvips", "pool main-vip-pool"; copied) is in trouble, or with NULL well again. Logged once when it
 * begins, when its message changes, and when it ends; while any is in trouble /readyz says so. For watch.h's and lease.h's
 * trouble callbacks and the program's own. Troubles end by themselves with the turn. */
void program_trouble(struct program *program, const char *what, const struct ipam_error *error);

/* For watch.h's trouble callback: the same, and with --once the end of the program when it waits for what does not come by
 * itself: a definition that is not installed. */
void program_watch_trouble(struct program *program, const char *what, const struct ipam_error *error);

/* For watch.h's problem callback, where nothing else tells of it: a log line for each object (`what`: "proxyvips") that can't be
 * read whole, ten in ten seconds at most. */
void program_object_problem(struct program *program, const char *what, const char *name, const char *why);

/* Borrowed; good from start to stopped. */
uv_loop_t *program_loop(struct program *program);
const void *program_options(const struct program *program); /* the program's own struct */
struct kube_client *program_client(struct program *program);
struct kube_events *program_events(struct program *program);
struct ipam_channel *program_channel(struct program *program); /* to ipamd; its calls wait for a connection */

#endif
