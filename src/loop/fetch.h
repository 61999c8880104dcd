#ifndef LC_LOOP_FETCH_H
#define LC_LOOP_FETCH_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"
#include "loop/worker.h"

/*
 * HTTP requests to sources, by libcurl's multi interface on a worker's loop: keep-alive, HTTP/2 over TLS, a bounded
 * number of requests per host at a time, gzip (also zstd and brotli), http and https only, no redirects unless asked
 * for. No cookies, no .netrc, no proxy from the environment. All on the worker's thread.
 */
struct lc_fetcher; /* one a worker */
struct lc_fetch;   /* one request */

struct lc_fetcher_config {
  struct lc_worker *worker;
  unsigned max_host_connections; /* 0: 256; more requests to a host (name and port) wait, first come first served */
  size_t max_response_bytes;     /* default for a request that names none */
};

/* Initialises libcurl for the process at the first call. 0 or LC_ENOMEM. */
int lc_fetcher_create(const struct lc_fetcher_config *config, struct lc_fetcher **out, struct lc_err *err);

/*
 * Cancels all requests (no done of theirs is called) and closes all connections. The fetcher must not be used after;
 * when libuv has let go of its sockets, later, `done` (may be NULL) is called.
 */
void lc_fetcher_destroy(struct lc_fetcher *fetcher, void (*done)(void *arg), void *arg);

struct lc_fetch_header {
  const char *name, *value;
};

/* For https: PEM files, checked when they are first used. NULL: the system's CAs, no certificate of our own. */
struct lc_fetch_tls {
  const char *ca_file, *cert_file, *key_file;
};

struct lc_fetch_request {
  const char *method, *url;
  const struct lc_fetch_header *headers;
  size_t header_count;
  struct lc_slice body;
  bool has_body;
  uint64_t timeout_ms;         /* of it all, waiting for a connection included; 0: none, which is rarely wise */
  uint64_t connect_timeout_ms; /* of the look-up and connecting; 0: libcurl's 300 s */
  size_t max_response_bytes;   /* of the decoded body; 0: the fetcher's. The head may have 128 KiB. */
  unsigned max_redirects;      /* 0: none are followed */
  struct lc_fetch_tls tls;
  bool fresh_connection; /* not one that is open already: after a failure it may be dead without our knowing */

  /*
   * For a reply that never ends: each run of the decoded body goes here as it comes (valid during the call) and none is
   * kept: `done`'s body is empty, max_response_bytes doesn't count. Only for a 2xx status; another's body is kept for
   * `done`. It gets the same `arg` as done. Inside it, no request may be started or cancelled (libcurl is at work);
   * return false to end this one (done: LC_ECANCELLED). NULL: no.
   */
  bool (*on_body)(void *arg, struct lc_slice bytes);
};

/* Valid during the callback. */
struct lc_fetch_response {
  int code; /* LC_OK whatever the status; LC_EDEADLINE, LC_ETOOBIG, LC_EUNAVAILABLE, LC_EINVAL (bad URL), LC_ENOMEM */
  const char *message; /* what went wrong, with the host: `127.0.0.1:9000: connection refused` */
  long status;
  const struct lc_fetch_header *headers; /* lower-case names, last response only */
  size_t header_count;
  struct lc_slice body;
};

/*
 * Starts a request; all arguments are copied. 0, then done(arg, response) once, later, never before this returns,
 * unless cancelled; or LC_ENOMEM, LC_EINVAL (method, header, or a URL that isn't http or https) with `err`, and done is
 * never called. Inside done, requests may be started and others cancelled. No message holds the URL's path, query or
 * user.
 */
typedef void (*lc_fetch_done)(void *arg, const struct lc_fetch_response *response);
int lc_fetch_start(struct lc_fetcher *fetcher, const struct lc_fetch_request *request, lc_fetch_done done, void *arg,
                   struct lc_fetch **out, struct lc_err *err);

/* Frees it; done isn't called. Not after done, nor inside it. */
void lc_fetch_cancel(struct lc_fetch *fetch);

/* Percent-encodes all but unreserved characters (RFC 3986). Appends to `out`. */
struct lc_buf;
int lc_fetch_escape(struct lc_slice text, struct lc_buf *out);

#endif
