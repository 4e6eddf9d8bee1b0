/* manifest_files.h: the manifests that -f names, read from files, folders and standard input.
 *
 * Called by apply and delete. It knows the file system and nothing of what manifests mean; manifest.h reads the text.
 */
#ifndef IPAMC_MANIFEST_FILES_H
#define IPAMC_MANIFEST_FILES_H

#include "manifest.h"

/* Reads everything, then manifest_finish. A folder gives its *.yaml, *.yml and *.json in order of name; "-" is standard
 * input. On error the manifest is still the caller's to end. */
int manifest_read_files(struct manifest *manifest, const char *const *names, size_t count, struct ipam_error *reterr);

/* All of a file, or of standard input ("-"), NUL-terminated, at most YAML_SIZE_MAX bytes. Lives in the arena. */
int file_read(struct arena *arena, const char *name, char **ret, size_t *ret_size, struct ipam_error *reterr);

#endif
