#ifndef LC_LOOP_CONN_STATE_H
#define LC_LOOP_CONN_STATE_H

#include <netinet/in.h>

#include "loop/conn.h"
#include "loop/turn.h"

/*
 * LC_CONN_CONNECTING -> LC_CONN_OPEN -> LC_CONN_LINGERING -> LC_CONN_CLOSED. LC_CONN_LINGERING: what is queued goes
 * out, then our half is shut and what still comes is thrown away, until the peer ends its half or time is up; closing
 * at once would make the kernel reset the connection and the peer lose our last bytes. LC_CONN_CLOSED: libuv is letting
 * go; only on_close is left.
 */
enum lc_conn_state { LC_CONN_CONNECTING, LC_CONN_OPEN, LC_CONN_LINGERING, LC_CONN_CLOSED };

/* A look-up of a name, which may outlive its connection: libuv can't stop one that runs. */
struct lc_resolve {
  uv_getaddrinfo_t req;
  struct lc_conn *conn; /* NULL: nobody waits */
};

struct lc_conn {
  uv_tcp_t tcp;
  uv_write_t write;
  struct lc_worker *worker;
  const struct lc_conn_handler *handler;
  void *arg;
  struct lc_outq out;
  size_t writing; /* bytes of `out` that libuv has, 0: none */
  enum lc_conn_state state;
  bool paused, eof, shut;
  struct lc_turn_end turn_end;
  bool ask;              /* at the turn's end for more to write; otherwise what is queued is sent */
  struct lc_timer timer; /* of connecting, then of lingering */
  uint64_t last_read_ms, stuck_since_ms, linger_ms;
  int reason; /* for on_close */
  int uv_err; /* what went wrong, for people */

  uv_connect_t connect;
  struct lc_resolve *resolve;
  struct addrinfo *addresses, *next_address; /* of the name, to try in turn */
  char peer[LC_HOST_SIZE + 9];
};

/* conn.c */
struct lc_conn *lc_conn_new(struct lc_worker *worker, const struct lc_conn_handler *handler,
                            void *arg);           /* NULL: no memory */
void lc_conn_discard(struct lc_conn *conn);       /* a new one that came to nothing: no on_close */
int lc_conn_begin_reading(struct lc_conn *conn);  /* LC_CONN_OPEN from now; 0 or a libuv error */
void lc_conn_begin_writing(struct lc_conn *conn); /* what was queued while connecting */
void lc_conn_start_timer(struct lc_conn *conn, uint64_t ms);
void lc_conn_finish(struct lc_conn *conn); /* libuv has let go: on_close, free */

/* connect.c */
void lc_conn_forget_resolve(struct lc_conn *conn);
void lc_conn_connect_timed_out(struct lc_conn *conn);

#endif
