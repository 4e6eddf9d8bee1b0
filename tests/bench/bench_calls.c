#include "bench_calls.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <etcd_kv.pb-c.h>
#include <grpc/health/v1/health.pb-c.h>
#include <ipam/ipam.pb-c.h>

static char kind[] = "ProxyVIP", name[] = "vip-000000000", uid[] = "00000000-7d1c-4b6e-9a52-000000000000";

/* Writes `value` over the `count` digits at `to`. Not snprintf: the generator's own work is in every figure. */
static void digits_put(char *to, size_t count, uint64_t value, unsigned int base)
{
    for (size_t i = count; i-- > 0; value /= base)
        to[i] = "0123456789abcdef"[value % base];
}

/* A name and a uid as Kubernetes would give them: 36 characters of uid. */
static Ipam__V1__Owner *owner_of(uint64_t n)
{
    static Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    digits_put(name + 4, 9, n, 10);
    digits_put(uid, 8, n * 2654435761u, 16);
    digits_put(uid + 24, 12, n, 16);
    owner.kind = kind;
    owner.name = name;
    owner.uid = uid;
    return &owner;
}

static const ProtobufCMessage *allocate_request(uint64_t n)
{
    static Ipam__V1__AllocateRequest request = IPAM__V1__ALLOCATE_REQUEST__INIT;
    static char pool[] = BENCH_POOL;
    request.owner = owner_of(n);
    request.pool = pool;
    return &request.base;
}

static const ProtobufCMessage *health_request(uint64_t n)
{
    (void)n;
    static Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    return &request.base;
}

/* The record of the n-th allocation, hash included: what ipamd writes and what the bus will carry. */
static ProtobufCBinaryData record_of(uint64_t n)
{
    static uint8_t bytes[1024], hash[32];
    static char command[] = "bench_load", method[] = "Allocate", pool[] = BENCH_POOL, address[48];
    Google__Protobuf__Timestamp now = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Ipam__V1__Actor actor = IPAM__V1__ACTOR__INIT;
    Ipam__V1__Claim claim = IPAM__V1__CLAIM__INIT;
    Ipam__V1__Change change = IPAM__V1__CHANGE__INIT;
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    now.seconds = time.tv_sec;
    now.nanos = (int32_t)time.tv_nsec;
    actor.command = command;
    actor.method = method;
    snprintf(address, sizeof address, "10.%u.%u.%u/32", (unsigned int)(n >> 16 & 255), (unsigned int)(n >> 8 & 255),
             (unsigned int)(n & 255));
    claim.owner = owner_of(n);
    claim.family = IPAM__V1__FAMILY__IPV4;
    claim.state = IPAM__V1__CLAIM_STATE__BOUND;
    claim.pool = pool;
    claim.address = address;
    claim.created_at = claim.allocated_at = change.at = &now;
    claim.id = change.revision = n + 2;
    change.actor = &actor;
    change.entity_case = IPAM__V1__CHANGE__ENTITY_CLAIM;
    change.claim = &claim;
    memset(hash, (int)(n & 255), sizeof hash);
    change.hash = (ProtobufCBinaryData){sizeof hash, hash};
    return (ProtobufCBinaryData){ipam__v1__change__pack(&change, bytes), bytes};
}

static const ProtobufCMessage *put_request(uint64_t n)
{
    static Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    static char key[64];
    request.value = record_of(n);
    request.key.len = (size_t)snprintf(key, sizeof key, "claim/ProxyVIP/%s/ipv4", name);
    request.key.data = (uint8_t *)key;
    return &request.base;
}

static const struct bench_call calls[] = {
    {"allocate", "/ipam.v1.IPAM/Allocate", &ipam__v1__allocate_reply__descriptor, allocate_request},
    {"health", "/grpc.health.v1.Health/Check", &grpc__health__v1__health_check_response__descriptor, health_request},
    {"put", "/etcdserverpb.KV/Put", &etcdserverpb__put_response__descriptor, put_request},
};

const struct bench_call *bench_call_find(const char *wanted)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].name, wanted) == 0)
            return &calls[i];
    return NULL;
}
