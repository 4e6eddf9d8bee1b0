#include "internal.h"

#define LABEL_MAX 63 /* RFC 1123 section 2.1, RFC 1035 section 2.3.4 */

struct utf8_form {
    uint8_t mask, lead;
    unsigned int more; /* bytes that follow */
    uint32_t least;    /* smaller ones are written shorter */
};

static const struct utf8_form utf8_forms[] = {
    {0x80, 0x00, 0, 0x20}, /* and no control characters */
    {0xe0, 0xc0, 1, 0xa0}, /* and none of those of ISO 6429, U+0080 to U+009F */
    {0xf0, 0xe0, 2, 0x800},
    {0xf8, 0xf0, 3, 0x10000},
};

/* Bytes of the printable character at `text`, 0 if it is none. */
static size_t character_size(const uint8_t *text)
{
    for (size_t i = 0; i < sizeof(utf8_forms) / sizeof(*utf8_forms); i++) {
        const struct utf8_form *form = &utf8_forms[i];
        uint32_t code = text[0] & (uint8_t)~form->mask;

        if ((text[0] & form->mask) != form->lead)
            continue;
        for (unsigned int n = 1; n <= form->more; n++) {
            if ((text[n] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (text[n] & 0x3f);
        }
        if (code < form->least || code == 0x7f || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff)
            return 0;
        return form->more + 1;
    }
    return 0;
}

#define EACH_BYTE(value) (0x0101010101010101u * (value))

/* True if all eight bytes are printable ASCII: none below a space, none a DEL, none above. */
static bool ascii_word(const char *text)
{
    uint64_t word, deleted;

    memcpy(&word, text, sizeof(word));
    deleted = (word ^ EACH_BYTE(0x7f)) - EACH_BYTE(0x01);
    return !((word | (word - EACH_BYTE(0x20)) | deleted) & EACH_BYTE(0x80));
}

/* Most names are ASCII and are read eight bytes at a time: this runs for every allocation. */
bool text_printable(const char *text, size_t max)
{
    size_t size = strnlen(text, max + 1), at = 0;

    if (size > max)
        return false;
    while (at + 8 <= size && ascii_word(text + at))
        at += 8;
    if (at && at + 8 > size && ascii_word(text + size - 8))
        return true;
    while (at < size) {
        size_t character = character_size((const uint8_t *)text + at);

        if (!character)
            return false;
        at += character;
    }
    return true;
}

static bool label_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool text_pool_name(const char *text)
{
    size_t size = strnlen(text, ENGINE_NAME_MAX + 1), label = 0;

    if (!size || size > ENGINE_NAME_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        bool edge = !label || !text[i + 1] || text[i + 1] == '.';

        if (text[i] == '.') {
            if (!label || !text[i + 1])
                return false;
            label = 0;
        } else if (++label > LABEL_MAX || !(label_character(text[i]) || (text[i] == '-' && !edge && label > 1))) {
            return false;
        }
    }
    return true;
}

/* ---- Owners ---- */

static int check_owner_part(const char *text, const char *what, size_t max, bool may_be_empty,
                            struct ipam_error *reterr)
{
    if (text_empty(text))
        return may_be_empty ? 0
                            : ipam_error_set(reterr, IPAM_REASON_INVALID_OWNER,
                                             "invalid owner: the %s is empty; give a kind such as "
                                             "ProxyVIP and a name such as web-vip",
                                             what);
    if (text_printable(text, max))
        return 0;
    if (strnlen(text, max + 1) > max)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_OWNER,
                              "invalid owner: the %s is longer than %zu bytes: %.40s…; give a "
                              "shorter one",
                              what, max, text);
    return ipam_error_set(reterr, IPAM_REASON_INVALID_OWNER,
                          "invalid owner: the %s \"%s\" is not printable UTF-8; leave control "
                          "characters out",
                          what, text);
}

static int check_kind(const char *kind, struct ipam_error *reterr)
{
    if (check_owner_part(kind, "kind", ENGINE_NAME_MAX, false, reterr) < 0)
        return -1;
    if (strchr(kind, '/'))
        return ipam_error_set(reterr, IPAM_REASON_INVALID_OWNER,
                              "invalid owner: the kind \"%s\" has a slash in it; give a kind such "
                              "as ProxyVIP",
                              kind);
    return 0;
}

int text_check_owner(const struct owner_ref *owner, struct ipam_error *reterr)
{
    if (check_kind(owner->kind, reterr) < 0 ||
        check_owner_part(owner->name, "name", ENGINE_NAME_MAX, false, reterr) < 0)
        return -1;
    return check_owner_part(owner->uid, "uid", ENGINE_UID_MAX, true, reterr);
}

int text_check_new_owner(const struct owner_ref *owner, size_t max, struct ipam_error *reterr)
{
    if (!max)
        return 0;
    if (check_owner_part(owner->kind, "kind", max, false, reterr) < 0)
        return -1;
    return check_owner_part(owner->name, "name", max, false, reterr);
}

/* ---- Pools ---- */

int text_check_new_pool(const char *name, size_t max, struct ipam_error *reterr)
{
    if (!max || strnlen(name, max + 1) <= max)
        return 0;
    ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                   "invalid pool spec: the name %.40s… is longer than %zu bytes; give a shorter one", name, max);
    ipam_error_add(reterr, "pool", name);
    return -1;
}

static int check_entries(const char *name, const char *field, const struct string_list *list, struct ipam_error *reterr)
{
    for (size_t i = 0; i < list->count; i++)
        if (!text_printable(list->items[i], ENGINE_ADDRESS_MAX))
            return ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                                  "invalid pool spec: %s: %s: \"%.64s\" is longer than %d bytes or "
                                  "not printable; write an address, a range or a CIDR",
                                  name, field, list->items[i], ENGINE_ADDRESS_MAX);
    return 0;
}

static int check_pool_limits(const char *name, const struct pool_spec *spec, struct ipam_error *reterr)
{
    if (spec->cidrs.count > ENGINE_POOL_ENTRIES_MAX || spec->addresses.count > ENGINE_POOL_ENTRIES_MAX ||
        spec->excluded.count > ENGINE_POOL_ENTRIES_MAX ||
        spec->cidrs.count + spec->addresses.count + spec->excluded.count > ENGINE_POOL_ENTRIES_MAX)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                              "invalid pool spec: %s has more than %d cidrs, addresses and "
                              "excluded; write ranges, or split it into several pools",
                              name, ENGINE_POOL_ENTRIES_MAX);
    if (spec->reuse_delay_seconds > ENGINE_REUSE_DELAY_MAX)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                              "invalid pool spec: %s: a reuse delay of %u seconds is too long; "
                              "write at most %d (ten years)",
                              name, spec->reuse_delay_seconds, ENGINE_REUSE_DELAY_MAX);
    if (!text_printable(spec->uid ? spec->uid : "", ENGINE_UID_MAX))
        return ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                              "invalid pool spec: %s: the uid is longer than %d bytes or not "
                              "printable; give the object's uid, or none",
                              name, ENGINE_UID_MAX);
    return 0;
}

int text_check_pool(const char *name, const struct pool_spec *spec, struct ipam_error *reterr)
{
    int status;

    if (!text_pool_name(name))
        return ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                              "invalid pool spec: \"%.64s\" is no pool name; write lower-case "
                              "letters, digits, '-' and '.', such as main-vip-pool, at most %d "
                              "bytes",
                              name, ENGINE_NAME_MAX);
    status = check_pool_limits(name, spec, reterr);
    if (!status)
        status = check_entries(name, "cidrs", &spec->cidrs, reterr);
    if (!status)
        status = check_entries(name, "addresses", &spec->addresses, reterr);
    if (!status)
        status = check_entries(name, "excluded", &spec->excluded, reterr);
    if (status)
        ipam_error_add(reterr, "pool", name);
    return status;
}

bool text_read_address(const char *text, unsigned int family, struct ipam_addr *ret)
{
    struct ipam_addr address;

    if (!*text || ipam_addr_parse(text, &address, NULL) < 0 || family_index(address.family) != family)
        return false;
    *ret = address;
    return true;
}

bool text_same_address(const char *a, const char *b, unsigned int family)
{
    struct ipam_addr first, second;

    return !strcmp(a, b) || (text_read_address(a, family, &first) && text_read_address(b, family, &second) &&
                             ipam_addr_equal(&first, &second));
}
