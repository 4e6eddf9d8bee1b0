/* option_table.h: a command line as one table: parsing, ranges, defaults, errors and --help come from its rows.
 *
 * Called by the main of each program, whose own options.c holds the rows. It must not know what an option is for, and
 * prints nothing but help.
 */
#ifndef IPAM_PROCESS_OPTION_TABLE_H
#define IPAM_PROCESS_OPTION_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <ipam/error.h>

/* What the field at `offset` is. */
enum option_type {
    OPTION_TEXT,   /* const char *, not empty */
    OPTION_NUMBER, /* uint64_t from min to max */
    OPTION_OCTAL,  /* the same, written in octal */
    OPTION_CHOICE, /* const char *, one of `choices` */
    OPTION_FLAG,   /* bool */
    OPTION_LIST,   /* struct option_list: may be given several times */
};

#define OPTION_LIST_MAX 32

/* What an option was given, in order; none is empty. */
struct option_list {
    const char *items[OPTION_LIST_MAX];
    size_t count;
};

struct option_row {
    const char *name, *metavar; /* metavar NULL: a flag */
    enum option_type type;
    size_t offset;          /* in the program's struct */
    const char *by_default; /* as it would be written; NULL: none, the field is zero */
    uint64_t min, max;      /* numbers */
    const char *choices;    /* "text|json" */
    const char *help;
};

struct option_table {
    const char *program, *summary;
    const char *footer; /* of --help; ends in a newline */
    const struct option_row *rows;
    size_t n_rows;
    size_t size; /* of the program's struct */
    /* Rows that several programs have: for the struct that stands first in the program's own. NULL: none. */
    const struct option_table *shared;
};

/* Fills the program's struct at `ret`. 0, or -1 with INVALID_REQUEST: which option, what is wrong with it, what it takes.
 * Texts are borrowed from argv. */
int option_table_parse(const struct option_table *table, int argc, char *const argv[], void *ret,
                       struct ipam_error *reterr);
void option_table_help(const struct option_table *table, FILE *out);

#endif
