#include "options.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "when.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct option_row;

/* Puts `value` (NULL for a flag) into its field. */
typedef int (*option_set)(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                          struct ipam_error *reterr);

static int set_flag(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                    struct ipam_error *reterr);
static int set_text(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                    struct ipam_error *reterr);
static int set_file(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                    struct ipam_error *reterr);
static int set_timeout(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                       struct ipam_error *reterr);
static int set_choice(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                      struct ipam_error *reterr);
static int set_number(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                      struct ipam_error *reterr);

static int set_head(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                    struct ipam_error *reterr);

static const char *const family_names[] = {"ipv4", "ipv6", "dual"};
static const char *const state_names[] = {"waiting", "bound", "cooling"};
static const char *const color_names[] = {"auto", "always", "never"};

static const struct option_row {
    const char *name;
    char letter;
    const char *argument; /* NULL for a flag */
    option_set set;
    size_t offset;
    const char *const *choices; /* set_choice: the words */
    size_t n_choices;
    int first_choice; /* what the first of them stands for; the others count up */
    const char *help;
} rows[OPTION_COUNT] = {
#define FLAG(name, letter, field, help)                                                 \
    {                                                                                   \
        name, letter, NULL, set_flag, offsetof(struct options, field), NULL, 0, 0, help \
    }
#define TEXT(name, argument, field, help)                                              \
    {                                                                                  \
        name, 0, argument, set_text, offsetof(struct options, field), NULL, 0, 0, help \
    }
#define NUMBER(name, argument, field, help)                                              \
    {                                                                                    \
        name, 0, argument, set_number, offsetof(struct options, field), NULL, 0, 0, help \
    }
#define CHOICE(name, letter, argument, field, words, first, help)                                             \
    {                                                                                                         \
        name, letter, argument, set_choice, offsetof(struct options, field), words, COUNT(words), first, help \
    }
    [OPTION_SOCKET] =
        TEXT("socket", "PATH", socket, "socket of ipamd (default $IPAMD_SOCKET, else /run/ipamd/ipamd.sock)"),
    [OPTION_TIMEOUT] = {"timeout", 0, "TIME", set_timeout, 0, NULL, 0, 0,
                        "deadline of a call: 500ms, 10s, 1m (default 10s)"},
    [OPTION_OUTPUT] = {"output", 'o', "FORMAT", set_choice, offsetof(struct options, output), output_format_names,
                       OUTPUT_FORMATS, OUTPUT_TABLE, "table, wide, json, yaml or name"},
    [OPTION_HELP] = FLAG("help", 'h', help, "print help and do nothing else"),
    [OPTION_VERSION] = FLAG("version", 0, version, "print the version and do nothing else"),
    [OPTION_FILE] = {"filename", 'f', "FILE|-|DIR", set_file, 0, NULL, 0, 0,
                     "manifest, standard input, or folder of manifests; repeatable"},
    [OPTION_DRY_RUN] = FLAG("dry-run", 0, dry_run, "say what would happen and change nothing"),
    [OPTION_ENQUEUE] = FLAG("enqueue", 0, enqueue, "wait in the queue for what can't be granted now"),
    [OPTION_REPLACE] = FLAG("replace", 0, replace, "swap the address that the owner holds on other terms"),
    [OPTION_END_COOLING] =
        FLAG("end-cooling", 0, end_cooling, "end the cooling of --address A now, and release nothing"),
    [OPTION_FAMILY] = CHOICE("family", 0, "FAMILY", family, family_names, IPAM__V1__FAMILY__IPV4, "ipv4, ipv6 or dual"),
    [OPTION_ADDRESS] = TEXT("address", "A", address, "this address"),
    [OPTION_IPV6_ADDRESS] = TEXT("ipv6-address", "A", ipv6_address, "this IPv6 address, with --family dual"),
    [OPTION_PREFERRED_ADDRESS] = TEXT("preferred-address", "A", preferred_address, "this address if it can be had"),
    [OPTION_PREFERRED_IPV6_ADDRESS] =
        TEXT("preferred-ipv6-address", "A", preferred_ipv6_address, "this IPv6 address if it can be had"),
    [OPTION_KIND] = TEXT("kind", "K", kind, "kind of the owner"),
    [OPTION_UID] = TEXT("uid", "U", uid, "which incarnation of the owner's name"),
    [OPTION_POOL] = TEXT("pool", "P", pool, "what concerns this pool"),
    [OPTION_STATE] =
        CHOICE("state", 0, "STATE", state, state_names, IPAM__V1__CLAIM_STATE__WAITING, "waiting, bound or cooling"),
    [OPTION_ONLY_IF_UNUSED] = FLAG("only-if-unused", 0, only_if_unused, "refuse to delete a pool that has claims"),
    [OPTION_IGNORE_NOT_FOUND] = FLAG("ignore-not-found", 0, ignore_not_found, "it is no error if it is gone already"),
    [OPTION_LIST] = FLAG("list", 'l', list, "list the methods"),
    [OPTION_WATCH] = FLAG("watch", 'w', watch, "go on with what changes, until Ctrl-C"),
    [OPTION_AFTER] = NUMBER("after", "REVISION", after, "changes after this revision"),
    [OPTION_LIMIT] = NUMBER("limit", "N", limit, "at most so many (default: all)"),
    [OPTION_OWNER] = TEXT("owner", "[KIND/]NAME", owner, "of this owner (of kind ProxyVIP, if none is said)"),
    [OPTION_AT] = TEXT("at", "TIME", at, "at this moment: 2024-01-15T10:30:00Z, -2h or \"2h ago\""),
    [OPTION_FROM] = NUMBER("from", "REVISION", from, "check from this revision on (default: the oldest that is kept)"),
    [OPTION_EXPECT] = {"expect", 0, "REVISION:HASH", set_head, 0, NULL, 0, 0,
                       "fail unless this revision has this hash, as noted from audit head; repeatable"},
    [OPTION_COLOR] = CHOICE("color", 0, "WHEN", color, color_names, TERMINAL_COLOR_AUTO, "auto, always or never"),
};

int usage_error(struct ipam_error *reterr, const char *format, ...)
{
    char what[sizeof(reterr->message)];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "%s", what);
    if (reterr != NULL)
        reterr->reason = IPAM_REASON_NONE;
    return -1;
}

const char *option_name(enum option_id id)
{
    return rows[id].name;
}

/* ---- Setters -------------------------------------------------------------------------------------------------------- */

static int set_flag(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                    struct ipam_error *reterr)
{
    (void)arena, (void)value, (void)reterr;
    *(bool *)((char *)options + row->offset) = true;
    return 0;
}

static int set_text(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                    struct ipam_error *reterr)
{
    (void)arena;
    if (value[0] == '\0')
        return usage_error(reterr, "--%s is empty: write --%s %s", row->name, row->name, row->argument);
    *(const char **)(void *)((char *)options + row->offset) = value;
    return 0;
}

static int set_file(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                    struct ipam_error *reterr)
{
    (void)arena;
    if (value[0] == '\0')
        return usage_error(reterr, "--%s is empty: write --%s %s", row->name, row->name, row->argument);
    options->files[options->n_files++] = value;
    return 0;
}

static int set_timeout(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                       struct ipam_error *reterr)
{
    struct ipam_error why;

    (void)arena, (void)row;
    if (when_timeout_parse(value, &options->timeout_ms, &why) < 0)
        return usage_error(reterr, "--%s", why.message);
    return 0;
}

static int set_choice(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                      struct ipam_error *reterr)
{
    for (size_t i = 0; i < row->n_choices; i++) {
        if (strcmp(value, row->choices[i]) == 0) {
            *(int *)(void *)((char *)options + row->offset) = row->first_choice + (int)i;
            return 0;
        }
    }
    return usage_error(reterr, "--%s %s: write %s%s", row->name, value, row->help,
                       text_did_you_mean(arena, value, row->choices, row->n_choices));
}

/* Revisions and counts: digits alone. */
static int set_number(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                      struct ipam_error *reterr)
{
    size_t digits = strspn(value, "0123456789");
    unsigned long long number;

    (void)arena;
    errno = 0;
    number = strtoull(value, NULL, 10);
    if (digits == 0 || value[digits] != '\0' || errno != 0)
        return usage_error(reterr, "--%s %s: write a number such as --%s 100", row->name, value, row->name);
    *(uint64_t *)(void *)((char *)options + row->offset) = number;
    return 0;
}

/* Two hexadecimal digits; -1: they are none. */
static int read_byte(const char *digits)
{
    static const char all[] = "0123456789abcdef";
    const char *high = digits[0] == '\0' ? NULL : strchr(all, digits[0]);
    const char *low = high == NULL || digits[1] == '\0' ? NULL : strchr(all, digits[1]);

    return low == NULL ? -1 : (int)(high - all) << 4 | (int)(low - all);
}

static bool read_hash(const char *text, uint8_t ret[IPAM_HASH_SIZE])
{
    for (size_t i = 0; i < IPAM_HASH_SIZE; i++) {
        int byte = read_byte(text + 2 * i);
        if (byte < 0)
            return false;
        ret[i] = (uint8_t)byte;
    }
    return text[2 * IPAM_HASH_SIZE] == '\0';
}

static int set_head(struct arena *arena, const struct option_row *row, const char *value, struct options *options,
                    struct ipam_error *reterr)
{
    struct noted_head *head = &options->expected[options->n_expected];
    size_t digits = strspn(value, "0123456789");

    (void)arena;
    errno = 0;
    head->revision = strtoull(value, NULL, 10);
    if (digits == 0 || value[digits] != ':' || errno != 0 || !read_hash(value + digits + 1, head->hash))
        return usage_error(reterr,
                           "--%s %s: write a revision, a colon and 64 hexadecimal digits, as audit head prints them",
                           row->name, value);
    options->n_expected++;
    return 0;
}

/* ---- Parsing -------------------------------------------------------------------------------------------------------- */

struct parser {
    struct arena *arena;
    int argc, next;
    char *const *argv;
    struct options *options;
    struct ipam_error *reterr;
};

static bool is_repeatable(enum option_id id)
{
    return id == OPTION_FILE || id == OPTION_EXPECT;
}

static int apply_option(struct parser *parser, enum option_id id, const char *value)
{
    uint32_t bit = OPTION_BIT(id);

    if ((parser->options->given & bit) != 0 && !is_repeatable(id) && rows[id].argument != NULL)
        return usage_error(parser->reterr, "--%s stands twice: write it once", rows[id].name);
    parser->options->given |= bit;
    return rows[id].set(parser->arena, &rows[id], value, parser->options, parser->reterr);
}

/* The next word as an option's argument. */
static const char *take_argument(struct parser *parser)
{
    return parser->next < parser->argc ? parser->argv[parser->next++] : NULL;
}

static int fail_unknown(struct parser *parser, const char *name)
{
    const char *names[OPTION_COUNT];

    for (size_t i = 0; i < OPTION_COUNT; i++)
        names[i] = arena_printf(parser->arena, "--%s", rows[i].name);
    return usage_error(
        parser->reterr, "unknown option --%s%s", name,
        text_did_you_mean(parser->arena, arena_printf(parser->arena, "--%s", name), names, OPTION_COUNT));
}

/* --name, --name value or --name=value; `text` is what follows the dashes. */
static int parse_long(struct parser *parser, const char *text)
{
    size_t length = strcspn(text, "=");
    const char *name = arena_memdup(parser->arena, text, length),
               *value = text[length] == '=' ? text + length + 1 : NULL;
    enum option_id id = 0;

    while (id < OPTION_COUNT && strcmp(rows[id].name, name) != 0)
        id++;
    if (id == OPTION_COUNT)
        return fail_unknown(parser, name);
    if (rows[id].argument == NULL && value != NULL)
        return usage_error(parser->reterr, "--%s takes no value: write --%s alone", name, name);
    if (rows[id].argument != NULL && value == NULL && (value = take_argument(parser)) == NULL)
        return usage_error(parser->reterr, "--%s needs a value: write --%s %s", name, name, rows[id].argument);
    return apply_option(parser, id, value);
}

/* -o value, -ovalue or several flags in one word; `text` is what follows the dash. */
static int parse_short(struct parser *parser, const char *text)
{
    for (; *text != '\0'; text++) {
        enum option_id id = 0;

        while (id < OPTION_COUNT && rows[id].letter != *text)
            id++;
        if (id == OPTION_COUNT)
            return usage_error(parser->reterr, "unknown option -%c", *text);
        if (rows[id].argument == NULL) {
            if (apply_option(parser, id, NULL) < 0)
                return -1;
            continue;
        }
        const char *value = text[1] != '\0' ? text + 1 + (text[1] == '=') : take_argument(parser);
        if (value == NULL)
            return usage_error(parser->reterr, "-%c needs a value: write -%c %s", *text, *text, rows[id].argument);
        return apply_option(parser, id, value);
    }
    return 0;
}

int options_parse(struct arena *arena, int argc, char *const *argv, struct options *ret, struct ipam_error *reterr)
{
    struct parser parser = {.arena = arena, .argc = argc, .next = 1, .argv = argv, .options = ret, .reterr = reterr};
    bool only_words = false;
    struct ipam_error
        later; /* the first error is told; the rest is read on, so that -o json counts wherever it stands */
    int failed = 0;

    *ret = (struct options){0};
    ret->files = arena_alloc(arena, ((size_t)argc + 1) * sizeof(*ret->files));
    ret->expected = arena_alloc(arena, ((size_t)argc + 1) * sizeof(*ret->expected));
    ret->words = arena_alloc(arena, ((size_t)argc + 1) * sizeof(*ret->words));
    while (parser.next < argc) {
        const char *word = argv[parser.next++];
        int result = 0;
        if (only_words || word[0] != '-' || word[1] == '\0')
            ret->words[ret->n_words++] = word;
        else if (strcmp(word, "--") == 0)
            only_words = true;
        else
            result = word[1] == '-' ? parse_long(&parser, word + 2) : parse_short(&parser, word + 1);
        if (result < 0) {
            failed = -1;
            parser.reterr = &later;
        }
    }
    return failed;
}

void options_help(FILE *out, uint32_t set)
{
    for (enum option_id id = 0; id < OPTION_COUNT; id++) {
        char left[48] = "    ";

        if ((set & OPTION_BIT(id)) == 0)
            continue;
        if (rows[id].letter != '\0')
            snprintf(left, sizeof(left), "-%c, ", rows[id].letter);
        size_t used = strlen(left);
        snprintf(left + used, sizeof(left) - used, "--%s%s%s", rows[id].name, rows[id].argument == NULL ? "" : " ",
                 rows[id].argument == NULL ? "" : rows[id].argument);
        fprintf(out, "  %-36s  %s\n", left, rows[id].help);
    }
}
