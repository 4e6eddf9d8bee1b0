#include "files.h"

#include <sys/resource.h>

#define OTHER_FILES 128 /* database, worker threads, and clients that are told that they are too many */

uint64_t files_make_room(uint64_t peers)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return peers;
    if (limit.rlim_cur < peers + OTHER_FILES) {
        rlim_t before = limit.rlim_cur, wanted = peers + OTHER_FILES;
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            limit.rlim_cur = before;
    }
    if (limit.rlim_cur >= peers + OTHER_FILES)
        return peers;
    return limit.rlim_cur > 2 * OTHER_FILES ? limit.rlim_cur - OTHER_FILES : limit.rlim_cur / 2;
}
