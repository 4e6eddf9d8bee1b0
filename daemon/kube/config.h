/* config.h: which API server to talk to, and as whom: a kubeconfig file, or what a Pod is given.
 *
 * Read by the programs that talk to Kubernetes at start, and again when a kubeconfig file has changed. It knows files and
 * environment variables, and must not know HTTP or the loop.
 */
#ifndef IPAM_KUBE_CONFIG_H
#define IPAM_KUBE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <ipam/error.h>

struct kube_config_options {
    const char
        *kubeconfig;     /* --kubeconfig; NULL: $KUBECONFIG, else in a Pod its service account, else ~/.kube/config */
    const char *context; /* --context; NULL: current-context of the file */
};

/* Credentials. What is given as data (base64) in the file is kept as text; what is given as a file stays a path, and is read
 * anew when it changes (tokens rotate). NULL: not given. */
struct kube_config {
    char *server;            /* "https://127.0.0.1:6443", without a slash at its end */
    char *ca_file, *ca_data; /* PEM */
    char *tls_server_name;
    bool insecure_skip_tls_verify;
    char *token, *token_file;
    char *client_certificate_file, *client_certificate_data; /* PEM */
    char *client_key_file, *client_key_data;
    char *username, *password;
    char *proxy_url;
    char *namespace_;           /* of the context or the service account; "default" if none says */
    char *source;               /* for people: "context admin of /etc/kubernetes/admin.conf" */
    struct config_files *files; /* that it was read from; NULL: none */
    unsigned int version;       /* another one with each kube_config_refresh that took something up */
};

/* -1: INVALID_CONFIG: which file, what is wrong in it (an unknown context: which there are; exec and auth-provider plugins
 * are not supported: what to use instead), or that there is none of the places to look in. */
int kube_config_load(const struct kube_config_options *options, struct kube_config **ret, struct ipam_error *reterr);
struct kube_config *
kube_config_free(struct kube_config *config); /* NULL is fine; returns NULL; texts are overwritten */

/* Reads the kubeconfig files again if one has changed, looking once a second. 1: `config` holds what they say now, and all
 * texts borrowed from it are gone. 0: nothing new. -1: as kube_config_load, and `config` stays as it was; it is tried again. */
int kube_config_refresh(struct kube_config *config, uint64_t now_ms, struct ipam_error *reterr);

/* What works and is dangerous, one line each: credentials that go unencrypted, a server that is not verified, secrets that
 * everybody may read. */
void kube_config_warn(const struct kube_config *config, void (*warn)(const char *text, void *user), void *user);

bool kube_config_is_loopback(
    const struct kube_config *config); /* the server is this machine, by its address or as localhost */

#endif
