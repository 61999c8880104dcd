#ifndef LC_SERVER_SERVER_H
#define LC_SERVER_SERVER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/outq.h"
#include "loop/conn.h"
#include "wire/h2.h"

/*
 * Accepted connections and the requests on them, on one worker. A face (gRPC in rpc/, REST in http/ later) gives the
 * meaning; this gives the connection's life: protocol preface, streams, output, idle and slow peers, graceful stop.
 */
struct lc_server;
struct lc_session;

/* First bytes of a request's arena, inside the request: enough for a Get's group and key while it waits. Many requests
 * can wait at a time, and each is charged to the buffer budget, so the object is kept small. */
#define LC_REQUEST_INLINE 96

/* One request, and its reply: a stream. A face embeds it as the first member of its own object. */
struct lc_request {
  struct lc_server *server;
  struct lc_session *session; /* NULL once the stream is closed */
  struct lc_list incomplete;  /* of the session, until the request has come */
  uint64_t begun_ms;
  int32_t stream_id;
  bool ended;          /* the client's half */
  size_t charged;      /* bytes; see lc_request_account */
  struct lc_outq body; /* of the reply */
  struct lc_arena arena;
  _Alignas(16) char first[LC_REQUEST_INLINE];
};

struct lc_face {
  size_t request_size; /* of the face's object, which begins with struct lc_request */
  size_t zeroed_size;  /* of that, how much must be zeroed for on_begin */
  size_t arena_limit;  /* heap bytes one request may take */

  void (*on_begin)(void *arg, struct lc_request *request);
  int (*on_header)(void *arg, struct lc_request *request, struct lc_slice name,
                   struct lc_slice value); /* negative: reset */
  void (*on_head)(void *arg, struct lc_request *request);
  void (*on_data)(void *arg, struct lc_request *request, struct lc_slice data);
  void (*on_end)(void *arg, struct lc_request *request);

  /* The stream is gone. True: the face still needs the object and will call lc_request_free. */
  bool (*on_close)(void *arg, struct lc_request *request);
};

struct lc_server_config {
  struct lc_worker *worker;
  const struct lc_face *face; /* borrowed */
  void *face_arg;
  uint32_t max_streams;
  uint64_t hello_timeout_ms;   /* a connection must finish its preface in this; default 10 s */
  uint64_t request_timeout_ms; /* a request must come whole in this; default 60 s */
  uint64_t stuck_timeout_ms;   /* output must make progress in this; default 60 s */
  uint64_t idle_ping_ms;       /* silence after which the peer is pinged; default 120 s */
  uint64_t ping_timeout_ms;    /* no answer to that in this closes; default 20 s */
  void (*on_ended)(void *arg); /* a connection ended (for the listener's count); may be NULL */
  void *on_ended_arg;
};

void lc_server_config_init(struct lc_server_config *config); /* the defaults above, 4,096 streams */
int lc_server_create(const struct lc_server_config *config, struct lc_server **out); /* 0 or LC_ENOMEM */

/* Takes over an accepted socket; on failure it is closed. */
void lc_server_accept(struct lc_server *server, int fd);

/* Graceful stop: two GOAWAYs on each connection, which closes when its streams have ended. `drained` is called once,
 * later or at once, when none is left. */
void lc_server_drain(struct lc_server *server, void (*drained)(void *arg), void *arg);

/* Cuts what is left. Their closing needs turns of the loop: `drained` of lc_server_drain tells. */
void lc_server_abort(struct lc_server *server);
void lc_server_destroy(struct lc_server *server); /* when no connection is left; NULL is fine */

unsigned lc_server_connections(const struct lc_server *server);
size_t lc_server_streams(const struct lc_server *server);

/* For faces. All but free are harmless on a request whose stream is closed. */
struct lc_worker *lc_request_worker(const struct lc_request *request);
struct lc_h2 *lc_request_h2(const struct lc_request *request); /* NULL when closed */

/* The face has what it needs, though the client's half may stay open: request_timeout no longer applies. */
void lc_request_came(struct lc_request *request);

/* After submitting anything outside of a callback of the face (or inside: harmless): frames go out this loop turn. */
void lc_request_kick(struct lc_request *request);
void lc_request_reset(struct lc_request *request, uint32_t error_code);

/* The request holds so many bytes now, beside its object (what it was charged with before counts no more): charged to
 * the worker's buffer budget until it is freed. False: the budget has no room for that, and the charge is as it was. */
bool lc_request_account(struct lc_request *request, size_t bytes);

/* For a face that kept the object in on_close. */
void lc_request_free(struct lc_request *request);

#endif
