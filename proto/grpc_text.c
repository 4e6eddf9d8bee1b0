#include "grpc_internal.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* PROTOCOL-HTTP2, Percent-Byte-Unencoded: %x20-24 / %x26-7E. A space at either end is no part of a header's value
 * (RFC 9113, 8.2.1) and has a peer reset the call. */
static bool stands_for_itself(const char *text, const char *at)
{
    if (*at == ' ')
        return at != text && at[1] != '\0';
    return *at > 0x20 && *at <= 0x7e && *at != '%';
}

const char *text_percent_encode(struct arena *arena, const char *text, size_t *ret_size)
{
    static const char digits[] = "0123456789ABCDEF";
    char *encoded = arena_alloc(arena, 3 * strlen(text) + 1), *to = encoded;
    for (const char *from = text; *from != '\0'; from++) {
        unsigned char c = (unsigned char)*from;
        if (stands_for_itself(text, from)) {
            *to++ = *from;
        } else {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        }
    }
    *to = '\0';
    *ret_size = (size_t)(to - encoded);
    return encoded;
}

/* What isn't a valid escape stays as it is: the message matters more than its spelling
 * (PROTOCOL-HTTP2 asks for it). */
const char *text_percent_decode(struct arena *arena, const char *text, size_t size)
{
    char *decoded = arena_alloc(arena, size + 1), *to = decoded;
    for (size_t i = 0; i < size; i++) {
        int high = text[i] == '%' && i + 2 < size ? hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low >= 0 && (high | low) != 0) { /* a NUL would cut the string */
            *to++ = (char)(high * 16 + low);
            i += 2;
        } else {
            *to++ = text[i];
        }
    }
    *to = '\0';
    return decoded;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const char *text_base64_encode(struct arena *arena, const uint8_t *data, size_t size, size_t *ret_size)
{
    char *encoded = arena_alloc(arena, size / 3 * 4 + 5), *to = encoded;
    for (size_t i = 0; i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        uint32_t bits = (uint32_t)data[i] << 16;
        bits |= n > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= n > 2 ? (uint32_t)data[i + 2] : 0;
        for (size_t k = 0; k <= n; k++) { /* no padding: gRPC's emitters leave it out */
            *to++ = base64_digits[bits >> (18 - 6 * k) & 63];
        }
    }
    *to = '\0';
    *ret_size = (size_t)(to - encoded);
    return encoded;
}

uint8_t *text_base64_decode(struct arena *arena, const char *text, size_t size, size_t *ret_size)
{
    while (size > 0 && text[size - 1] == '=') {
        size--;
    }
    if (size % 4 == 1) {
        return NULL;
    }
    uint8_t *decoded = arena_alloc(arena, size / 4 * 3 + 3), *to = decoded;
    uint32_t bits = 0;
    for (size_t i = 0; i < size; i++) {
        const char *digit = memchr(base64_digits, text[i], sizeof(base64_digits) - 1);
        if (digit == NULL) {
            return NULL;
        }
        bits = bits << 6 | (uint32_t)(digit - base64_digits);
        if (i % 4 != 0) {
            *to++ = (uint8_t)(bits >> (6 - 2 * (i % 4)));
        }
    }
    *ret_size = (size_t)(to - decoded);
    return decoded;
}

/* PROTOCOL-HTTP2, TimeoutUnit; finest first. */
static const struct {
    char unit;
    uint64_t ns;
} timeout_units[] = {
    {'n', 1}, {'u', 1000}, {'m', 1000000}, {'S', 1000000000}, {'M', 60000000000}, {'H', 3600000000000},
};
#define TIMEOUT_UNITS  (sizeof(timeout_units) / sizeof(timeout_units[0]))
#define TIMEOUT_DIGITS 8

int text_timeout_parse(const char *text, size_t size, uint64_t *ret_ns)
{
    if (size < 2 || size > TIMEOUT_DIGITS + 1) {
        return -1;
    }
    uint64_t value = 0, ns;
    for (size_t i = 0; i + 1 < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    for (size_t i = 0; i < TIMEOUT_UNITS; i++) {
        if (timeout_units[i].unit == text[size - 1]) {
            *ret_ns = __builtin_mul_overflow(value, timeout_units[i].ns, &ns) ? GRPC_NO_DEADLINE : ns;
            return 0;
        }
    }
    return -1;
}

size_t text_timeout_format(uint64_t ns, char text[GRPC_TIMEOUT_TEXT])
{
    size_t unit = 0, n = 0;
    uint64_t value = ns;
    while (value > 99999999 && unit + 1 < TIMEOUT_UNITS) {
        unit++;
        value = ns / timeout_units[unit].ns + (ns % timeout_units[unit].ns != 0);
    }
    char digits[20];
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < n; i++) {
        text[i] = digits[n - 1 - i];
    }
    text[n] = timeout_units[unit].unit;
    text[n + 1] = '\0';
    return n + 1;
}
