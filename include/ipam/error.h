/* ipam/error.h: what went wrong, in one shape for every layer.
 *
 * An error carries the gRPC status, the reason from the project's one error table (proto/errors.def) and a
 * message for people that names the thing, what is wrong with it and what to write instead. Every library
 * function that can fail takes `struct ipam_error *reterr` last, leaves it untouched on success and never logs.
 */
#ifndef IPAM_ERROR_H
#define IPAM_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* gRPC status codes (grpc.io, "Status codes and their use in gRPC"). */
enum ipam_status {
    IPAM_STATUS_OK = 0,
    IPAM_STATUS_CANCELLED = 1,
    IPAM_STATUS_UNKNOWN = 2,
    IPAM_STATUS_INVALID_ARGUMENT = 3,
    IPAM_STATUS_DEADLINE_EXCEEDED = 4,
    IPAM_STATUS_NOT_FOUND = 5,
    IPAM_STATUS_ALREADY_EXISTS = 6,
    IPAM_STATUS_PERMISSION_DENIED = 7,
    IPAM_STATUS_RESOURCE_EXHAUSTED = 8,
    IPAM_STATUS_FAILED_PRECONDITION = 9,
    IPAM_STATUS_ABORTED = 10,
    IPAM_STATUS_OUT_OF_RANGE = 11,
    IPAM_STATUS_UNIMPLEMENTED = 12,
    IPAM_STATUS_INTERNAL = 13,
    IPAM_STATUS_UNAVAILABLE = 14,
    IPAM_STATUS_DATA_LOSS = 15,
    IPAM_STATUS_UNAUTHENTICATED = 16,
};

/* Exit codes of ipamc by class of error; documented in docs/errors.md. */
enum ipam_exit {
    IPAM_EXIT_OK = 0,
    IPAM_EXIT_FAILURE = 1,     /* internal, or not classed below */
    IPAM_EXIT_USAGE = 2,       /* the command line, a manifest or a request is not right as written */
    IPAM_EXIT_NOT_FOUND = 3,   /* what was named does not exist */
    IPAM_EXIT_EXHAUSTED = 4,   /* nothing free now */
    IPAM_EXIT_CONFLICT = 5,    /* somebody else's address, range or claim is in the way */
    IPAM_EXIT_DENIED = 6,      /* the caller may not */
    IPAM_EXIT_UNAVAILABLE = 7, /* ipamd or its store can't be reached or can't write now: try again */
    IPAM_EXIT_REFUSED = 8,     /* the state of the pool does not allow it (off, paused, draining, …) */
    IPAM_EXIT_TIMEOUT = 9,     /* the deadline passed first */
};

/* Reasons, append only; IPAM_REASON_NONE (0) where a peer gave none or one that this build does not know. */
enum ipam_reason {
    IPAM_REASON_NONE = 0,
#define IPAM_ERROR_ROW(name, number, status, exit_class, summary, remedy) IPAM_REASON_##name = number,
#include <ipam/errors.def>
#undef IPAM_ERROR_ROW
};

#define IPAM_ERROR_DETAILS 4

/* A machine-readable fact about the error, e.g. {"pool", "main-vip-pool"} or {"holder", "ProxyVIP/web-vip"}.
 * Sent as google.rpc.ErrorInfo.metadata. */
struct ipam_error_detail {
    char key[16];
    char value[320];
};

struct ipam_error {
    enum ipam_status status;
    enum ipam_reason reason;
    char message[1024]; /* UTF-8, one line, no newline; cut at a character boundary if longer */
    unsigned int n_details;
    struct ipam_error_detail details[IPAM_ERROR_DETAILS];
};

/* Fills *reterr (if not NULL) from the table row of `reason` and the formatted message; returns -1, so that a
 * failing function can `return ipam_error_set(reterr, …)`. Bytes that are not printable UTF-8 are escaped as \xNN. */
int ipam_error_set(struct ipam_error *reterr, enum ipam_reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds a fact; ignored when reterr is NULL or holds IPAM_ERROR_DETAILS already; longer values are cut. */
void ipam_error_add(struct ipam_error *reterr, const char *key, const char *value);

/* Puts `prefix: ` before the message; returns -1. */
int ipam_error_prefix(struct ipam_error *reterr, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *ipam_reason_name(enum ipam_reason reason); /* "POOL_EXHAUSTED"; "" for NONE */
enum ipam_reason ipam_reason_parse(const char *name);  /* IPAM_REASON_NONE when unknown */
enum ipam_status ipam_reason_status(enum ipam_reason reason);
const char *ipam_reason_summary(enum ipam_reason reason); /* one sentence; "" for NONE */
const char *ipam_reason_remedy(enum ipam_reason reason);  /* what to do about it; "" for NONE */
const char *ipam_status_name(enum ipam_status status);    /* "RESOURCE_EXHAUSTED" */
int ipam_error_exit_code(const struct ipam_error *error); /* enum ipam_exit, by reason, else by status */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
