#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "channel.h"

#define DEFAULT_MAX_MESSAGE (4u * 1024 * 1024)
#define DEFAULT_BACKOFF_MIN 50u
#define DEFAULT_BACKOFF_MAX 5000u

const char *ipam_version(void)
{
    return IPAM_VERSION;
}

static const char *default_socket(void)
{
    const char *path = getenv("IPAMD_SOCKET");
    return path != NULL && path[0] != '\0' ? path : IPAM_DEFAULT_SOCKET;
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

/* The path of a gRPC address: unix:///path or unix:path, as other languages' clients write it. */
static const char *socket_path(const char *socket)
{
    static const char *const schemes[] = {"unix:///", "unix:"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t length = strlen(schemes[i]);
        if (strncmp(socket, schemes[i], length) == 0) {
            return socket + length - (i == 0); /* the path's own slash stays */
        }
    }
    return socket;
}

int options_resolve(const struct ipam_options *options, struct ipam_options *ret, struct ipam_error *reterr)
{
    struct ipam_options resolved = {0};
    size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    if (options != NULL) {
        resolved = *options;
    }
    resolved.socket = socket_path(resolved.socket != NULL ? resolved.socket : default_socket());
    resolved.user_agent = resolved.user_agent != NULL ? resolved.user_agent : "libipam/" IPAM_VERSION;
    resolved.timeout_ms = or_default(resolved.timeout_ms, IPAM_DEFAULT_TIMEOUT_MS);
    resolved.max_message = or_default(resolved.max_message, DEFAULT_MAX_MESSAGE);
    resolved.backoff_min_ms = or_default(resolved.backoff_min_ms, DEFAULT_BACKOFF_MIN);
    resolved.backoff_max_ms = or_default(resolved.backoff_max_ms, DEFAULT_BACKOFF_MAX);
    if (resolved.backoff_max_ms < resolved.backoff_min_ms) {
        resolved.backoff_max_ms = resolved.backoff_min_ms;
    }
    if (strlen(resolved.socket) > max) {
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "socket path is too long: %s has %zu bytes, write at most %zu", resolved.socket,
                              strlen(resolved.socket), max);
    }
    *ret = resolved;
    return 0;
}
