/* terminal.h: what can be shown where the output goes: how wide it is, whether it has colour and more than ASCII.
 *
 * Asked by commands that draw (map). It reads the environment and standard output, and prints nothing itself.
 */
#ifndef IPAMC_TERMINAL_H
#define IPAMC_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#define TERMINAL_COLUMNS_DEFAULT 80
#define TERMINAL_COLUMNS_MIN     20

enum terminal_color { TERMINAL_COLOR_AUTO, TERMINAL_COLOR_ALWAYS, TERMINAL_COLOR_NEVER };

struct terminal {
    size_t columns; /* $COLUMNS, else of the terminal, else 80 */
    bool color;     /* auto: on a terminal that is not dumb, and $NO_COLOR is not set or empty (no-color.org) */
    bool utf8;      /* by the locale */
};

/* Of a file descriptor. The locale must have been set. */
void terminal_find(int fd, enum terminal_color color, struct terminal *ret);

#endif
