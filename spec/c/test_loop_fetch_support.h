#ifndef LC_TEST_LOOP_FETCH_SUPPORT_H
#define LC_TEST_LOOP_FETCH_SUPPORT_H

#include "loop/fetch.h"
#include "test_loop_http.h"

#define LIMIT (4u << 20) /* of the fetcher, for a response */

struct world {
  struct lc_worker *worker;
  struct lc_fetcher *fetcher;
  struct lc_fetcher_config config;
  struct http_source source;
  struct gate closed;
};

/* One request and what became of it. */
struct call {
  struct world *world;
  struct lc_fetch_request request;
  char url[256];
  int rc;
  struct lc_err err;
  struct lc_fetch *fetch;
  bool started; /* lc_fetch_start has returned */

  int code;
  long status;
  char message[256], body[256], header[64], head_names[256];
  size_t body_len;
  char streamed[64]; /* by on_body, its beginning */
  size_t streamed_len, stream_limit;
  unsigned calls;
  struct call *cancels, *starts; /* inside done */
  struct gate done;
};

/* To be freed. The path is one of the source's, or a whole URL. */
struct call *new_call(struct world *world, const char *path);
void run_call(struct call *call); /* until it is done */
struct call *get(struct world *world, const char *path);

/* Its message, with the source's address cut off. */
const char *after_host(const struct call *call);

/* Has the body streamed, until `limit` bytes have come. */
void stream_call(struct call *call, size_t limit);

/* On the worker, with a struct call. */
void start_call(void *arg);
void cancel_call(void *arg);

/* On the worker, with a struct world. */
void create_fetcher(void *arg);
void destroy_fetcher(void *arg); /* raises `closed` */

/* A test's state is its world. */
int world_setup(void **state);
int world_teardown(void **state);

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

#endif
