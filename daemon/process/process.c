#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "log.h"

/* Else the first file opened would be stderr, and log lines would be written to it. */
static void open_standard_files(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

void process_init(void)
{
    open_standard_files();
    signal(SIGPIPE, SIG_IGN);
    log_init(LOG_TEXT);
}
