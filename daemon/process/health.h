/* health.h: GET /healthz, /readyz and /metrics over HTTP on a loopback port or a Unix socket.
 *
 * Opened by daemons that other machines' tools look at. It knows HTTP (libmicrohttpd) and the loop; what healthy means, and
 * what is counted, its user says by callbacks.
 */
#ifndef IPAM_PROCESS_HEALTH_H
#define IPAM_PROCESS_HEALTH_H

#include <stdio.h>
#include <uv.h>

#include <ipam/error.h>

struct health;

struct health_callbacks {
    /* NULL: yes. Else why not, in one line (503); borrowed until the next call. */
    const char *(*alive)(void *user);
    const char *(*ready)(void *user);
    void (*metrics)(FILE *out, void *user); /* Prometheus text format 0.0.4 */
};

/* `address`: "127.0.0.1:9102", "[::1]:9102", "localhost:9102" or "/run/ipam/watcher.sock"; others than loopback are refused.
 * -1: INVALID_REQUEST (what is wrong with the address), UNREACHABLE (taken, not permitted). */
int health_open(uv_loop_t *loop, const char *address, const struct health_callbacks *callbacks, void *user,
                struct health **ret, struct ipam_error *reterr);
void health_close(struct health *health, void (*closed)(void *user), void *user); /* removes the socket file */

#endif
