#ifndef LC_TEST_REGISTRY_SUPPORT_H
#define LC_TEST_REGISTRY_SUPPORT_H

#include "registry/registry.h"
#include "test_registry_fake.h"

#define SELF "127.0.0.1:8001"

/* A registry on a worker, what it has told, and a fake etcd. */
struct world {
  struct fake_etcd etcd;
  struct lc_worker *worker;
  struct lc_fetcher *fetcher;
  struct lc_log *log;
  int log_fd;
  struct lc_etcd_config config; /* filled by world_setup; changed before begin() */
  const char *urls[4];
  struct lc_registry *registry;
  int rc;
  struct lc_err err;
  struct gate closed, left;
  bool destroys; /* inside the next callback */

  pthread_mutex_t lock; /* of what was told */
  unsigned lists, puts, deletes, reached, unreached;
  size_t list_count;
  char list[4096];   /* "a:1*1 b:2*3 " of the last list: address and weight */
  char events[8192]; /* "+a:1*1 -b:2 " */
  char why[512];
};

int world_setup(void **state);
int world_teardown(void **state);
#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

void create_registry(struct world *world); /* rc, err */
void begin(struct world *world);           /* creates and starts it */
void begin_entered(struct world *world);   /* and waits until SELF is registered */
void enter(struct world *world, unsigned weight);
void leave(struct world *world, uint64_t timeout_ms); /* raises `left` */
void refresh(struct world *world);
void destroy_registry(struct world *world);
bool is_entered(struct world *world);

bool was_told(struct world *world, const char *event);
bool list_is(struct world *world, const char *list);
unsigned lists_of(struct world *world);
unsigned reached_of(struct world *world);
unsigned unreached_of(struct world *world);
unsigned lines_with(struct world *world, const char *text); /* of the log */

static inline void wait_a_moment(uint64_t give_up_ms, const char *what) {
  if (lc_clock_ms() > give_up_ms)
    fail_msg("waited %d s for %s", PATIENCE_S, what);
  poll(NULL, 0, 1);
}

/* Waits until the expression is true, or fails. */
#define WAIT_FOR(expr)                                                                                                 \
  for (uint64_t give_up_ = lc_clock_ms() + PATIENCE_S * 1000; !(expr);)                                                \
  wait_a_moment(give_up_, #expr)

#endif
