#ifndef LC_LOOP_CONN_H
#define LC_LOOP_CONN_H

#include <stdbool.h>

#include "base/outq.h"
#include "base/parse.h"
#include "loop/worker.h"

/*
 * A TCP connection on a worker: reads go to a handler, writes come from an output queue. TLS will go below this. All on
 * the worker's thread. No callback runs inside a call that starts something: accept, connect, flush_later, close,
 * abort.
 */
struct lc_conn;

/* Any call but a second accept or connect of the same is allowed inside a callback, lc_conn_abort too. */
struct lc_conn_handler {
  /* Client: the connection stands (LC_OK), or could not be made: LC_EDEADLINE, LC_EUNAVAILABLE, LC_ENOMEM (see
   * lc_conn_error; on_close follows). Not called if the owner closed before. May be NULL. */
  void (*on_connect)(void *arg, int code);

  /* Bytes, valid during the call. The handler may queue output and need not flush: the connection does so after. */
  void (*on_read)(void *arg, const uint8_t *data, size_t len);

  /* A flush asked for by lc_conn_flush_later begins, or the output queue ran empty after it had been blocked
   * (connecting counts), or after 64 KiB and more went out at a time: queue more now, if there is more; it is flushed
   * after. A connection's turn thus ends after each such piece, and others have theirs. May be NULL. */
  void (*on_drain)(void *arg);

  /* Once, last; the connection is freed after. `reason`: LC_OK for an orderly end (the peer's end of stream, or all was
   * sent after lc_conn_close), LC_ECANCELLED after lc_conn_abort, LC_EDEADLINE if linger_ms was too short, on_connect's
   * code, or LC_EIO. */
  void (*on_close)(void *arg, int reason);
};

/* Takes over an accepted, non-blocking socket (closed on failure). Reading begins at once. 0, LC_ENOMEM or LC_EIO. */
int lc_conn_accept(struct lc_worker *worker, int fd, const struct lc_conn_handler *handler, void *arg,
                   struct lc_conn **out);

/*
 * Starts to connect (numeric address, or a name, whose addresses are tried in turn). Output may be queued at once; it
 * goes out after on_connect. timeout_ms is for look-up and connecting together. 0 or LC_ENOMEM.
 */
int lc_conn_connect(struct lc_worker *worker, const struct lc_address *address, uint64_t timeout_ms,
                    const struct lc_conn_handler *handler, void *arg, struct lc_conn **out);

struct lc_outq *lc_conn_out(struct lc_conn *conn);

/*
 * Flushes at the end of this loop turn (many requests, one write). Cheap to call often. Inside on_connect, on_read and
 * on_drain it isn't needed.
 */
void lc_conn_flush_later(struct lc_conn *conn);

/* True while bytes wait in the kernel's or libuv's way, or it is connecting: pull no more frames until on_drain. */
bool lc_conn_blocked(const struct lc_conn *conn);

/* Stops and resumes reading. While paused the peer's end is not noticed, unless by a failed write. */
void lc_conn_pause(struct lc_conn *conn, bool paused);

/*
 * Sends what is queued, ends our half and waits for the peer to end its own (all within linger_ms), then closes. No
 * on_read comes any more. While connecting, and with linger_ms 0 after one try to send, it closes at once. When the
 * peer ends the stream first, the connection does the same by itself: what is queued by then still goes out, for 5 s at
 * most.
 */
void lc_conn_close(struct lc_conn *conn, uint64_t linger_ms);

/* Drops the output and resets the connection. */
void lc_conn_abort(struct lc_conn *conn);

const char *lc_conn_peer(const struct lc_conn *conn);  /* "HOST:PORT" for logs */
const char *lc_conn_error(const struct lc_conn *conn); /* `connection refused`: what went wrong; "" if nothing did */
bool lc_conn_unresolved(const struct lc_conn *conn);   /* what went wrong is that the host's name has no address */

/* Time of the last byte read, and since when output has made no progress (0: it isn't stuck). Milliseconds. */
uint64_t lc_conn_last_read_ms(const struct lc_conn *conn);
uint64_t lc_conn_stuck_since_ms(const struct lc_conn *conn);

#endif
