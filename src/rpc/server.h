#ifndef LC_RPC_SERVER_H
#define LC_RPC_SERVER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/outq.h"
#include "base/slice.h"
#include "server/server.h"
#include "wire/grpc.h"

/*
 * gRPC, server side: a table of methods, and the life of a call. All of a call happens on the worker of its connection.
 */
struct lc_rpc_call;

/* The most that a method's state_size may be. Each call has that much, so it is what the largest needs. */
#define LC_RPC_STATE_SIZE 208u

struct lc_rpc_method {
  const char *path;     /* "/lcache.v1.Cache/Get" */
  bool streaming;       /* takes or gives more than one message */
  size_t state_size;    /* zeroed bytes that a call carries for its handler: lc_rpc_state */
  size_t extra_message; /* bytes that its messages may have over the server's max_message */

  /*
   * A message has come; its bytes are valid during the call. A unary method is given exactly one. It answers at once or
   * later by lc_rpc_finish.
   */
  void (*on_message)(struct lc_rpc_call *call, void *ctx, struct lc_slice message);

  /* Streaming: the client has ended its half. May be NULL. */
  void (*on_half_close)(struct lc_rpc_call *call, void *ctx);

  /*
   * The call ends without the handler having finished it: the client cancelled, its deadline passed, the connection
   * broke. The handler stops its work; what must live on takes lc_rpc_hold. Not called after lc_rpc_finish. May be
   * NULL.
   */
  void (*on_cancel)(struct lc_rpc_call *call, void *ctx);
};

struct lc_rpc_service {
  const struct lc_rpc_method *methods; /* borrowed */
  size_t count;
  void *ctx;
};

/* All methods of a node, immutable once made, shared by the workers. */
struct lc_rpc_table;
int lc_rpc_table_create(const struct lc_rpc_service *services, size_t count,
                        struct lc_rpc_table **out); /* 0, LC_ENOMEM */
void lc_rpc_table_destroy(struct lc_rpc_table *table);

struct lc_rpc_server_config {
  const struct lc_rpc_table *table; /* borrowed */
  size_t max_message;
  struct lc_log *log;
};

/* The face to give to lc_server_create with the pointer that create fills; one a worker. */
struct lc_rpc_server;
int lc_rpc_server_create(const struct lc_rpc_server_config *config, struct lc_rpc_server **out);
void lc_rpc_server_destroy(struct lc_rpc_server *server);
const struct lc_face *lc_rpc_server_face(const struct lc_rpc_server *server);

struct lc_worker *lc_rpc_worker(const struct lc_rpc_call *call);
struct lc_arena *lc_rpc_arena(struct lc_rpc_call *call); /* lives as long as the call */
void *lc_rpc_state(struct lc_rpc_call *call);
size_t lc_rpc_max_message(const struct lc_rpc_call *call); /* the server's and the method's extra_message */
bool lc_rpc_over(const struct lc_rpc_call *call);          /* finished or cancelled: nothing can be sent any more */

/* The handler holds so many bytes more for this call, until its memory is freed: charged to the worker's buffer budget.
 * The arena and the output are charged without this. False: the budget has no room for them. */
bool lc_rpc_charge(struct lc_rpc_call *call, size_t bytes);

/* Where the handler appends its messages, each with its prefix (wire/msg.h encoders do both). */
struct lc_outq *lc_rpc_out(struct lc_rpc_call *call);

/* Streaming: send what was appended. Resets the stream, with on_cancel, when the client doesn't take what was sent and
 * it adds up to more than a message may have. */
void lc_rpc_send(struct lc_rpc_call *call);

/*
 * Ends the call. On LC_GRPC_OK what was appended is sent; otherwise a reply that is only an error, and what was
 * appended but not sent is dropped. `message` may be NULL. Harmless when the call is over.
 */
void lc_rpc_finish(struct lc_rpc_call *call, enum lc_grpc_status status, const char *message);

/* Keeps the call's memory (state, arena) past its end, until as many releases. Worker's thread only. */
void lc_rpc_hold(struct lc_rpc_call *call);
void lc_rpc_release(struct lc_rpc_call *call);

#endif
