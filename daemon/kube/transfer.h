/* transfer.h: one request as libcurl wants it: address, credentials, limits.
 *
 * Made by the API client for each request. It knows curl's options, and must not know the loop.
 */
#ifndef IPAM_KUBE_TRANSFER_H
#define IPAM_KUBE_TRANSFER_H

#include <curl/curl.h>

#include "client.h"
#include "credentials.h"

struct transfer {
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    char error[CURL_ERROR_SIZE]; /* curl's words; never holds a header or a credential */
};

struct transfer_request {
    const char *method, *path, *content_type;
    const char *body; /* JSON text, kept by the caller until transfer_done; NULL: none */
    uint32_t timeout_ms;
    bool is_stream;               /* timeout_ms is how long nothing may come */
    bool (*may_send)(void *user); /* asked when there is a connection, right before the request leaves; NULL: it may */
    void *user;
};

void transfer_init(struct transfer *transfer, const struct kube_config *config, const struct credentials *credentials,
                   const char *user_agent,
                   const struct transfer_request *request); /* request: kept until transfer_done */
void transfer_done(struct transfer *transfer);

/* What became of it. -1: API_UNREACHABLE, DEADLINE_EXCEEDED, or CANCELLED by may_send. */
int transfer_check(const struct transfer *transfer, CURLcode result, const struct kube_config *config,
                   const struct transfer_request *request, struct ipam_error *reterr);

#endif
