/* yaml_out.h: a JSON value as YAML.
 *
 * Used by -o yaml. It knows JSON and nothing of what the values mean. Texts that YAML would read as something else
 * (true, 1, null, empty) stand in quotes, so that reading it back gives the same JSON.
 */
#ifndef IPAMC_YAML_OUT_H
#define IPAMC_YAML_OUT_H

#include <stdio.h>

#include <jansson.h>

/* Write errors stay with the stream (ferror). */
void yaml_write(FILE *out, const json_t *json);

#endif
