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

/* ---- Kinds that a group is bound to ------------------------------------------------------------------------------ */

/* In these kinds Kubernetes' objects are owners, known by their uid (docs/architecture.md). */
static const char *const kubernetes_kinds[] = {"ProxyVIP", "Service"};

static bool is_kind(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size <= ENGINE_NAME_MAX && !strchr(text, '/');
}

/* Takes `text` apart. */
static int kinds_read(struct arena *arena, const char *given, char *text, struct string_list *ret,
                      struct ipam_error *reterr)
{
    const char **kinds = arena_alloc(arena, (strlen(text) + 1) * sizeof *kinds);
    for (char *rest = text, *kind; (kind = strsep(&rest, ",")); kinds[ret->count++] = kind)
        if (!is_kind(kind))
            return ipam_error_set(
                reterr, IPAM_REASON_INVALID_REQUEST,
                "--allocate-group %s: \"%.64s\" can't be a kind of owner; write GROUP:KIND,KIND such as "
                "agents:Node,Manual, or GROUP alone",
                given, kind);
    ret->items = kinds;
    return 0;
}

/* "GROUP" or "GROUP:KIND,KIND". */
static int bound_group_read(struct arena *arena, const char *given, struct string_list *ret_kinds,
                            const char **ret_group, struct ipam_error *reterr)
{
    char *text = arena_strdup(arena, given), *colon = strchr(text, ':');
    *ret_group = text;
    *ret_kinds = (struct string_list){NULL, 0};
    if (!colon)
        return 0;
    *colon = '\0';
    return kinds_read(arena, given, colon + 1, ret_kinds, reterr);
}

static int bound_groups_read(const struct option_list *given, struct access *access, struct option_list *ret_groups,
                             struct ipam_error *reterr)
{
    for (ret_groups->count = 0; ret_groups->count < given->count; ret_groups->count++)
        if (bound_group_read(&access->arena, given->items[ret_groups->count], &access->kinds[ret_groups->count],
                             &ret_groups->items[ret_groups->count], reterr) < 0)
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

static void remedy_write(struct access *access, const struct option_list *groups, int role)
{
    char *text = access->remedies[role];
    size_t size = sizeof access->remedies[role];
    if (groups->count > 0)
        snprintf(text, size, "members of the group %.64s have it (--%s)", groups->items[0], role_options[role].name);
    else
        snprintf(text, size, "ipamd's option --%s names groups that have it, and root has it", role_options[role].name);
}

void access_done(struct access *access)
{
    arena_done(&access->arena);
}

int access_init(struct access *access, const struct options *options, struct ipam_error *reterr)
{
    *access = (struct access){.open = true};
    arena_init(&access->arena);
    for (int role = RPC_ROLE_READ; role < RPC_ROLES; role++) {
        struct access_groups *groups = &access->groups[role];
        struct option_list names = *groups_of_role(options, role);
        if (role == RPC_ROLE_ALLOCATE && bound_groups_read(groups_of_role(options, role), access, &names, reterr) < 0)
            return -1;
        if (groups_read(role_options[role].name, &names, groups, reterr) < 0)
            return -1;
        access->open &= groups->count == 0;
        remedy_write(access, &names, role);
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

/* Bit i: the group is the i-th of --allocate-group. */
static uint32_t member_of(const struct access_groups *groups, gid_t gid)
{
    uint32_t member = 0;
    for (size_t i = 0; i < groups->count; i++)
        member |= groups->gids[i] == gid ? UINT32_C(1) << i : 0;
    return member;
}

_Static_assert(OPTION_LIST_MAX <= 32, "a bit for each group");

struct engine_scope access_scope(const struct access *access, int fd, const struct ucred *peer)
{
    const struct access_groups *groups = &access->groups[RPC_ROLE_ALLOCATE];
    gid_t *gids;
    size_t count = supplementary_groups(fd, &gids);
    uint32_t member = member_of(groups, peer->gid);
    for (size_t i = 0; i < count; i++)
        member |= member_of(groups, gids[i]);
    free(gids);
    return (struct engine_scope){
        .groups = access->kinds,
        .member = member,
        .objects = {kubernetes_kinds, sizeof kubernetes_kinds / sizeof *kubernetes_kinds},
    };
}
