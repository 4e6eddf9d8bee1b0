#include "policy.h"

#include <stddef.h>

#define PASSING_MAX   10    /* looks after which it has not passed */
#define APART_MAX     25    /* then a status that does not agree with itself for a moment is better than an old one */
#define APART_MS      20    /* changes are known a moment after ipamd has made them */
#define PASSING_MS    100   /* a sync of thousands of VIPs takes a few times as long */
#define PATIENCE_MS   100   /* the other status is mostly written by then */
#define BLOCKED_MS    1000  /* looked at again, if nothing says earlier that the way is free */
#define FORGIVEN_MS   60000 /* one who undid us longer ago than that starts anew */
#define DOUBLINGS_MAX 6     /* of a pause that only keeps us from asking too often: up to 8 s */
#define CONFLICTS     3     /* conflicts in a row that are answered at once */
#define ASKS_MAX      200   /* in a second */
#define ASK_LATER_MS  5000  /* after more than that */
#define HARDLY        5     /* doublings more after an answer that will hardly be another one soon */

/* ---- In a pass ----------------------------------------------------------------------------------------------------- */

enum policy_step policy_step(const struct policy_view *view)
{
    if (!view->differs)
        return view->foreign ? STEP_ADOPT : STEP_NOTHING;
    if (view->futile)
        return STEP_NOTHING;
    if (view->blocked) /* it waits for a moment, as the other status is mostly written by then */
        return view->postponed ? STEP_LEAVE : STEP_WAIT;
    return view->passes && view->postponed < PASSING_MAX ? STEP_LET_PASS : STEP_WRITE;
}

bool policy_waits_for_claims(bool apart, unsigned int postponed)
{
    return apart && postponed < APART_MAX;
}

uint64_t policy_ask_at(struct policy_asking *asking, uint64_t unsettled_since, uint64_t now)
{
    if (now - unsettled_since < POLICY_SETTLE_MS)
        return unsettled_since + POLICY_SETTLE_MS;
    if (now - asking->since >= 1000)
        *asking = (struct policy_asking){.since = now};
    return asking->asked++ < ASKS_MAX ? now : now + ASK_LATER_MS;
}

/* ---- Outcomes ------------------------------------------------------------------------------------------------------ */

const char *const pass_outcome_names[PASS_OUTCOMES] = {
    [PASS_RIGHT] = "right",       [PASS_WRITTEN] = "written",   [PASS_BLOCKED] = "blocked",
    [PASS_LEFT] = "left",         [PASS_APART] = "apart",       [PASS_PASSING] = "passing",
    [PASS_CONFLICT] = "conflict", [PASS_GONE] = "gone",         [PASS_NO_STATUS] = "no_status",
    [PASS_BUSY] = "throttled",    [PASS_DEFERRED] = "deferred", [PASS_FORBIDDEN] = "forbidden",
    [PASS_FAILED] = "failed",     [PASS_REFUSED] = "refused",   [PASS_CANCELLED] = "cancelled",
};

enum pass_outcome policy_outcome(int http_status)
{
    static const struct {
        int status;
        enum pass_outcome outcome;
    } answers[] = {
        {401, PASS_FORBIDDEN}, {403, PASS_FORBIDDEN}, {404, PASS_GONE}, {409, PASS_CONFLICT},
        {429, PASS_BUSY},      {502, PASS_BUSY},      {503, PASS_BUSY}, {504, PASS_BUSY},
    };
    if (http_status >= 200 && http_status < 300)
        return PASS_WRITTEN;
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
        if (answers[i].status == http_status)
            return answers[i].outcome;
    return http_status >= 500 ? PASS_FAILED : PASS_REFUSED;
}

/* ---- After a pass -------------------------------------------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static unsigned int at_most(unsigned int number, unsigned int most)
{
    return number < most ? number : most;
}

/* One row for each outcome. */
struct rule {
    enum policy_look look;
    uint64_t wait_ms;                             /* LOOK_LATER */
    enum { DONE, WAITS, FAILS, STAYS } counts_as; /* in the history */
    unsigned int at_once;                         /* FAILS: attempts in a row without a pause */
    unsigned int hardly;                          /* FAILS: doublings more */
    unsigned int cap;                             /* FAILS: doublings at most; 0: those of the back-off */
    enum policy_trouble trouble;
    bool fatal;
};

static const struct rule rules[PASS_OUTCOMES] = {
    [PASS_RIGHT] = {LOOK_NONE, 0, DONE},
    [PASS_WRITTEN] = {LOOK_NONE, 0, DONE, .trouble = TROUBLE_WELL},
    [PASS_BLOCKED] = {LOOK_LATER, BLOCKED_MS, WAITS},
    [PASS_LEFT] = {LOOK_LATER, BLOCKED_MS, WAITS, .trouble = TROUBLE_WELL},
    [PASS_APART] = {LOOK_LATER, APART_MS, WAITS},
    [PASS_PASSING] = {LOOK_LATER, PASSING_MS, WAITS},
    [PASS_CONFLICT] = {LOOK_AGAIN, 0, FAILS, .at_once = CONFLICTS, .trouble = TROUBLE_WELL},
    [PASS_GONE] = {LOOK_FORGET, 0, STAYS, .trouble = TROUBLE_WELL},
    [PASS_NO_STATUS] = {LOOK_AGAIN, 0, FAILS, .hardly = HARDLY, .trouble = TROUBLE_OF_KIND, .fatal = true},
    [PASS_BUSY] = {LOOK_AGAIN, 0, STAYS, .trouble = TROUBLE_OF_SERVER},
    [PASS_DEFERRED] = {LOOK_AGAIN, 0, FAILS, .cap = CONFLICTS + 1},
    [PASS_FORBIDDEN] = {LOOK_AGAIN, 0, FAILS, .hardly = HARDLY, .trouble = TROUBLE_OF_KIND, .fatal = true},
    [PASS_FAILED] = {LOOK_AGAIN, 0, FAILS, .trouble = TROUBLE_OF_OBJECT, .fatal = true},
    [PASS_REFUSED] = {LOOK_AGAIN, 0, FAILS, .hardly = HARDLY, .trouble = TROUBLE_OF_OBJECT, .fatal = true},
    [PASS_CANCELLED] = {LOOK_AGAIN, 0, STAYS},
};

/* Somebody who keeps undoing what is written is answered ever more slowly. */
static void note_write(struct policy_history *history, const struct policy_end *end, policy_backoff backoff)
{
    bool forgiven = end->now - history->last_write > FORGIVEN_MS;
    history->strikes = !end->undone ? 0 : forgiven ? 1 : history->strikes + 1;
    history->calm_until = history->strikes ? end->now + backoff(at_most(history->strikes, DOUBLINGS_MAX), 0) : 0;
    history->last_write = end->now ? end->now : 1;
}

static void note_failure(struct policy_history *history, const struct rule *rule, const struct policy_end *end,
                         policy_backoff backoff)
{
    unsigned int pauses = history->attempts++ < rule->at_once ? 0 : history->attempts - rule->at_once + rule->hardly;
    if (pauses && rule->cap)
        pauses = at_most(pauses, rule->cap);
    if (pauses)
        history->rest_until = later(history->rest_until, end->now + backoff(pauses, end->retry_after_ms));
}

static uint64_t note_wait(struct policy_history *history, const struct rule *rule, enum pass_outcome outcome)
{
    bool first = outcome == PASS_BLOCKED && !history->postponed;
    history->postponed++;
    history->rest_until = 0;
    return first ? PATIENCE_MS : rule->wait_ms;
}

struct policy_next policy_after(struct policy_history *history, const struct policy_end *end, policy_backoff backoff)
{
    const struct rule *rule = &rules[end->outcome];
    struct policy_next next = {rule->look, 0, rule->trouble, rule->fatal};
    history->rest_until = end->pace ? end->now + end->pace : 0;
    if (end->outcome == PASS_WRITTEN || end->outcome == PASS_LEFT)
        note_write(history, end, backoff);
    if (rule->counts_as == DONE || end->outcome == PASS_LEFT)
        history->attempts = 0;
    if (rule->counts_as == DONE)
        history->postponed = 0;
    else if (rule->counts_as == FAILS)
        note_failure(history, rule, end, backoff);
    else if (rule->counts_as == WAITS)
        next.wait_ms = note_wait(history, rule, end->outcome);
    if ((end->outcome == PASS_GONE && end->replaced) || (end->outcome == PASS_WRITTEN && end->unfinished))
        next.look = LOOK_AGAIN;
    return next;
}

uint64_t policy_due(const struct policy_history *history, bool news, uint64_t now)
{
    uint64_t due = later(now, history->rest_until);
    return news ? due : later(due, history->calm_until);
}

void policy_gate_after(struct policy_gate *gate, const struct policy_end *end, policy_backoff backoff)
{
    if (rules[end->outcome].trouble == TROUBLE_WELL)
        gate->failures = 0;
    if (end->outcome != PASS_BUSY)
        return;
    bool first = end->now >= gate->until; /* those that were under way with it fail for the same cause */
    uint32_t wait =
        first ? backoff(at_most(++gate->failures, DOUBLINGS_MAX), end->retry_after_ms) : end->retry_after_ms;
    gate->until = later(gate->until, end->now + wait);
}
