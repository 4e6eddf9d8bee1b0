/* rpc.h: services as tables of methods, and a call on its way through one: decode, handle, hold
 * until durable, answer.
 *
 * The process gives it the requests of every connection (rpc_callbacks) and lends it a clock and
 * worker threads (struct rpc_host); the services are rows. It knows the gRPC endpoint, the engine
 * and the store; it must not know libuv or sockets.
 */
#ifndef IPAMD_RPC_RPC_H
#define IPAMD_RPC_RPC_H

#include <protobuf-c/protobuf-c.h>

#include "grpc.h"
#include "pipeline.h"
#include "store.h"

struct rpc_server;
struct rpc_call;

/* What the process lends. */
struct rpc_host {
    struct wall_time (*wall_now)(void *user);
    struct elapsed_time (*elapsed_now)(void *user);
    uint64_t (*monotonic_now)(void *user); /* ns */
    /* Runs run(arg) on a worker thread, when nothing better is to be done and others have had their turn, and then done(arg)
     * on the loop. */
    void *(*work)(void *user, const struct actor *who, void (*run)(void *arg), void (*done)(void *arg), void *arg);
    bool (*drop)(void *user, void *work); /* true: it had not begun, and neither run nor done will be called */
    /* An endpoint has something to send. */
    void (*wake)(struct grpc_endpoint *endpoint);
    void *user;
};

/* What a peer may do, and what a method asks for; each includes those before it. */
enum rpc_role {
    RPC_ROLE_NONE = 1, /* 0 is no role: a row can't lack one unseen */
    RPC_ROLE_READ,
    RPC_ROLE_ALLOCATE,
    RPC_ROLE_ADMIN,
    RPC_ROLES
};

const char *rpc_role_name(enum rpc_role role); /* "allocate" */

struct rpc_ring {
    struct rpc_ring *next, *prev;
};

/* Peers that share their time: those of a user. Zeroed, and then the server's until all of its peers are done. */
struct rpc_party {
    struct rpc_ring queued; /* of the server's: calls of its peers wait for a later turn; next is NULL while none do */
    struct rpc_ring peers;  /* whose calls they are, in order */
};

/* Who is at the other end; the user pointer of every endpoint given to rpc_callbacks points at one. */
struct rpc_peer {
    struct rpc_server *server;
    struct rpc_party *party;
    struct actor actor; /* its method is filled per call */
    enum rpc_role role;
    struct engine_scope scope; /* for whom it may act; the process fills it for the role allocate */
    size_t max_unread;         /* bytes of answers that may wait to be read by it */
    size_t held;               /* bytes of answers that wait for the disk, and of requests that wait */
    size_t expected;           /* bytes of answers that are being made elsewhere */
    const char *refused;       /* one client too many: its first call is answered so, and it goes; else NULL */
    struct rpc_ring put_off; /* calls that wait for it to catch up with reading, for the engine, or for a later turn */
    struct rpc_ring queued;  /* of its party's: its calls wait for a later turn; next is NULL while they don't */
    uint64_t turn;           /* in which it had `spent` */
    size_t spent;            /* of its share of that turn */
};

/* party, and actor's strings, are borrowed for the peer's life. */
void rpc_peer_init(struct rpc_peer *peer, struct rpc_server *server, struct rpc_party *party, const struct actor *actor,
                   enum rpc_role role, size_t max_unread);

void rpc_peer_done(struct rpc_peer *peer); /* its connection is closing */

/* After bytes have gone to the peer: calls that were put off until then have their turn soon. */
void rpc_peer_resume(struct rpc_peer *peer);

/* Connections and steps of the clock are counted by the process. */
struct rpc_counters {
    uint64_t connections, connections_total, calls, calls_failed, allocations, releases, clock_steps;
};

/* ---- Services ---------------------------------------------------------------------------------------------------- */

enum rpc_flags {
    RPC_STREAM = 1, /* the reply, and perhaps the request, is a stream; else the method is unary */
    RPC_ALWAYS = 2, /* is answered while the engine is being reloaded too */
    RPC_LARGE = 4,  /* its answer takes long to make: one at a time, and not while others would wait for it */
};

struct rpc_method {
    const char *name;
    const ProtobufCMessageDescriptor *request, *reply;
    enum rpc_role role; /* that the caller needs */
    unsigned int flags;
    /* Unary: comes once, and ends in rpc_reply or rpc_fail, now or later. Stream: comes for each
     * message. */
    void (*handle)(struct rpc_call *call, const ProtobufCMessage *request);
    void (*end)(struct rpc_call *call);   /* stream: the client has sent all; may be NULL */
    void (*close)(struct rpc_call *call); /* the call is gone, answered or not; may be NULL */
    uint32_t max_request;                 /* bytes of a request; never 0. The option --max-message holds, too */
};

/* A request holds names and addresses, each bounded in itself, and no list: that is a few KiB at most. */
#define RPC_REQUEST_SHORT 8192
#define RPC_REQUEST_LONG  UINT32_MAX /* as much as --max-message allows */

struct rpc_service {
    const char *name; /* "ipam.v1.IPAM" */
    const struct rpc_method *methods;
    size_t n_methods;
};

extern const struct rpc_service ipam_service, health_service, reflection_service, reflection_v1alpha_service;

/* ---- The server -------------------------------------------------------------------------------------------------- */

struct rpc_server_options {
    const char *version;
    struct rpc_host host;
    struct store *store;                /* for history reads; borrowed */
    struct pipeline *pipeline;          /* borrowed */
    const char *role_remedy[RPC_ROLES]; /* how one gets a role: the end of a refusal's message; borrowed */
    struct engine_limits limits;        /* what it points at is borrowed */
    uint64_t request_timeout; /* ns that a unary request, or a message of a stream, may take to come in; 0: no end */
};

struct rpc_server *rpc_server_new(const struct rpc_server_options *options);
struct rpc_server *rpc_server_free(struct rpc_server *server); /* NULL is fine; returns NULL */

extern const struct grpc_callbacks rpc_callbacks; /* for grpc_server_new, with a struct rpc_peer as user */

void rpc_server_state_changed(struct rpc_server *server); /* pipeline's on_state */
void rpc_server_expire(struct rpc_server *server);        /* now and then: ends calls whose deadline has passed */
void rpc_server_shutdown(struct rpc_server *server);   /* ends streams; calls that come from now on get SHUTTING_DOWN */
bool rpc_server_busy(const struct rpc_server *server); /* calls are open */

/* A turn of the loop ends: parties whose calls wait for that are served one after the other, one peer each, as far as a turn's
 * share goes; while others are served, or changes are being written, only now and then. */
void rpc_server_turn(struct rpc_server *server);
/* Calls wait for a later turn, which should come in so many ms. */
bool rpc_server_waits(const struct rpc_server *server, uint64_t *ret_ms);
struct rpc_counters *rpc_server_counters(struct rpc_server *server);

/* ---- For services ------------------------------------------------------------------------------------------------ */

/* Answers a unary call once the engine's present revision is durable; the message is packed before
 * this returns. */
void rpc_reply(struct rpc_call *call, const ProtobufCMessage *reply);
void rpc_fail(struct rpc_call *call, const struct ipam_error *error);
/* Answers at once: for what the engine's state has no part in. */
void rpc_reply_now(struct rpc_call *call, const ProtobufCMessage *reply);
void rpc_reply_bytes(struct rpc_call *call, const uint8_t *reply, size_t size); /* packed elsewhere; copied */
void rpc_fail_now(struct rpc_call *call, const struct ipam_error *error);

void rpc_send(struct rpc_call *call, const ProtobufCMessage *message); /* one more message of a stream, at once */
void rpc_end(struct rpc_call *call);                                   /* ends a stream with OK */

/* An answer of about `size` bytes is being made elsewhere, for which `held` bytes are kept: until then further calls of the client
 * wait as if it were there already. */
void rpc_expect(struct rpc_call *call, size_t size, size_t held);

struct arena *rpc_arena(struct rpc_call *call); /* lives as long as the call */
/* For what is needed until the handler returns. A stream's requests live there, so that a long stream holds no more than a short
 * one, and what large answers are made of: the call itself lives on until the peer has read its answer. */
struct arena *rpc_scratch(struct rpc_call *call);
struct pipeline *rpc_pipeline(struct rpc_call *call);
struct rpc_server *rpc_call_server(struct rpc_call *call);
const struct actor *rpc_actor(const struct rpc_call *call); /* who calls */
struct engine_ctx rpc_engine_ctx(struct rpc_call *call);
/* For what needs more than the method's own role. `what`: as in "… needs the role admin". -1 with PERMISSION_DENIED. */
int rpc_need_role(const struct rpc_call *call, enum rpc_role role, const char *what, struct ipam_error *reterr);
const struct rpc_server_options *rpc_server_options(const struct rpc_server *server);
struct wall_time rpc_server_started_at(const struct rpc_server *server);

/* Every call of `method` that is open: the health service's watchers. `visit` may send, and must
 * not end the call. */
void rpc_server_visit(struct rpc_server *server, const struct rpc_method *method, void (*visit)(struct rpc_call *call));
void *rpc_user(const struct rpc_call *call);
void rpc_set_user(struct rpc_call *call, void *user);

/* Tells the health service's watchers when what they watch has changed. */
void health_changed(struct rpc_server *server);

struct reflection; /* index of the contracts; made once, lives in `arena` */
const struct reflection *reflection_new(struct arena *arena);
const struct reflection *rpc_server_reflection(const struct rpc_server *server);
const struct rpc_service *rpc_service_at(size_t index); /* the services mounted, NULL past the last one */

#endif
