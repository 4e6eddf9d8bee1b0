#include "option_table.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- One value --------------------------------------------------------------------------------------------------- */

static int parse_text(const struct option_row *row, const char *text, void *ret, struct ipam_error *reterr)
{
    if (*text == '\0')
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "--%s is empty: write a %s%s%s", row->name,
                              row->metavar, row->by_default ? " such as " : "", row->by_default ? row->by_default : "");
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

static int parse_list(const struct option_row *row, const char *text, void *ret, struct ipam_error *reterr)
{
    struct option_list *list = ret;
    if (list->count == OPTION_LIST_MAX)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "--%s is given more than %d times: give fewer",
                              row->name, OPTION_LIST_MAX);
    if (parse_text(row, text, &list->items[list->count], reterr) < 0)
        return -1;
    list->count++;
    return 0;
}

static int (*const parsers[])(const struct option_row *, const char *, void *, struct ipam_error *) = {
    [OPTION_TEXT] = parse_text,     [OPTION_NUMBER] = parse_number, [OPTION_OCTAL] = parse_octal,
    [OPTION_CHOICE] = parse_choice, [OPTION_FLAG] = parse_flag,     [OPTION_LIST] = parse_list,
};

static int row_set(const struct option_row *row, const char *text, void *options, struct ipam_error *reterr)
{
    return parsers[row->type](row, text, (char *)options + row->offset, reterr);
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

#define FIRST_ROW 256 /* what getopt_long gives for row 0: beyond every character */

static size_t row_count(const struct option_table *table)
{
    return table->n_rows + (table->shared ? table->shared->n_rows : 0);
}

/* The program's own rows first, then the shared ones. */
static const struct option_row *row_at(const struct option_table *table, size_t i)
{
    return i < table->n_rows ? &table->rows[i] : &table->shared->rows[i - table->n_rows];
}

static int usage_error(int found, char *const argv[], struct ipam_error *reterr)
{
    const char *argument = argv[optind - 1];
    if (found == ':')
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "%s needs a value: see --help", argument);
    return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "unknown option %s: see --help for those there are",
                          argument);
}

static int defaults_set(const struct option_table *table, void *ret, struct ipam_error *reterr)
{
    for (size_t i = 0; i < row_count(table); i++) {
        const struct option_row *row = row_at(table, i);
        if (row->by_default && row_set(row, row->by_default, ret, reterr) < 0)
            return -1;
    }
    return 0;
}

/* As getopt_long wants them; the caller frees. NULL: no memory. */
static struct option *long_options(const struct option_table *table)
{
    struct option *options = calloc(row_count(table) + 1, sizeof *options);
    for (size_t i = 0; options && i < row_count(table); i++)
        options[i] = (struct option){
            .name = row_at(table, i)->name,
            .has_arg = row_at(table, i)->metavar ? required_argument : no_argument,
            .val = FIRST_ROW + (int)i,
        };
    return options;
}

static int arguments_parse(const struct option_table *table, const struct option *longopts, int argc,
                           char *const argv[], void *ret, struct ipam_error *reterr)
{
    int found;
    optind = 0; /* glibc: start afresh */
    while ((found = getopt_long(argc, argv, ":", longopts, NULL)) != -1) {
        if (found < FIRST_ROW)
            return usage_error(found, argv, reterr);
        if (row_set(row_at(table, (size_t)(found - FIRST_ROW)), optarg, ret, reterr) < 0)
            return -1;
    }
    if (optind < argc)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "unexpected argument %s: %s takes options only",
                              argv[optind], table->program);
    return 0;
}

int option_table_parse(const struct option_table *table, int argc, char *const argv[], void *ret,
                       struct ipam_error *reterr)
{
    struct option *longopts = long_options(table);
    void *options = calloc(1, table->size);
    int status = longopts && options
                     ? defaults_set(table, options, reterr)
                     : ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "no memory for the command line");
    status = status ? status : arguments_parse(table, longopts, argc, argv, options, reterr);
    if (status == 0)
        memcpy(ret, options, table->size);
    free(options);
    free(longopts);
    return status;
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
    if (row->type == OPTION_LIST)
        fprintf(out, " (may be given several times)");
    if (row->by_default)
        fprintf(out, " [%s]", row->by_default);
    fputc('\n', out);
}

void option_table_help(const struct option_table *table, FILE *out)
{
    fprintf(out, "%s: %s\n\nUsage: %s [options]\n\n", table->program, table->summary, table->program);
    for (size_t i = 0; i < row_count(table); i++)
        row_help(out, row_at(table, i));
    fprintf(out, "\n%s", table->footer);
}
