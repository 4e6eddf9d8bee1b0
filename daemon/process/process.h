/* process.h: what every daemon of ours does first of all.
 *
 * Called by main before anything else. It must not know which daemon it is in.
 */
#ifndef IPAM_PROCESS_PROCESS_H
#define IPAM_PROCESS_PROCESS_H

/* stdin, stdout and stderr are open (else on /dev/null), a peer that is gone raises no SIGPIPE, log lines are text. */
void process_init(void);

#endif
