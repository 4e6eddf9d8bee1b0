/* A disk that is stuck: while the file that STUCK_WHILE names exists, every sync of this process hangs. Loaded with LD_PRELOAD by
 * tests/integration/test_stuck_disk.py. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd)
{
    const char *flag = getenv("STUCK_WHILE");
    while (flag && access(flag, F_OK) == 0)
        usleep(10000);
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fdatasync(fd);
}
