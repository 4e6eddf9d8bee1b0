/* news.h: what ipamd's changes and the API server's objects mean for what is looked at next.
 *
 * Called by writer.c with all that follow.h and watch.h bring. It marks objects (schedule.h), and must not know what a pass does or
 * where news come from.
 */
#ifndef IPAM_STATUS_NEWS_H
#define IPAM_STATUS_NEWS_H

#include "follow.h"
#include "schedule.h"

struct news {
    struct objects *objects; /* all borrowed */
    struct schedule *schedule;
    struct follow *follow;
};

/* ---- Of ipamd ---- */

void news_pool(struct news *news, const char *name);
void news_claim(struct news *news, const struct claim *claim); /* as it was, and as it is */
void news_all(struct news *news);                              /* anything may be different */

/* ---- Of the API server ---- */

/* An object by a watch (`watched`), or as the answer to our own call: a watch may bring what was before our own write for a while,
 * and it may have been faster with what somebody wrote after us. */
void news_object(struct news *news, enum object_kind kind, const json_t *json, bool watched);
void news_gone(struct news *news, struct object *object); /* frees it; not while it is in flight */

#endif
