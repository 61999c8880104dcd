/*
 * A load's life. It is the owner's part of its flight, so flight and load are one block of memory. Everything here but
 * lc_load_abandon runs on the load's worker, the one whose Get began the flight.
 *
 *   start -> the loader has the result at once -> end
 *         -> pending -> lc_load_done             -> end
 *                    -> the group's timeout      -> the loader's cancel -> end
 *                    -> nobody waits any more    -> the loader's cancel -> end
 *
 * However it ends, end() completes the flight, once.
 */
#include <assert.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "group/internal.h"

#define MESSAGE_MAX 1024u /* it becomes a header of a reply */

struct lc_load {
  struct lc_group *group;
  struct lc_flight *flight;
  uint64_t hash; /* of the key, for the store */
  unsigned worker;
  bool over;
  bool counted; /* in the group's loads_now */
  bool logged;  /* by the loader */
  void *impl;
  uint64_t deadline_ms;
  struct lc_timer timer;
  struct lc_task cancel_task; /* posted at most once: a flight is abandoned once */

  int code; /* the result */
  struct lc_item *item;
  const char *message; /* NULL for a value */
  char *text;          /* the message, if it is this load's own */
};

const size_t lc_load_size = sizeof(struct lc_load);

void lc_load_fini(void *arg) {
  struct lc_load *load = arg;
  lc_item_unref(load->item);
  lc_free(load->text);
}

struct lc_flight *lc_load_flight(struct lc_load *load) {
  return load->flight;
}

struct lc_slice lc_load_group(const struct lc_load *load) {
  return lc_flight_group(load->flight);
}

struct lc_slice lc_load_key(const struct lc_load *load) {
  return lc_flight_key(load->flight);
}

unsigned lc_load_group_index(const struct lc_load *load) {
  return load->group->index;
}

unsigned lc_load_worker(const struct lc_load *load) {
  return load->worker;
}

uint64_t lc_load_deadline_ms(const struct lc_load *load) {
  return load->deadline_ms;
}

void lc_load_set_impl(struct lc_load *load, void *impl) {
  load->impl = impl;
}

void *lc_load_impl(const struct lc_load *load) {
  return load->impl;
}

/* `message` must outlive the load. */
static void set_static(struct lc_load *load, int code, const char *message) {
  lc_item_unref(load->item);
  lc_free(load->text);
  load->item = NULL;
  load->text = NULL;
  load->code = code;
  load->message = message;
}

void lc_load_set_not_found(struct lc_load *load) {
  set_static(load, LC_ENOTFOUND, "not found");
}

void lc_load_set_error(struct lc_load *load, int code, const char *message, size_t len) {
  char *text = lc_memdup0(message, len < MESSAGE_MAX ? len : MESSAGE_MAX);
  if (!text) {
    set_static(load, LC_ENOMEM, "out of memory");
    return;
  }
  set_static(load, code < 0 ? code : LC_EINTERNAL, text);
  load->text = text;
}

static void set_error_text(struct lc_load *load, int code, const char *text, int len) {
  lc_load_set_error(load, code, text, len > 0 ? (size_t)len : 0);
}

void lc_load_set_value(struct lc_load *load, struct lc_slice value, int64_t ttl_ms) {
  const struct lc_group_options *options = &load->group->options;
  if (value.len > options->max_value) {
    char text[128];
    set_error_text(load, LC_EINTERNAL, text,
                   snprintf(text, sizeof text, "the getter's value of %zu bytes is over the group's max_value of %zu",
                            value.len, options->max_value));
    return;
  }
  uint64_t ttl = ttl_ms < 0 ? options->ttl_ms : (uint64_t)ttl_ms;
  uint64_t expires_ms = lc_group_expiry(lc_group_now(load->group, load->worker), ttl);
  struct lc_item *item = lc_item_create(lc_load_key(load), value, expires_ms, 0);
  if (!item) {
    set_static(load, LC_ENOMEM, "out of memory");
    return;
  }
  set_static(load, LC_OK, NULL);
  load->item = item;
}

void lc_load_set_logged(struct lc_load *load) {
  load->logged = true;
}

static void stop_timer(struct lc_load *load) {
  const struct lc_exec *exec = load->group->groups->exec;
  if (load->timer.active)
    lc_timer_stop(exec->timers(exec->ctx, load->worker), &load->timer);
}

static void count_end(struct lc_load *load) {
  if (!load->counted)
    return;
  atomic_fetch_sub_explicit(&load->group->loads_now, 1, memory_order_relaxed);
  struct lc_counters *counters = lc_group_counters(load->group, load->worker);
  if (load->code == LC_ENOTFOUND) {
    lc_count(&counters->not_found);
  } else if (load->code != LC_OK && load->code != LC_ECANCELLED) {
    lc_count(&counters->load_errors);
  }
}

struct ending {
  struct lc_load *load;
  struct lc_store_rest rest; /* what the store let go of: freed after the flight's lock */
};

/* Under the flight's lock, so that no write of the key comes between. A value that the store can't take is still
 * served. */
static void store_result(void *arg, bool detached) {
  struct ending *ending = arg;
  struct lc_load *load = ending->load;
  if (detached || load->code != LC_OK)
    return;
  (void)lc_store_put_rest(load->group->store, load->item, load->hash, lc_group_now(load->group, load->worker),
                          &ending->rest);
}

static void deliver(struct lc_task *task) {
  struct lc_get *get = lc_container_of(task, struct lc_get, task);
  get->done(get);
}

/* The leader is answered by the return value of its lc_group_get; everybody else hears later, on their own worker. */
static void answer(struct lc_load *load, struct lc_list *waiters, const struct lc_get *leader) {
  const struct lc_exec *exec = load->group->groups->exec;
  int64_t ttl_ms = load->item ? lc_item_ttl_ms(load->item, lc_group_now(load->group, load->worker)) : 0;
  struct lc_flight *owner = load->text ? load->flight : NULL;
  for (struct lc_list *node; (node = lc_list_pop_front(waiters)) != NULL;) {
    struct lc_get *get = lc_container_of(node, struct lc_get, waiter.link);
    lc_get_answer(get, load->code, load->item, ttl_ms, load->message, owner);
    if (get == leader)
      continue;
    get->task.run = deliver;
    exec->post(exec->ctx, get->worker, &get->task);
  }
}

static void log_end(struct lc_load *load) {
  if (load->logged || load->code == LC_OK || load->code == LC_ENOTFOUND || load->code == LC_ECANCELLED)
    return;
  if (load->code == LC_EUNAVAILABLE && !load->counted)
    return; /* draining */
  lc_load_log_error(load->group, lc_load_key(load), lc_group_now(load->group, load->worker), load->code, load->message);
}

static void end(struct lc_load *load, const struct lc_get *leader) {
  struct lc_flight *flight = lc_flight_ref(load->flight);
  struct ending ending = {.load = load};
  struct lc_list waiters;
  load->over = true;
  stop_timer(load);
  count_end(load);
  lc_flight_complete(flight, store_result, &ending, &waiters);
  lc_store_finish(&ending.rest);
  answer(load, &waiters, leader);
  log_end(load);
  lc_flight_unref(flight);
}

static void cancel(struct lc_load *load) {
  const struct lc_loader *loader = load->group->groups->loader;
  loader->cancel(loader->ctx, load);
}

static void on_timeout(struct lc_timer *timer) {
  struct lc_load *load = lc_container_of(timer, struct lc_load, timer);
  uint64_t ms = load->group->options.timeout_ms;
  bool whole = ms % 1000 == 0;
  char text[64];
  cancel(load);
  lc_count(&lc_group_counters(load->group, load->worker)->timeouts);
  set_error_text(load, LC_EDEADLINE, text,
                 snprintf(text, sizeof text, "load timed out after %llu%s",
                          (unsigned long long)(whole ? ms / 1000 : ms), whole ? "s" : "ms"));
  end(load, NULL);
}

static void on_abandoned(struct lc_task *task) {
  struct lc_load *load = lc_container_of(task, struct lc_load, cancel_task);
  struct lc_flight *flight = load->flight;
  if (!load->over) {
    cancel(load);
    set_static(load, LC_ECANCELLED, "cancelled");
    end(load, NULL);
  }
  lc_flight_unref(flight);
}

void lc_load_abandon(struct lc_flight *flight) {
  struct lc_load *load = lc_flight_owner(flight);
  const struct lc_exec *exec = load->group->groups->exec;
  exec->post(exec->ctx, load->worker, &load->cancel_task);
}

/* What a getter's own load asks for belongs to a load in progress, so draining lets it pass. */
static bool admit(struct lc_load *load, const struct lc_get *leader) {
  struct lc_group *group = load->group;
  if (!leader->parent && atomic_load_explicit(&group->groups->draining, memory_order_relaxed)) {
    set_static(load, LC_EUNAVAILABLE, "draining: this node is stopping, ask another");
    return false;
  }
  if (atomic_fetch_add_explicit(&group->loads_now, 1, memory_order_relaxed) >= group->options.max_loads) {
    atomic_fetch_sub_explicit(&group->loads_now, 1, memory_order_relaxed);
    set_static(load, LC_EEXHAUSTED, "the group has as many loads as its max_loads allows: try again later");
    return false;
  }
  load->counted = true;
  return true;
}

static void init(struct lc_load *load, struct lc_flight *flight, const struct lc_get *leader) {
  load->group = leader->in_group;
  load->flight = flight;
  load->hash = leader->hash;
  load->worker = leader->worker;
  load->deadline_ms = lc_group_expiry(lc_group_now(load->group, load->worker), leader->in_group->options.timeout_ms);
  load->timer.fire = on_timeout;
  load->cancel_task.run = on_abandoned;
}

int lc_load_start(struct lc_flight *flight, struct lc_get *leader) {
  struct lc_load *load = lc_flight_owner(flight);
  init(load, flight, leader);
  const struct lc_groups *groups = load->group->groups;
  struct lc_counters *counters = lc_group_counters(load->group, load->worker);
  if (!admit(load, leader)) {
    lc_count(&counters->refused);
    end(load, leader);
    return leader->code;
  }
  lc_count(&counters->loads);
  if (groups->loader->start(groups->loader->ctx, load) == LC_PENDING) {
    lc_timer_start(groups->exec->timers(groups->exec->ctx, load->worker), &load->timer, load->deadline_ms);
    return LC_PENDING;
  }
  end(load, leader);
  return leader->code;
}

void lc_load_done(struct lc_load *load) {
  assert(!load->over);
  end(load, NULL);
}
