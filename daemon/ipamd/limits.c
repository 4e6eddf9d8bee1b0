#include "limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_count(const char *text, uint64_t *ret)
{
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static int read_claims(const char *text, char kind[ENGINE_NAME_MAX + 1], uint64_t *ret, struct ipam_error *reterr)
{
    const char *equals = strrchr(text, '=');
    size_t size = equals ? (size_t)(equals - text) : 0;
    if (size == 0 || size > ENGINE_NAME_MAX || !read_count(equals + 1, ret))
        return ipam_error_set(
            reterr, IPAM_REASON_INVALID_REQUEST,
            "--max-claims %s can't be used: write a kind of owner and a number, such as ProxyVIP=1000, "
            "or *=1000 for each kind that is not named",
            text);
    memcpy(kind, text, size);
    kind[size] = '\0';
    return 0;
}

static int claims_init(struct limits *limits, const struct option_list *given, struct ipam_error *reterr)
{
    for (size_t i = 0; i < given->count; i++) {
        struct claim_limit *row = &limits->claims[i];
        if (read_claims(given->items[i], limits->kinds[i], &row->max, reterr) < 0)
            return -1;
        for (size_t j = 0; j < i; j++)
            if (strcmp(limits->kinds[i], limits->kinds[j]) == 0)
                return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                                      "--max-claims names %s twice: give each kind one number", limits->kinds[i]);
        row->kind = limits->kinds[i];
        limits->engine.n_claims++;
    }
    return 0;
}

/* ---- Manual addresses -------------------------------------------------------------------------------------------- */

static int refuse_manual(const char *text, const char *why, struct ipam_error *reterr)
{
    return ipam_error_set(
        reterr, IPAM_REASON_INVALID_REQUEST,
        "--manual-addresses %s can't be used: %s; write CIDRs such as 192.0.2.0/24,2001:db8::/64, or none", text, why);
}

/* One range of the list, `size` bytes of it. */
static int add_range(struct limits *limits, const char *list, const char *text, size_t size, struct ipam_error *reterr)
{
    char range[ENGINE_ADDRESS_MAX + 1];
    struct ipam_error error;
    if (size == 0 || size >= sizeof range)
        return refuse_manual(list, size == 0 ? "a range in it is empty" : "a range in it is too long", reterr);
    memcpy(range, text, size);
    range[size] = '\0';
    if (limits->engine.n_manual == MANUAL_RANGES_MAX)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "--manual-addresses has more than %d ranges: give fewer, larger ones", MANUAL_RANGES_MAX);
    if (ipam_exclusion_parse(range, &limits->manual[limits->engine.n_manual], &error) < 0)
        return refuse_manual(list, error.message, reterr);
    limits->engine.n_manual++;
    return 0;
}

static int add_ranges(struct limits *limits, const char *list, struct ipam_error *reterr)
{
    for (const char *text = list;; text++) {
        size_t size = strcspn(text, ",");
        if (add_range(limits, list, text, size, reterr) < 0)
            return -1;
        text += size;
        if (*text == '\0')
            return 0;
    }
}

static void ranges_text(const struct limits *limits, char *ret, size_t size)
{
    char text[IPAM_RANGE_TEXT_MAX];
    size_t used = 0;
    *ret = '\0';
    for (size_t i = 0; i < limits->engine.n_manual; i++) {
        bool fits = used + sizeof text + sizeof ", …" < size;
        snprintf(ret + used, size - used, "%s%s", i > 0 ? ", " : "",
                 fits ? ipam_range_format(&limits->manual[i], text) : "…");
        used += strlen(ret + used);
        if (!fits)
            return;
    }
}

static int manual_init(struct limits *limits, const struct option_list *given, struct ipam_error *reterr)
{
    bool none = false;
    for (size_t i = 0; i < given->count; i++) {
        if (strcmp(given->items[i], "none") == 0)
            none = true;
        else if (add_ranges(limits, given->items[i], reterr) < 0)
            return -1;
    }
    if (none && limits->engine.n_manual > 0)
        return refuse_manual("none", "ranges are given as well", reterr);
    limits->engine.manual_bounded = given->count > 0;
    ranges_text(limits, limits->manual_text, sizeof limits->manual_text);
    return 0;
}

int limits_init(struct limits *limits, const struct options *options, struct ipam_error *reterr)
{
    *limits = (struct limits){.engine = {.claims = limits->claims,
                                         .claims_max = options->max_claims_total,
                                         .user_claims_max = options->max_user_claims,
                                         .cooling_max = options->max_cooling,
                                         .name_max = options->max_name,
                                         .manual = limits->manual,
                                         .manual_text = limits->manual_text}};
    if (claims_init(limits, &options->max_claims, reterr) < 0)
        return -1;
    return manual_init(limits, &options->manual_addresses, reterr);
}
