/* reads.h: work for other threads that answers must not suffer from: reads of history, a few at a time.
 *
 * Used by daemon.c on behalf of the RPC layer. It knows libuv's threads and how busy the loop is said to be; it must not know
 * what the work is. While changes are being written without a pause, a read starts now and then only (the option
 * --history-rate): thousands of clients that catch up can't slow the others down. Else they run as fast as they come.
 */
#ifndef IPAMD_READS_H
#define IPAMD_READS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct read;

struct reads {
    uv_loop_t *loop;
    uint64_t pause_ns;          /* between starts while there are writes */
    uint64_t started_at;        /* ns: the last one */
    struct read *first, **last; /* that wait */
    unsigned int n_running;
};

void reads_init(struct reads *reads, uv_loop_t *loop, uint64_t rate); /* a second; `reads` stays where it is */

/* run(arg) on a thread, and then done(arg) on the loop. */
void reads_add(struct reads *reads, void (*run)(void *arg), void (*done)(void *arg), void *arg);

/* Once a turn of the loop. `busy`: a write is under way, whose end will wake the loop. */
void reads_turn(struct reads *reads, bool busy);

#endif
