/* commands.h: the commands of ipamc in one table, and what each is given to work with.
 *
 * main finds the row and calls its handler; help is written from the same rows. A handler returns 0, or -1 with the
 * error that ends the command; what goes wrong with one of several objects is reported by cli_report and the rest goes on.
 */
#ifndef IPAMC_COMMANDS_H
#define IPAMC_COMMANDS_H

#include <ipam/client.h>

#include "options.h"
#include "output.h"

struct cli {
    struct arena arena;
    struct options options;
    struct output output;
    FILE *err;
    const char *const *arguments; /* words after the command's */
    size_t n_arguments;
    struct ipam_client *client; /* by cli_client */
    int exit_code;              /* of the first error that cli_report saw; 0 */
    json_t *results;            /* of apply and delete, by cli_result */
};

typedef int (*command_handler)(struct cli *cli, struct ipam_error *reterr);

struct command {
    const char *verb;
    const char *noun; /* "pool", "vip", "claim", or NULL */
    const char *arguments;
    size_t least, most; /* arguments */
    command_handler handler;
    uint32_t options; /* beside the global ones */
    const char *summary;
};

extern const struct command commands[];
extern const size_t n_commands;

/* The row that the words name; *ret_used is how many of them named it. */
int command_find(struct arena *arena, const struct options *options, const struct command **ret, size_t *ret_used,
                 struct ipam_error *reterr);

/* Refuses options that the command does not take, and too few or too many arguments. */
int command_check(const struct command *command, const struct options *options, size_t n_arguments,
                  struct ipam_error *reterr);

/* What there is, or, with a verb, how it is used. */
void command_help(FILE *out, const char *verb);

/* --socket, --timeout and what else connections of ipamc have. */
void cli_connection(const struct cli *cli, struct ipam_options *ret);

/* Connects with the first call, by --socket and --timeout. */
int cli_client(struct cli *cli, struct ipam_client **ret, struct ipam_error *reterr);

/* Prints an error and remembers its exit code, if it is the first. */
void cli_report(struct cli *cli, const struct ipam_error *error);

/* What became of one of several objects, for -o json and yaml: {"kind", "name", "reply": {…}} or, with an error,
 * {"kind", "name", "error": {…}}; an error is reported as well. cli_print_results prints them all as {"results": […]}. */
void cli_result(struct cli *cli, const char *kind, const char *name, const ProtobufCMessage *reply);
void cli_failure(struct cli *cli, const char *kind, const char *name, const struct ipam_error *error);
void cli_print_results(struct cli *cli);

/* A line for people: on stdout; nothing with -o json or yaml. */
void cli_say(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A remark on stderr: not an answer and not an error. */
void cli_note(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Such a remark about an address that was given, if it is one that not everybody accepts (special.h). */
void cli_note_special(struct cli *cli, const Ipam__V1__Claim *claim);

/* Allocate's arguments and options as a request; explain asks the same. */
void allocate_request(struct cli *cli, Ipam__V1__Owner *owner, Ipam__V1__AllocateRequest *ret);

/* get changes --watch. */
int watch_changes(struct cli *cli, struct ipam_error *reterr);

int cmd_apply(struct cli *cli, struct ipam_error *reterr);
int cmd_delete_files(struct cli *cli, struct ipam_error *reterr);
int cmd_delete_pools(struct cli *cli, struct ipam_error *reterr);
int cmd_delete_vips(struct cli *cli, struct ipam_error *reterr);
int cmd_get_pools(struct cli *cli, struct ipam_error *reterr);
int cmd_get_vips(struct cli *cli, struct ipam_error *reterr);
int cmd_get_claims(struct cli *cli, struct ipam_error *reterr);
int cmd_get_changes(struct cli *cli, struct ipam_error *reterr);
int cmd_history(struct cli *cli, struct ipam_error *reterr);
int cmd_map(struct cli *cli, struct ipam_error *reterr);
int cmd_audit_head(struct cli *cli, struct ipam_error *reterr);
int cmd_audit_verify(struct cli *cli, struct ipam_error *reterr);
int cmd_explain_allocate(struct cli *cli, struct ipam_error *reterr);
int cmd_explain_vip(struct cli *cli, struct ipam_error *reterr);
int cmd_events(struct cli *cli, struct ipam_error *reterr);
int cmd_describe_pool(struct cli *cli, struct ipam_error *reterr);
int cmd_describe_vip(struct cli *cli, struct ipam_error *reterr);
int cmd_allocate(struct cli *cli, struct ipam_error *reterr);
int cmd_release(struct cli *cli, struct ipam_error *reterr);
int cmd_call(struct cli *cli, struct ipam_error *reterr);
int cmd_status(struct cli *cli, struct ipam_error *reterr);
int cmd_version(struct cli *cli, struct ipam_error *reterr);
int cmd_help(struct cli *cli, struct ipam_error *reterr);

#endif
