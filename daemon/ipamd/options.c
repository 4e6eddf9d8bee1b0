#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum option_type { OPTION_PATH, OPTION_NUMBER, OPTION_OCTAL, OPTION_CHOICE, OPTION_FLAG };

struct option_row {
    const char *name, *metavar;
    enum option_type type;
    size_t offset;          /* in struct options */
    const char *by_default; /* as it would be written; NULL for a flag */
    uint64_t min, max;      /* numbers */
    const char *choices;    /* "text|json" */
    const char *help;
};

#define AT(field) offsetof(struct options, field)

static const struct option_row rows[] = {
    {"socket", "PATH", OPTION_PATH, AT(socket), "/run/ipamd/ipamd.sock", 0, 0, NULL, "where ipamd serves gRPC"},
    {"events", "PATH", OPTION_PATH, AT(events), "/run/ipamd/events.sock", 0, 0, NULL,
     "where changes are published (taken, not used yet)"},
    {"state-dir", "DIR", OPTION_PATH, AT(state_dir), "/var/lib/ipamd", 0, 0, NULL,
     "where the database lives; one ipamd a directory"},
    {"socket-mode", "MODE", OPTION_OCTAL, AT(socket_mode), "0660", 0, 0777, NULL,
     "permissions of the socket, in octal"},
    {"log-format", "FORMAT", OPTION_CHOICE, AT(log_format), "text", 0, 0, "text|json", "how log lines on stderr look"},
    {"max-connections", "N", OPTION_NUMBER, AT(max_connections), "4096", 1, 1000000, NULL, "clients connected at once"},
    {"max-streams", "N", OPTION_NUMBER, AT(max_streams), "1024", 1, 65536, NULL, "calls at once on one connection"},
    {"max-message", "BYTES", OPTION_NUMBER, AT(max_message), "4194304", 1024, 67108864, NULL,
     "size of one message, request or reply"},
    {"max-header-list", "BYTES", OPTION_NUMBER, AT(max_header_list), "16384", 1024, 1048576, NULL,
     "size of one call's headers"},
    {"max-unread", "BYTES", OPTION_NUMBER, AT(max_unread), "16777216", 4194304, 1073741824, NULL,
     "replies that may wait to be read by a client; at half of it its further calls wait"},
    {"history-limit", "N", OPTION_NUMBER, AT(history_limit), "0", 0, INT64_MAX, NULL,
     "changes kept in the history at least; 0 keeps all"},
    {"shutdown-timeout", "SECONDS", OPTION_NUMBER, AT(shutdown_timeout), "10", 0, 3600, NULL,
     "how long SIGTERM waits for calls in flight"},
    {"check", NULL, OPTION_FLAG, AT(check), NULL, 0, 0, NULL,
     "read the whole database, say whether it is sound, and exit; changes nothing"},
    {"help", NULL, OPTION_FLAG, AT(help), NULL, 0, 0, NULL, "print this and exit"},
    {"version", NULL, OPTION_FLAG, AT(version), NULL, 0, 0, NULL, "print the version and exit"},
};

#define N_ROWS (sizeof rows / sizeof *rows)

/* ---- One value --------------------------------------------------------------------------------------------------- */

static int parse_path(const struct option_row *row, const char *text, void *ret, struct ipam_error *reterr)
{
    if (*text == '\0')
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "--%s is empty: write a path such as %s", row->name,
                              row->by_default);
    *(const char **)ret = text;
    return 0;
}

static int parse_digits(const struct option_row *row, const char *text, int base, uint64_t *ret)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, base);
    if (*text < '0' || *text > '9' || *end || errno || value < row->min || value > row->max)
        return -1;
    *ret = value;
    return 0;
}

static int parse_number(const struct option_row *row, const char *text, void *ret, struct ipam_error *reterr)
{
    if (parse_digits(row, text, 10, ret) == 0)
        return 0;
    return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                          "--%s %s can't be used: write a whole number from %" PRIu64 " to %" PRIu64, row->name, text,
                          row->min, row->max);
}

static int parse_octal(const struct option_row *row, const char *text, void *ret, struct ipam_error *reterr)
{
    if (parse_digits(row, text, 8, ret) == 0)
        return 0;
    return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                          "--%s %s can't be used: write permissions in octal, from 0 to 0%" PRIo64, row->name, text,
                          row->max);
}

static int parse_choice(const struct option_row *row, const char *text, void *ret, struct ipam_error *reterr)
{
    size_t length = strlen(text);
    for (const char *choice = row->choices; choice && *choice;) {
        size_t size = strcspn(choice, "|");
        if (size == length && memcmp(choice, text, size) == 0) {
            *(const char **)ret = text;
            return 0;
        }
        choice += size + (choice[size] == '|');
    }
    return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "--%s %s can't be used: write one of %s", row->name,
                          text, row->choices);
}

static int parse_flag(const struct option_row *row, const char *text, void *ret, struct ipam_error *reterr)
{
    (void)row, (void)text, (void)reterr;
    *(bool *)ret = true;
    return 0;
}

static int (*const parsers[])(const struct option_row *, const char *, void *, struct ipam_error *) = {
    [OPTION_PATH] = parse_path,     [OPTION_NUMBER] = parse_number, [OPTION_OCTAL] = parse_octal,
    [OPTION_CHOICE] = parse_choice, [OPTION_FLAG] = parse_flag,
};

static int row_set(const struct option_row *row, const char *text, struct options *options, struct ipam_error *reterr)
{
    return parsers[row->type](row, text, (char *)options + row->offset, reterr);
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

static int usage_error(int found, char *const argv[], struct ipam_error *reterr)
{
    const char *argument = argv[optind - 1];
    if (found == ':')
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "%s needs a value: see --help", argument);
    return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "unknown option %s: see --help for those there are",
                          argument);
}

int options_parse(int argc, char *const argv[], struct options *ret, struct ipam_error *reterr)
{
    struct options options = {0};
    struct option longopts[N_ROWS + 1] = {0};
    for (size_t i = 0; i < N_ROWS; i++) {
        longopts[i] = (struct option){
            .name = rows[i].name, .has_arg = rows[i].metavar ? required_argument : no_argument, .val = 256 + (int)i};
        if (rows[i].by_default && row_set(&rows[i], rows[i].by_default, &options, reterr) < 0)
            return -1;
    }
    optind = 0; /* glibc: start afresh */
    int found;
    while ((found = getopt_long(argc, argv, ":", longopts, NULL)) != -1) {
        if (found < 256)
            return usage_error(found, argv, reterr);
        if (row_set(&rows[found - 256], optarg, &options, reterr) < 0)
            return -1;
    }
    if (optind < argc)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "unexpected argument %s: ipamd takes options only",
                              argv[optind]);
    *ret = options;
    return 0;
}

static void row_help(FILE *out, const struct option_row *row)
{
    char left[64];
    snprintf(left, sizeof left, "--%s%s%s", row->name, row->metavar ? " " : "", row->metavar ? row->metavar : "");
    fprintf(out, "  %-26s %s", left, row->help);
    if (row->choices)
        fprintf(out, " (%s)", row->choices);
    if (row->type == OPTION_NUMBER)
        fprintf(out, " (%" PRIu64 " to %" PRIu64 ")", row->min, row->max);
    if (row->by_default)
        fprintf(out, " [%s]", row->by_default);
    fputc('\n', out);
}

void options_help(FILE *out)
{
    fputs("ipamd: IP address management for NovaEdge VIPs\n\nUsage: ipamd [options]\n\n", out);
    for (size_t i = 0; i < N_ROWS; i++)
        row_help(out, &rows[i]);
    fputs("\nA socket passed by systemd (LISTEN_FDS) is used instead of --socket.\n"
          "SIGTERM and SIGINT stop ipamd once calls in flight are answered; SIGHUP retries a "
          "failed store at once.\n",
          out);
}
