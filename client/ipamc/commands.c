#include "commands.h"

#include <string.h>

#include "text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What people call the nouns; the first of each row's names is what the table says. */
static const struct {
    const char *word, *noun;
} nouns[] = {
    {"pools", "pool"},        {"pool", "pool"},        {"ippools", "pool"},  {"ippool", "pool"},
    {"proxyippools", "pool"}, {"proxyippool", "pool"}, {"vips", "vip"},      {"vip", "vip"},
    {"proxyvips", "vip"},     {"proxyvip", "vip"},     {"claims", "claim"},  {"claim", "claim"},
    {"changes", "change"},    {"change", "change"},    {"verify", "verify"}, {"head", "head"},
    {"allocate", "allocate"},
};

static const char *find_noun(const char *word)
{
    for (size_t i = 0; i < COUNT(nouns); i++) {
        if (strcmp(word, nouns[i].word) == 0)
            return nouns[i].noun;
    }
    return NULL;
}

static bool knows_verb(const char *verb)
{
    for (size_t i = 0; i < n_commands; i++) {
        if (strcmp(commands[i].verb, verb) == 0)
            return true;
    }
    return false;
}

static const struct command *find_row(const char *verb, const char *noun)
{
    for (size_t i = 0; i < n_commands; i++) {
        const char *other = commands[i].noun;
        bool same = noun == NULL || other == NULL ? noun == other : strcmp(noun, other) == 0;
        if (same && strcmp(commands[i].verb, verb) == 0)
            return &commands[i];
    }
    return NULL;
}

static int fail_verb(struct arena *arena, const char *verb, struct ipam_error *reterr)
{
    const char **verbs = arena_alloc(arena, n_commands * sizeof(*verbs));

    for (size_t i = 0; i < n_commands; i++)
        verbs[i] = commands[i].verb;
    return usage_error(reterr, "unknown command %s%s (ipamc --help lists them)", verb,
                       text_did_you_mean(arena, verb, verbs, n_commands));
}

/* A verb that needs a noun got none, or one that it does not go with. */
static int fail_noun(struct arena *arena, const char *verb, const char *word, struct ipam_error *reterr)
{
    const char *words[COUNT(nouns)], *all = "";
    size_t n_words = 0;

    for (size_t i = 0; i < COUNT(nouns); i++) {
        if (find_row(verb, nouns[i].noun) == NULL)
            continue;
        words[n_words++] = nouns[i].word;
        if (i == 0 || nouns[i].noun != nouns[i - 1].noun)
            all = arena_printf(arena, "%s%s%s", all, all[0] == '\0' ? "" : ", ", nouns[i].word);
    }
    if (word == NULL)
        return usage_error(reterr, "%s what: write ipamc %s with one of %s", verb, verb, all);
    return usage_error(reterr, "%s %s: write one of %s%s", verb, word, all,
                       text_did_you_mean(arena, word, words, n_words));
}

static bool needs_noun(const char *verb)
{
    for (size_t i = 0; i < n_commands; i++) {
        if (strcmp(commands[i].verb, verb) == 0 && commands[i].noun != NULL)
            return true;
    }
    return false;
}

int command_find(struct arena *arena, const struct options *options, const struct command **ret, size_t *ret_used,
                 struct ipam_error *reterr)
{
    const char *verb = options->words[0], *word = options->n_words > 1 ? options->words[1] : NULL;

    if (!knows_verb(verb))
        return fail_verb(arena, verb, reterr);
    if (!needs_noun(verb))
        word = NULL;
    const char *noun = word == NULL ? NULL : find_noun(word);
    const struct command *row = word != NULL && noun == NULL ? NULL : find_row(verb, noun);
    if (row == NULL)
        return fail_noun(arena, verb, word, reterr);
    *ret = row;
    *ret_used = noun == NULL ? 1 : 2;
    return 0;
}

int command_check(const struct command *command, const struct options *options, size_t n_arguments,
                  struct ipam_error *reterr)
{
    uint32_t foreign = options->given & ~(command->options | OPTIONS_GLOBAL);
    const char *noun = command->noun == NULL ? "" : command->noun, *space = command->noun == NULL ? "" : " ";

    for (enum option_id id = 0; id < OPTION_COUNT; id++) {
        if ((foreign & OPTION_BIT(id)) != 0)
            return usage_error(reterr, "%s%s%s takes no --%s (ipamc %s --help says what it takes)", command->verb,
                               space, noun, option_name(id), command->verb);
    }
    if (n_arguments < command->least || n_arguments > command->most)
        return usage_error(reterr, "too %s arguments: write ipamc %s%s%s %s",
                           n_arguments < command->least ? "few" : "many", command->verb, space, noun,
                           command->arguments);
    return 0;
}

/* ---- Help ----------------------------------------------------------------------------------------------------------- */

static void help_row(FILE *out, const struct command *row)
{
    char left[64];

    snprintf(left, sizeof(left), "%s%s%s %s", row->verb, row->noun == NULL ? "" : " ",
             row->noun == NULL ? "" : row->noun, row->arguments);
    int pad = 36 - (int)text_width(left);
    fprintf(out, "  %s%*s  %s\n", left, pad > 0 ? pad : 0, "", row->summary);
}

void command_help(FILE *out, const char *verb)
{
    uint32_t set = 0;

    fprintf(out, verb == NULL ? "ipamc: pools, VIPs and their addresses in ipamd\n\nUsage: ipamc [OPTION …] COMMAND "
                                "[ARGUMENT …]\n\nCommands:\n"
                              : "Usage: ipamc [OPTION …] COMMAND [ARGUMENT …]\n\nCommands:\n");
    for (size_t i = 0; i < n_commands; i++) {
        if (verb != NULL && strcmp(verb, commands[i].verb) != 0)
            continue;
        help_row(out, &commands[i]);
        set |= commands[i].options;
    }
    if (verb != NULL && set != 0) {
        fprintf(out, "\nOptions:\n");
        options_help(out, set);
    }
    fprintf(out, "\nGlobal options:\n");
    options_help(out, OPTIONS_GLOBAL);
    if (verb == NULL)
        fprintf(
            out,
            "\nExit codes: 0 done, 1 failure, 2 usage, 3 not found, 4 exhausted, 5 conflict, 6 denied, 7 unavailable,\n"
            "8 refused by the pool's state, 9 timeout. `ipamc COMMAND --help` tells a command's options.\n");
}

int cmd_help(struct cli *cli, struct ipam_error *reterr)
{
    const char *verb = cli->n_arguments > 0 ? cli->arguments[0] : NULL;

    if (verb != NULL && !knows_verb(verb))
        return fail_verb(&cli->arena, verb, reterr);
    command_help(cli->output.out, verb);
    return 0;
}
