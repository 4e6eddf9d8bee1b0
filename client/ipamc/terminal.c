#include "terminal.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static size_t find_columns(int fd)
{
    const char *given = getenv("COLUMNS");
    struct winsize size;
    size_t columns = given == NULL ? 0 : strtoul(given, NULL, 10);

    if (columns == 0 && ioctl(fd, TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    if (columns == 0)
        return TERMINAL_COLUMNS_DEFAULT;
    return columns < TERMINAL_COLUMNS_MIN ? TERMINAL_COLUMNS_MIN : columns;
}

static bool has_color(int fd)
{
    const char *refused = getenv("NO_COLOR"), *type = getenv("TERM");

    if (refused != NULL && refused[0] != '\0')
        return false;
    return isatty(fd) && type != NULL && type[0] != '\0' && strcmp(type, "dumb") != 0;
}

void terminal_find(int fd, enum terminal_color color, struct terminal *ret)
{
    ret->columns = find_columns(fd);
    ret->color = color == TERMINAL_COLOR_ALWAYS || (color == TERMINAL_COLOR_AUTO && has_color(fd));
    ret->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}
