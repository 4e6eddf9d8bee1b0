#include "watcher.h"

/* How work on one object ends. */

void job_end(struct watcher *w, struct kept *kept, enum kept_outcome outcome)
{
    kept->outcome = outcome;
    work_done(&w->work, &kept->work);
}

static uint64_t due(struct watcher *w, const struct kept *kept)
{
    return uv_now(w->loop) + kube_backoff(kept->work.attempts + 1, 0);
}

void job_later(struct watcher *w, struct kept *kept, enum kept_outcome outcome)
{
    kept->outcome = outcome;
    work_retry(&w->work, &kept->work, due(w, kept));
}

void job_gone(struct watcher *w, struct kept *kept)
{
    bool again = kept->present; /* by now it has a successor */
    work_done(&w->work, &kept->work);
    if (!again)
        watcher_forget(w, kept);
}

void job_failed(struct watcher *w, struct kept *kept, const struct ipam_error *error)
{
    if (!error_is_transient(error))
        tell(w, kept, "Failed", error->message);
    else if (error->reason != IPAM_REASON_API_UNREACHABLE)
        w->ipamd_up = false; /* until the heartbeat finds it well */
    work_retry(&w->work, &kept->work, due(w, kept));
}

/* A request that is wrong in itself waits for its object to change; all else may be granted another time. */
void job_refused(struct watcher *w, struct kept *kept, const struct ipam_error *error, const char *but)
{
    char message[sizeof error->message + 128];
    snprintf(message, sizeof message, "%s%s", error->message, but);
    if (!kept->work.again)
        tell(w, kept, kept->kind == KEPT_POOL ? "ApplyRefused" : "AllocationRefused", message);
    if (error->status == IPAM_STATUS_INVALID_ARGUMENT)
        job_end(w, kept, OUTCOME_REFUSED);
    else
        job_later(w, kept, OUTCOME_REFUSED);
}
