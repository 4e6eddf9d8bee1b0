/* output.h: how answers are shown: tables for people, JSON, YAML and names for programs.
 *
 * Used by every command; a kind of object brings a table of columns (views.h) and no printing of its own. It knows no
 * call and no socket, and reads no clock: the present, for ages, is a field.
 */
#ifndef IPAMC_OUTPUT_H
#define IPAMC_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include <ipam/error.h>

#include "arena.h"

enum output_format { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_NAME };

struct output {
    FILE *out;
    enum output_format format;
    int64_t now;         /* seconds since the epoch, for ages */
    struct arena *arena; /* texts of cells */
};

/* Cells are made safe to print by the table; "" is shown as <none>. */
struct column {
    const char *header;
    bool wide; /* with -o wide only */
    const char *(*cell)(const struct output *output, const void *row);
};

struct view {
    const struct column *columns;
    size_t n_columns;
    const char *(*name)(const struct output *output, const void *row); /* -o name: "proxyippool/main-vip-pool" */
};

/* Rows that come one by one: columns are as wide as what was printed so far needed. Zeroes but for the view. */
#define OUTPUT_COLUMNS_MAX 16
struct output_stream {
    const struct view *view;
    size_t widths[OUTPUT_COLUMNS_MAX];
    bool begun; /* the headers stand */
};

extern const char *const output_format_names[]; /* in the order of the enum */
#define OUTPUT_FORMATS 5

bool output_is_structured(const struct output *output); /* JSON or YAML */

/* Rows as a table (columns as wide as their widest cell and three spaces, the last one bare) or as names. */
void output_rows(const struct output *output, const struct view *view, const void *const *rows, size_t count);

/* The next row, after the headers if it is the first; with OUTPUT_NAME its name. */
void output_stream_row(const struct output *output, struct output_stream *stream, const void *row);

/* One value of several: a line of JSON, or a YAML document with --- before it. Takes over the reference. */
void output_stream_json(const struct output *output, json_t *json);

/* In JSON, or in YAML with OUTPUT_YAML. output_json takes over the reference. */
void output_json(const struct output *output, json_t *json);
void output_message(const struct output *output, const ProtobufCMessage *message);

/* "5h"; "<unknown>" without a time. */
const char *output_age(const struct output *output, bool known, int64_t since);

/* {status, reason, message, details, remedy}. A new reference. */
json_t *output_error_json(const struct ipam_error *error);

/* An error on `err` for a person, with its remedy on a second line, or with OUTPUT_JSON as an object
 * {"error": …} on one line. */
void output_error(FILE *err, enum output_format format, const struct ipam_error *error);

#endif
