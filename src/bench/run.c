#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "bench/run.h"

#define READ_SIZE (256u * 1024)
#define STALL_NS (30ull * 1000000000)

const struct lc_bench_options *lc_bench_conn_options(const struct lc_bench_conn *conn) {
  return conn->run->options;
}

void lc_bench_reply(struct lc_bench_conn *conn, uint32_t tag, int status, size_t bytes) {
  struct lc_bench_run *run = conn->run;
  uint64_t *begun = &conn->begun_ns[tag & conn->mask];
  if (*begun == 0)
    return; /* an answer to nothing that was asked */
  uint64_t took = run->now_ns > *begun ? run->now_ns - *begun : 0;
  *begun = 0;
  conn->outstanding--;
  conn->replies++;
  run->done++;
  run->last_reply_ns = run->now_ns;
  if (!run->measuring)
    return;
  lc_bench_histogram_add(&run->result->histogram, took);
  run->result->bytes += bytes;
  bool known = status >= 0 && (unsigned)status < LC_BENCH_STATUSES - 1;
  run->result->by_status[known ? (unsigned)status : LC_BENCH_STATUSES - 1]++;
}

static int connect_to(const struct lc_address *address, struct lc_err *err) {
  char port[8];
  snprintf(port, sizeof(port), "%u", address->port);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
  int rc = getaddrinfo(address->host, port, &hints, &found);
  if (rc != 0)
    return lc_err_set(err, LC_EIO, "%s: can't resolve the name (%s)", address->host, gai_strerror(rc));
  int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int one = 1;
  if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
    lc_err_set(err, LC_EIO, "%s:%s: %s", address->host, port, strerror(errno));
    if (fd >= 0)
      close(fd);
    freeaddrinfo(found);
    return LC_EIO;
  }
  freeaddrinfo(found);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  return fd;
}

static uint32_t slots_for(unsigned outstanding) {
  uint32_t slots = 256;
  while (slots < outstanding * 4)
    slots *= 2;
  return slots;
}

static int open_conn(struct lc_bench_run *run, struct lc_bench_conn *conn, struct lc_err *err) {
  const struct lc_bench_options *options = run->options;
  uint32_t slots = slots_for(options->outstanding);
  conn->run = run;
  conn->writable = true;
  conn->mask = slots - 1;
  conn->begun_ns = lc_calloc(slots, sizeof(uint64_t));
  conn->driver_state = lc_calloc(1, options->driver->state_size + 1);
  if (!conn->begun_ns || !conn->driver_state)
    return lc_err_set(err, LC_ENOMEM, "out of memory for the connections");
  conn->fd = connect_to(&options->server, err);
  if (conn->fd < 0)
    return conn->fd;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
  if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0)
    return lc_err_set(err, LC_EIO, "epoll: %s", strerror(errno));
  int rc = options->driver->open(conn);
  return rc == LC_OK ? LC_OK : lc_err_set(err, rc, "can't begin the protocol: %s", lc_code_name(rc));
}

static void close_conn(struct lc_bench_conn *conn) {
  if (conn->run && conn->driver_state && conn->run->options->driver->close)
    conn->run->options->driver->close(conn);
  if (conn->fd > 0)
    close(conn->fd);
  lc_buf_fini(&conn->in);
  lc_buf_fini(&conn->out);
  lc_free(conn->begun_ns);
  lc_free(conn->driver_state);
}

static void fail_conn(struct lc_bench_conn *conn, const char *why) {
  struct lc_bench_run *run = conn->run;
  if (conn->failed)
    return;
  conn->failed = true;
  run->alive--;
  run->result->broken += conn->outstanding;
  conn->outstanding = 0;
  if (run->failure.code == 0)
    lc_err_set(&run->failure, LC_EIO, "a connection failed: %s", why);
  epoll_ctl(run->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
}

static void watch_writes(struct lc_bench_conn *conn, bool wanted) {
  struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0u), .data.ptr = conn};
  epoll_ctl(conn->run->epoll, EPOLL_CTL_MOD, conn->fd, &event);
  conn->writable = !wanted;
}

static void flush(struct lc_bench_conn *conn) {
  while (conn->sent < conn->out.len) {
    ssize_t n = send(conn->fd, conn->out.data + conn->sent, conn->out.len - conn->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (conn->writable)
        watch_writes(conn, true);
      return;
    }
    if (n < 0) {
      fail_conn(conn, strerror(errno));
      return;
    }
    conn->sent += (size_t)n;
  }
  conn->out.len = conn->sent = 0;
  if (!conn->writable)
    watch_writes(conn, false);
}

/* Parses what has come; keeps a cut reply for the next read. */
static void parse(struct lc_bench_conn *conn, const uint8_t *data, size_t len) {
  struct lc_err err = {0};
  if (conn->in.len > 0) {
    if (lc_buf_append(&conn->in, data, len) != LC_OK) {
      fail_conn(conn, "out of memory");
      return;
    }
    data = conn->in.data;
    len = conn->in.len;
  }
  long used = conn->run->options->driver->parse(conn, data, len, &err);
  if (used < 0)
    fail_conn(conn, err.msg);
  else if (conn->in.len > 0)
    lc_buf_consume(&conn->in, (size_t)used);
  else if ((size_t)used < len && lc_buf_append(&conn->in, data + used, len - (size_t)used) != LC_OK)
    fail_conn(conn, "out of memory");
}

static void read_conn(struct lc_bench_conn *conn) {
  struct lc_bench_run *run = conn->run;
  ssize_t n = recv(conn->fd, run->read_buffer, READ_SIZE, MSG_DONTWAIT);
  run->now_ns = lc_clock_ns();
  if (n > 0)
    parse(conn, run->read_buffer, (size_t)n);
  else if (n == 0)
    fail_conn(conn, "closed by the server");
  else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
    fail_conn(conn, strerror(errno));
}

static bool send_one(struct lc_bench_conn *conn, enum lc_bench_op op, uint64_t key_number, uint64_t begun_ns) {
  struct lc_bench_run *run = conn->run;
  char key[LC_BENCH_KEY_MAX];
  uint32_t tag = conn->next_tag;
  if (conn->begun_ns[tag & conn->mask] != 0)
    return false;
  size_t len = lc_bench_key_format(run->options->key_prefix, key_number, key);
  int rc = run->options->driver->request(conn, op, tag, lc_slice_of(key, len), run->value);
  if (rc != LC_OK) {
    fail_conn(conn, rc == LC_ETOOBIG ? "a request is larger than the server's HTTP/2 window" : "out of memory");
    return false;
  }
  conn->begun_ns[tag & conn->mask] = begun_ns;
  conn->next_tag++;
  conn->outstanding++;
  run->begun++;
  return true;
}

static bool may_send(const struct lc_bench_conn *conn, enum lc_bench_op op) {
  const struct lc_bench_driver *driver = conn->run->options->driver;
  return !conn->failed && conn->writable && conn->outstanding < conn->run->options->outstanding &&
         (!driver->ready || driver->ready(conn, op));
}

static enum lc_bench_op choose_op(struct lc_bench_run *run) {
  if (run->phase == LC_BENCH_FILLING)
    return LC_BENCH_SET;
  if (run->options->get_percent == 100)
    return LC_BENCH_GET;
  return lc_bench_random(&run->keys) % 100 < run->options->get_percent ? LC_BENCH_GET : LC_BENCH_SET;
}

/* When the next request is due: now, or its place in the open loop's schedule. 0: not yet, or no more. */
static uint64_t next_due(struct lc_bench_run *run) {
  if (run->begun >= run->wanted)
    return 0;
  if (run->phase == LC_BENCH_FILLING || run->options->rate <= 0)
    return run->now_ns;
  uint64_t due = run->phase_began_ns + (uint64_t)((double)run->begun * 1e9 / run->options->rate);
  return due <= run->now_ns ? due : 0;
}

static void fill_conn(struct lc_bench_conn *conn) {
  struct lc_bench_run *run = conn->run;
  uint64_t due;
  while ((due = next_due(run)) != 0) {
    enum lc_bench_op op = choose_op(run);
    if (!may_send(conn, op))
      break;
    uint64_t key = run->phase == LC_BENCH_FILLING ? run->begun % run->options->keys : lc_bench_keys_next(&run->keys);
    if (!send_one(conn, op, key, due))
      break;
  }
  if (!conn->failed && conn->writable && conn->out.len > 0)
    flush(conn);
}

static int wait_ms(const struct lc_bench_run *run) {
  return run->options->rate > 0 && run->phase != LC_BENCH_FILLING ? 1 : 100;
}

static int turn(struct lc_bench_run *run) {
  struct epoll_event events[64];
  int n = epoll_wait(run->epoll, events, 64, wait_ms(run));
  run->now_ns = lc_clock_ns();
  for (int i = 0; i < n; i++) {
    struct lc_bench_conn *conn = events[i].data.ptr;
    if (conn->failed)
      continue;
    if (events[i].events & EPOLLOUT)
      flush(conn);
    if (!conn->failed && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
      read_conn(conn);
    if (!conn->failed)
      fill_conn(conn);
  }
  /* In an open loop requests become due without a reply. */
  if (n == 0 || run->options->rate > 0) {
    for (unsigned i = 0; i < run->options->connections; i++) {
      if (!run->conns[i].failed)
        fill_conn(&run->conns[i]);
    }
  }
  if (run->alive == 0)
    return run->failure.code;
  bool waits = run->begun > run->done || (run->options->rate <= 0 && run->begun < run->wanted);
  if (waits && run->now_ns - run->last_reply_ns > STALL_NS)
    return lc_err_set(&run->failure, LC_EDEADLINE, "no reply for 30 s");
  return LC_OK;
}

static uint64_t outstanding(const struct lc_bench_run *run) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < run->options->connections; i++)
    sum += run->conns[i].outstanding;
  return sum;
}

/* One phase: until `wanted` requests were made or ms passed; with drain, until all were answered too. */
static int run_phase(struct lc_bench_run *run, enum lc_bench_phase phase, uint64_t wanted, uint64_t ms, bool drain) {
  run->phase = phase;
  run->measuring = phase == LC_BENCH_MEASURING;
  run->begun = run->done = 0;
  run->wanted = wanted ? wanted : UINT64_MAX;
  run->now_ns = run->phase_began_ns = run->last_reply_ns = lc_clock_ns();
  uint64_t end_ns = wanted ? UINT64_MAX : run->now_ns + ms * 1000000;
  for (unsigned i = 0; i < run->options->connections; i++) {
    if (!run->conns[i].failed)
      fill_conn(&run->conns[i]);
  }
  int rc = LC_OK;
  while (rc == LC_OK && run->now_ns < end_ns && (run->begun < run->wanted || (drain && outstanding(run) > 0)))
    rc = turn(run);
  if (run->measuring)
    run->result->seconds = (double)(run->now_ns - run->phase_began_ns) / 1e9;
  run->wanted = 0;
  while (drain && rc == LC_OK && outstanding(run) > 0)
    rc = turn(run);
  return rc;
}

static int run_phases(struct lc_bench_run *run) {
  const struct lc_bench_options *options = run->options;
  int rc = LC_OK;
  if (options->fill)
    rc = run_phase(run, LC_BENCH_FILLING, options->keys, 0, true);
  if (rc == LC_OK && options->warmup_ms > 0)
    rc = run_phase(run, LC_BENCH_WARMING, 0, options->warmup_ms, true);
  if (rc == LC_OK)
    rc = run_phase(run, LC_BENCH_MEASURING, options->requests, options->duration_ms, options->requests > 0);
  return rc;
}

static int set_up(struct lc_bench_run *run, struct lc_err *err) {
  const struct lc_bench_options *options = run->options;
  run->epoll = epoll_create1(EPOLL_CLOEXEC);
  run->conns = lc_calloc(options->connections, sizeof(run->conns[0]));
  run->read_buffer = lc_malloc(READ_SIZE);
  uint8_t *value = lc_malloc(options->value_size + 1);
  run->value = lc_slice_of(value, options->value_size);
  if (run->epoll < 0 || !run->conns || !run->read_buffer || !value)
    return lc_err_set(err, LC_ENOMEM, "out of memory for the connections");
  memset(value, 'x', options->value_size);
  lc_bench_keys_init(&run->keys, options, lc_clock_ns());
  for (unsigned i = 0; i < options->connections; i++) {
    int rc = open_conn(run, &run->conns[i], err);
    if (rc != LC_OK)
      return rc;
    run->alive++;
  }
  return LC_OK;
}

static void tear_down(struct lc_bench_run *run) {
  for (unsigned i = 0; run->conns && i < run->options->connections; i++)
    close_conn(&run->conns[i]);
  if (run->epoll >= 0)
    close(run->epoll);
  lc_free(run->conns);
  lc_free(run->read_buffer);
  lc_free((void *)(uintptr_t)run->value.ptr);
}

int lc_bench_run(const struct lc_bench_options *options, struct lc_bench_result *result, struct lc_err *err) {
  struct lc_bench_run run = {.options = options, .result = result, .epoll = -1};
  memset(result, 0, sizeof(*result));
  int rc = set_up(&run, err);
  if (rc == LC_OK) {
    rc = run_phases(&run);
    if (rc != LC_OK && err)
      *err = run.failure;
  }
  tear_down(&run);
  return rc;
}
