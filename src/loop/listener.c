#include "loop/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/log.h"

#define ACCEPTS_PER_TURN 64u
#define PAUSE_MS 100u     /* out of file descriptors */
#define PAUSE_FULL_MS 10u /* max_connections are there */
#define ADDRESS_SIZE (LC_HOST_SIZE + 9)

struct lc_listener {
  struct lc_listener_config config;
  int fd;
  uv_poll_t poll;
  uv_timer_t resume;
  bool paused;         /* connections wait that can't be accepted, and that was logged */
  unsigned next;       /* worker, in turn, where counts are equal */
  atomic_uint *counts; /* open connections of each worker */
  struct lc_address address;
};

/* A connection on its way to its worker. */
struct handoff {
  struct lc_task task;
  struct lc_listener *listener;
  unsigned worker;
  int fd;
};

unsigned lc_listener_connections(const struct lc_listener *listener, unsigned worker) {
  return atomic_load_explicit(&listener->counts[worker], memory_order_relaxed);
}

void lc_listener_ended(struct lc_listener *listener, unsigned worker) {
  atomic_fetch_sub_explicit(&listener->counts[worker], 1, memory_order_relaxed);
}

void lc_listener_address(const struct lc_listener *listener, struct lc_address *address) {
  *address = listener->address;
}

/* ---- accepting ---- */

static bool is_full(const struct lc_listener *listener) {
  size_t total = 0;
  for (unsigned i = 0; i < listener->config.worker_count; i++)
    total += lc_listener_connections(listener, i);
  return total >= listener->config.max_connections;
}

static void accept_some(struct lc_listener *listener);
static void on_readable(uv_poll_t *poll, int status, int events);

static void on_resume(uv_timer_t *timer) {
  struct lc_listener *listener = timer->data;
  uv_poll_start(&listener->poll, UV_READABLE, on_readable);
  accept_some(listener);
}

/* One line for an episode, which ends when nobody waits to be accepted. */
static void pause_accepting(struct lc_listener *listener, uint64_t ms, const char *why) {
  if (!listener->paused) {
    char where[ADDRESS_SIZE];
    lc_format_address(&listener->address, where, sizeof where);
    lc_log_event(listener->config.log, LC_LOG_ERROR, "accepting paused", LC_F_STR("listen", where),
                 LC_F_STR("error", why));
  }
  listener->paused = true;
  uv_poll_stop(&listener->poll);
  uv_timer_start(&listener->resume, on_resume, ms, 0);
}

static unsigned pick_worker(struct lc_listener *listener) {
  unsigned count = listener->config.worker_count;
  unsigned best = listener->next % count;
  for (unsigned i = 1; i < count; i++) {
    unsigned other = (listener->next + i) % count;
    if (lc_listener_connections(listener, other) < lc_listener_connections(listener, best))
      best = other;
  }
  listener->next = (best + 1) % count;
  return best;
}

static void run_handoff(struct lc_task *task) {
  struct handoff *handoff = lc_container_of(task, struct handoff, task);
  const struct lc_listener_config *config = &handoff->listener->config;
  config->on_accept(config->arg, config->workers[handoff->worker], handoff->fd);
  lc_free(handoff);
}

/* False when memory is out; the connection is then closed. */
static bool hand_over(struct lc_listener *listener, int fd) {
  struct handoff *handoff = lc_malloc(sizeof *handoff);
  if (handoff == NULL) {
    close(fd);
    return false;
  }
  *handoff = (struct handoff){.task.run = run_handoff, .listener = listener, .fd = fd, .worker = pick_worker(listener)};
  atomic_fetch_add_explicit(&listener->counts[handoff->worker], 1, memory_order_relaxed);
  lc_worker_post(listener->config.workers[handoff->worker], &handoff->task);
  return true;
}

static void recover(struct lc_listener *listener) {
  if (!listener->paused)
    return;
  listener->paused = false;
  char where[ADDRESS_SIZE];
  lc_format_address(&listener->address, where, sizeof where);
  lc_log_event(listener->config.log, LC_LOG_INFO, "accepting again", LC_F_STR("listen", where));
}

/* False: enough for this turn. */
static bool accept_one(struct lc_listener *listener) {
  int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      recover(listener);
      return false;
    }
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)
      return true;
    pause_accepting(listener, PAUSE_MS, uv_strerror(uv_translate_sys_error(errno)));
    return false;
  }
  if (!hand_over(listener, fd)) {
    pause_accepting(listener, PAUSE_MS, "out of memory");
    return false;
  }
  return true;
}

static void accept_some(struct lc_listener *listener) {
  for (unsigned i = 0; i < ACCEPTS_PER_TURN && !is_full(listener) && accept_one(listener); i++) {
  }
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)events;
  struct lc_listener *listener = poll->data;
  if (status != 0)
    pause_accepting(listener, PAUSE_MS, uv_strerror(status));
  else if (is_full(listener))
    pause_accepting(listener, PAUSE_FULL_MS, "as many connections as --max-connections allows");
  else
    accept_some(listener);
}

/* ---- binding ---- */

static int explain_bind(int error, const char *where, const char *option, struct lc_err *err) {
  const char *with = option != NULL ? " with " : "";
  if (option == NULL)
    option = "";
  switch (error) {
  case EADDRINUSE:
    return lc_err_set(err, LC_EBUSY, "%s is in use (by another lcache? choose another%s%s)", where, with, option);
  case EACCES:
    return lc_err_set(err, LC_EINVAL, "%s: no permission (ports under 1024 need it; choose another%s%s)", where, with,
                      option);
  case EADDRNOTAVAIL:
    return lc_err_set(err, LC_EINVAL, "%s is not an address of this machine (choose another%s%s)", where, with, option);
  default:
    return lc_err_set(err, LC_EIO, "%s: %s", where, uv_strerror(uv_translate_sys_error(error)));
  }
}

/* A bound and listening socket, or -1 with errno. */
static int open_socket(const struct addrinfo *info) {
  int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -1;
  int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  /* [::] takes IPv4 connections too. */
  if (info->ai_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
    return fd;
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

static int resolve(const struct lc_address *address, const char *where, struct addrinfo **list, struct lc_err *err) {
  char port[6];
  snprintf(port, sizeof port, "%u", (unsigned)address->port);
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
  int rc = getaddrinfo(address->host, port, &hints, list);
  if (rc == EAI_MEMORY)
    return lc_err_set(err, LC_ENOMEM, "%s: out of memory", where);
  if (rc != 0)
    return lc_err_set(err, LC_EINVAL, "%s: cannot resolve %s: %s", where, address->host, gai_strerror(rc));
  return 0;
}

/* One socket, so one address of a name: `localhost` is 127.0.0.1, as in the defaults. */
static const struct addrinfo *choose(const struct addrinfo *list) {
  for (const struct addrinfo *info = list; info != NULL; info = info->ai_next) {
    if (info->ai_family == AF_INET)
      return info;
  }
  return list;
}

static int bind_address(struct lc_listener *listener, const struct lc_address *address, struct lc_err *err) {
  char where[ADDRESS_SIZE];
  lc_format_address(address, where, sizeof where);
  struct addrinfo *list = NULL;
  int rc = resolve(address, where, &list, err);
  if (rc != 0)
    return rc;
  listener->fd = open_socket(choose(list));
  if (listener->fd < 0)
    rc = explain_bind(errno, where, listener->config.option, err);
  freeaddrinfo(list);
  return rc;
}

static void learn_port(struct lc_listener *listener) {
  struct sockaddr_in6 addr = {0}; /* its port lies where sockaddr_in has it */
  socklen_t len = sizeof addr;
  if (getsockname(listener->fd, (struct sockaddr *)&addr, &len) == 0)
    listener->address.port = ntohs(addr.sin6_port);
}

/* ---- life ---- */

static int start_accepting(struct lc_listener *listener) {
  int rc = uv_poll_init(listener->config.loop, &listener->poll, listener->fd);
  if (rc != 0)
    return rc;
  uv_timer_init(listener->config.loop, &listener->resume);
  listener->poll.data = listener->resume.data = listener;
  uv_poll_start(&listener->poll, UV_READABLE, on_readable);
  return 0;
}

int lc_listener_create(const struct lc_listener_config *config, const struct lc_address *address,
                       struct lc_listener **out, struct lc_err *err) {
  struct lc_listener *listener = lc_calloc(1, sizeof *listener);
  if (listener == NULL)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  listener->config = *config;
  listener->address = *address;
  int rc = LC_ENOMEM;
  listener->counts = lc_calloc(config->worker_count, sizeof *listener->counts);
  if (listener->counts == NULL) {
    lc_err_set(err, rc, "out of memory");
    goto fail;
  }
  rc = bind_address(listener, address, err);
  if (rc != 0)
    goto fail;
  learn_port(listener);
  rc = start_accepting(listener);
  if (rc == 0) {
    *out = listener;
    return 0;
  }
  close(listener->fd);
  lc_err_set(err, LC_EIO, "cannot accept: %s", uv_strerror(rc));
  rc = LC_EIO;

fail:
  lc_free(listener->counts);
  lc_free(listener);
  return rc;
}

void lc_listener_stop(struct lc_listener *listener) {
  if (listener->fd < 0)
    return;
  uv_close((uv_handle_t *)&listener->poll, NULL);
  uv_close((uv_handle_t *)&listener->resume, NULL);
  close(listener->fd);
  listener->fd = -1;
}

void lc_listener_destroy(struct lc_listener *listener) {
  if (listener == NULL)
    return;
  lc_free(listener->counts);
  lc_free(listener);
}
