/* files.h: how many files the process may have open, against how many peers it may have.
 *
 * Called by start-up. It knows RLIMIT_NOFILE and nothing of what the files are.
 */
#ifndef IPAMD_FILES_H
#define IPAMD_FILES_H

#include <stdint.h>

/* Raises the soft limit as far as the hard one goes or `peers` need. Returns how many peers fit, `peers` at most. */
uint64_t files_make_room(uint64_t peers);

#endif
