#include "base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const char *base64_encode(struct arena *arena, const uint8_t *data, size_t size)
{
    char *text = arena_alloc(arena, (size + 2) / 3 * 4 + 1), *to = text;

    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)data[i] << 16;
        group |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        group |= left > 2 ? data[i + 2] : 0;
        *to++ = alphabet[group >> 18];
        *to++ = alphabet[group >> 12 & 63];
        *to++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
        *to++ = left > 2 ? alphabet[group & 63] : '=';
    }
    *to = '\0';
    return text;
}

static int digit(char c)
{
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);

    if (at != NULL)
        return (int)(at - alphabet);
    at = c == '\0' ? NULL : strchr(url_alphabet, c);
    return at == NULL ? -1 : (int)(at - url_alphabet);
}

int base64_decode(struct arena *arena, const char *text, uint8_t **ret, size_t *ret_size)
{
    size_t length = strlen(text), padded = length;

    while (length > 0 && padded - length < 2 && text[length - 1] == '=')
        length--;
    if (length % 4 == 1 || (padded != length && padded % 4 != 0))
        return -1;
    uint8_t *data = arena_alloc(arena, length / 4 * 3 + 3), *to = data;
    uint32_t group = 0;
    for (size_t i = 0; i < length; i++) {
        int value = digit(text[i]);
        if (value < 0)
            return -1;
        group = group << 6 | (uint32_t)value;
        if (i % 4 > 0)
            *to++ = (uint8_t)(group >> (6 - 2 * (i % 4)));
    }
    *ret = data;
    *ret_size = (size_t)(to - data);
    return 0;
}
