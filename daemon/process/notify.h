/* notify.h: what a daemon tells systemd, in the lines of sd_notify(3), without waiting for ever on one that does not read.
 *
 * Called by the daemons' start-up, status and end. sd_notify itself blocks while the socket's queue is full, and the loop with it.
 * It must not know what the lines mean. Without $NOTIFY_SOCKET nothing is told.
 */
#ifndef IPAM_PROCESS_NOTIFY_H
#define IPAM_PROCESS_NOTIFY_H

/* What may be lost (STATUS=, WATCHDOG=1, STOPPING=1): dropped at once when there is no room for it. */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What systemd waits for (READY=1, RELOADING=1): waits for room, 5 s at most; the log says so. */
void notify_state(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
