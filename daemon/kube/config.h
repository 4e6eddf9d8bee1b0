/* config.h: which API server to talk to, and as whom: a kubeconfig file, or what a Pod is given.
 *
 * Read once at start by the programs that talk to Kubernetes. It knows files and environment variables, and must not know
 * HTTP or the loop.
 */
#ifndef IPAM_KUBE_CONFIG_H
#define IPAM_KUBE_CONFIG_H

#include <stdbool.h>

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
    char *namespace_; /* of the context or the service account; "default" if none says */
    char *source;     /* for people: "context admin of /etc/kubernetes/admin.conf" */
};

/* -1: INVALID_CONFIG: which file, what is wrong in it (an unknown context: which there are; exec and auth-provider plugins
 * are not supported: what to use instead), or that there is none of the places to look in. */
int kube_config_load(const struct kube_config_options *options, struct kube_config **ret, struct ipam_error *reterr);
struct kube_config *kube_config_free(struct kube_config *config); /* NULL is fine; returns NULL */

#endif
