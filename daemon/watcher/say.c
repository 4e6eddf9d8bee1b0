#include <stdarg.h>
#include <stdio.h>

#include "log.h"
#include "watcher.h"

#define WINDOW_MS    10000
#define WINDOW_LINES 40

/* 5,000 VIPs at once are a number, not 5,000 lines. */
static bool may_speak(struct watcher *w)
{
    uint64_t now = uv_now(w->loop);
    if (now - w->speech.since >= WINDOW_MS || !w->speech.since) {
        if (w->speech.dropped)
            log_info("%u more lines about objects were left out", w->speech.dropped);
        w->speech.since = now;
        w->speech.lines = w->speech.dropped = 0;
    }
    if (w->speech.lines++ < WINDOW_LINES)
        return true;
    w->speech.dropped++;
    return false;
}

void say(struct watcher *w, const char *format, ...)
{
    char line[1280];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (may_speak(w))
        log_info("%s", line);
}

static uint64_t digest(const char *text) /* FNV-1a: only against saying it twice */
{
    uint64_t hash = 14695981039346656037u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 1099511628211u;
    return hash | 1;
}

void tell(struct watcher *w, struct kept *kept, const char *reason, const char *message)
{
    const char *kind = kept->kind == KEPT_POOL ? "ProxyIPPool" : OWNER_KIND;
    struct kube_object_ref object = {
        .api_version = "novaedge.io/v1alpha1", .kind = kind, .name = kept->name, .uid = kept->uid};
    if (kept->told == digest(message))
        return;
    kept->told = digest(message);
    if (may_speak(w))
        log_warning("%s %s: %s: %s", kind, kept->name, reason, message);
    kube_event(program_events(w->program), &object, KUBE_EVENT_WARNING, reason, message);
}
