#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "loop/conn_state.h"

#define MAX_RUNS 64u            /* a gathering write */
#define WAIT_WRITE_BYTES 16384u /* handed to libuv when the socket is full */
#define BURST_BYTES (64u << 10) /* written at a time: the owner is asked for more */
#define HOLD_BYTES 8192u        /* less waits for the turn's end */
#define EOF_LINGER_MS 5000u     /* the peer has ended its half: time to take what is queued */
#define KEEPALIVE_S 60u

struct lc_outq *lc_conn_out(struct lc_conn *conn) {
  return &conn->out;
}

bool lc_conn_blocked(const struct lc_conn *conn) {
  return conn->writing != 0 || conn->state == LC_CONN_CONNECTING;
}

const char *lc_conn_peer(const struct lc_conn *conn) {
  return conn->peer;
}

uint64_t lc_conn_last_read_ms(const struct lc_conn *conn) {
  return conn->last_read_ms;
}

uint64_t lc_conn_stuck_since_ms(const struct lc_conn *conn) {
  return conn->stuck_since_ms;
}

const char *lc_conn_error(const struct lc_conn *conn) {
  return conn->uv_err != 0 ? uv_strerror(conn->uv_err) : "";
}

bool lc_conn_unresolved(const struct lc_conn *conn) {
  /* The codes of getaddrinfo lie together, away from errno's. */
  return conn->uv_err <= UV_EAI_ADDRFAMILY && conn->uv_err > UV_EAI_ADDRFAMILY - 100;
}

static uint64_t now_ms(const struct lc_conn *conn) {
  return lc_worker_now_ms(conn->worker);
}

/* ---- closing ---- */

static void release(struct lc_conn *conn) {
  lc_outq_fini(&conn->out);
  if (conn->addresses != NULL)
    uv_freeaddrinfo(conn->addresses);
}

void lc_conn_finish(struct lc_conn *conn) {
  conn->state = LC_CONN_CLOSED;
  lc_timer_stop(lc_worker_timers(conn->worker), &conn->timer);
  lc_list_remove(&conn->turn_end.link);
  release(conn);
  conn->handler->on_close(conn->arg, conn->reason);
  lc_free(conn);
}

static void on_closed(uv_handle_t *handle) {
  lc_conn_finish(handle->data);
}

static void close_now(struct lc_conn *conn, int reason) {
  conn->reason = reason;
  conn->state = LC_CONN_CLOSED;
  lc_conn_forget_resolve(conn);
  lc_timer_stop(lc_worker_timers(conn->worker), &conn->timer);
  lc_list_remove(&conn->turn_end.link);
  if (!uv_is_closing((uv_handle_t *)&conn->tcp))
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

static void fail(struct lc_conn *conn, int uv_err) {
  conn->uv_err = uv_err;
  close_now(conn, uv_err == UV_ENOMEM ? LC_ENOMEM : LC_EIO);
}

/* All is sent: end our half and wait for the peer to end its own. */
static void end_half(struct lc_conn *conn) {
  if (conn->eof || conn->linger_ms == 0) {
    close_now(conn, LC_OK);
    return;
  }
  uv_os_fd_t fd;
  conn->shut = true;
  if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0)
    close_now(conn, LC_OK);
}

/* ---- writing ---- */

static void flush(struct lc_conn *conn);

static void ask_for_more(struct lc_conn *conn) {
  if (conn->state != LC_CONN_OPEN)
    return;
  if (conn->handler->on_drain != NULL)
    conn->handler->on_drain(conn->arg);
  flush(conn);
}

static void on_written(uv_write_t *write, int status) {
  struct lc_conn *conn = write->data;
  size_t len = conn->writing;
  conn->writing = 0;
  if (conn->state == LC_CONN_CLOSED)
    return;
  if (status != 0) {
    fail(conn, status);
    return;
  }
  lc_outq_consume(&conn->out, len);
  conn->stuck_since_ms = now_ms(conn);
  flush(conn);
  if (conn->writing == 0)
    ask_for_more(conn);
}

/*
 * The socket is full. libuv gets the first run only, as the means to learn of room: that costs no memory, and each time
 * it is done the rest is tried in one go again. The bytes stay queued, hence valid, until then.
 */
static void wait_for_room(struct lc_conn *conn) {
  struct lc_slice run;
  lc_outq_peek(&conn->out, &run, 1);
  if (run.len > WAIT_WRITE_BYTES)
    run.len = WAIT_WRITE_BYTES;
  uv_buf_t buf = {.base = (char *)(uintptr_t)run.ptr, .len = run.len};
  conn->write.data = conn;
  int rc = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &buf, 1, on_written);
  if (rc != 0) {
    fail(conn, rc);
    return;
  }
  conn->writing = run.len;
  if (conn->stuck_since_ms == 0)
    conn->stuck_since_ms = now_ms(conn);
}

/* Bytes written, or a negative libuv error; UV_EAGAIN: the socket is full. *all: as many as were tried. */
static int try_write(struct lc_conn *conn, bool *all) {
  struct lc_slice runs[MAX_RUNS];
  uv_buf_t bufs[MAX_RUNS];
  unsigned count = lc_outq_peek(&conn->out, runs, MAX_RUNS);
  size_t total = 0;
  for (unsigned i = 0; i < count; i++) {
    bufs[i] = (uv_buf_t){.base = (char *)(uintptr_t)runs[i].ptr, .len = runs[i].len};
    total += runs[i].len;
  }
  int sent = uv_try_write((uv_stream_t *)&conn->tcp, bufs, count);
  *all = sent >= 0 && (size_t)sent == total;
  return sent;
}

static void ask_at_turn_end(struct lc_conn *conn) {
  conn->ask = true;
  lc_worker_at_turn_end(conn->worker, &conn->turn_end);
}

static void flushed(struct lc_conn *conn, size_t sent) {
  conn->stuck_since_ms = 0;
  if (conn->state == LC_CONN_LINGERING) {
    end_half(conn);
  } else if (sent >= BURST_BYTES) {
    ask_at_turn_end(conn);
  }
}

static void flush(struct lc_conn *conn) {
  if (conn->state == LC_CONN_CONNECTING || conn->state == LC_CONN_CLOSED || conn->writing != 0 || conn->shut)
    return;
  size_t total = 0;
  while (conn->out.bytes > 0) {
    bool all;
    int sent = try_write(conn, &all);
    if (sent < 0 && sent != UV_EAGAIN) {
      fail(conn, sent);
      return;
    }
    if (sent > 0) {
      lc_outq_consume(&conn->out, (size_t)sent);
      conn->stuck_since_ms = 0;
      total += (size_t)sent;
    }
    if (!all) {
      wait_for_room(conn);
      return;
    }
  }
  flushed(conn, total);
}

void lc_conn_begin_writing(struct lc_conn *conn) {
  flush(conn);
  if (conn->writing == 0)
    ask_for_more(conn);
}

static void on_turn_end(struct lc_turn_end *turn_end) {
  struct lc_conn *conn = lc_container_of(turn_end, struct lc_conn, turn_end);
  bool ask = conn->ask;
  conn->ask = false;
  if (ask && conn->state == LC_CONN_OPEN && conn->writing == 0) {
    ask_for_more(conn);
  } else {
    flush(conn);
  }
}

void lc_conn_flush_later(struct lc_conn *conn) {
  if (conn->state == LC_CONN_OPEN || conn->state == LC_CONN_LINGERING)
    ask_at_turn_end(conn);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  struct lc_conn *conn = handle->data;
  *buf = uv_buf_init(lc_worker_read_buffer(conn->worker), LC_READ_BUFFER_SIZE);
}

void lc_conn_start_timer(struct lc_conn *conn, uint64_t ms) {
  lc_timer_start(lc_worker_timers(conn->worker), &conn->timer, now_ms(conn) + ms);
}

static void on_eof(struct lc_conn *conn) {
  conn->eof = true;
  uv_read_stop((uv_stream_t *)&conn->tcp);
  if (conn->state == LC_CONN_OPEN) {
    conn->state = LC_CONN_LINGERING;
    conn->linger_ms = EOF_LINGER_MS;
    lc_conn_start_timer(conn, EOF_LINGER_MS);
  }
  if (conn->shut) {
    close_now(conn, LC_OK);
  } else {
    flush(conn);
  }
}

/*
 * Sends what a read has queued. A little of it waits for the turn's end: a write may wake its reader up, so that one
 * who reads many connections (and gets all of them written at once) finds more to do each time, and sends more at a
 * time.
 */
static void answer(struct lc_conn *conn) {
  if (conn->out.bytes >= HOLD_BYTES)
    flush(conn);
  else if (conn->out.bytes > 0)
    lc_worker_at_turn_end(conn->worker, &conn->turn_end);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf) {
  struct lc_conn *conn = stream->data;
  if (len == UV_EOF) {
    on_eof(conn);
  } else if (len < 0) {
    fail(conn, (int)len);
  } else if (len > 0 && conn->state == LC_CONN_OPEN) {
    conn->last_read_ms = now_ms(conn);
    conn->handler->on_read(conn->arg, (const uint8_t *)buf->base, (size_t)len);
    answer(conn);
  }
}

void lc_conn_pause(struct lc_conn *conn, bool paused) {
  if (conn->paused == paused)
    return;
  conn->paused = paused;
  if (conn->state != LC_CONN_OPEN)
    return;
  if (paused) {
    uv_read_stop((uv_stream_t *)&conn->tcp);
  } else {
    uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
  }
}

void lc_conn_close(struct lc_conn *conn, uint64_t linger_ms) {
  if (conn->state == LC_CONN_CONNECTING)
    close_now(conn, LC_OK);
  if (conn->state != LC_CONN_OPEN)
    return;
  conn->state = LC_CONN_LINGERING;
  conn->linger_ms = linger_ms;
  lc_conn_start_timer(conn, linger_ms);
  uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
  lc_worker_at_turn_end(conn->worker, &conn->turn_end);
}

void lc_conn_abort(struct lc_conn *conn) {
  if (conn->state == LC_CONN_CLOSED)
    return;
  /* A reset frees what the kernel still holds for a peer that doesn't read. */
  if (conn->state != LC_CONN_CONNECTING)
    (void)uv_tcp_close_reset(&conn->tcp, on_closed);
  close_now(conn, LC_ECANCELLED);
}

/* ---- beginning ---- */

static void on_timer(struct lc_timer *timer) {
  struct lc_conn *conn = lc_container_of(timer, struct lc_conn, timer);
  if (conn->state == LC_CONN_CONNECTING) {
    lc_conn_connect_timed_out(conn);
  } else if (conn->state == LC_CONN_LINGERING) {
    close_now(conn, conn->out.bytes > 0 ? LC_EDEADLINE : LC_OK);
  }
}

struct lc_conn *lc_conn_new(struct lc_worker *worker, const struct lc_conn_handler *handler, void *arg) {
  struct lc_conn *conn = lc_calloc(1, sizeof *conn);
  if (conn == NULL)
    return NULL;
  if (uv_tcp_init(lc_worker_loop(worker), &conn->tcp) != 0) {
    lc_free(conn);
    return NULL;
  }
  conn->tcp.data = conn;
  conn->worker = worker;
  conn->handler = handler;
  conn->arg = arg;
  conn->timer.fire = on_timer;
  conn->turn_end.run = on_turn_end;
  conn->last_read_ms = now_ms(conn);
  lc_list_init(&conn->turn_end.link);
  lc_outq_init(&conn->out, lc_worker_pool(worker));
  return conn;
}

int lc_conn_begin_reading(struct lc_conn *conn) {
  conn->state = LC_CONN_OPEN;
  conn->last_read_ms = now_ms(conn);
  uv_tcp_nodelay(&conn->tcp, 1);
  uv_tcp_keepalive(&conn->tcp, 1, KEEPALIVE_S);
  return conn->paused ? 0 : uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
}

static void name_peer(struct lc_conn *conn) {
  struct sockaddr_storage addr;
  int len = sizeof addr;
  struct lc_address peer = {.host = "?"};
  if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&addr, &len) == 0) {
    bool v6 = addr.ss_family == AF_INET6;
    uv_ip_name((struct sockaddr *)&addr, peer.host, sizeof peer.host);
    peer.port = ntohs(v6 ? ((struct sockaddr_in6 *)&addr)->sin6_port : ((struct sockaddr_in *)&addr)->sin_port);
  }
  lc_format_address(&peer, conn->peer, sizeof conn->peer);
}

static void on_discarded(uv_handle_t *handle) {
  release(handle->data);
  lc_free(handle->data);
}

void lc_conn_discard(struct lc_conn *conn) {
  conn->state = LC_CONN_CLOSED;
  uv_close((uv_handle_t *)&conn->tcp, on_discarded);
}

int lc_conn_accept(struct lc_worker *worker, int fd, const struct lc_conn_handler *handler, void *arg,
                   struct lc_conn **out) {
  struct lc_conn *conn = lc_conn_new(worker, handler, arg);
  if (conn == NULL) {
    close(fd);
    return LC_ENOMEM;
  }
  int rc = uv_tcp_open(&conn->tcp, fd);
  if (rc != 0)
    close(fd);
  if (rc == 0)
    rc = lc_conn_begin_reading(conn);
  if (rc != 0) {
    lc_conn_discard(conn);
    return LC_EIO;
  }
  name_peer(conn);
  *out = conn;
  return 0;
}
