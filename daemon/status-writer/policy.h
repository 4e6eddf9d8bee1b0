/* policy.h: what comes next for an object: in a pass, once its status was worked out; and after it, by its outcome.
 *
 * Called by pass.c and writer.c, and by tests. Pure: values in, values out; no object, no clock, no random. The rules are those
 * of docs/kubernetes.md, "ipam-status-writer". Times are milliseconds of some clock.
 */
#ifndef IPAM_STATUS_POLICY_H
#define IPAM_STATUS_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* ---- In a pass ---- */

/* How the status differs from what it should say. */
struct policy_view {
    bool differs;           /* at all */
    bool futile;            /* the server took this very patch before, and did not keep it */
    bool passes;            /* what it would say is mostly over in a moment, and it takes no address away */
    bool blocked;           /* an address that it is to show stands in another status yet */
    bool foreign;           /* an address is right, but another program put it there */
    unsigned int postponed; /* passes in a row that waited */
};

enum policy_step {
    STEP_NOTHING,
    STEP_LET_PASS, /* look again in a moment */
    STEP_WAIT,     /* until the way is free */
    STEP_LEAVE,    /* take away what is no longer the VIP's, show nothing new yet */
    STEP_ADOPT,    /* write the address as it stands, so that it counts as ours */
    STEP_WRITE,
};

enum policy_step policy_step(const struct policy_view *view);

/* A pool's counts come with the pool, and its list is that of the claims: whether to wait until both are of one moment. */
bool policy_waits_for_claims(bool apart, unsigned int postponed);

/* Why ipamd's claims are not on the terms of the present spec is asked of ipamd (a dry run), once ipam-watcher has had the
 * time to act on the spec; and asked again as long as it is so, as ipam-watcher tries again. A backlog of thousands of VIPs is not
 * asked about all at once: ipam-watcher is at it. */
#define POLICY_SETTLE_MS  2000
#define POLICY_RECHECK_MS 30000

struct policy_asking {
    uint64_t since; /* the second that is counted */
    unsigned int asked;
};

/* `unsettled_since`: when the object was first seen so. `now`: ask now, which is counted; later: look again then. */
uint64_t policy_ask_at(struct policy_asking *asking, uint64_t unsettled_since, uint64_t now);

/* ---- After a pass ---- */

enum pass_outcome {
    PASS_RIGHT,     /* nothing to write */
    PASS_WRITTEN,   /* done, and the object is known as it is now */
    PASS_BLOCKED,   /* the address that it is to show stands in another status yet */
    PASS_LEFT,      /* the same, and what was no longer its own has left its status */
    PASS_APART,     /* the pool and its claims are not known as of one moment yet */
    PASS_PASSING,   /* what is to be written is mostly over in a moment */
    PASS_CONFLICT,  /* 409: to be read again */
    PASS_GONE,      /* 404, and the object is not there */
    PASS_NO_STATUS, /* 404 although the object is there: its definition has no status subresource */
    PASS_BUSY,      /* the API server can't be reached, or has too much to do: as good for any other object */
    PASS_DEFERRED,  /* ipamd could not be asked */
    PASS_FORBIDDEN, /* 401, 403: as good for any other object of the kind */
    PASS_FAILED,    /* 500 and the like: the server's own fault, maybe with this object only */
    PASS_REFUSED,   /* any other answer: something about this object */
    PASS_CANCELLED, /* the lease was nearly lost */
    PASS_OUTCOMES
};

extern const char *const pass_outcome_names[PASS_OUTCOMES]; /* of metrics */

enum pass_outcome policy_outcome(int http_status); /* of the answer to a write or a read; 404 is PASS_GONE */

/* What the passes of one object have left behind. */
struct policy_history {
    unsigned int attempts;  /* in a row that came to nothing */
    unsigned int strikes;   /* writes in a row that somebody had undone before */
    unsigned int postponed; /* passes in a row that waited for a moment */
    uint64_t last_write;    /* 0: none */
    uint64_t rest_until;    /* no pass before: the pace of a pool, back-off after an error */
    uint64_t calm_until;    /* no pass before, unless ipamd has news: somebody keeps undoing us */
};

struct policy_end {
    enum pass_outcome outcome;
    bool undone;     /* somebody had changed what was written, and ipamd had no news */
    bool replaced;   /* by another object of the name meanwhile */
    bool unfinished; /* written, and there is more to do */
    uint64_t now;
    uint64_t pace;           /* from one pass of the object to the next */
    uint32_t retry_after_ms; /* of the server; 0: none */
};

enum policy_look {
    LOOK_NONE,   /* when something happens */
    LOOK_AGAIN,  /* as soon as history allows */
    LOOK_LATER,  /* after wait_ms */
    LOOK_FORGET, /* never: the object is gone */
};

enum policy_trouble {
    TROUBLE_SAME, /* nothing is told or ended */
    TROUBLE_WELL, /* troubles of the server and of the object are over; of the kind, if it was written */
    TROUBLE_OF_SERVER,
    TROUBLE_OF_KIND,
    TROUBLE_OF_OBJECT,
};

struct policy_next {
    enum policy_look look;
    uint64_t wait_ms;
    enum policy_trouble trouble;
    bool fatal; /* with --once: it can't become right, so the program ends with the error */
};

/* Updates *history. `backoff`: milliseconds before attempt n, as kube_backoff (client.h). */
typedef uint32_t (*policy_backoff)(unsigned int attempt, uint32_t retry_after_ms);
struct policy_next policy_after(struct policy_history *history, const struct policy_end *end, policy_backoff backoff);

uint64_t policy_due(const struct policy_history *history, bool news,
                    uint64_t now); /* of the next pass, if it is marked now */

/* All writes together: the server is out of reach or has too much to do. */
struct policy_gate {
    uint64_t until;        /* no pass before */
    unsigned int failures; /* in a row; while there are any one pass of each kind tries */
};

void policy_gate_after(struct policy_gate *gate, const struct policy_end *end, policy_backoff backoff);

#endif
