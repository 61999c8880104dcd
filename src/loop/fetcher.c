#include <errno.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "loop/fetch_state.h"

#define MAX_IDLE_CONNECTIONS 256L

/* ---- libcurl's sockets ---- */

static struct lc_fetch_watch *find_watch(const struct lc_fetcher *fetcher, curl_socket_t fd) {
  return (size_t)fd < fetcher->socket_cap ? fetcher->sockets[fd].watch : NULL;
}

static bool reserve_socket(struct lc_fetcher *fetcher, curl_socket_t fd) {
  if ((size_t)fd < fetcher->socket_cap)
    return true;
  size_t cap = fetcher->socket_cap != 0 ? fetcher->socket_cap : 64;
  while (cap <= (size_t)fd)
    cap *= 2;
  struct lc_fetch_socket *sockets = lc_realloc(fetcher->sockets, cap * sizeof *sockets);
  if (sockets == NULL)
    return false;
  memset(sockets + fetcher->socket_cap, 0, (cap - fetcher->socket_cap) * sizeof *sockets);
  fetcher->sockets = sockets;
  fetcher->socket_cap = cap;
  return true;
}

static uint64_t inode_of(curl_socket_t fd) {
  struct stat info;
  return fstat(fd, &info) == 0 ? (uint64_t)info.st_ino : 0;
}

static struct lc_fetch_watch *new_watch(struct lc_fetcher *fetcher, curl_socket_t fd) {
  if (!reserve_socket(fetcher, fd))
    return NULL;
  struct lc_fetch_watch *watch = lc_calloc(1, sizeof *watch);
  if (watch == NULL)
    return NULL;
  if (uv_poll_init(lc_worker_loop(fetcher->worker), &watch->poll, fd) != 0) {
    lc_free(watch);
    return NULL;
  }
  watch->poll.data = watch;
  watch->fetcher = fetcher;
  watch->fd = fd;
  fetcher->sockets[fd].watch = watch;
  fetcher->open_watches++;
  return watch;
}

static void end_if_closed(struct lc_fetcher *fetcher) {
  if (!fetcher->closing || fetcher->ended || fetcher->open_watches > 0)
    return;
  fetcher->ended = true;
  lc_worker_post(fetcher->worker, &fetcher->end_task);
}

/* Only now may the memory go: libuv was using it. */
static void on_watch_closed(uv_handle_t *handle) {
  struct lc_fetch_watch *watch = handle->data;
  struct lc_fetcher *fetcher = watch->fetcher;
  lc_free(watch);
  fetcher->open_watches--;
  end_if_closed(fetcher);
}

static void drop_watch(struct lc_fetch_watch *watch) {
  watch->closed = true;
  watch->fetcher->sockets[watch->fd].watch = NULL;
  uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void set_events(struct lc_fetch_watch *watch, int events) {
  watch->active = events;
  if (events != 0) {
    uv_poll_start(&watch->poll, events, on_poll);
  } else {
    uv_poll_stop(&watch->poll);
  }
}

/* The number was given out again: what watched it watched a socket that is no more, unknown to libcurl's bookkeeping.
 */
static bool renew_watch(struct lc_fetcher *fetcher, curl_socket_t fd) {
  struct lc_fetch_watch *old = find_watch(fetcher, fd);
  if (old == NULL)
    return true;
  int wanted = old->wanted;
  drop_watch(old);
  struct lc_fetch_watch *watch = new_watch(fetcher, fd);
  if (watch == NULL)
    return false;
  watch->wanted = wanted;
  set_events(watch, wanted);
  return true;
}

curl_socket_t lc_fetcher_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)purpose;
  struct lc_fetcher *fetcher = arg;
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
  if (fd < 0)
    return CURL_SOCKET_BAD;
  if (!reserve_socket(fetcher, fd) || !renew_watch(fetcher, fd)) {
    close(fd);
    errno = ENOMEM;
    return CURL_SOCKET_BAD;
  }
  fetcher->sockets[fd].inode = inode_of(fd);
  return fd;
}

int lc_fetcher_close_socket(void *arg, curl_socket_t fd) {
  struct lc_fetcher *fetcher = arg;
  struct lc_fetch_watch *watch = find_watch(fetcher, fd);
  if (watch != NULL)
    drop_watch(watch);
  if ((size_t)fd < fetcher->socket_cap)
    fetcher->sockets[fd].inode = 0;
  return close(fd);
}

/* A watch that can't be had fails the request at once, instead of letting it wait for its deadline. */
static int fail_request(struct lc_fetcher *fetcher, CURL *easy) {
  char *private = NULL;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
  struct lc_fetch *fetch = (struct lc_fetch *)(void *)private;
  fetch->failure = LC_ENOMEM;
  lc_timer_start(lc_worker_timers(fetcher->worker), &fetch->deadline, lc_worker_now_ms(fetcher->worker));
  return 0;
}

/*
 * A connection that becomes idle stays watched: the next request on it then costs no system call for that. Should it
 * become readable while idle (the server has closed it), on_poll stops the watch; libcurl sees for itself before it
 * uses the connection.
 */
static void unwant(struct lc_fetcher *fetcher, struct lc_fetch_watch *watch) {
  uint64_t inode = fetcher->sockets[watch->fd].inode;
  watch->wanted = 0;
  if (inode == 0 || inode_of(watch->fd) != inode)
    drop_watch(watch);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned) {
  (void)assigned;
  struct lc_fetcher *fetcher = arg;
  struct lc_fetch_watch *watch = find_watch(fetcher, fd);
  if (what == CURL_POLL_REMOVE) {
    if (watch != NULL)
      unwant(fetcher, watch);
    return 0;
  }
  if (watch == NULL)
    watch = new_watch(fetcher, fd);
  if (watch == NULL)
    return fail_request(fetcher, easy);
  watch->wanted = what == CURL_POLL_INOUT ? UV_READABLE | UV_WRITABLE
                  : what == CURL_POLL_OUT ? UV_WRITABLE
                                          : UV_READABLE;
  if (watch->wanted != watch->active)
    set_events(watch, watch->wanted);
  return 0;
}

/* ---- driving libcurl; never from inside one of its callbacks ---- */

static void finish_request(struct lc_fetcher *fetcher, const CURLMsg *message) {
  (void)fetcher;
  char *private = NULL;
  curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
  struct lc_fetch *fetch = (struct lc_fetch *)(void *)private;
  char text[LC_FETCH_MESSAGE_SIZE] = "";
  CURLcode result = message->data.result;
  lc_fetch_complete(fetch, result == CURLE_OK ? LC_OK : lc_fetch_explain(fetch, result, text), text);
}

static void act(struct lc_fetcher *fetcher, curl_socket_t fd, int events) {
  int running, left;
  curl_multi_socket_action(fetcher->multi, fd, events, &running);
  for (CURLMsg *message; !fetcher->closing && (message = curl_multi_info_read(fetcher->multi, &left)) != NULL;) {
    if (message->msg == CURLMSG_DONE)
      finish_request(fetcher, message);
  }
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  struct lc_fetch_watch *watch = poll->data;
  int mask = 0;
  if (status != 0) {
    mask = CURL_CSELECT_ERR;
    watch->active = 0; /* libuv stops watching a socket in error */
  } else {
    events &= watch->wanted;
    if (events & UV_READABLE)
      mask |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
      mask |= CURL_CSELECT_OUT;
    if (events == 0)
      set_events(watch, watch->wanted);
  }
  if (mask == 0 || watch->wanted == 0)
    return;
  act(watch->fetcher, watch->fd, mask);
  if (!watch->closed && watch->active == 0 && watch->wanted != 0)
    set_events(watch, watch->wanted);
}

static void on_timer(struct lc_timer *timer) {
  act(lc_container_of(timer, struct lc_fetcher, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_wanted(CURLM *multi, long timeout_ms, void *arg) {
  (void)multi;
  struct lc_fetcher *fetcher = arg;
  struct lc_timers *timers = lc_worker_timers(fetcher->worker);
  if (timeout_ms <= 0)
    lc_timer_stop(timers, &fetcher->timer);
  if (timeout_ms == 0)
    lc_worker_at_turn_end(fetcher->worker, &fetcher->kick);
  if (timeout_ms > 0)
    lc_timer_start(timers, &fetcher->timer, lc_worker_now_ms(fetcher->worker) + (uint64_t)timeout_ms);
  return 0;
}

/* ---- hosts ---- */

static unsigned bucket_of(struct lc_slice name) {
  unsigned hash = 2166136261u; /* FNV-1a, of what compares equal without regard to case */
  for (size_t i = 0; i < name.len; i++)
    hash = (hash ^ (name.ptr[i] | 0x20u)) * 16777619u;
  return hash % LC_FETCH_HOST_BUCKETS;
}

struct lc_fetch_host *lc_fetch_host_join(struct lc_fetcher *fetcher, struct lc_slice name) {
  struct lc_list *bucket = &fetcher->hosts[bucket_of(name)];
  for (struct lc_list *link = bucket->next; link != bucket; link = link->next) {
    struct lc_fetch_host *host = lc_container_of(link, struct lc_fetch_host, link);
    if (strncasecmp(host->name, (const char *)name.ptr, name.len) == 0 && host->name[name.len] == '\0')
      return host;
  }
  struct lc_fetch_host *host = lc_calloc(1, sizeof *host + name.len + 1);
  if (host == NULL)
    return NULL;
  memcpy(host->name, name.ptr, name.len);
  lc_list_init(&host->waiting);
  lc_list_init(&host->ready);
  lc_list_push_front(bucket, &host->link);
  return host;
}

void lc_fetch_host_drop(struct lc_fetch_host *host) {
  if (host->running > 0 || !lc_list_empty(&host->waiting))
    return;
  lc_list_remove(&host->ready);
  lc_list_remove(&host->link);
  lc_free(host);
}

void lc_fetch_host_leave(struct lc_fetcher *fetcher, struct lc_fetch_host *host) {
  host->running--;
  if (!lc_list_empty(&host->waiting) && lc_list_empty(&host->ready)) {
    lc_list_push_back(&fetcher->ready, &host->ready);
    lc_worker_at_turn_end(fetcher->worker, &fetcher->kick);
  }
  lc_fetch_host_drop(host);
}

static struct lc_fetch *next_waiting(struct lc_fetcher *fetcher, struct lc_fetch_host *host) {
  if (host->running >= fetcher->max_host_connections)
    return NULL;
  struct lc_list *link = lc_list_pop_front(&host->waiting);
  return link != NULL ? lc_container_of(link, struct lc_fetch, link) : NULL;
}

/* A failed start completes the request, whose owner may do anything to this fetcher but destroy it. */
static void start_waiting(struct lc_fetcher *fetcher) {
  for (struct lc_list *link; !fetcher->closing && (link = lc_list_pop_front(&fetcher->ready)) != NULL;) {
    struct lc_fetch_host *host = lc_container_of(link, struct lc_fetch_host, ready);
    struct lc_fetch *fetch = next_waiting(fetcher, host);
    if (fetch == NULL)
      continue;
    if (!lc_list_empty(&host->waiting))
      lc_list_push_back(&fetcher->ready, &host->ready);
    if (lc_fetch_launch(fetch) != 0)
      lc_fetch_complete(fetch, LC_ENOMEM, "out of memory");
  }
}

static void on_kick(struct lc_turn_end *turn_end) {
  struct lc_fetcher *fetcher = lc_container_of(turn_end, struct lc_fetcher, kick);
  start_waiting(fetcher);
  act(fetcher, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- libcurl's handles ---- */

CURL *lc_fetcher_take_easy(struct lc_fetcher *fetcher) {
  return fetcher->easy_count > 0 ? fetcher->easy[--fetcher->easy_count] : curl_easy_init();
}

void lc_fetcher_give_easy(struct lc_fetcher *fetcher, CURL *easy) {
  if (fetcher->closing || fetcher->easy_count == LC_FETCH_KEEP_EASY) {
    curl_easy_cleanup(easy);
    return;
  }
  curl_easy_reset(easy);
  fetcher->easy[fetcher->easy_count++] = easy;
}

/* ---- life ---- */

static void init_curl(void) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void end(struct lc_task *task) {
  struct lc_fetcher *fetcher = lc_container_of(task, struct lc_fetcher, end_task);
  void (*done)(void *arg) = fetcher->done;
  void *arg = fetcher->arg;
  lc_free(fetcher->sockets);
  lc_free(fetcher);
  if (done != NULL)
    done(arg);
}

static int start_multi(struct lc_fetcher *fetcher) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init_curl);
  CURLM *multi = curl_multi_init();
  if (multi == NULL)
    return LC_ENOMEM;
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, fetcher);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, fetcher);
  curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)fetcher->max_host_connections);
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, MAX_IDLE_CONNECTIONS);
  fetcher->multi = multi;
  return 0;
}

int lc_fetcher_create(const struct lc_fetcher_config *config, struct lc_fetcher **out, struct lc_err *err) {
  struct lc_fetcher *fetcher = lc_calloc(1, sizeof *fetcher);
  if (fetcher == NULL)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  fetcher->worker = config->worker;
  fetcher->max_host_connections = config->max_host_connections != 0 ? config->max_host_connections : 256;
  fetcher->max_response_bytes = config->max_response_bytes;
  fetcher->timer.fire = on_timer;
  fetcher->kick.run = on_kick;
  fetcher->end_task.run = end;
  lc_list_init(&fetcher->kick.link);
  lc_list_init(&fetcher->running);
  lc_list_init(&fetcher->ready);
  lc_list_init(&fetcher->free);
  for (unsigned i = 0; i < LC_FETCH_HOST_BUCKETS; i++)
    lc_list_init(&fetcher->hosts[i]);
  if (start_multi(fetcher) != 0) {
    lc_free(fetcher);
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  }
  *out = fetcher;
  return 0;
}

static void cancel_all(struct lc_list *list) {
  while (!lc_list_empty(list))
    lc_fetch_cancel(lc_container_of(list->next, struct lc_fetch, link));
}

static void cancel_waiting(struct lc_list *bucket) {
  while (!lc_list_empty(bucket)) {
    struct lc_fetch_host *host = lc_container_of(bucket->next, struct lc_fetch_host, link);
    host->running++; /* or it would go with its last request */
    cancel_all(&host->waiting);
    host->running--;
    lc_fetch_host_drop(host);
  }
}

void lc_fetcher_destroy(struct lc_fetcher *fetcher, void (*done)(void *arg), void *arg) {
  fetcher->closing = true;
  fetcher->done = done;
  fetcher->arg = arg;
  cancel_all(&fetcher->running);
  for (unsigned i = 0; i < LC_FETCH_HOST_BUCKETS; i++)
    cancel_waiting(&fetcher->hosts[i]);
  for (struct lc_list *link; (link = lc_list_pop_front(&fetcher->free)) != NULL;) {
    lc_fetch_free(lc_container_of(link, struct lc_fetch, link));
  }
  while (fetcher->easy_count > 0)
    curl_easy_cleanup(fetcher->easy[--fetcher->easy_count]);
  curl_multi_cleanup(fetcher->multi);
  for (size_t fd = 0; fd < fetcher->socket_cap; fd++) {
    if (fetcher->sockets[fd].watch != NULL)
      drop_watch(fetcher->sockets[fd].watch);
  }
  lc_timer_stop(lc_worker_timers(fetcher->worker), &fetcher->timer);
  lc_list_remove(&fetcher->kick.link);
  end_if_closed(fetcher);
}
