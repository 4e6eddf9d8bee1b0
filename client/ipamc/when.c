#include "when.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MINUTE 60
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define YEAR   (365 * DAY)

#define YEAR_1    (-62135596800) /* 0001-01-01T00:00:00Z */
#define YEAR_9999 253402300799   /* 9999-12-31T23:59:59Z */

static const struct timeout_unit {
    const char *suffix;
    double ms;
} timeout_units[] = {
    {"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}, {"h", 3600000},
};

int when_timeout_parse(const char *text, uint32_t *ret_ms, struct ipam_error *reterr)
{
    size_t digits = strspn(text, "0123456789.");
    char *end;
    double number = strtod(text, &end);

    /* strtod also reads signs, exponents and words; only digits and one point are meant. */
    if (digits == 0 || digits > 15 || end != text + digits)
        goto out;
    for (size_t i = 0; i < sizeof(timeout_units) / sizeof(timeout_units[0]); i++) {
        double ms = number * timeout_units[i].ms;
        if (strcmp(end, timeout_units[i].suffix) != 0 || ms < 1 || ms > WHEN_TIMEOUT_MAX_MS)
            continue;
        *ret_ms = (uint32_t)ms;
        return 0;
    }
out:
    return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                          "timeout \"%s\" is not a time from 1ms to 24h: write 10, 10s, 500ms or 1m", text);
}

/* k8s.io/apimachinery, duration.HumanDuration: below a limit, a span is told in a unit and, if not 0, the next smaller. */
static const struct age_row {
    int64_t below, unit;
    char letter;
    int64_t minor;
    char minor_letter;
} age_rows[] = {
    {2 * MINUTE, 1, 's', 0, 0},         {10 * MINUTE, MINUTE, 'm', 1, 's'}, {3 * HOUR, MINUTE, 'm', 0, 0},
    {8 * HOUR, HOUR, 'h', MINUTE, 'm'}, {2 * DAY, HOUR, 'h', 0, 0},         {8 * DAY, DAY, 'd', HOUR, 'h'},
    {2 * YEAR, DAY, 'd', 0, 0},         {8 * YEAR, YEAR, 'y', DAY, 'd'},    {INT64_MAX, YEAR, 'y', 0, 0},
};

const char *when_age(int64_t seconds, char text[WHEN_AGE_MAX])
{
    const struct age_row *row = age_rows;

    if (seconds < -1)
        return strcpy(text, "<invalid>");
    if (seconds < 0)
        seconds = 0;
    while (seconds >= row->below && row->below != INT64_MAX)
        row++;
    int used = snprintf(text, WHEN_AGE_MAX, "%lld%c", (long long)(seconds / row->unit), row->letter);
    int64_t minor = row->minor == 0 ? 0 : seconds % row->unit / row->minor;
    if (minor > 0)
        snprintf(text + used, (size_t)(WHEN_AGE_MAX - used), "%lld%c", (long long)minor, row->minor_letter);
    return text;
}

int when_rfc3339_format(int64_t seconds, int32_t nanos, char text[WHEN_RFC3339_MAX])
{
    struct tm tm;
    time_t time = (time_t)seconds;

    if (seconds < YEAR_1 || seconds > YEAR_9999 || nanos < 0 || nanos > 999999999 || gmtime_r(&time, &tm) == NULL)
        return -1;
    int used =
        snprintf(text, WHEN_RFC3339_MAX, "%04u-%02u-%02uT%02u:%02u:%02u", (unsigned int)(tm.tm_year + 1900) % 10000u,
                 (unsigned int)(tm.tm_mon + 1) % 100u, (unsigned int)tm.tm_mday % 100u, (unsigned int)tm.tm_hour % 100u,
                 (unsigned int)tm.tm_min % 100u, (unsigned int)tm.tm_sec % 100u);
    char *end = text + used;
    if (nanos > 0) {
        end += sprintf(end, ".%09d", (int)nanos % 1000000000);
        while (strncmp(end - 3, "000", 3) == 0)
            end -= 3;
    }
    strcpy(end, "Z");
    return 0;
}

/* Exactly `count` digits, as a number; moves *text past them. -1: they are not there. */
static int take_digits(const char **text, int count)
{
    int number = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (!isdigit((unsigned char)**text))
            return -1;
        number = number * 10 + (**text - '0');
    }
    return number;
}

static bool take_separator(const char **text, const char *any_of)
{
    if (**text == '\0' || strchr(any_of, **text) == NULL)
        return false;
    (*text)++;
    return true;
}

/* ".5" and so on, if it is there. false: a point without 1 to 9 digits. */
static bool take_fraction(const char **text, int32_t *ret_nanos)
{
    int32_t nanos = 0, unit = 100000000;

    *ret_nanos = 0;
    if (!take_separator(text, "."))
        return true;
    if (!isdigit((unsigned char)**text))
        return false;
    for (; isdigit((unsigned char)**text); (*text)++, unit /= 10) {
        if (unit == 0)
            return false;
        nanos += unit * (**text - '0');
    }
    *ret_nanos = nanos;
    return true;
}

/* "Z" or "+01:30", as seconds east of UTC. */
static bool take_offset(const char **text, int *ret_seconds)
{
    int sign = **text == '-' ? -1 : 1;

    *ret_seconds = 0;
    if (take_separator(text, "Zz"))
        return true;
    if (!take_separator(text, "+-"))
        return false;
    int hours = take_digits(text, 2);
    if (hours < 0 || hours > 23 || !take_separator(text, ":"))
        return false;
    int minutes = take_digits(text, 2);
    *ret_seconds = sign * (hours * HOUR + minutes * MINUTE);
    return minutes >= 0 && minutes <= 59;
}

int when_rfc3339_parse(const char *text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    static const struct {
        const char *separator; /* before the part */
        int digits, least, most;
    } parts[] = {{"", 4, 1, 9999},  {"-", 2, 1, 12}, {"-", 2, 1, 31},
                 {"Tt ", 2, 0, 23}, {":", 2, 0, 59}, {":", 2, 0, 59}};
    int values[6], offset;
    int32_t nanos;

    for (size_t i = 0; i < 6; i++) {
        if (parts[i].separator[0] != '\0' && !take_separator(&text, parts[i].separator))
            return -1;
        values[i] = take_digits(&text, parts[i].digits);
        if (values[i] < parts[i].least || values[i] > parts[i].most)
            return -1;
    }
    if (!take_fraction(&text, &nanos) || !take_offset(&text, &offset) || *text != '\0')
        return -1;
    struct tm tm = {.tm_year = values[0] - 1900,
                    .tm_mon = values[1] - 1,
                    .tm_mday = values[2],
                    .tm_hour = values[3],
                    .tm_min = values[4],
                    .tm_sec = values[5]};
    int64_t seconds = timegm(&tm);
    if (tm.tm_mday != values[2]) /* timegm made 31 February into March */
        return -1;
    seconds -= offset;
    if (seconds < YEAR_1 || seconds > YEAR_9999)
        return -1;
    *ret_seconds = seconds;
    *ret_nanos = nanos;
    return 0;
}

static const struct {
    char letter;
    int64_t seconds;
} span_units[] = {{'s', 1}, {'m', MINUTE}, {'h', HOUR}, {'d', DAY}, {'w', 7 * DAY}};

/* "2h" of "-2h" and "2h ago"; -1: no span. */
static int64_t take_span(const char **text)
{
    int64_t number = 0;
    const char *at = *text;

    for (; isdigit((unsigned char)*at); at++) {
        if (at - *text >= 9)
            return -1;
        number = number * 10 + (*at - '0');
    }
    for (size_t i = 0; at > *text && i < sizeof(span_units) / sizeof(span_units[0]); i++) {
        if (*at == span_units[i].letter) {
            *text = at + 1;
            return number * span_units[i].seconds;
        }
    }
    return -1;
}

int when_moment_parse(const char *text, int64_t now, int64_t *ret_seconds, int32_t *ret_nanos,
                      struct ipam_error *reterr)
{
    const char *rest = text + (text[0] == '-');
    int64_t span = strcmp(text, "now") == 0 ? 0 : take_span(&rest);

    if (when_rfc3339_parse(text, ret_seconds, ret_nanos) == 0)
        return 0;
    if (span < 0 || (strcmp(text, "now") != 0 && strcmp(rest, text[0] == '-' ? "" : " ago") != 0))
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "\"%s\" is not a time: write 2024-01-15T10:30:00Z, -2h or \"2h ago\"", text);
    *ret_seconds = now - span;
    *ret_nanos = 999999999; /* what happened within this second has happened */
    return 0;
}
