#include "commands.h"

#define MANY SIZE_MAX

#define DRY_RUN OPTION_BIT(OPTION_DRY_RUN)
#define OWNER   (OPTION_BIT(OPTION_KIND) | OPTION_BIT(OPTION_UID))
#define DELETE  (DRY_RUN | OPTION_BIT(OPTION_IGNORE_NOT_FOUND))
#define FILTER \
    (OPTION_BIT(OPTION_POOL) | OPTION_BIT(OPTION_KIND) | OPTION_BIT(OPTION_STATE) | OPTION_BIT(OPTION_ADDRESS))
#define WATCH OPTION_BIT(OPTION_WATCH)
#define CHANGES \
    (OPTION_BIT(OPTION_AFTER) | OPTION_BIT(OPTION_POOL) | OPTION_BIT(OPTION_OWNER) | OPTION_BIT(OPTION_KIND))
#define ALLOCATE                                                                                                    \
    (DRY_RUN | OWNER | OPTION_BIT(OPTION_ADDRESS) | OPTION_BIT(OPTION_IPV6_ADDRESS) |                               \
     OPTION_BIT(OPTION_PREFERRED_ADDRESS) | OPTION_BIT(OPTION_PREFERRED_IPV6_ADDRESS) | OPTION_BIT(OPTION_FAMILY) | \
     OPTION_BIT(OPTION_ENQUEUE) | OPTION_BIT(OPTION_REPLACE))

const struct command commands[] = {
    {"apply", NULL, "-f FILE|-|DIR …", 0, 0, cmd_apply, OPTION_BIT(OPTION_FILE) | OPTION_BIT(OPTION_ENQUEUE) | DRY_RUN,
     "Create or edit the pools of manifests, and give their VIPs addresses"},
    {"delete", "pool", "NAME …", 1, MANY, cmd_delete_pools, DELETE | OPTION_BIT(OPTION_ONLY_IF_UNUSED),
     "Delete pools; one that is in use goes with its last claim"},
    {"delete", "vip", "NAME …", 1, MANY, cmd_delete_vips, DELETE, "Give the addresses of VIPs back"},
    {"delete", NULL, "-f FILE|-|DIR …", 0, 0, cmd_delete_files,
     OPTION_BIT(OPTION_FILE) | OPTION_BIT(OPTION_ONLY_IF_UNUSED) | DELETE,
     "Delete what stands in manifests, VIPs first"},
    {"get", "pool", "[NAME …]", 0, MANY, cmd_get_pools, WATCH, "List pools and how full they are"},
    {"get", "vip", "[NAME …]", 0, MANY, cmd_get_vips, OPTION_BIT(OPTION_POOL) | OPTION_BIT(OPTION_STATE) | WATCH,
     "List VIPs and their addresses"},
    {"get", "claim", "[[KIND/]NAME …]", 0, MANY, cmd_get_claims, FILTER | WATCH, "List claims of any kind by address"},
    {"get", "change", "", 0, 0, cmd_get_changes,
     CHANGES | OPTION_BIT(OPTION_ADDRESS) | OPTION_BIT(OPTION_LIMIT) | WATCH, "List what happened, oldest first"},
    {"events", NULL, "", 0, 0, cmd_events, CHANGES | OPTION_BIT(OPTION_ADDRESS) | OPTION_BIT(OPTION_LIMIT),
     "Tell what happens as it happens, until Ctrl-C"},
    {"explain", "vip", "NAME", 1, 1, cmd_explain_vip, 0, "Tell why a VIP has its address, or what it waits for"},
    {"explain", "allocate", "POOL|- [KIND/]OWNER", 2, 2, cmd_explain_allocate, ALLOCATE & ~DRY_RUN,
     "Tell step by step what allocate would do, and why"},
    {"history", NULL, "--address A|--owner NAME", 0, 0, cmd_history,
     OPTION_BIT(OPTION_ADDRESS) | OPTION_BIT(OPTION_OWNER) | OPTION_BIT(OPTION_KIND) | OPTION_BIT(OPTION_AT),
     "Tell who held an address, or what an owner held, from when to when"},
    {"audit", "head", "", 0, 0, cmd_audit_head, 0, "Print the newest revision and its hash, to be noted elsewhere"},
    {"audit", "verify", "", 0, 0, cmd_audit_verify, OPTION_BIT(OPTION_FROM) | OPTION_BIT(OPTION_EXPECT),
     "Check the hash chain of the history, and that it has the heads that were noted"},
    {"map", NULL, "POOL", 1, 1, cmd_map, OPTION_BIT(OPTION_COLOR), "Draw a pool: a cell for each address, or shades"},
    {"describe", "pool", "NAME", 1, 1, cmd_describe_pool, 0, "Show all about a pool"},
    {"describe", "vip", "NAME", 1, 1, cmd_describe_vip, 0, "Show all about a VIP"},
    {"allocate", NULL, "POOL|- [KIND/]OWNER", 2, 2, cmd_allocate, ALLOCATE,
     "Give an owner (of kind Manual, if none is said) an address and print it"},
    {"release", NULL, "[[KIND/]OWNER]", 0, 1, cmd_release,
     DRY_RUN | OWNER | OPTION_BIT(OPTION_ADDRESS) | OPTION_BIT(OPTION_FAMILY) | OPTION_BIT(OPTION_END_COOLING),
     "Give an owner's addresses back, or --address A"},
    {"call", NULL, "METHOD [JSON|-]", 0, 2, cmd_call, OPTION_BIT(OPTION_LIST),
     "Call any method with a message in JSON"},
    {"status", NULL, "", 0, 0, cmd_status, 0, "Show how ipamd is"},
    {"version", NULL, "", 0, 0, cmd_version, 0, "Print the versions of ipamc and ipamd"},
    {"help", NULL, "[COMMAND]", 0, 1, cmd_help, 0, "Print help"},
};
const size_t n_commands = sizeof(commands) / sizeof(commands[0]);
