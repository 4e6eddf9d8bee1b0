#include "yaml_out.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

static void emit_value(yaml_emitter_t *emitter, const json_t *json);

/* Words that YAML 1.1 or 1.2 gives a meaning of its own. */
static bool is_special_word(const char *text)
{
    static const char *const words[] = {"",   "~",   "null", "true", "false", "yes", "no",
                                        "on", "off", "y",    "n",    "<<",    "="};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

/* Anything that starts as a number may be read as one, or as a date or a time of day. */
static bool needs_quotes(const char *text)
{
    return is_special_word(text) || isdigit((unsigned char)text[0]) || strchr("+-.", text[0]) != NULL;
}

static void emit_scalar(yaml_emitter_t *emitter, const char *text, bool quoted)
{
    yaml_event_t event;

    if (yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1,
                                     quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE))
        yaml_emitter_emit(emitter, &event);
}

static void emit_array(yaml_emitter_t *emitter, const json_t *json)
{
    yaml_event_t event;
    size_t i;
    json_t *item;

    yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);
    yaml_emitter_emit(emitter, &event);
    json_array_foreach(json, i, item) emit_value(emitter, item);
    yaml_sequence_end_event_initialize(&event);
    yaml_emitter_emit(emitter, &event);
}

static void emit_object(yaml_emitter_t *emitter, const json_t *json)
{
    yaml_event_t event;
    const char *key;
    json_t *value;

    yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE);
    yaml_emitter_emit(emitter, &event);
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        emit_scalar(emitter, key, needs_quotes(key));
        emit_value(emitter, value);
    }
    yaml_mapping_end_event_initialize(&event);
    yaml_emitter_emit(emitter, &event);
}

static void emit_text(yaml_emitter_t *emitter, const json_t *json)
{
    const char *text = json_string_value(json);
    emit_scalar(emitter, text, needs_quotes(text));
}

/* Numbers, true, false and null are written alike in JSON and YAML. */
static void emit_plain(yaml_emitter_t *emitter, const json_t *json)
{
    char *text = json_dumps(json, JSON_ENCODE_ANY);
    if (text != NULL)
        emit_scalar(emitter, text, false);
    free(text);
}

static void emit_value(yaml_emitter_t *emitter, const json_t *json)
{
    static void (*const emitters[])(yaml_emitter_t *, const json_t *) = {
        [JSON_OBJECT] = emit_object, [JSON_ARRAY] = emit_array, [JSON_STRING] = emit_text, [JSON_INTEGER] = emit_plain,
        [JSON_REAL] = emit_plain,    [JSON_TRUE] = emit_plain,  [JSON_FALSE] = emit_plain, [JSON_NULL] = emit_plain,
    };
    emitters[json_typeof(json)](emitter, json);
}

void yaml_write(FILE *out, const json_t *json)
{
    yaml_emitter_t emitter;
    yaml_event_t event;

    if (!yaml_emitter_initialize(&emitter))
        return;
    yaml_emitter_set_output_file(&emitter, out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING);
    yaml_emitter_emit(&emitter, &event);
    yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1);
    yaml_emitter_emit(&emitter, &event);
    emit_value(&emitter, json);
    yaml_document_end_event_initialize(&event, 1);
    yaml_emitter_emit(&emitter, &event);
    yaml_stream_end_event_initialize(&event);
    yaml_emitter_emit(&emitter, &event);
    yaml_emitter_delete(&emitter);
}
