#include "files.h"

#include <sys/resource.h>

#define OTHER_FILES 128 /* database, worker threads, bus, and clients that are told that they are too many */

uint64_t files_make_room(uint64_t clients)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return clients;
    if (limit.rlim_cur < clients + OTHER_FILES) {
        rlim_t before = limit.rlim_cur, wanted = clients + OTHER_FILES;
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            limit.rlim_cur = before;
    }
    if (limit.rlim_cur >= clients + OTHER_FILES)
        return clients;
    return limit.rlim_cur > 2 * OTHER_FILES ? limit.rlim_cur - OTHER_FILES : limit.rlim_cur / 2;
}
