/* log.h: what a daemon says on stderr, one line an event.
 *
 * Only the process's own files call it; libraries return errors instead. Under systemd each line
 * carries its journald priority (sd-daemon(3)); elsewhere a text line carries the time and the
 * level.
 */
#ifndef IPAM_PROCESS_LOG_H
#define IPAM_PROCESS_LOG_H

#include <ipam/error.h>

enum log_format { LOG_TEXT, LOG_JSON };

void log_init(enum log_format format);
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "what: error message"; the reason is a field of its own in JSON. */
void log_error(const struct ipam_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
