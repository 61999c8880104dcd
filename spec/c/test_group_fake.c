#include "test_group_fake.h"

#include <stdlib.h>
#include <string.h>

static void post(void *ctx, unsigned worker, struct lc_task *task) {
  struct fake *fake = ctx;
  task->next = NULL;
  *fake->tail[worker] = task;
  fake->tail[worker] = &task->next;
}

static struct lc_timers *timers(void *ctx, unsigned worker) {
  return &((struct fake *)ctx)->timers[worker];
}

static uint64_t now_ms(void *ctx, unsigned worker) {
  struct fake *fake = ctx;
  (void)worker;
  if (fake->on_now)
    fake->on_now(fake);
  return fake->now_ms;
}

static void forget(struct fake *fake, struct lc_load *load) {
  for (size_t i = 0; i < FAKE_LOADS; i++) {
    if (fake->loads[i] == load)
      fake->loads[i] = NULL;
  }
}

static int start(void *ctx, struct lc_load *load) {
  struct fake *fake = ctx;
  fake->loads[fake->started++ % FAKE_LOADS] = load;
  int rc = fake->on_start ? fake->on_start(fake, load) : LC_PENDING;
  if (rc == LC_OK)
    forget(fake, load);
  return rc;
}

static void cancel(void *ctx, struct lc_load *load) {
  struct fake *fake = ctx;
  assert_int_equal(fake->running, lc_load_worker(load));
  fake->cancelled++;
  if (fake->on_cancel)
    fake->on_cancel(fake, load);
  forget(fake, load);
}

static void evicted(void *ctx, unsigned group_index, struct lc_item *item, int reason) {
  struct fake *fake = ctx;
  struct lc_slice key = lc_item_key(item);
  assert_int_equal(fake->running, 0);
  fake->evicted++;
  fake->evicted_reasons[reason]++;
  fake->evicted_group = group_index;
  fake->evicted_value_bytes += lc_item_value(item).len;
  snprintf(fake->evicted_key, sizeof fake->evicted_key, "%.*s", (int)key.len, (const char *)key.ptr);
}

int fake_create(struct fake *fake, void (*change)(struct lc_group_options options[2]), struct lc_err *err) {
  struct lc_log *log = fake->log;
  const struct lc_peers *peers = fake->peers;
  memset(fake, 0, sizeof *fake);
  fake->now_ms = 1000000;
  fake->running = -1;
  fake->log = log;
  fake->peers = peers;
  fake->exec = (struct lc_exec){fake, FAKE_WORKERS, post, timers, now_ms};
  fake->loader = (struct lc_loader){fake, start, cancel, evicted};
  for (unsigned i = 0; i < FAKE_WORKERS; i++) {
    fake->tail[i] = &fake->head[i];
    lc_timers_init(&fake->timers[i]);
  }
  struct lc_group_options options[2];
  for (int i = 0; i < 2; i++) {
    lc_group_options_init(&options[i]);
    options[i].name = i == 0 ? "g" : "h";
  }
  if (change)
    change(options);
  const struct lc_groups_config config = {.options = options,
                                          .count = 2,
                                          .memory_bytes = 64u << 20,
                                          .max_message_bytes = 4u << 20,
                                          .exec = &fake->exec,
                                          .loader = &fake->loader,
                                          .peers = peers,
                                          .log = log};
  return lc_groups_create(&config, &fake->groups, err);
}

void fake_init(struct fake *fake, void (*change)(struct lc_group_options options[2])) {
  struct lc_err err = {0};
  fake->log = NULL;
  fake->peers = NULL;
  if (fake_create(fake, change, &err) != LC_OK)
    fail_msg("%s", err.msg);
}

void fake_fini(struct fake *fake) {
  fake_run(fake);
  assert_int_equal(lc_groups_flights(fake->groups), 0);
  for (size_t i = 0; i < 2; i++)
    assert_int_equal(fake_stats(fake, i).flights, 0);
  for (unsigned i = 0; i < FAKE_WORKERS; i++)
    assert_true(lc_timers_next(&fake->timers[i]) == UINT64_MAX);
  lc_groups_destroy(fake->groups);
}

static bool run_one(struct fake *fake, unsigned worker) {
  struct lc_task *task = fake->head[worker];
  if (!task)
    return false;
  fake->head[worker] = task->next;
  if (!fake->head[worker])
    fake->tail[worker] = &fake->head[worker];
  fake->running = (int)worker;
  task->run(task);
  fake->running = -1;
  return true;
}

int fake_setup(void **state) {
  struct fake *fake = malloc(sizeof *fake);
  fake_init(fake, NULL);
  *state = fake;
  return 0;
}

int fake_teardown(void **state) {
  fake_fini(*state);
  free(*state);
  return 0;
}

void fake_run(struct fake *fake) {
  bool ran = true;
  while (ran) {
    ran = false;
    for (unsigned i = 0; i < FAKE_WORKERS; i++)
      ran = run_one(fake, i) || ran;
  }
}

void fake_advance(struct fake *fake, uint64_t ms) {
  fake->now_ms += ms;
  for (unsigned i = 0; i < FAKE_WORKERS; i++) {
    fake->running = (int)i;
    lc_timers_expire(&fake->timers[i], fake->now_ms);
    fake->running = -1;
  }
  fake_run(fake);
}

struct lc_load *fake_load(struct fake *fake, size_t n) {
  assert_true(n < fake->started);
  assert_non_null(fake->loads[n % FAKE_LOADS]);
  return fake->loads[n % FAKE_LOADS];
}

static void finish(struct fake *fake, struct lc_load *load) {
  forget(fake, load);
  lc_load_done(load);
  fake_run(fake);
}

void fake_finish(struct fake *fake, size_t n, const char *value) {
  struct lc_load *load = fake_load(fake, n);
  if (value) {
    lc_load_set_value(load, lc_slice_str(value), -1);
  } else {
    lc_load_set_not_found(load);
  }
  finish(fake, load);
}

void fake_fail(struct fake *fake, size_t n, int code, const char *message) {
  struct lc_load *load = fake_load(fake, n);
  lc_load_set_error(load, code, message, strlen(message));
  finish(fake, load);
}

int fake_answer_now(struct fake *fake, struct lc_load *load) {
  (void)fake;
  lc_load_set_value(load, lc_slice_str("now"), -1);
  return LC_OK;
}

static void on_done(struct lc_get *get) {
  struct call *call = lc_container_of(get, struct call, get);
  assert_int_equal(call->fake->running, get->worker);
  call->done++;
}

void call_init(struct fake *fake, struct call *call, unsigned worker, const char *group, const char *key) {
  memset(call, 0, sizeof *call);
  call->fake = fake;
  call->get.worker = worker;
  call->get.group = lc_slice_str(group);
  call->get.key = lc_slice_str(key);
  call->get.done = on_done;
}

int call_start(struct fake *fake, struct call *call) {
  int rc = lc_group_get(fake->groups, &call->get);
  if (rc != LC_PENDING)
    assert_int_equal(rc, call->get.code);
  assert_int_equal(call->done, 0);
  return rc;
}

int call_get(struct fake *fake, struct call *call, unsigned worker, const char *group, const char *key) {
  call_init(fake, call, worker, group, key);
  return call_start(fake, call);
}

void call_fini(struct call *call) {
  lc_get_fini(&call->get);
}

void assert_value(const struct call *call, enum lc_from from, const char *value) {
  if (call->get.code != LC_OK)
    fail_msg("%s", call->get.message);
  struct lc_slice got = lc_item_value(call->get.item);
  assert_int_equal(got.len, strlen(value));
  assert_memory_equal(got.ptr, value, got.len);
  assert_int_equal(call->get.from, from);
  assert_string_equal(call->get.message, "");
}

void assert_failed(const struct call *call, int code, const char *message) {
  assert_int_equal(call->get.code, code);
  assert_string_equal(call->get.message, message);
  assert_null(call->get.item);
}

void expect_hit(struct fake *fake, const char *key, const char *value) {
  struct call call;
  assert_int_equal(call_get(fake, &call, 0, "g", key), LC_OK);
  assert_value(&call, LC_FROM_STORE, value);
  call_fini(&call);
}

void expect_absent(struct fake *fake, const char *key) {
  struct call call;
  call_init(fake, &call, 0, "g", key);
  call.get.only_if_cached = true;
  assert_int_equal(call_start(fake, &call), LC_ENOTFOUND);
  assert_failed(&call, LC_ENOTFOUND, "not in the cache");
  call_fini(&call);
}

int set_value(struct fake *fake, const char *key, const char *value) {
  struct lc_write write = {.group = lc_slice_str("g"), .key = lc_slice_str(key), .value = lc_slice_str(value)};
  return lc_group_set(fake->groups, &write);
}

struct lc_group_stats fake_stats(struct fake *fake, size_t index) {
  struct lc_group_stats stats;
  lc_group_stats(fake->groups, index, &stats);
  return stats;
}
