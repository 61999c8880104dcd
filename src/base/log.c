#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log_line.h"

#define QUEUE_BYTES ((size_t)1024 * 1024)
#define LAST_WAIT_MS 1000 /* for a blocked reader at the end */
#define POLL_SLICE_MS 50  /* how soon a blocked writer notices the end */
#define JOIN_WAIT_MS (LAST_WAIT_MS + 200)

struct lc_log {
  int fd;
  enum lc_log_level level;
  enum lc_log_format format;
  atomic_uint_fast64_t dropped;
  pthread_t thread;
  pthread_mutex_t lock; /* guards all below */
  pthread_cond_t changed;
  uint64_t unreported; /* dropped, and no line has told so */
  uint64_t stop_at_ms; /* 0, or when the writer gives up */
  bool ended;          /* the writer touches nothing more */
  bool abandoned;      /* lc_log_destroy went away before: the writer frees */
  size_t head, len;    /* the queued bytes: `len` from `head` on, wrapping */
  char queue[QUEUE_BYTES];
};

static struct timespec wall_clock(void) {
  struct timespec wall = {0};
  clock_gettime(CLOCK_REALTIME, &wall);
  return wall;
}

static bool has_room(const struct lc_log *log, size_t len) {
  return len <= QUEUE_BYTES - log->len;
}

static void push(struct lc_log *log, const char *data, size_t len) {
  size_t at = (log->head + log->len) % QUEUE_BYTES;
  size_t first = len < QUEUE_BYTES - at ? len : QUEUE_BYTES - at;
  memcpy(log->queue + at, data, first);
  memcpy(log->queue, data + first, len - first);
  log->len += len;
}

/* Moves up to `size` bytes out of the queue, ending with a whole line where one fits. */
static size_t pull(struct lc_log *log, char *out, size_t size) {
  size_t len = log->len < size ? log->len : size;
  size_t first = len < QUEUE_BYTES - log->head ? len : QUEUE_BYTES - log->head;
  memcpy(out, log->queue + log->head, first);
  memcpy(out + first, log->queue, len - first);
  const char *newline = memrchr(out, '\n', len);
  if (newline)
    len = (size_t)(newline - out) + 1;
  log->len -= len;
  /* An empty queue starts over at the front, so that a quiet log touches few pages. */
  log->head = log->len ? (log->head + len) % QUEUE_BYTES : 0;
  return len;
}

/* Queues the line that tells of dropped ones, if it fits with `more` bytes after it. True if all drops are told of. */
static bool push_drop_notice(struct lc_log *log, size_t more) {
  if (!log->unreported)
    return true;
  struct lc_log_line line;
  const struct lc_log_field fields[] = {LC_F_INT("lines", log->unreported), {0}};
  lc_log_line_format(&line, log->format, wall_clock(), LC_LOG_WARN, "log lines dropped", fields);
  if (!has_room(log, line.len + more))
    return false;
  push(log, line.data, line.len);
  log->unreported = 0;
  return true;
}

static void push_or_drop(struct lc_log *log, const struct lc_log_line *line) {
  if (push_drop_notice(log, line->len) && has_room(log, line->len)) {
    push(log, line->data, line->len);
    return;
  }
  log->unreported++;
  atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
}

static bool is_over(struct lc_log *log) {
  pthread_mutex_lock(&log->lock);
  uint64_t stop_at_ms = log->stop_at_ms;
  pthread_mutex_unlock(&log->lock);
  return stop_at_ms && lc_clock_ms() >= stop_at_ms;
}

/* Waits until the reader takes bytes; false when the end came first. The fd is shared, so it stays blocking. */
static bool wait_writable(struct lc_log *log) {
  while (!is_over(log)) {
    struct pollfd poll_fd = {.fd = log->fd, .events = POLLOUT};
    int ready = poll(&poll_fd, 1, POLL_SLICE_MS);
    if (ready > 0)
      return true;
    if (ready < 0 && errno != EINTR)
      return false;
  }
  return false;
}

/* A pipe that poll calls writable takes PIPE_BUF bytes at once. False: these bytes are lost. */
static bool write_all(struct lc_log *log, const char *data, size_t len) {
  while (len) {
    if (!wait_writable(log))
      return false;
    ssize_t written = write(log->fd, data, len);
    if (written < 0 && errno != EINTR && errno != EAGAIN)
      return false;
    if (written > 0) {
      data += written;
      len -= (size_t)written;
    }
  }
  return true;
}

static uint64_t count_lines(const char *data, size_t len) {
  uint64_t lines = 0;
  for (size_t i = 0; i < len; i++)
    lines += data[i] == '\n';
  return lines;
}

/* Waits for bytes and pulls them; 0 at the end. The lock is held. */
static size_t next_chunk(struct lc_log *log, char *chunk, size_t size) {
  for (;;) {
    if (log->len == 0)
      push_drop_notice(log, 0);
    if (log->len)
      return pull(log, chunk, size);
    if (log->stop_at_ms)
      return 0;
    pthread_cond_wait(&log->changed, &log->lock);
  }
}

static void release(struct lc_log *log) {
  pthread_cond_destroy(&log->changed);
  pthread_mutex_destroy(&log->lock);
  lc_free(log);
}

static void *run_writer(void *arg) {
  struct lc_log *log = arg;
  char chunk[PIPE_BUF];
  size_t len;
  pthread_mutex_lock(&log->lock);
  while ((len = next_chunk(log, chunk, sizeof chunk)) > 0) {
    pthread_mutex_unlock(&log->lock);
    bool written = write_all(log, chunk, len);
    pthread_mutex_lock(&log->lock);
    if (!written) {
      atomic_fetch_add_explicit(&log->dropped, count_lines(chunk, len), memory_order_relaxed);
      if (log->stop_at_ms && lc_clock_ms() >= log->stop_at_ms)
        break;
    }
  }
  log->ended = true;
  bool abandoned = log->abandoned;
  pthread_cond_broadcast(&log->changed);
  pthread_mutex_unlock(&log->lock);
  if (abandoned)
    release(log);
  return NULL;
}

static int init_cond(pthread_cond_t *cond) {
  pthread_condattr_t attr;
  if (pthread_condattr_init(&attr))
    return LC_EIO;
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  int failed = pthread_cond_init(cond, &attr);
  pthread_condattr_destroy(&attr);
  return failed ? LC_EIO : LC_OK;
}

/* Signals are the main thread's; SIGPIPE of a closed reader must not end the process. */
static int start_writer(struct lc_log *log) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = pthread_create(&log->thread, NULL, run_writer, log);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failed ? LC_EIO : LC_OK;
}

int lc_log_create(int fd, enum lc_log_level level, enum lc_log_format format, struct lc_log **log_out) {
  struct lc_log *log = lc_calloc(1, sizeof *log);
  if (!log)
    return LC_ENOMEM;
  log->fd = fd;
  log->level = level;
  log->format = format;
  if (pthread_mutex_init(&log->lock, NULL))
    goto fail_lock;
  if (init_cond(&log->changed) != LC_OK)
    goto fail_cond;
  if (start_writer(log) != LC_OK)
    goto fail_thread;
  *log_out = log;
  return LC_OK;

fail_thread:
  pthread_cond_destroy(&log->changed);
fail_cond:
  pthread_mutex_destroy(&log->lock);
fail_lock:
  lc_free(log);
  return LC_EIO;
}

/* Lock held; false if the writer hasn't ended in time: a terminal's write may block whatever poll said. */
static bool wait_ended(struct lc_log *log, uint64_t until_ms) {
  uint64_t now_ms;
  while (!log->ended && (now_ms = lc_clock_ms()) < until_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t until_ns = (uint64_t)until.tv_nsec + (until_ms - now_ms) * 1000000u;
    until.tv_sec += (time_t)(until_ns / 1000000000u);
    until.tv_nsec = (long)(until_ns % 1000000000u);
    pthread_cond_timedwait(&log->changed, &log->lock, &until);
  }
  return log->ended;
}

void lc_log_destroy(struct lc_log *log) {
  if (!log)
    return;
  pthread_t thread = log->thread;
  uint64_t now_ms = lc_clock_ms();
  pthread_mutex_lock(&log->lock);
  log->stop_at_ms = now_ms + LAST_WAIT_MS;
  pthread_cond_broadcast(&log->changed);
  bool ended = wait_ended(log, now_ms + JOIN_WAIT_MS);
  log->abandoned = !ended;
  pthread_mutex_unlock(&log->lock);
  if (!ended) {
    pthread_detach(thread);
    return;
  }
  pthread_join(thread, NULL);
  release(log);
}

bool lc_log_enabled(const struct lc_log *log, enum lc_log_level level) {
  return log && level >= log->level;
}

void lc_log_fields(struct lc_log *log, enum lc_log_level level, const char *event, const struct lc_log_field *fields) {
  if (!lc_log_enabled(log, level))
    return;
  struct lc_log_line line;
  lc_log_line_format(&line, log->format, wall_clock(), level, event, fields);
  pthread_mutex_lock(&log->lock);
  push_or_drop(log, &line);
  pthread_cond_signal(&log->changed);
  pthread_mutex_unlock(&log->lock);
}

uint64_t lc_log_dropped(const struct lc_log *log) {
  return log ? atomic_load_explicit(&log->dropped, memory_order_relaxed) : 0;
}

int lc_log_parse_level(const char *word, enum lc_log_level *level) {
  static const char *const names[] = {"debug", "info", "warn", "error"};
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(word, names[i]) == 0) {
      *level = (enum lc_log_level)i;
      return LC_OK;
    }
  }
  return LC_EINVAL;
}

int lc_log_parse_format(const char *word, enum lc_log_format *format) {
  bool json = strcmp(word, "json") == 0;
  if (!json && strcmp(word, "text") != 0)
    return LC_EINVAL;
  *format = json ? LC_LOG_JSON : LC_LOG_TEXT;
  return LC_OK;
}
