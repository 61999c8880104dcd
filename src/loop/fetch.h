#ifndef LC_LOOP_FETCH_H
#define LC_LOOP_FETCH_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"
#include "loop/worker.h"

/*
 * HTTP requests to sources, by libcurl's multi interface on a worker's loop: keep-alive, HTTP/2, bounded connections
 * per host, gzip, http and https only, no redirects unless asked for.
 */
struct lc_fetcher; /* one a worker */
struct lc_fetch;   /* one request */

struct lc_fetcher_config {
  struct lc_worker *worker;
  unsigned max_host_connections; /* default 64; more requests wait for a free one */
  size_t max_response_bytes;     /* default for a request that names none */
};

int lc_fetcher_create(const struct lc_fetcher_config *config, struct lc_fetcher **fetcher, struct lc_err *err);
void lc_fetcher_destroy(struct lc_fetcher *fetcher, void (*done)(void *arg),
                        void *arg); /* cancels all; done when libuv let go */

struct lc_fetch_header {
  const char *name, *value;
};

struct lc_fetch_request {
  const char *method, *url;
  const struct lc_fetch_header *headers;
  size_t header_count;
  struct lc_slice body;
  bool has_body;
  uint64_t timeout_ms, connect_timeout_ms;
  size_t max_response_bytes;
  unsigned max_redirects; /* 0: none are followed */
};

/* Valid during the callback. */
struct lc_fetch_response {
  int code;            /* LC_OK, or LC_EDEADLINE, LC_ETOOBIG, LC_EUNAVAILABLE, LC_EINVAL (bad url), LC_ENOMEM */
  const char *message; /* what went wrong, with the host: `127.0.0.1:9000: connection refused` */
  long status;
  const struct lc_fetch_header *headers; /* lower-case names, last response only */
  size_t header_count;
  struct lc_slice body;
};

/*
 * Starts a request; all arguments are copied. 0, then done(arg, response) once, later, never before this returns,
 * unless cancelled; or LC_ENOMEM, LC_EINVAL with `err`, and done is never called.
 */
typedef void (*lc_fetch_done)(void *arg, const struct lc_fetch_response *response);
int lc_fetch_start(struct lc_fetcher *fetcher, const struct lc_fetch_request *request, lc_fetch_done done, void *arg,
                   struct lc_fetch **fetch, struct lc_err *err);

void lc_fetch_cancel(struct lc_fetch *fetch); /* frees it; done isn't called. Not after done. Not inside done. */

/* Percent-encodes all but unreserved characters (RFC 3986). Appends to `out`. */
struct lc_buf;
int lc_fetch_escape(struct lc_slice text, struct lc_buf *out);

#endif
