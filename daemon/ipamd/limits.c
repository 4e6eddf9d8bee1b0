#include "limits.h"

#include <errno.h>
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

int limits_init(struct limits *limits, const struct options *options, struct ipam_error *reterr)
{
    const struct option_list *given = &options->max_claims;
    *limits = (struct limits){.engine = {.claims = limits->claims,
                                         .claims_max = options->max_claims_total,
                                         .user_claims_max = options->max_user_claims,
                                         .cooling_max = options->max_cooling,
                                         .name_max = options->max_name}};
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
