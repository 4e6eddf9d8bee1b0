#include "process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"

#define BACKGROUND_NICE 10

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

/* Both are the thread's and not the process's on Linux. Where they are refused it is just a thread like the others. */
void process_background(void)
{
    struct sched_param none = {0};
    sched_setscheduler(0, SCHED_BATCH, &none);
    setpriority(PRIO_PROCESS, 0, BACKGROUND_NICE);
}
