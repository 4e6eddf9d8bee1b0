/* absence.h: what is missing when the API server answers 404: one object, or all that is asked for by its path.
 *
 * Used where a 404 may mean that a CustomResourceDefinition was removed, serves another version, or lacks the subresource status:
 * by watch.h for a kind, and by the status-writer for a status that it can't write. It asks the server's discovery documents, which
 * every user may read, and must not know what an object means.
 */
#ifndef IPAM_KUBE_ABSENCE_H
#define IPAM_KUBE_ABSENCE_H

#include "client.h"

enum kube_absence {
    KUBE_ABSENT_OBJECT,  /* the kind is there, and has a status: it is just this object that is gone */
    KUBE_ABSENT_STATUS,  /* the kind has no subresource status */
    KUBE_ABSENT_KIND,    /* the server does not serve the kind in this version */
    KUBE_ABSENT_UNKNOWN, /* it could not be asked: take it for none of these, and ask again later */
};

struct kube_absence_search;

/* `error`: what is missing and what to install, or why it could not be asked (then CANCELLED among others); NULL with
 * KUBE_ABSENT_OBJECT. Borrowed for the callback, which comes once, from the loop. */
typedef void (*kube_absence_cb)(enum kube_absence what, const struct ipam_error *error, void *user);

/* `collection`: "/apis/novaedge.io/v1alpha1/proxyvips", copied. */
struct kube_absence_search *kube_absence_ask(struct kube_client *client, const char *collection,
                                             kube_absence_cb callback, void *user);
void kube_absence_cancel(struct kube_absence_search *search); /* only before its callback, which comes with CANCELLED */

/* Of the error of a KUBE_ABSENT_KIND or KUBE_ABSENT_STATUS: nothing that waits for it will end by itself. */
bool kube_error_is_absence(const struct ipam_error *error);

#endif
