/* grpc_host.h: a server on a Unix socket, in a thread of its own, for tests of libipam.
 *
 * Answers ipam.v1.IPAM/GetPool as the pool's name tells it to (host_answers). host_start and host_stop make and remove it
 * any number of times on one path; nothing of ipamd is in it.
 */
#ifndef IPAM_TESTS_GRPC_HOST_H
#define IPAM_TESTS_GRPC_HOST_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

struct host {
    char path[64];
    pthread_t thread;
    uv_loop_t loop;
    uv_pipe_t listener;
    uv_async_t stop;
    uv_barrier_t started;
    size_t n_streams; /* max_streams of the connections to come */
    atomic_size_t n_calls, n_closed, n_connections;
};

void host_init(struct host *host); /* makes up a path */
void host_start(struct host *host);
void host_stop(struct host *host); /* every connection breaks */

#endif
