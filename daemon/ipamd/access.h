/* access.h: who may do what: the groups that options name, the role that a client has by them, and for whom it may act.
 *
 * Made by start-up from the options; asked once for each client that connects. It knows the system's groups and what the
 * kernel says of a peer; it must not know methods.
 */
#ifndef IPAMD_ACCESS_H
#define IPAMD_ACCESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "options.h"
#include "rpc.h"

struct access_groups {
    gid_t gids[OPTION_LIST_MAX];
    size_t count;
};

struct access {
    struct access_groups groups[RPC_ROLES]; /* by the role that they give */
    /* Of each group of RPC_ROLE_ALLOCATE, the kinds of owners that --allocate-group GROUP:KIND,… binds it to; else empty. */
    struct string_list kinds[OPTION_LIST_MAX];
    struct arena arena;            /* of the kinds' names */
    bool open;                     /* no groups are named: all who can connect are admin */
    char remedies[RPC_ROLES][160]; /* how one gets a role, for those who lack it */
};

/* -1 with INVALID_REQUEST: no group has that name, or what follows it is no list of kinds. access_done is due all the same. */
int access_init(struct access *access, const struct options *options, struct ipam_error *reterr);
void access_done(struct access *access); /* a zeroed one is fine */

/* A group by name, or by number if it is one. -1 with INVALID_REQUEST; `option` is the option that named it. */
int access_group_find(const char *option, const char *group, gid_t *ret, struct ipam_error *reterr);

bool access_is_own(const struct ucred *peer); /* root, or the user that ipamd runs as */

/* The role of who connected (SO_PEERCRED), by its group and its supplementary groups (SO_PEERGROUPS) at that time. */
enum rpc_role access_role(const struct access *access, int fd, const struct ucred *peer);

/* For whom a client with the role allocate may act: the groups of --allocate-group that it is in, as access_role finds them.
 * Borrows from `access`. */
struct engine_scope access_scope(const struct access *access, int fd, const struct ucred *peer);

#endif
