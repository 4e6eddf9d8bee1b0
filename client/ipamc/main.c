/* ipamc: the command line of ipamd. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"

/* A standard stream that the caller closed must not become the number of our socket. Opened so that using it still fails. */
static void keep_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
    }
}

static int run_command(struct cli *cli, struct ipam_error *reterr)
{
    const struct options *options = &cli->options;
    const struct command *command;
    size_t used;

    if (options->version)
        return cmd_version(cli, reterr);
    if (options->help || options->n_words == 0) {
        command_help(options->help ? cli->output.out : cli->err, options->n_words == 0 ? NULL : options->words[0]);
        return options->help ? 0 : usage_error(reterr, "no command given");
    }
    if (command_find(&cli->arena, options, &command, &used, reterr) < 0)
        return -1;
    cli->arguments = options->words + used;
    cli->n_arguments = options->n_words - used;
    if (command_check(command, options, cli->n_arguments, reterr) < 0)
        return -1;
    return command->handler(cli, reterr);
}

/* What was printed must have arrived; a reader that went away (EPIPE) knows it. */
static int finish_output(struct cli *cli)
{
    errno = 0;
    bool failed = fflush(cli->output.out) != 0 || ferror(cli->output.out);

    if (!failed)
        return 0;
    if (errno != EPIPE)
        fprintf(cli->err, "ipamc: standard output: %s\n", errno == 0 ? "a write failed" : strerror(errno));
    return IPAM_EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct cli cli = {.output.out = stdout, .err = stderr};
    struct ipam_error error;

    keep_standard_streams();
    signal(SIGPIPE, SIG_IGN);
    arena_init(&cli.arena);
    cli.output.arena = &cli.arena;
    cli.output.now = (int64_t)time(NULL);
    int result = options_parse(&cli.arena, argc, argv, &cli.options, &error);
    cli.output.format = cli.options.output;
    if (result == 0)
        result = run_command(&cli, &error);
    if (result < 0)
        cli_report(&cli, &error);
    int unwritten = finish_output(&cli);
    cli.client = ipam_client_free(cli.client);
    arena_done(&cli.arena);
    return cli.exit_code != 0 ? cli.exit_code : unwritten;
}
