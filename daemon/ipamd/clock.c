#include "clock.h"

#include <sodium.h>
#include <string.h>
#include <systemd/sd-id128.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)
#define STEP_NS  (3 * NS_PER_S)  /* less is what NTP corrects every day */
#define APART_NS (NS_PER_S / 10) /* two readings further apart than that are no pair */

static int64_t read_clock(clockid_t id)
{
    struct timespec time;
    clock_gettime(id, &time);
    return (int64_t)time.tv_sec * NS_PER_S + time.tv_nsec;
}

/* At one moment: a process that is stopped between the two must not take that for a step. */
static struct clock read_both(void)
{
    struct clock clock = {.elapsed.ns = read_clock(CLOCK_BOOTTIME)};
    for (int64_t before = INT64_MIN; clock.elapsed.ns - APART_NS > before;) {
        before = clock.elapsed.ns;
        clock.now.ns = read_clock(CLOCK_REALTIME);
        clock.elapsed.ns = read_clock(CLOCK_BOOTTIME);
    }
    return clock;
}

void clock_start(struct engine_clock *ret)
{
    struct clock clock = read_both();
    sd_id128_t boot;
    if (sd_id128_get_boot(&boot) < 0)
        randombytes_buf(&boot, sizeof(boot));
    *ret = (struct engine_clock){.now = clock.now, .elapsed = clock.elapsed};
    _Static_assert(sizeof(boot.bytes) == sizeof(ret->boot_id), "a boot id is 16 bytes");
    memcpy(ret->boot_id, boot.bytes, sizeof(ret->boot_id));
}

int64_t clock_read(struct clock *clock)
{
    struct clock before = *clock;
    *clock = read_both();
    int64_t step = (clock->now.ns - before.now.ns) - (clock->elapsed.ns - before.elapsed.ns);
    return step > STEP_NS || step < -STEP_NS ? step : 0;
}
