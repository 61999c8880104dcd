#ifndef LC_RPC_CLIENT_H
#define LC_RPC_CLIENT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/outq.h"
#include "base/parse.h"
#include "base/slice.h"
#include "loop/worker.h"
#include "wire/grpc.h"

/*
 * gRPC, client side: one multiplexed connection to a server, on one worker. lcachectl and peers use it. All on the
 * worker's thread.
 */
struct lc_rpc_client;
struct lc_rpc_client_call;

struct lc_rpc_client_config {
  struct lc_worker *worker;
  struct lc_address address;
  uint64_t connect_timeout_ms; /* default 3 s */
  size_t max_message;          /* of a reply; default 64 MiB */

  /* Calls that the server's limit of streams has no room for wait in the client, in order: up to so many bytes of
   * requests and what the calls themselves take. Default 16 MiB; 0: none waits. */
  size_t queue_limit_bytes;

  /*
   * Liveness: while calls are in progress (with ping_always, all the time) a PING goes out every ping_ms. When nothing
   * has come for silence_ms, counted from the last byte read or from when there began to be something to wait for,
   * whichever is later, the connection is given up: its calls end with transport true, then on_down (LC_EDEADLINE).
   * Connecting counts as silence too; a stop of this process doesn't. Either 0 (the default): none of it.
   */
  uint64_t ping_ms, silence_ms;
  bool ping_always;

  /* The server has said something for the first time, in HTTP/2: the connection works. Calls that those same bytes
   * answered may have been told before. May be NULL. */
  void (*on_up)(void *arg);

  /* The connection ended or could not be made; calls in progress have been answered. Not after destroy. May be NULL. */
  void (*on_down)(void *arg, const struct lc_err *err);
  void *arg;
};

void lc_rpc_client_config_init(struct lc_rpc_client_config *config);

/* Begins to connect; calls may be made at once and wait for it. 0, LC_ENOMEM, LC_EIO. */
int lc_rpc_client_create(const struct lc_rpc_client_config *config, struct lc_rpc_client **out, struct lc_err *err);

/* Calls in progress end without their callback. The connection closes over the next loop turns. NULL is fine. */
void lc_rpc_client_destroy(struct lc_rpc_client *client);

/* A unary call's end; bytes valid during the callback. */
struct lc_rpc_result {
  int status;            /* a gRPC status; UNAVAILABLE where the connection failed */
  bool transport;        /* the failure is the connection's, not an answer */
  const char *message;   /* never NULL */
  struct lc_slice reply; /* on OK */
};
typedef void (*lc_rpc_client_done)(void *arg, const struct lc_rpc_result *result);

/*
 * Starts a unary call, or queues it (queue_limit_bytes). `path`, a literal, is borrowed; `request` holds one message
 * with its prefix (wire/msg.h encoders make it) and is emptied, best from the worker's pool. timeout_ms 0: none; the
 * server is told up to 1/32 more. 0, then done once, later; or LC_ENOMEM, LC_EEXHAUSTED (the queue is full),
 * LC_EUNAVAILABLE (down) and done never.
 */
int lc_rpc_client_call(struct lc_rpc_client *client, const char *path, struct lc_outq *request, uint64_t timeout_ms,
                       lc_rpc_client_done done, void *arg, struct lc_rpc_client_call **out);

/* done won't be called. Not after done, nor inside it. */
void lc_rpc_client_cancel(struct lc_rpc_client_call *call);

#endif
