/* files.h: small files as texts.
 *
 * Used for kubeconfig files and credentials. It must not know what is in them.
 */
#ifndef IPAM_KUBE_FILES_H
#define IPAM_KUBE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* The whole file, NUL-terminated, cut at `max` bytes; the caller frees. NULL with errno: it can't be read. */
char *file_text(const char *path, size_t max, size_t *ret_size);

bool file_is_same(const struct stat *a, const struct stat *b); /* nothing was written in between */

#endif
