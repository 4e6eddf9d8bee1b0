/* ipamc: the command line of ipamd. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
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

/* Standard output that keeps the error of its first failed write: stdio forgets it. */
static ssize_t write_output(void *cookie, const char *data, size_t size)
{
    int *error = cookie;
    size_t done = 0;

    while (done < size && *error == 0) {
        ssize_t wrote = write(STDOUT_FILENO, data + done, size - done);
        if (wrote >= 0)
            done += (size_t)wrote;
        else if (errno != EINTR)
            *error = errno;
    }
    return (ssize_t)done;
}

static FILE *open_output(int *error)
{
    FILE *out = fopencookie(error, "w", (cookie_io_functions_t){.write = write_output});

    if (out != NULL && isatty(STDOUT_FILENO))
        setvbuf(out, NULL, _IOLBF, 0);
    return out;
}

/* What was printed must have arrived; a reader that went away (EPIPE) knows it. */
static int finish_output(struct cli *cli, const int *error)
{
    fclose(cli->output.out);
    if (*error != 0 && *error != EPIPE)
        fprintf(cli->err, "ipamc: standard output: %s\n", strerror(*error));
    return *error != 0 ? IPAM_EXIT_FAILURE : IPAM_EXIT_OK;
}

int main(int argc, char **argv)
{
    int write_error = 0;
    struct cli cli = {.err = stderr};
    struct ipam_error error;

    keep_standard_streams();
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_CTYPE, "");
    cli.output.out = open_output(&write_error);
    if (cli.output.out == NULL)
        return IPAM_EXIT_FAILURE;
    arena_init(&cli.arena);
    cli.output.arena = &cli.arena;
    cli.output.now = (int64_t)time(NULL);
    int result = options_parse(&cli.arena, argc, argv, &cli.options, &error);
    cli.output.format = cli.options.output;
    if (result == 0)
        result = run_command(&cli, &error);
    if (result < 0)
        cli_report(&cli, &error);
    int unwritten = finish_output(&cli, &write_error);
    cli.client = ipam_client_free(cli.client);
    json_decref(cli.results);
    arena_done(&cli.arena);
    return cli.exit_code != 0 ? cli.exit_code : unwritten;
}
