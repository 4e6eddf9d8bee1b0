/* kubeconfig.h: kubeconfig files as kubectl reads them: several are merged, and of each entry the first file's counts.
 *
 * Called by config.c alone, which knows where the files are. It knows the fields of contexts, clusters and users, and must
 * not know environment variables.
 */
#ifndef IPAM_KUBE_KUBECONFIG_H
#define IPAM_KUBE_KUBECONFIG_H

#include <stddef.h>

#include "config.h"

/* `paths`: files that must exist and be readable. `context` NULL: that of the first file that has a current-context.
 * Fills `config`, which is empty; what it holds after -1 is the caller's to free, too. */
int kubeconfig_read(char *const *paths, size_t n_paths, const char *context, struct kube_config *config,
                    struct ipam_error *reterr);

#endif
