#include "methods.h"

#include <string.h>

#include <grpc/health/v1/health.pb-c.h>
#include <ipam/ipam.pb-c.h>

#include "text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct service_row {
    const ProtobufCServiceDescriptor *service;
    const char *streaming; /* a method that is not unary, which protobuf-c's descriptor does not tell; or "" */
} services[] = {
    {&ipam__v1__ipam__descriptor, ""},
    {&grpc__health__v1__health__descriptor, "Watch"},
};

const struct method *methods_all(struct arena *arena, size_t *ret_count)
{
    size_t count = 0, most = 0;

    for (size_t i = 0; i < COUNT(services); i++)
        most += services[i].service->n_methods;
    struct method *all = arena_alloc(arena, most * sizeof(*all));
    for (size_t i = 0; i < COUNT(services); i++) {
        const ProtobufCServiceDescriptor *service = services[i].service;
        for (unsigned int k = 0; k < service->n_methods; k++) {
            const ProtobufCMethodDescriptor *row = &service->methods[k];
            if (strcmp(row->name, services[i].streaming) != 0)
                all[count++] =
                    (struct method){arena_printf(arena, "/%s/%s", service->name, row->name), row->input, row->output};
        }
    }
    *ret_count = count;
    return all;
}

int method_find(struct arena *arena, const char *name, struct method *ret, struct ipam_error *reterr)
{
    size_t count;
    const struct method *all = methods_all(arena, &count);
    const char **words = arena_alloc(arena, count * sizeof(*words));
    const char *wanted = name[0] == '/' ? name + 1 : name;

    for (size_t i = 0; i < count; i++) {
        const char *full = all[i].path + 1, *alone = strrchr(all[i].path, '/') + 1;
        words[i] = strchr(wanted, '/') != NULL ? full : alone;
        if (strcmp(wanted, words[i]) == 0) {
            *ret = all[i];
            return 0;
        }
    }
    return ipam_error_set(reterr, IPAM_REASON_UNKNOWN_METHOD, "unknown method %s%s", name,
                          text_did_you_mean(arena, wanted, words, count));
}
