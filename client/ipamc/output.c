#include "output.h"

#include <assert.h>
#include <string.h>

#include "json_message.h"
#include "text.h"
#include "when.h"
#include "yaml_out.h"

#define COLUMN_GAP  3 /* as kubectl */
#define STREAM_STEP 4

const char *const output_format_names[OUTPUT_FORMATS] = {"table", "wide", "json", "yaml", "name"};

bool output_is_structured(const struct output *output)
{
    return output->format == OUTPUT_JSON || output->format == OUTPUT_YAML;
}

static const char *cell_text(const struct output *output, const struct column *column, const void *row)
{
    const char *text = column->cell(output, row);
    return text == NULL || text[0] == '\0' ? "<none>" : text_printable(output->arena, text);
}

static void put_cell(const struct output *output, const char *text, size_t width, bool last)
{
    fputs(text, output->out);
    if (last)
        fputc('\n', output->out);
    else
        fprintf(output->out, "%*s", (int)(width + COLUMN_GAP - text_width(text)), "");
}

static size_t choose_columns(const struct output *output, const struct view *view, const struct column **chosen)
{
    size_t count = 0;
    for (size_t i = 0; i < view->n_columns; i++) {
        if (!view->columns[i].wide || output->format == OUTPUT_WIDE)
            chosen[count++] = &view->columns[i];
    }
    return count;
}

static void output_table(const struct output *output, const struct view *view, const void *const *rows, size_t count)
{
    const struct column **columns = arena_alloc(output->arena, view->n_columns * sizeof(*columns));
    size_t n = choose_columns(output, view, columns);
    const char **cells = arena_alloc(output->arena, (count * n + 1) * sizeof(*cells));
    size_t *widths = arena_zalloc(output->arena, n * sizeof(*widths));

    for (size_t c = 0; c < n; c++)
        widths[c] = text_width(columns[c]->header);
    for (size_t i = 0; i < count * n; i++) {
        cells[i] = cell_text(output, columns[i % n], rows[i / n]);
        size_t width = text_width(cells[i]);
        widths[i % n] = width > widths[i % n] ? width : widths[i % n];
    }
    for (size_t c = 0; c < n; c++)
        put_cell(output, columns[c]->header, widths[c], c + 1 == n);
    for (size_t i = 0; i < count * n; i++)
        put_cell(output, cells[i], widths[i % n], (i + 1) % n == 0);
}

void output_rows(const struct output *output, const struct view *view, const void *const *rows, size_t count)
{
    if (output->format != OUTPUT_NAME) {
        output_table(output, view, rows, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        fprintf(output->out, "%s\n", text_printable(output->arena, view->name(output, rows[i])));
}

/* By steps, so that a table whose rows are not known yet seldom gets out of line. */
static void widen(size_t *width, const char *text)
{
    size_t needed = (text_width(text) + STREAM_STEP - 1) / STREAM_STEP * STREAM_STEP;
    *width = needed > *width ? needed : *width;
}

void output_stream_row(const struct output *output, struct output_stream *stream, const void *row)
{
    const struct column *columns[OUTPUT_COLUMNS_MAX];
    const char *cells[OUTPUT_COLUMNS_MAX];

    assert(stream->view->n_columns <= OUTPUT_COLUMNS_MAX);
    if (output->format == OUTPUT_NAME) {
        output_rows(output, stream->view, &row, 1);
        return;
    }
    size_t n = choose_columns(output, stream->view, columns);
    for (size_t c = 0; c < n; c++) {
        cells[c] = cell_text(output, columns[c], row);
        widen(&stream->widths[c], columns[c]->header);
        widen(&stream->widths[c], cells[c]);
    }
    for (size_t c = 0; c < n && !stream->begun; c++)
        put_cell(output, columns[c]->header, stream->widths[c], c + 1 == n);
    stream->begun = true;
    for (size_t c = 0; c < n; c++)
        put_cell(output, cells[c], stream->widths[c], c + 1 == n);
}

void output_stream_json(const struct output *output, json_t *json)
{
    if (output->format == OUTPUT_YAML) {
        fputs("---\n", output->out);
        yaml_write(output->out, json);
    } else {
        json_dumpf(json, output->out, JSON_COMPACT | JSON_ENCODE_ANY);
        fputc('\n', output->out);
    }
    json_decref(json);
}

void output_json(const struct output *output, json_t *json)
{
    if (output->format == OUTPUT_YAML) {
        yaml_write(output->out, json);
    } else {
        json_dumpf(json, output->out, JSON_INDENT(2) | JSON_ENCODE_ANY);
        fputc('\n', output->out);
    }
    json_decref(json);
}

void output_message(const struct output *output, const ProtobufCMessage *message)
{
    output_json(output, json_message_encode(message));
}

const char *output_age(const struct output *output, bool known, int64_t since)
{
    char text[WHEN_AGE_MAX];
    return known ? arena_strdup(output->arena, when_age(output->now - since, text)) : "<unknown>";
}

json_t *output_error_json(const struct ipam_error *error)
{
    json_t *details = json_object();

    for (unsigned int i = 0; i < error->n_details; i++)
        json_object_set_new(details, error->details[i].key, json_text(error->details[i].value));
    return json_pack("{s:s, s:s, s:o, s:o, s:s}", "status", ipam_status_name(error->status), "reason",
                     ipam_reason_name(error->reason), "message", json_text(error->message), "details", details,
                     "remedy", ipam_reason_remedy(error->reason));
}

/* Most messages end with what to do ("…; use another pool", "…: write 10.0.0.0/24"), and the remedy of two reasons only
 * points at the message: saying it twice helps nobody. */
static bool tells_what_to_do(const struct ipam_error *error)
{
    return error->reason == IPAM_REASON_INVALID_REQUEST || error->reason == IPAM_REASON_INVALID_POOL_SPEC ||
           ipam_reason_remedy(error->reason)[0] == '\0' || strstr(error->message, "; ") != NULL ||
           strstr(error->message, ": write ") != NULL;
}

void output_error(FILE *err, enum output_format format, const struct ipam_error *error)
{
    if (format == OUTPUT_JSON) {
        json_t *object = json_pack("{s:o}", "error", output_error_json(error));
        json_dumpf(object, err, JSON_COMPACT);
        fputc('\n', err);
        json_decref(object);
        return;
    }
    fprintf(err, "ipamc: %s\n", error->message);
    if (!tells_what_to_do(error))
        fprintf(err, "       %s\n", ipam_reason_remedy(error->reason));
}
