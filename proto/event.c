#include "event.h"

#include <inttypes.h>
#include <string.h>

/* What a topic begins with; a prefix with a slash goes on with names. */
static const struct {
    const char *text;
    size_t size;
} prefixes[] = {
    [EVENT_TICK] = {"tick", 5}, /* with its NUL: there is nothing more */
    [EVENT_CLAIM] = {"claim/", 6},
    [EVENT_POOL] = {"pool/", 5},
    [EVENT_LOST] = {"lost/", 5},
};

#define N_KINDS (sizeof(prefixes) / sizeof(prefixes[0]))

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

size_t event_topic_size(enum event_kind kind, const char *owner_kind, const char *name)
{
    size_t size = prefixes[kind].size + strlen(name) + 1;
    return kind == EVENT_CLAIM ? size + strlen(owner_kind) + 1 : size;
}

static uint8_t *put_text(uint8_t *out, const char *text, char end)
{
    size_t size = strlen(text);
    memcpy(out, text, size);
    out[size] = (uint8_t)end;
    return out + size + 1;
}

uint8_t *event_put_topic(enum event_kind kind, const char *owner_kind, const char *name, uint8_t *ret)
{
    memcpy(ret, prefixes[kind].text, prefixes[kind].size);
    ret += prefixes[kind].size;
    if (kind == EVENT_CLAIM)
        ret = put_text(ret, owner_kind, '/');
    return put_text(ret, name, '\0');
}

size_t event_put_tick(uint64_t revision, uint32_t interval_ms, uint8_t ret[EVENT_TICK_MAX])
{
    Ipam__V1__Tick tick = IPAM__V1__TICK__INIT;
    tick.revision = revision;
    tick.interval_ms = interval_ms;
    memcpy(ret, prefixes[EVENT_TICK].text, prefixes[EVENT_TICK].size);
    return prefixes[EVENT_TICK].size + ipam__v1__tick__pack(&tick, ret + prefixes[EVENT_TICK].size);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

int event_parse(const uint8_t *message, size_t size, struct event *ret, struct ipam_error *reterr)
{
    const uint8_t *end = size > 0 ? memchr(message, '\0', size) : NULL;
    if (end == NULL)
        return ipam_error_set(reterr, IPAM_REASON_MALFORMED_MESSAGE, "malformed event: no NUL ends its topic");
    size_t topic_size = (size_t)(end - message) + 1;
    for (size_t i = 0; i < N_KINDS; i++) {
        if (topic_size < prefixes[i].size || memcmp(message, prefixes[i].text, prefixes[i].size) != 0)
            continue;
        *ret = (struct event){(enum event_kind)i, (const char *)message, end + 1, size - topic_size};
        return 0;
    }
    return ipam_error_set(reterr, IPAM_REASON_MALFORMED_MESSAGE, "malformed event: topic \"%.64s\" is of no kind",
                          (const char *)message);
}

int event_read_tick(const struct event *event, uint64_t *ret_revision, uint32_t *ret_interval_ms,
                    struct ipam_error *reterr)
{
    Ipam__V1__Tick *tick = ipam__v1__tick__unpack(NULL, event->body_size, event->body);
    if (tick == NULL)
        return ipam_error_set(reterr, IPAM_REASON_MALFORMED_MESSAGE, "malformed event: its body is no Tick");
    *ret_revision = tick->revision;
    *ret_interval_ms = tick->interval_ms;
    ipam__v1__tick__free_unpacked(tick, NULL);
    return 0;
}

/* Does `text` go on with `part` and then `end`? Moves behind it. */
static bool topic_skip(const char **text, const char *part, char end)
{
    size_t size = strlen(part);
    if (strncmp(*text, part, size) != 0 || (*text)[size] != end)
        return false;
    *text += size + 1;
    return true;
}

static bool topic_fits(const struct event *event, const Ipam__V1__Change *change)
{
    const char *rest = event->topic + prefixes[event->kind].size;
    if (event->kind == EVENT_CLAIM)
        return change->entity_case == IPAM__V1__CHANGE__ENTITY_CLAIM && change->claim->owner != NULL &&
               topic_skip(&rest, change->claim->owner->kind, '/') && strcmp(rest, change->claim->owner->name) == 0;
    if (event->kind == EVENT_LOST)
        return change->entity_case == IPAM__V1__CHANGE__ENTITY_CHANGES_LOST && *rest == '\0';
    return change->entity_case == IPAM__V1__CHANGE__ENTITY_POOL && change->pool->spec != NULL &&
           strcmp(rest, change->pool->spec->name) == 0;
}

int event_read_change(const struct event *event, ProtobufCAllocator *allocator, Ipam__V1__Change **ret,
                      struct ipam_error *reterr)
{
    Ipam__V1__Change *change =
        event->kind == EVENT_TICK ? NULL : ipam__v1__change__unpack(allocator, event->body_size, event->body);
    if (change == NULL)
        return ipam_error_set(reterr, IPAM_REASON_MALFORMED_MESSAGE, "malformed event: the body of %.64s is no Change",
                              event->topic);
    if (change->revision > 0 && topic_fits(event, change)) {
        *ret = change;
        return 0;
    }
    ipam_error_set(reterr, IPAM_REASON_MALFORMED_MESSAGE,
                   "malformed event: change %" PRIu64 " does not belong under the topic %.64s", change->revision,
                   event->topic);
    ipam__v1__change__free_unpacked(change, allocator);
    return -1;
}
