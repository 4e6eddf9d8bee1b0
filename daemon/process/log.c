#include "log.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct level {
    const char *name;
    int priority; /* syslog(3) */
};

static const struct level LEVEL_INFO = {"info", 6}, LEVEL_WARNING = {"warning", 4}, LEVEL_ERROR = {"error", 3};

static struct {
    enum log_format format;
    bool journald;
} config;

/* systemd.exec(5): JOURNAL_STREAM holds device and inode of the stream that is connected to the
 * journal. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    uintmax_t device, inode;
    struct stat st;
    return stream && sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
           st.st_dev == device && st.st_ino == inode;
}

void log_init(enum log_format format)
{
    config.format = format;
    config.journald = stderr_is_journal();
}

static void time_format(char *text, size_t size)
{
    struct timespec now;
    struct tm tm;
    char date[32];
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &tm));
    snprintf(text, size, "%s.%03ldZ", date, now.tv_nsec / 1000000);
}

/* Of a UTF-8 character of several bytes; 0 if it is none. */
static size_t character_length(const unsigned char *text)
{
    size_t length = *text >= 0xc2 && *text < 0xe0 ? 2 : *text >= 0xe0 && *text < 0xf0 ? 3 : 4;
    if (*text < 0xc2 || *text > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* An event is one line of text, whatever a path in it holds and wherever it was cut. */
static void message_clean(char *message)
{
    for (unsigned char *at = (unsigned char *)message; *at;) {
        size_t length = *at >= ' ' && *at < 0x7f ? 1 : character_length(at);
        if (length == 0)
            *at = '?';
        at += length ? length : 1;
    }
}

static void write_json(const struct level *level, const char *message, const struct ipam_error *error, const char *when)
{
    json_t *line = json_pack("{s:s, s:s, s:s}", "time", when, "level", level->name, "message", message);
    if (line && error)
        json_object_set_new(line, "reason", json_string(ipam_reason_name(error->reason)));
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    fprintf(stderr, "%s\n", text ? text : "{\"level\":\"error\",\"message\":\"a log line could not be written\"}");
    free(text);
    json_decref(line);
}

static void log_line(const struct level *level, const struct ipam_error *error, const char *format, va_list args)
{
    char message[2048], when[64];
    int size = vsnprintf(message, sizeof message, format, args);
    if (error && size >= 0 && (size_t)size < sizeof message)
        snprintf(message + size, sizeof message - (size_t)size, ": %s", error->message);
    message_clean(message);
    time_format(when, sizeof when);
    flockfile(stderr);
    if (config.journald)
        fprintf(stderr, "<%d>", level->priority);
    if (config.format == LOG_JSON)
        write_json(level, message, error, when);
    else if (config.journald)
        fprintf(stderr, "%s\n", message);
    else
        fprintf(stderr, "%s %-7s %s\n", when, level->name, message);
    funlockfile(stderr);
}

void log_info(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(&LEVEL_INFO, NULL, format, args);
    va_end(args);
}

void log_warning(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(&LEVEL_WARNING, NULL, format, args);
    va_end(args);
}

void log_error(const struct ipam_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(&LEVEL_ERROR, error, format, args);
    va_end(args);
}
