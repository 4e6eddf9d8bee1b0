/* credentials.h: tokens, certificates and keys as they are now, read anew when their files change.
 *
 * Used by the API client for each request. It knows files, and must not know HTTP.
 */
#ifndef IPAM_KUBE_CREDENTIALS_H
#define IPAM_KUBE_CREDENTIALS_H

#include <stdint.h>
#include <sys/stat.h>

#include "config.h"

enum credential { CREDENTIAL_CA, CREDENTIAL_CERTIFICATE, CREDENTIAL_KEY, CREDENTIAL_TOKEN, N_CREDENTIALS };

struct credentials {
    struct {
        const char *path; /* NULL: given as text */
        char *text;       /* NULL: not given */
        struct stat seen; /* of the file when it was read */
    } items[N_CREDENTIALS];
    uint64_t looked_at; /* ms; 0: look at the next chance */
};

/* -1: INVALID_CONFIG: a file can't be read, or a key is encrypted. `config` is borrowed. */
int credentials_init(struct credentials *credentials, const struct kube_config *config, struct ipam_error *reterr);
void credentials_done(struct credentials *credentials);

/* Reads what has changed, looking once a second; what can't be read stays as it was. */
void credentials_refresh(struct credentials *credentials, uint64_t now_ms);
void credentials_doubt(struct credentials *credentials); /* the server refused them: the next refresh reads all anew */

#endif
