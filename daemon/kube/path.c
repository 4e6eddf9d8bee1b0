#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

#define BACKOFF_FIRST_MS 250u
#define BACKOFF_LAST_MS  30000u

static bool is_unreserved(char c)
{
    return c != '\0' && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", c) != NULL;
}

static void escape(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, is_unreserved(*text) ? "%c" : "%%%02X", (unsigned char)*text);
}

char *kube_path(const char *format, ...)
{
    char *path = NULL;
    size_t size;
    FILE *out = open_memstream(&path, &size);
    if (!out)
        abort();
    va_list args;
    va_start(args, format);
    for (const char *at = format; *at; at++) {
        if (*at != '%') {
            fputc(*at, out);
            continue;
        }
        at++;
        assert(*at == 's' || *at == 'u');
        if (*at == 's')
            escape(out, va_arg(args, const char *));
        else
            fprintf(out, "%u", va_arg(args, unsigned int));
    }
    va_end(args);
    if (fclose(out) != 0)
        abort();
    return path;
}

/* Between half and all of the time, so that those who lost the server at the same moment don't come back as one; what the
 * server asked for is kept in any case. */
uint32_t kube_backoff(unsigned int attempt, uint32_t retry_after_ms)
{
    uint32_t doublings = attempt > 1 ? attempt - 1 : 0;
    uint32_t wait = doublings < 7 ? BACKOFF_FIRST_MS << doublings : BACKOFF_LAST_MS;
    wait = wait / 2 + arc4random_uniform(wait / 2 + 1);
    return wait > retry_after_ms ? wait : retry_after_ms + arc4random_uniform(retry_after_ms / 8 + 1);
}
