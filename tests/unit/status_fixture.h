/* What the tests of the status-writer's translation share: claims, pools and objects in few words, and a server's merge. */
#ifndef STATUS_FIXTURE_H
#define STATUS_FIXTURE_H

#include <stdbool.h>

#include "pool_status.h"
#include "vip_status.h"

#define NOW 1705314600 /* 2024-01-15T10:30:00Z */

struct fixture {
    struct arena arena;
    struct claims *claims;
    uint64_t id; /* of the last claim made */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* A bound claim of ProxyVIP/name; `owner` may be "Kind/name". */
void give(struct fixture *fixture, const char *owner, const char *uid, const char *pool, const char *address);
void let_wait(struct fixture *fixture, const char *owner, const char *pool, enum ipam_family family, const char *reason,
              const char *message);
void let_wait_naming(struct fixture *fixture, const char *owner, const char *pool, enum ipam_family family,
                     const char *address, const char *reason, const char *message);
/* For this very address, with its owner's other family if `dual`; `message` is what ipamd recorded. */
void let_wait_for(struct fixture *fixture, const char *owner, const char *address, bool dual, const char *message);
void give_back(struct fixture *fixture, const char *owner, enum ipam_family family);

/* JSON with ' for ". */
json_t *json_of(const char *text);
/* The object of a kind with uid "u-NAME", generation 1, spec and status as given; NULL: none. */
json_t *object_of(const char *name, const char *spec, const char *status);
/* As an API server does it: merges the patch into .status, but drops fields that are in `pruned` (comma after each), and notes
 * in managedFields who wrote what. */
void merge(json_t *object, const json_t *patch, const char *pruned); /* by the status-writer */
void merge_as(json_t *object, const char *manager, const json_t *patch, const char *pruned);
const char *message_of(const json_t *object, const char *type); /* of a condition */
void assert_status(const json_t *object, const char *expected); /* as json_of */

#endif
