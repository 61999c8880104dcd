#ifndef LC_LOOP_FETCH_STATE_H
#define LC_LOOP_FETCH_STATE_H

#include <curl/curl.h>

#include "base/buf.h"
#include "base/list.h"
#include "loop/fetch.h"
#include "loop/turn.h"

/*
 * Shared by fetch.c (one request), fetcher.c (a worker's requests) and fetch_text.c (words); not for other layers.
 *
 * A request waits at its host until one of the host's places is free, then runs in libcurl. libcurl has such a queue
 * too, but in 7.88 requests in it never time out, and those of a host that hangs hold up those of a host that doesn't.
 */

#define LC_FETCH_HOST_BUCKETS 64u
#define LC_FETCH_KEEP_EASY 64u          /* libcurl handles kept for reuse */
#define LC_FETCH_KEEP_FREE 64u          /* requests' memory kept for reuse */
#define LC_FETCH_KEEP_BYTES (64u << 10) /* of each of its buffers */
#define LC_FETCH_HEAD_MAX (128u << 10)  /* of a response */

/* A name and port, as in the URL. Lives while a request is for it. */
struct lc_fetch_host {
  struct lc_list link;    /* in its bucket */
  struct lc_list waiting; /* requests, oldest first */
  struct lc_list ready;   /* in the fetcher's list: a place became free */
  unsigned running;
  char name[]; /* "127.0.0.1:9000" */
};

/* libuv's watch over a socket of libcurl's. */
struct lc_fetch_watch {
  uv_poll_t poll;
  struct lc_fetcher *fetcher;
  curl_socket_t fd;
  int wanted, active; /* UV_READABLE | UV_WRITABLE: what libcurl asked for last, what libuv watches */
  bool closed;
};

/*
 * What is known of a file descriptor. libcurl 7.88 tells when it closes an established connection, but closes one that
 * isn't yet, and its resolver's, without a word, before or after it says that it need not be watched any more. So each
 * socket's inode is kept, to tell whether the number still means that socket.
 */
struct lc_fetch_socket {
  struct lc_fetch_watch *watch; /* NULL: none */
  uint64_t inode;               /* 0: not a socket for a connection */
};

struct lc_fetcher {
  struct lc_worker *worker;
  CURLM *multi;
  unsigned max_host_connections;
  size_t max_response_bytes;
  struct lc_timer timer;   /* libcurl's */
  struct lc_turn_end kick; /* libcurl wants to be called at once, or a host is ready */
  struct lc_list running;  /* requests */
  struct lc_list hosts[LC_FETCH_HOST_BUCKETS];
  struct lc_list ready; /* hosts */
  struct lc_list free;  /* requests' memory */
  unsigned free_count, easy_count;
  CURL *easy[LC_FETCH_KEEP_EASY];
  struct lc_fetch_socket *sockets; /* by file descriptor */
  size_t socket_cap;
  unsigned open_watches; /* that libuv hasn't let go */
  bool closing, ended;
  void (*done)(void *arg);
  void *arg;
  struct lc_task end_task;
};

struct lc_fetch {
  struct lc_list link; /* in host->waiting, fetcher->running or fetcher->free */
  struct lc_fetcher *fetcher;
  struct lc_fetch_host *host;
  CURL *easy; /* NULL: waiting */
  lc_fetch_done done;
  void *arg;
  struct lc_timer deadline;
  uint64_t timeout_ms, connect_timeout_ms;
  size_t max_response_bytes;
  unsigned max_redirects;

  /* The request, all in `copy`. */
  struct lc_buf copy;
  const char *method, *url;
  struct curl_slist *headers;
  struct lc_slice body;
  bool has_body, fresh_connection;
  struct lc_fetch_tls tls;
  bool (*on_body)(void *arg, struct lc_slice bytes);

  /* The response. `head`: names and values in turn, each with a NUL. */
  struct lc_buf head, content, fields;
  size_t field_count;
  int failure; /* LC_E…: why a callback of ours broke the transfer off */
  char curl_error[CURL_ERROR_SIZE];
};

/* fetch.c */
int lc_fetch_launch(struct lc_fetch *fetch);                                   /* hands it to libcurl: 0 or LC_ENOMEM */
void lc_fetch_complete(struct lc_fetch *fetch, int code, const char *message); /* out of libcurl; frees it */
void lc_fetch_free(struct lc_fetch *fetch);                                    /* its memory only */

/* fetcher.c */
struct lc_fetch_host *lc_fetch_host_join(struct lc_fetcher *fetcher, struct lc_slice name); /* NULL: no memory */
void lc_fetch_host_drop(struct lc_fetch_host *host);                              /* frees it if it isn't used */
void lc_fetch_host_leave(struct lc_fetcher *fetcher, struct lc_fetch_host *host); /* a place is free */
CURL *lc_fetcher_take_easy(struct lc_fetcher *fetcher);                           /* NULL: no memory */
void lc_fetcher_give_easy(struct lc_fetcher *fetcher, CURL *easy);
curl_socket_t lc_fetcher_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address);
int lc_fetcher_close_socket(void *arg, curl_socket_t fd);

/* fetch_text.c */
#define LC_FETCH_MESSAGE_SIZE 512
int lc_fetch_check(const struct lc_fetch_request *request, struct lc_slice *host, struct lc_err *err);
int lc_fetch_explain(const struct lc_fetch *fetch, CURLcode result, char message[LC_FETCH_MESSAGE_SIZE]);
int lc_fetch_explain_timeout(const struct lc_fetch *fetch, char message[LC_FETCH_MESSAGE_SIZE]);

#endif
