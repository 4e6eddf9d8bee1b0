#include "explain.h"

#include <inttypes.h>
#include <string.h>

#include "json_message.h"
#include "text.h"
#include "views.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const family_names[EXPLAIN_FAMILIES] = {"ipv4", "ipv6"};

/* ---- Facts ---------------------------------------------------------------------------------------------------------- */

static const Ipam__V1__PoolCounts *counts_of(const struct explain *explain, int family)
{
    static const Ipam__V1__PoolCounts none = IPAM__V1__POOL_COUNTS__INIT;
    const Ipam__V1__PoolCounts *counts = NULL;

    if (explain->pool != NULL)
        counts = family == 0 ? explain->pool->ipv4 : explain->pool->ipv6;
    return counts == NULL ? &none : counts;
}

static const char *counts_text(const struct explain *explain, int family)
{
    const Ipam__V1__PoolCounts *counts = counts_of(explain, family);
    return arena_printf(explain->arena,
                        "%" PRIu64 " usable: %" PRIu64 " free, %" PRIu64 " held, %" PRIu64 " cooling; %" PRIu64
                        " excluded, %" PRIu64 " waiting",
                        counts->capacity, counts->available, counts->allocated, counts->cooling, counts->excluded,
                        counts->waiting);
}

static const char *owner_of(const struct explain *explain, const Ipam__V1__Claim *claim)
{
    if (claim->owner == NULL)
        return "?";
    return arena_printf(explain->arena, "%s/%s", claim->owner->kind, claim->owner->name);
}

static bool is_answer(const struct explain *explain, int family, const char *address)
{
    const Ipam__V1__Claim *claim = explain->answer[family];
    size_t length = strcspn(address, "/");
    return claim != NULL && strncmp(claim->address, address, length) == 0 &&
           (claim->address[length] == '/' || claim->address[length] == '\0');
}

/* It holds what it asks for: nothing is decided anew. */
static bool is_held(const struct explain *explain, int family)
{
    return explain->held[family] != NULL && explain->reason == IPAM_REASON_NONE &&
           is_answer(explain, family, explain->held[family]->address);
}

/* ---- What a check met ----------------------------------------------------------------------------------------------- */

typedef const char *(*step_detail)(const struct explain *explain, int family);

static const char *detail_owner(const struct explain *explain, int family)
{
    (void)family;
    return explain->owner;
}

static const char *detail_request(const struct explain *explain, int family)
{
    (void)explain, (void)family;
    return "its fields go together";
}

static const char *detail_address(const struct explain *explain, int family)
{
    return arena_printf(explain->arena, "%s can be read", explain->address[family]);
}

static const char *detail_claim(const struct explain *explain, int family)
{
    const Ipam__V1__Claim *held = explain->held[family];
    if (held == NULL)
        return arena_printf(explain->arena, "holds no %s address yet", family_names[family]);
    return arena_printf(explain->arena, "holds %s%s%s since %s", held->address, held->pool[0] == '\0' ? "" : " from ",
                        held->pool, view_time(explain->arena, held->allocated_at));
}

static const char *detail_pool(const struct explain *explain, int family)
{
    (void)family;
    return arena_printf(explain->arena, "there is a pool %s", explain->pool_name);
}

static const char *detail_draining(const struct explain *explain, int family)
{
    (void)explain, (void)family;
    return "it is not being deleted";
}

static const char *detail_rejected(const struct explain *explain, int family)
{
    (void)explain, (void)family;
    return "it was accepted";
}

static const char *detail_family(const struct explain *explain, int family)
{
    return counts_text(explain, family);
}

static const char *detail_permitted(const struct explain *explain, int family)
{
    return arena_printf(explain->arena, "claims without a pool may have %s", explain->address[family]);
}

static const char *detail_reserved(const struct explain *explain, int family)
{
    return arena_printf(explain->arena, "%s can be a virtual IP", explain->address[family]);
}

static const char *detail_kept(const struct explain *explain, int family)
{
    return arena_printf(explain->arena, "no pool keeps %s to itself", explain->address[family]);
}

static const char *detail_excluded(const struct explain *explain, int family)
{
    return arena_printf(explain->arena, "%s does not exclude %s", explain->pool_name, explain->address[family]);
}

static const char *detail_in_pool(const struct explain *explain, int family)
{
    return arena_printf(explain->arena, "%s lies in %s", explain->address[family], explain->pool_name);
}

static const char *detail_in_use(const struct explain *explain, int family)
{
    return arena_printf(explain->arena, "nobody holds %s", explain->address[family]);
}

static const char *detail_cooling(const struct explain *explain, int family)
{
    return arena_printf(explain->arena, "%s is not kept for somebody else", explain->address[family]);
}

static const char *detail_preferred(const struct explain *explain, int family)
{
    bool taken = is_answer(explain, family, explain->preferred[family]);
    return arena_printf(explain->arena, taken ? "%s can be had: no other check is made" : "%s can't be had: ignored",
                        explain->preferred[family]);
}

static const char *detail_auto_assign(const struct explain *explain, int family)
{
    (void)explain, (void)family;
    return "autoAssign is true";
}

static const char *detail_paused(const struct explain *explain, int family)
{
    (void)explain, (void)family;
    return "it is not paused";
}

static const char *detail_exhausted(const struct explain *explain, int family)
{
    return arena_printf(explain->arena,
                        "%" PRIu64 " free: the owner's own cooling address goes first, else the lowest free one",
                        counts_of(explain, family)->available);
}

/* ---- The checks, in ipamd's order ----------------------------------------------------------------------------------- */

enum {
    OF_FAMILY = 1, /* made for each family, after all that are not; else once */
    POOL = 2,      /* made when a pool is named */
    MANUAL = 128,  /* made when none is */
    ADDRESS = 4,   /* made when a certain address is asked for */
    ANY = 8,       /* made when any address would do */
    PREFERRED = 16,
    DECIDES = 32, /* not made for what the owner holds already */
    EACH = 64,    /* told for each family, though made for all at once */
};

static const struct check {
    const char *name;
    enum ipam_reason reason;
    unsigned int when;
    step_detail detail;
} checks[] = {
    {"owner", IPAM_REASON_INVALID_OWNER, 0, detail_owner},
    {"request", IPAM_REASON_INVALID_REQUEST, 0, detail_request},
    {"address", IPAM_REASON_INVALID_ADDRESS, EACH | ADDRESS, detail_address},
    {"claim", IPAM_REASON_CLAIM_EXISTS, EACH, detail_claim},
    {"permitted", IPAM_REASON_ADDRESS_NOT_PERMITTED, EACH | MANUAL | ADDRESS | DECIDES, detail_permitted},
    {"pool", IPAM_REASON_POOL_NOT_FOUND, POOL | DECIDES, detail_pool},
    {"draining", IPAM_REASON_POOL_DRAINING, POOL | DECIDES, detail_draining},
    {"rejected", IPAM_REASON_POOL_REJECTED, POOL | DECIDES, detail_rejected},
    {"family", IPAM_REASON_FAMILY_NOT_IN_POOL, EACH | POOL | DECIDES, detail_family},
    {"reserved", IPAM_REASON_ADDRESS_RESERVED, OF_FAMILY | ADDRESS | DECIDES, detail_reserved},
    {"kept", IPAM_REASON_ADDRESS_EXCLUDED, OF_FAMILY | MANUAL | ADDRESS | DECIDES, detail_kept},
    {"excluded", IPAM_REASON_ADDRESS_EXCLUDED, OF_FAMILY | POOL | ADDRESS | DECIDES, detail_excluded},
    {"in pool", IPAM_REASON_ADDRESS_NOT_IN_POOL, OF_FAMILY | POOL | ADDRESS | DECIDES, detail_in_pool},
    {"in use", IPAM_REASON_ADDRESS_IN_USE, OF_FAMILY | ADDRESS | DECIDES, detail_in_use},
    {"cooling", IPAM_REASON_ADDRESS_COOLING, OF_FAMILY | ADDRESS | DECIDES, detail_cooling},
    {"preferred", IPAM_REASON_NONE, OF_FAMILY | ANY | PREFERRED | DECIDES, detail_preferred},
    {"auto-assign", IPAM_REASON_AUTO_ASSIGN_DISABLED, OF_FAMILY | ANY | DECIDES, detail_auto_assign},
    {"paused", IPAM_REASON_POOL_PAUSED, OF_FAMILY | ANY | DECIDES, detail_paused},
    {"free address", IPAM_REASON_POOL_EXHAUSTED, OF_FAMILY | ANY | DECIDES, detail_exhausted},
};

bool explain_knows(enum ipam_reason reason)
{
    for (size_t i = 0; i < COUNT(checks); i++) {
        if (reason != IPAM_REASON_NONE && checks[i].reason == reason)
            return true;
    }
    return false;
}

enum step_result { PASSED, FAILED, NOT_REACHED };
static const char *const result_names[] = {"passed", "failed", "not reached"};
static const char *const result_json_names[] = {"passed", "failed", "notReached"};

struct step {
    const struct check *check;
    int family; /* -1: of all */
    enum step_result result;
    const char *detail;
};

#define STEPS_MAX (EXPLAIN_FAMILIES * COUNT(checks))

struct steps {
    const struct explain *explain;
    struct step items[STEPS_MAX];
    size_t count;
    bool failed; /* the steps that follow are not reached */
};

static bool is_made(const struct explain *explain, const struct check *check, int family)
{
    bool any = explain->address[family][0] == '\0';

    if (!explain->asked[family])
        return false;
    if ((check->when & POOL) != 0 && explain->pool_name[0] == '\0')
        return false;
    if ((check->when & MANUAL) != 0 && explain->pool_name[0] != '\0')
        return false;
    if ((check->when & ADDRESS) != 0 && any)
        return false;
    if ((check->when & ANY) != 0 && !any)
        return false;
    if ((check->when & PREFERRED) != 0 && explain->preferred[family][0] == '\0')
        return false;
    if ((check->when & DECIDES) != 0 && is_held(explain, family))
        return false;
    /* A preferred address that was had spares the checks of the automatic choice. */
    return (check->when & (ANY | PREFERRED)) != ANY || explain->preferred[family][0] == '\0' ||
           !is_answer(explain, family, explain->preferred[family]);
}

static void add_step(struct steps *steps, const struct check *check, int family)
{
    const struct explain *explain = steps->explain;
    bool told = (check->when & (EACH | OF_FAMILY)) != 0;
    bool here = !told || explain->failing_family < 0 || explain->failing_family == family;
    struct step *step = &steps->items[steps->count++];

    *step = (struct step){.check = check, .family = told ? family : -1, .detail = ""};
    if (steps->failed) {
        step->result = NOT_REACHED;
    } else if (explain->reason != IPAM_REASON_NONE && check->reason == explain->reason && here) {
        step->result = FAILED;
        step->detail = explain->message;
        steps->failed = true;
    } else {
        step->detail = check->detail(explain, family);
    }
}

/* All checks that are made for everything together, then those of each family. */
static void make_steps(const struct explain *explain, struct steps *ret)
{
    *ret = (struct steps){.explain = explain};
    for (size_t i = 0; i < COUNT(checks); i++) {
        if ((checks[i].when & OF_FAMILY) != 0)
            continue;
        for (int f = 0; f < EXPLAIN_FAMILIES; f++) {
            bool first = f == 0 || (checks[i].when & EACH) != 0 || !is_made(explain, &checks[i], 0);
            if (first && is_made(explain, &checks[i], f))
                add_step(ret, &checks[i], f);
        }
    }
    for (int f = 0; f < EXPLAIN_FAMILIES; f++) {
        for (size_t i = 0; i < COUNT(checks); i++) {
            if ((checks[i].when & OF_FAMILY) != 0 && is_made(explain, &checks[i], f))
                add_step(ret, &checks[i], f);
        }
    }
}

/* ---- What would unblock it ------------------------------------------------------------------------------------------ */

#define ADVICE_MAX 6

struct advice {
    const char *items[ADVICE_MAX];
    size_t count;
};

static void advise(struct advice *advice, const char *text)
{
    if (advice->count < ADVICE_MAX)
        advice->items[advice->count++] = text;
}

static void advise_exhausted(const struct explain *explain, struct advice *ret)
{
    const Ipam__V1__Claim *next = explain->next_cooling;

    if (next != NULL)
        advise(ret, arena_printf(explain->arena, "%s, which %s held, stops cooling at %s", next->address,
                                 owner_of(explain, next), view_time(explain->arena, next->cooling_until)));
    advise(ret, arena_printf(explain->arena, "a release of any address of %s (ipamc get claims --pool %s lists them)",
                             explain->pool_name, explain->pool_name));
    advise(ret, arena_printf(explain->arena, "more addresses in %s", explain->pool_name));
}

static void advise_in_use(const struct explain *explain, struct advice *ret)
{
    const Ipam__V1__Claim *holder = explain->holder;

    if (holder != NULL)
        advise(ret, arena_printf(explain->arena, "a release by %s, which holds it since %s (ipamc release %s)",
                                 owner_of(explain, holder), view_time(explain->arena, holder->allocated_at),
                                 owner_of(explain, holder)));
    advise(ret, "asking for another address, or for any");
}

static void advise_cooling(const struct explain *explain, struct advice *ret)
{
    if (explain->holder != NULL)
        advise(ret, arena_printf(explain->arena, "time: it is kept for %s until %s", owner_of(explain, explain->holder),
                                 view_time(explain->arena, explain->holder->cooling_until)));
    if (explain->holder != NULL)
        advise(ret, arena_printf(explain->arena, "ending that (ipamc release --address %s --end-cooling)",
                                 explain->holder->address));
    advise(ret, "asking for another address, or for any");
}

static void advise_paused(const struct explain *explain, struct advice *ret)
{
    advise(ret, arena_printf(explain->arena, "resuming %s: apply it with paused: false", explain->pool_name));
    advise(ret, "asking for a certain address, which a paused pool gives");
}

static void advise_auto_assign(const struct explain *explain, struct advice *ret)
{
    advise(ret, arena_printf(explain->arena, "autoAssign: true in %s", explain->pool_name));
    advise(ret, "asking for a certain address");
}

static const struct {
    enum ipam_reason reason;
    void (*advise)(const struct explain *explain, struct advice *ret);
} advisers[] = {
    {IPAM_REASON_POOL_EXHAUSTED, advise_exhausted},         {IPAM_REASON_ADDRESS_IN_USE, advise_in_use},
    {IPAM_REASON_ADDRESS_COOLING, advise_cooling},          {IPAM_REASON_POOL_PAUSED, advise_paused},
    {IPAM_REASON_AUTO_ASSIGN_DISABLED, advise_auto_assign},
};

static void make_advice(const struct explain *explain, struct advice *ret)
{
    *ret = (struct advice){.count = 0};
    if (explain->reason == IPAM_REASON_NONE)
        return;
    for (size_t i = 0; i < COUNT(advisers); i++) {
        if (advisers[i].reason == explain->reason)
            advisers[i].advise(explain, ret);
    }
    if (ret->count == 0)
        advise(ret, ipam_reason_remedy(explain->reason));
    if (!explain->waits && explain->place > 0)
        advise(ret,
               arena_printf(explain->arena, "waiting: with --enqueue it would be at place %" PRIu64 " of the queue",
                            explain->place));
}

/* ---- The answer ----------------------------------------------------------------------------------------------------- */

static bool all_held(const struct explain *explain)
{
    for (int f = 0; f < EXPLAIN_FAMILIES; f++) {
        if (explain->asked[f] && !is_held(explain, f))
            return false;
    }
    return true;
}

static const char *outcome(const struct explain *explain)
{
    if (explain->reason != IPAM_REASON_NONE)
        return explain->waits ? "waiting" : "refused";
    return all_held(explain) ? "held" : "granted";
}

static const char *answer_text(const struct explain *explain)
{
    const char *all = "";

    if (explain->reason != IPAM_REASON_NONE && explain->place > 0 && explain->waits)
        return arena_printf(explain->arena, "waits at place %" PRIu64 ": %s", explain->place, explain->message);
    if (explain->reason != IPAM_REASON_NONE)
        return arena_printf(explain->arena, "%s: %s", explain->waits ? "waits" : "refused", explain->message);
    for (int f = 0; f < EXPLAIN_FAMILIES; f++) {
        if (explain->answer[f] != NULL)
            all =
                arena_printf(explain->arena, "%s%s%s", all, all[0] == '\0' ? "" : " and ", explain->answer[f]->address);
    }
    return arena_printf(explain->arena, all_held(explain) ? "holds %s already" : "would get %s", all);
}

static const char *question_text(const struct explain *explain)
{
    const char *what = "";

    for (int f = 0; f < EXPLAIN_FAMILIES; f++) {
        if (!explain->asked[f])
            continue;
        const char *one = explain->address[f][0] != '\0'
                              ? explain->address[f]
                              : arena_printf(explain->arena, "any %s address", family_names[f]);
        what = arena_printf(explain->arena, "%s%s%s", what, what[0] == '\0' ? "" : " and ", one);
    }
    if (explain->pool_name[0] == '\0')
        return arena_printf(explain->arena, "%s asks for %s, outside of pools", explain->owner, what);
    return arena_printf(explain->arena, "%s asks %s for %s", explain->owner, explain->pool_name, what);
}

/* ---- Printing ------------------------------------------------------------------------------------------------------- */

static const char *cell_check(const struct output *output, const void *row)
{
    const struct step *step = row;
    if (step->family < 0)
        return step->check->name;
    return arena_printf(output->arena, "%s (%s)", step->check->name, family_names[step->family]);
}

static const char *cell_result(const struct output *output, const void *row)
{
    (void)output;
    return result_names[((const struct step *)row)->result];
}

static const char *cell_detail(const struct output *output, const void *row)
{
    const struct step *step = row;
    (void)output;
    return step->result == NOT_REACHED ? "-" : step->detail;
}

static const struct column step_columns[] = {
    {"CHECK", false, cell_check}, {"RESULT", false, cell_result}, {"DETAIL", false, cell_detail}};
static const struct view step_view = {step_columns, COUNT(step_columns), NULL};

static void print_steps(const struct output *output, const struct explain *explain)
{
    struct output table = *output;
    const void *rows[STEPS_MAX];
    struct steps steps;

    table.format = OUTPUT_TABLE;
    make_steps(explain, &steps);
    for (size_t i = 0; i < steps.count; i++)
        rows[i] = &steps.items[i];
    output_rows(&table, &step_view, rows, steps.count);
}

void explain_print(const struct output *output, const struct explain *explain)
{
    struct advice advice;

    fprintf(output->out, "%s\n\n", text_printable(explain->arena, question_text(explain)));
    print_steps(output, explain);
    fprintf(output->out, "\nAnswer: %s\n", text_printable(explain->arena, answer_text(explain)));
    make_advice(explain, &advice);
    for (size_t i = 0; i < advice.count; i++)
        fprintf(output->out, "%s  - %s\n", i == 0 ? "What would unblock it:\n" : "",
                text_printable(explain->arena, advice.items[i]));
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------- */

static json_t *steps_json(const struct explain *explain)
{
    json_t *list = json_array();
    struct steps steps;

    make_steps(explain, &steps);
    for (size_t i = 0; i < steps.count; i++) {
        const struct step *step = &steps.items[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:s, s:o}", "check", step->check->name, "reason",
                                              ipam_reason_name(step->check->reason), "family",
                                              step->family < 0 ? NULL : family_names[step->family], "result",
                                              result_json_names[step->result], "detail", json_text(step->detail)));
    }
    return list;
}

static json_t *pool_counts_json(const struct explain *explain)
{
    json_t *object = json_object();

    for (int f = 0; explain->pool != NULL && f < EXPLAIN_FAMILIES; f++) {
        if (explain->asked[f])
            json_object_set_new(object, family_names[f], json_message_encode(&counts_of(explain, f)->base));
    }
    return object;
}

static json_t *claims_json(const struct explain *explain)
{
    json_t *list = json_array();

    for (int f = 0; f < EXPLAIN_FAMILIES; f++) {
        if (explain->answer[f] != NULL)
            json_array_append_new(list, json_message_encode(&explain->answer[f]->base));
    }
    return list;
}

json_t *explain_json(const struct explain *explain)
{
    json_t *unblock = json_array();
    struct advice advice;

    make_advice(explain, &advice);
    for (size_t i = 0; i < advice.count; i++)
        json_array_append_new(unblock, json_text(advice.items[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o}", "owner", json_text(explain->owner), "pool",
                     json_text(explain->pool_name), "counts", pool_counts_json(explain), "steps", steps_json(explain),
                     "outcome", outcome(explain), "reason", ipam_reason_name(explain->reason), "message",
                     json_text(explain->message), "claims", claims_json(explain), "place",
                     json_sprintf("%llu", (unsigned long long)explain->place), "unblock", unblock);
}
