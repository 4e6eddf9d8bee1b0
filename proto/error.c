#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <ipam/error.h>

struct reason_row {
    const char *name;
    enum ipam_status status;
    enum ipam_exit exit_class;
    const char *summary, *remedy;
};

#define IPAM_ERROR_ROW(name, number, status, exit_class, summary, remedy) \
    [number] = {#name, IPAM_STATUS_##status, IPAM_EXIT_##exit_class, summary, remedy},
static const struct reason_row reasons[] = {
    [IPAM_REASON_NONE] = {"", IPAM_STATUS_UNKNOWN, IPAM_EXIT_FAILURE, "", ""},
#include <ipam/errors.def>
};
#undef IPAM_ERROR_ROW

#define N_REASONS (sizeof(reasons) / sizeof(reasons[0]))

/* The exit class is for errors without a known reason: from a newer ipamd, or from no ipamd at all.
 */
static const struct status_row {
    const char *name;
    enum ipam_exit exit_class;
} statuses[] = {
    [IPAM_STATUS_OK] = {"OK", IPAM_EXIT_OK},
    [IPAM_STATUS_CANCELLED] = {"CANCELLED", IPAM_EXIT_FAILURE},
    [IPAM_STATUS_UNKNOWN] = {"UNKNOWN", IPAM_EXIT_FAILURE},
    [IPAM_STATUS_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", IPAM_EXIT_USAGE},
    [IPAM_STATUS_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", IPAM_EXIT_TIMEOUT},
    [IPAM_STATUS_NOT_FOUND] = {"NOT_FOUND", IPAM_EXIT_NOT_FOUND},
    [IPAM_STATUS_ALREADY_EXISTS] = {"ALREADY_EXISTS", IPAM_EXIT_CONFLICT},
    [IPAM_STATUS_PERMISSION_DENIED] = {"PERMISSION_DENIED", IPAM_EXIT_DENIED},
    [IPAM_STATUS_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", IPAM_EXIT_EXHAUSTED},
    [IPAM_STATUS_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", IPAM_EXIT_REFUSED},
    [IPAM_STATUS_ABORTED] = {"ABORTED", IPAM_EXIT_CONFLICT},
    [IPAM_STATUS_OUT_OF_RANGE] = {"OUT_OF_RANGE", IPAM_EXIT_USAGE},
    [IPAM_STATUS_UNIMPLEMENTED] = {"UNIMPLEMENTED", IPAM_EXIT_USAGE},
    [IPAM_STATUS_INTERNAL] = {"INTERNAL", IPAM_EXIT_FAILURE},
    [IPAM_STATUS_UNAVAILABLE] = {"UNAVAILABLE", IPAM_EXIT_UNAVAILABLE},
    [IPAM_STATUS_DATA_LOSS] = {"DATA_LOSS", IPAM_EXIT_FAILURE},
    [IPAM_STATUS_UNAUTHENTICATED] = {"UNAUTHENTICATED", IPAM_EXIT_DENIED},
};

#define N_STATUSES (sizeof(statuses) / sizeof(statuses[0]))

/* ---- Text ---- */

/* Lead bytes of UTF-8 and the least code point that each length may write (RFC 3629). */
static const struct utf8_row {
    uint8_t mask, lead;
    unsigned int length;
    uint32_t least;
} utf8_rows[] = {
    {0x80, 0x00, 1, 0},
    {0xe0, 0xc0, 2, 0x80},
    {0xf0, 0xe0, 3, 0x800},
    {0xf8, 0xf0, 4, 0x10000},
};

/* Reads one character at text[0]; its length in bytes, or 0 when there is no valid one. */
static unsigned int utf8_read(const uint8_t *text, uint32_t *ret)
{
    for (size_t i = 0; i < sizeof(utf8_rows) / sizeof(utf8_rows[0]); i++) {
        const struct utf8_row *row = &utf8_rows[i];
        uint32_t code;

        if ((text[0] & row->mask) != row->lead)
            continue;
        code = text[0] & (uint8_t)~row->mask;
        for (unsigned int k = 1; k < row->length; k++) {
            if ((text[k] & 0xc0) != 0x80) /* also stops at the NUL */
                return 0;
            code = code << 6 | (text[k] & 0x3f);
        }
        if (code < row->least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return 0;
        *ret = code;
        return row->length;
    }
    return 0;
}

/* Controls, line and paragraph separators, and what turns the direction of text around. */
static bool printable(uint32_t code)
{
    return code >= 0x20 && !(code >= 0x7f && code < 0xa0) && !(code >= 0x2028 && code <= 0x202e) &&
           !(code >= 0x2066 && code <= 0x2069) && code != 0xfeff;
}

/* Copies `text` as printable UTF-8 on one line, cut before the first character that does not fit
 * whole. */
static void copy_printable(char *to, size_t size, const char *text)
{
    const uint8_t *from = (const uint8_t *)text;
    size_t used = 0;

    while (*from) {
        uint32_t code;
        unsigned int length = utf8_read(from, &code);

        if (length > 0 && printable(code)) {
            if (used + length >= size)
                break;
            memcpy(to + used, from, length);
            used += length;
            from += length;
        } else {
            if (used + 4 >= size)
                break;
            used += (size_t)snprintf(to + used, 5, "\\x%02X", *from);
            from++;
        }
    }
    to[used] = '\0';
}

/* ---- Errors ---- */

static const struct reason_row *reason_row(enum ipam_reason reason)
{
    size_t i = (size_t)reason;

    return i < N_REASONS && reasons[i].name ? &reasons[i] : &reasons[IPAM_REASON_NONE];
}

int ipam_error_set(struct ipam_error *reterr, enum ipam_reason reason, const char *format, ...)
{
    /* Twice the message, so that what vsnprintf cuts is never what decides where the message ends.
     */
    char text[2 * sizeof(reterr->message)];
    va_list args;

    if (!reterr)
        return -1;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    reterr->status = reason_row(reason)->status;
    reterr->reason = reason;
    reterr->n_details = 0;
    copy_printable(reterr->message, sizeof(reterr->message), text);
    return -1;
}

void ipam_error_add(struct ipam_error *reterr, const char *key, const char *value)
{
    struct ipam_error_detail *detail;

    if (!reterr || reterr->n_details >= IPAM_ERROR_DETAILS)
        return;
    detail = &reterr->details[reterr->n_details++];
    copy_printable(detail->key, sizeof(detail->key), key);
    copy_printable(detail->value, sizeof(detail->value), value);
}

int ipam_error_prefix(struct ipam_error *reterr, const char *format, ...)
{
    char text[2 * sizeof(reterr->message)];
    size_t used;
    va_list args;

    if (!reterr)
        return -1;
    va_start(args, format);
    vsnprintf(text, sizeof(text) / 2, format, args);
    va_end(args);
    used = strlen(text);
    snprintf(text + used, sizeof(text) - used, ": %s", reterr->message);
    copy_printable(reterr->message, sizeof(reterr->message), text);
    return -1;
}

const char *ipam_reason_name(enum ipam_reason reason)
{
    return reason_row(reason)->name;
}

enum ipam_reason ipam_reason_parse(const char *name)
{
    for (size_t i = 1; i < N_REASONS; i++) {
        if (reasons[i].name && strcmp(reasons[i].name, name) == 0)
            return (enum ipam_reason)i;
    }
    return IPAM_REASON_NONE;
}

enum ipam_status ipam_reason_status(enum ipam_reason reason)
{
    return reason_row(reason)->status;
}

const char *ipam_reason_summary(enum ipam_reason reason)
{
    return reason_row(reason)->summary;
}

const char *ipam_reason_remedy(enum ipam_reason reason)
{
    return reason_row(reason)->remedy;
}

const char *ipam_status_name(enum ipam_status status)
{
    size_t i = (size_t)status;

    return statuses[i < N_STATUSES ? i : IPAM_STATUS_UNKNOWN].name;
}

int ipam_error_exit_code(const struct ipam_error *error)
{
    size_t i = (size_t)error->status;
    const struct reason_row *row = reason_row(error->reason);

    if (row != &reasons[IPAM_REASON_NONE])
        return (int)row->exit_class;
    return (int)statuses[i < N_STATUSES ? i : IPAM_STATUS_UNKNOWN].exit_class;
}
