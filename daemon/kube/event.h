/* event.h: Events on objects, as `kubectl describe` shows them.
 *
 * Used by the watcher and the status-writer for what a user should see. Best effort: never more than a few a second, the same
 * one again within ten minutes raises its count instead of making another; what can't be written is dropped, as Events are a comment.
 */
#ifndef IPAM_KUBE_EVENT_H
#define IPAM_KUBE_EVENT_H

#include "client.h"

struct kube_events;

struct kube_object_ref {
    const char *api_version, *kind, *name, *uid; /* cluster-scoped; events about them go to the namespace "default" */
};

enum kube_event_type { KUBE_EVENT_NORMAL, KUBE_EVENT_WARNING };

/* Close before the client. What is being written is waited for, a few seconds at most; then closed(user) from the loop. */
struct kube_events *kube_events_new(struct kube_client *client,
                                    const char *component /* "ipam-status-writer"; borrowed */);
void kube_events_close(struct kube_events *events, void (*closed)(void *user), void *user);
/* `reason` in CamelCase: "AddressAllocated". */
void kube_event(struct kube_events *events, const struct kube_object_ref *object, enum kube_event_type type,
                const char *reason, const char *message);

#endif
