/* writer.h: ipam-status-writer at work: objects and claims in, patches out.
 *
 * Called by main through program.h. It joins watch.h (objects), follow.h (claims), news.h (what they mean), schedule.h (what is
 * looked at next), pass.h (the look) and policy.h (what follows); what a status should say it leaves to vip_status.h and
 * pool_status.h.
 *
 * Level-triggered: news of ipamd or of an object only mark the object; in its pass its status is worked out from what is known
 * then, and written if the object says otherwise. One write per object at a time.
 */
#ifndef IPAM_STATUS_WRITER_H
#define IPAM_STATUS_WRITER_H

#include "program.h"

extern const struct program_role writer_role; /* its user pointer: a struct writer of writer_new */

struct writer;

struct writer *writer_new(void);
struct writer *writer_free(struct writer *writer); /* NULL is fine; returns NULL. Not while it acts. */

#endif
