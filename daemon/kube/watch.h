/* watch.h: every object of one collection, and each change to it, for ever: list in pages, then watch, and again.
 *
 * Used by the watcher and the status-writer for ProxyIPPools and ProxyVIPs. It knows resourceVersions, bookmarks, 410 Gone and
 * back-off, keeps no object (only the name and uid of each, to tell what went), and must not know what an object means.
 *
 * A watch may be deaf although it is open: the API server leaves out all events up to the version asked for, and after a restore
 * of etcd versions begin lower. So one that is silent, or was broken and goes on, is checked by a list of one object: versions must
 * not have gone back, and there must be as many objects as are known.
 */
#ifndef IPAM_KUBE_WATCH_H
#define IPAM_KUBE_WATCH_H

#include "client.h"

struct kube_watch;

/* All come from the loop; objects are borrowed for the callback. */
struct kube_watch_callbacks {
    /* The object as it is now: at first, after each change, and again with each new complete list. One that can't be read whole
     * comes, too, as it is there: look at kube_object_problem before acting on what it lacks. */
    void (*object)(const json_t *object, void *user);
    /* Before `object`: from now on this one can't be read whole, or for another reason; NULL: it can again. May be NULL. */
    void (*problem)(const char *name, const char *why, void *user);
    /* It is gone: a DELETED event (the last state is `object`), or missing from a complete list after a gap (`object` is NULL). */
    void (*deleted)(const char *name, const char *uid, const json_t *object, void *user);
    /* A complete list has been delivered: `object` came for everything there is, `deleted` for what went. `count`: objects in it.
     * Comes after the first list and after each relist. */
    void (*listed)(size_t count, void *user);
    /* The API server can't be reached or refuses; goes on by itself with back-off. Once per trouble; NULL when it is over, and
     * another error when the trouble becomes one of another reason. May be NULL. */
    void (*trouble)(const struct ipam_error *error, void *user);
};

struct kube_watch_options {
    const char *path; /* "/apis/novaedge.io/v1alpha1/proxyvips"; borrowed */
    const struct kube_field
        *fields;        /* of the objects; static, metadata's name, uid and resourceVersion among them; NULL: all */
    uint32_t page_size; /* of lists; 0: 500; halved while a page is too large or takes too long */
    uint32_t timeout_s; /* of one watch request; 0: 290, with jitter */
    uint32_t
        idle_ms; /* after which a watch that brings nothing, not even a bookmark, is given up for a list; 0: 150 s */
    uint32_t check_ms; /* after which one that brings nothing is checked: a list of one object; 0: 25 s */
};

struct kube_watch *kube_watch_new(struct kube_client *client, const struct kube_watch_options *options,
                                  const struct kube_watch_callbacks *callbacks, void *user);
/* No callback comes any more but closed(user), from the loop. Before the client is closed. */
void kube_watch_close(struct kube_watch *watch, void (*closed)(void *user), void *user);
void kube_watch_relist(struct kube_watch *watch); /* a complete list again, soon */
/* The first list is complete, and since the last sign that events may be missing a list was, or the watch was found to be well. */
bool kube_watch_synced(const struct kube_watch *watch);
size_t kube_watch_problems(const struct kube_watch *watch); /* objects that can't be read whole */

#endif
