/* reads.h: work for other threads that answers must not suffer from: reads of history, a few at a time.
 *
 * Used by daemon.c on behalf of the RPC layer. It knows libuv's threads and how many changes are written; it must not know what
 * the work is. While more than 1,000 changes a second are written, or clients leave many bytes unread, a read starts now and
 * then only (the option --history-rate): thousands of clients that catch up can't slow the others down, nor fill the memory
 * with pages faster than they read them. Else reads run as fast as they come. Users take turns: who asks for many pages keeps
 * nobody else from his.
 *
 * Not by the priority of the threads: they share locks with the loop and the store thread (of SQLite, of malloc), which would
 * then wait for a thread that is put aside.
 */
#ifndef IPAMD_READS_H
#define IPAMD_READS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <uv.h>

struct read;

/* A user whose reads wait. */
struct reader {
    TAILQ_ENTRY(reader) link;
    uid_t uid;
    TAILQ_HEAD(, read) waiting;
};

struct reads {
    uv_loop_t *loop;
    uint64_t pause_ns;            /* between starts while there are writes */
    uint64_t started_at;          /* ns: the last one */
    TAILQ_HEAD(, reader) readers; /* in order: the next one's first read is the next */
    unsigned int n_running;
    uint64_t window_at, window_changes; /* what is counted since when */
    bool is_busy;                       /* in the window before */
};

void reads_init(struct reads *reads, uv_loop_t *loop, uint64_t rate); /* a second; `reads` stays where it is */

/* run(arg) on a thread, for the user, and then done(arg) on the loop. What is returned is valid until done(arg). */
struct read *reads_add(struct reads *reads, uid_t uid, void (*run)(void *arg), void (*done)(void *arg), void *arg);

/* Not wanted any more. True: it had not begun, and neither run nor done will be called. */
bool reads_drop(struct reads *reads, struct read *read);

/* Once a turn of the loop, which turns every 50 ms at least while a read waits. `changes`: written since the start;
 * `crowded`: much is waiting for clients to read it. */
void reads_turn(struct reads *reads, uint64_t changes, bool crowded);

#endif
