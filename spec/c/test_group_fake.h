#ifndef TEST_GROUP_FAKE_H
#define TEST_GROUP_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "group/group.h"

/*
 * What the domain runs on in its tests: two workers that are queues in one thread, a clock that moves when told, and a
 * loader whose loads end when told. Nothing here allocates through base/alloc.h.
 */
#define FAKE_WORKERS 2u
#define FAKE_LOADS 64u

struct fake {
  struct lc_exec exec;
  struct lc_loader loader;
  struct lc_log *log;
  const struct lc_peers *peers; /* NULL: a node alone; kept by fake_create, as log is */
  struct lc_groups *groups;
  struct lc_task *head[FAKE_WORKERS], **tail[FAKE_WORKERS];
  struct lc_timers timers[FAKE_WORKERS];
  uint64_t now_ms;
  void (*on_now)(struct fake *fake); /* somebody asks for the time */
  int running;                       /* the worker whose task or timer runs now, or -1 */

  int (*on_start)(struct fake *fake, struct lc_load *load); /* NULL: pending */
  struct lc_load *loads[FAKE_LOADS];                        /* the last ones; NULL once cancelled or done */
  size_t started, cancelled;
  void (*on_cancel)(struct fake *fake, struct lc_load *load);
  size_t evicted;
  int evicted_reasons[4];
  unsigned evicted_group;
  size_t evicted_value_bytes;
  char evicted_key[32];
};

struct call {
  struct lc_get get;
  struct fake *fake;
  int done;
};

/* A group named "g" and one named "h", both sharing 64 MiB; `change` may alter them first. */
void fake_init(struct fake *fake, void (*change)(struct lc_group_options options[2]));
void fake_fini(struct fake *fake); /* checks that no flight is left and every store is sound */
int fake_create(struct fake *fake, void (*change)(struct lc_group_options options[2]), struct lc_err *err);

/* A test's state is a fake of its own. */
int fake_setup(void **state);
int fake_teardown(void **state);
#define FAKE_TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

void fake_run(struct fake *fake); /* tasks until there are none */
void fake_advance(struct fake *fake, uint64_t ms);

/* The n-th load that was started, from 0. */
struct lc_load *fake_load(struct fake *fake, size_t n);
void fake_finish(struct fake *fake, size_t n, const char *value); /* ends it and runs what follows; NULL: not found */
void fake_fail(struct fake *fake, size_t n, int code, const char *message);

/* An on_start whose getter answers at once with "now". */
int fake_answer_now(struct fake *fake, struct lc_load *load);

int call_get(struct fake *fake, struct call *call, unsigned worker, const char *group, const char *key);
int call_start(struct fake *fake, struct call *call); /* after call_init and changes */
void call_init(struct fake *fake, struct call *call, unsigned worker, const char *group, const char *key);
void call_fini(struct call *call);
void assert_value(const struct call *call, enum lc_from from, const char *value);
void assert_failed(const struct call *call, int code, const char *message);

/* A whole Get on worker 0 that must be a hit, or answered at once. */
void expect_hit(struct fake *fake, const char *key, const char *value);
void expect_absent(struct fake *fake, const char *key); /* looks with only_if_cached */
int set_value(struct fake *fake, const char *key, const char *value);

struct lc_group_stats fake_stats(struct fake *fake, size_t index);

#endif
