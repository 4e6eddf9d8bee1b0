/* fault_vfs.h: an SQLite VFS that does what the usual one does, until it is told to fail.
 *
 * Called by tests. It wraps the default VFS under the default's place, so that code under test needs no word of it. Counted are
 * the calls that alter a disk: open, write, sync, truncate, delete, growing of shared memory.
 */
#ifndef IPAMD_TESTS_FAULT_VFS_H
#define IPAMD_TESTS_FAULT_VFS_H

#include <stdbool.h>

void fault_vfs_install(void);

/* The nth counted call from now fails, and with `lasting` all after it until fault_vfs_disarm. `full`: for want of space. */
void fault_vfs_arm(unsigned int nth, bool lasting, bool full);
/* True if a call did fail since. */
bool fault_vfs_disarm(void);

#endif
