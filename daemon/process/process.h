/* process.h: what every daemon of ours does as a process, first of all at its start.
 *
 * Called by main before anything else, and by threads about themselves. It must not know which daemon it is in.
 */
#ifndef IPAM_PROCESS_PROCESS_H
#define IPAM_PROCESS_PROCESS_H

/* stdin, stdout and stderr are open (else on /dev/null), a peer that is gone raises no SIGPIPE, log lines are text. */
void process_init(void);

/* The calling thread gives way to others from now on: for work that nobody waits for. */
void process_background(void);

#endif
