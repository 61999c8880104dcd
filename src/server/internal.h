#ifndef LC_SERVER_INTERNAL_H
#define LC_SERVER_INTERNAL_H

#include "server/server.h"

/* What server.c (all connections of a worker), session.c (one) and request.c (one stream) share. */

struct lc_server {
  struct lc_server_config config;
  struct lc_worker *worker;
  struct lc_mempool *pool;
  struct lc_list sessions;
  unsigned connections;
  size_t streams;
  struct lc_timer tick; /* idle, slow and stuck connections */
  uint64_t tick_ms;
  bool draining;
  void (*drained)(void *arg);
  void *drained_arg;
};

struct lc_session {
  struct lc_list link; /* of the server */
  struct lc_server *server;
  struct lc_conn *conn;
  struct lc_h2 *h2;
  struct lc_list incomplete; /* requests that have not come, oldest first */
  uint64_t opened_ms;
  uint64_t pinged_ms;  /* when the unanswered ping was sent, 0: none is out */
  uint64_t final_ms;   /* when the second GOAWAY is due without an answer to the first's ping; 0: not draining */
  size_t charged;      /* output bytes charged to the worker */
  uint8_t preface_len; /* bytes of the client's preface seen so far, to tell HTTP/1 apart */
  bool greeted;        /* the preface is complete */
  bool reading;        /* inside on_read, which pulls frames at its end */
  bool final_sent;
  bool closing;
};

extern const struct lc_h2_handler lc_session_h2_handler;

int lc_session_open(struct lc_server *server, int fd);              /* on failure the socket is closed */
void lc_session_check(struct lc_session *session, uint64_t now_ms); /* at each tick */
void lc_session_drain(struct lc_session *session);
void lc_session_abort(struct lc_session *session);

/* request.c: the stream callbacks of the handler table. */
void *lc_request_begin(void *arg, int32_t stream_id);
int lc_request_header(void *arg, void *stream, struct lc_slice name, struct lc_slice value);
void lc_request_head(void *arg, void *stream, bool trailers);
void lc_request_data(void *arg, void *stream, struct lc_slice data);
void lc_request_end(void *arg, void *stream);
void lc_request_close(void *arg, void *stream, uint32_t error_code);
struct lc_outq *lc_request_body(void *arg, void *stream);

#endif
