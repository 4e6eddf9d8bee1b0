#include "access.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"

#define GROUPS_MAX 65536 /* supplementary groups of a process: NGROUPS_MAX of Linux */

/* ---- Groups by name ---------------------------------------------------------------------------------------------- */

static bool read_number(const char *text, gid_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || number >= (gid_t)-1)
        return false;
    *ret = (gid_t)number;
    return true;
}

int access_group_find(const char *option, const char *group, gid_t *ret, struct ipam_error *reterr)
{
    if (read_number(group, ret))
        return 0;
    errno = 0;
    const struct group *found = getgrnam(group); /* start-up: there is one thread */
    if (found) {
        *ret = found->gr_gid;
        return 0;
    }
    return ipam_error_set(
        reterr, IPAM_REASON_INVALID_REQUEST,
        "--%s %s: no group has that name%s%s; make it (groupadd %s), or write a group that there is, by "
        "name or number",
        option, group, errno ? ": " : "", errno ? strerror(errno) : "", group);
}

static int groups_read(const char *option, const struct option_list *names, struct access_groups *ret,
                       struct ipam_error *reterr)
{
    for (ret->count = 0; ret->count < names->count; ret->count++)
        if (access_group_find(option, names->items[ret->count], &ret->gids[ret->count], reterr) < 0)
            return -1;
    return 0;
}

/* ---- Roles and the options that give them ------------------------------------------------------------------------ */

static const struct role_option {
    const char *name;
    size_t list; /* in struct options */
} role_options[RPC_ROLES] = {
    [RPC_ROLE_READ] = {"read-group", offsetof(struct options, read_groups)},
    [RPC_ROLE_ALLOCATE] = {"allocate-group", offsetof(struct options, allocate_groups)},
    [RPC_ROLE_ADMIN] = {"admin-group", offsetof(struct options, admin_groups)},
};

static const struct option_list *groups_of_role(const struct options *options, int role)
{
    return (const struct option_list *)((const char *)options + role_options[role].list);
}

static void remedy_write(struct access *access, const struct options *options, int role)
{
    const struct option_list *groups = groups_of_role(options, role);
    char *text = access->remedies[role];
    size_t size = sizeof access->remedies[role];
    if (groups->count > 0)
        snprintf(text, size, "members of the group %.64s have it (--%s)", groups->items[0], role_options[role].name);
    else
        snprintf(text, size, "ipamd's option --%s names groups that have it, and root has it", role_options[role].name);
}

int access_init(struct access *access, const struct options *options, struct ipam_error *reterr)
{
    *access = (struct access){.open = true};
    for (int role = RPC_ROLE_READ; role < RPC_ROLES; role++) {
        struct access_groups *groups = &access->groups[role];
        if (groups_read(role_options[role].name, groups_of_role(options, role), groups, reterr) < 0)
            return -1;
        access->open &= groups->count == 0;
        remedy_write(access, options, role);
    }
    return 0;
}

/* ---- A peer ------------------------------------------------------------------------------------------------------ */

static bool group_gives(const struct access_groups *groups, gid_t gid)
{
    for (size_t i = 0; i < groups->count; i++)
        if (groups->gids[i] == gid)
            return true;
    return false;
}

static enum rpc_role role_of_group(const struct access *access, gid_t gid)
{
    enum rpc_role role = RPC_ROLE_ADMIN;
    while (role > RPC_ROLE_NONE && !group_gives(&access->groups[role], gid))
        role--;
    return role;
}

/* 0, and only the group of SO_PEERCRED counts, when the kernel can't tell. The caller frees *ret. */
static size_t supplementary_groups(int fd, gid_t **ret)
{
    socklen_t size = 64 * sizeof **ret;
    *ret = mem_alloc(size);
    int status = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, *ret, &size);
    if (status < 0 && errno == ERANGE && size <= GROUPS_MAX * sizeof **ret) {
        *ret = mem_realloc(*ret, size); /* the kernel has put in it what is needed */
        status = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, *ret, &size);
    }
    return status < 0 ? 0 : size / sizeof **ret;
}

bool access_is_own(const struct ucred *peer)
{
    return peer->uid == 0 || peer->uid == geteuid();
}

enum rpc_role access_role(const struct access *access, int fd, const struct ucred *peer)
{
    if (access->open || access_is_own(peer))
        return RPC_ROLE_ADMIN;
    gid_t *gids;
    size_t count = supplementary_groups(fd, &gids);
    enum rpc_role role = role_of_group(access, peer->gid);
    for (size_t i = 0; i < count; i++) {
        enum rpc_role found = role_of_group(access, gids[i]);
        role = found > role ? found : role;
    }
    free(gids);
    return role;
}
