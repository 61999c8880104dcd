#ifndef LC_WIRE_H2_INTERNAL_H
#define LC_WIRE_H2_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "base/list.h"
#include "wire/h2.h"

/*
 * Shared by the h2_*.c files only:
 *   h2.c        the session: create, destroy, recv, pull, goaway
 *   h2_recv.c   nghttp2's callbacks for what comes in
 *   h2_send.c   heads, bodies and trailers on their way out
 *   h2_flood.c  counts frames that cost us and carry nothing
 */

struct lc_h2_stream {
  struct lc_list node;                /* in lc_h2.streams */
  void *object;                       /* the owner's */
  const struct lc_h2_field *trailers; /* until the body has been sent: the owner's where fixed, else in `kept` */
  size_t trailer_count;
  struct lc_h2_field *kept; /* the fields, then their bytes */
  int32_t id;
  uint32_t head_bytes; /* of the head being received */
  size_t owed;         /* received, not yet given back to the stream's window */
  bool pseudo;         /* the head being received has a pseudo field: it is no trailer */
  bool remote_ended;
  bool responded;
  bool finished; /* the body is complete as queued */
  bool deferred; /* nghttp2 waits for lc_h2_resume */
  bool reset;    /* by us: the owner hears on_close only */
  bool early;    /* answered before the request ended */
};

struct lc_h2_flood {
  uint64_t now_ms, filled_ms;
  uint32_t tokens;
  uint32_t payload; /* of the present frame, still to come */
  uint8_t head[9], head_len;
};

struct lc_h2 {
  nghttp2_session *session;
  struct lc_mempool *pool;
  const struct lc_h2_handler *handler;
  void *arg;
  struct lc_list streams;       /* oldest first, so by rising id */
  struct lc_h2_stream *last;    /* found or added last, if it's still there */
  struct lc_h2_stream *heading; /* whose HEADERS are being received; NULL: nobody wants them */
  size_t stream_count;
  size_t early_count;  /* streams with `early` */
  int32_t large_id;    /* the last stream that was given a large reply, or 0 */
  int32_t closing_id;  /* the stream whose on_close runs: it can't be found any more */
  struct lc_outq *out; /* of the pull in progress */
  size_t out_limit;
  size_t conn_owed; /* received, not yet given back to the connection's window */
  uint32_t stream_window, conn_window, max_header_list;
  size_t max_waiting; /* frames that may wait to be pulled */
  struct lc_h2_flood flood;
  bool server;
  bool flooded;
  bool pull_failed;
  int failed;   /* nghttp2 met a fatal error, or a frame was lost: it must not be called any more */
  bool in_call; /* inside recv or pull; for assertions */
  bool destroying;
};

struct lc_h2_stream *lc_h2_find_slow(struct lc_h2 *h2, int32_t id);

/* NULL: unknown, closed or refused. Most calls are about the stream that the last one was about. */
static inline struct lc_h2_stream *lc_h2_find(struct lc_h2 *h2, int32_t id) {
  struct lc_h2_stream *last = h2->last;
  return last && last->id == id ? last : lc_h2_find_slow(h2, id);
}

struct lc_h2_stream *lc_h2_stream_add(struct lc_h2 *h2, void *object, int32_t id); /* NULL: no memory */
void lc_h2_stream_drop(struct lc_h2 *h2, struct lc_h2_stream *stream);             /* tells nobody */
void lc_h2_stream_close(struct lc_h2 *h2, struct lc_h2_stream *stream, uint32_t error_code);

int lc_h2_error(int nghttp2_error); /* to enum lc_code */

void lc_h2_recv_callbacks(nghttp2_session_callbacks *callbacks);
void lc_h2_send_callbacks(nghttp2_session_callbacks *callbacks);

int lc_h2_give_back(struct lc_h2 *h2); /* opens the connection's window again, in portions */

void lc_h2_flood_init(struct lc_h2_flood *flood, bool server);

/* Bytes that have come in, cut anywhere. False: they hold a frame too many. */
bool lc_h2_flood_recv(struct lc_h2_flood *flood, const uint8_t *data, size_t len);
void lc_h2_flood_data_sent(struct lc_h2_flood *flood); /* a DATA frame went out */

#endif
