/*
 * A load's life. It is the owner's part of its flight, so flight and load are one block of memory. Everything here but
 * lc_load_abandon runs on the load's worker, the one whose Get began the flight.
 *
 *   start -> FORWARD, another node owns the key -> its answer     -> end
 *                                               -> no answer      -> GETTER, and what it loads is a mirror
 *         -> PEEK, this node owns it            -> a copy         -> end
 *                                               -> none           -> GETTER
 *         -> GETTER: alone, or forwarded to us, or nobody to peek at
 *   GETTER -> the loader has the result at once   -> end
 *          -> pending -> lc_load_done             -> end
 *   any step -> the group's timeout               -> the step's cancel -> end
 *            -> nobody waits any more             -> the step's cancel -> end
 *
 * However it ends, end() completes the flight, once.
 */
#include <assert.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "group/load.h"

const size_t lc_load_size = sizeof(struct lc_load);

void lc_load_fini(void *arg) {
  struct lc_load *load = arg;
  lc_item_unref(load->item);
  lc_free(load->text);
}

struct lc_flight *lc_load_flight(struct lc_load *load) {
  return load->flight;
}

static void stop_timer(struct lc_load *load) {
  const struct lc_exec *exec = load->group->groups->exec;
  if (load->timer.active)
    lc_timer_stop(exec->timers(exec->ctx, load->worker), &load->timer);
}

static void count_end(struct lc_load *load) {
  lc_remote_uncount(load);
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

/* This node may have come to own the key meanwhile, and may have been handed its own copy. */
static bool is_still_wanted(const struct lc_load *load) {
  return load->keep && !(load->mirror && lc_group_owns(load->group, load->worker, lc_load_key(load)));
}

/*
 * Under the flight's lock, so that no write of the key comes between. A value that the store can't take is still
 * served. A refresh leaves no older mirror behind where it stores nothing itself.
 */
static void store_result(void *arg, bool detached) {
  struct ending *ending = arg;
  struct lc_load *load = ending->load;
  if (detached)
    return;
  uint64_t now_ms = lc_group_now(load->group, load->worker);
  if (load->code == LC_OK && is_still_wanted(load))
    (void)lc_store_put_rest(load->group->store, load->item, load->hash, now_ms, &ending->rest);
  else if (load->refresh && load->mirror)
    (void)lc_store_delete_rest(load->group->store, lc_load_key(load), load->hash, now_ms, &ending->rest);
}

static int64_t ttl_left(const struct lc_load *load) {
  if (!load->item || load->expires_ms == LC_TIME_NEVER)
    return 0;
  uint64_t now_ms = lc_group_now(load->group, load->worker);
  return load->expires_ms > now_ms ? (int64_t)(load->expires_ms - now_ms) : 1;
}

static void deliver(struct lc_task *task) {
  struct lc_get *get = lc_container_of(task, struct lc_get, task);
  get->done(get);
}

/* The leader is answered by the return value of its lc_group_get; everybody else hears later, on their own worker. */
static void answer(struct lc_load *load, struct lc_list *waiters, const struct lc_get *leader) {
  const struct lc_exec *exec = load->group->groups->exec;
  int64_t ttl_ms = ttl_left(load);
  struct lc_flight *owner = load->text ? load->flight : NULL;
  for (struct lc_list *node; (node = lc_list_pop_front(waiters)) != NULL;) {
    struct lc_get *get = lc_container_of(node, struct lc_get, waiter.link);
    lc_get_answer(get, load->code, load->item, load->from, ttl_ms, load->message, owner);
    if (get == leader)
      continue;
    get->task.run = deliver;
    exec->post(exec->ctx, get->worker, &get->task);
  }
}

static void log_end(struct lc_load *load) {
  if (load->logged || load->code == LC_OK || load->code == LC_ENOTFOUND || load->code == LC_ECANCELLED)
    return;
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
  if (load->step == LC_STEP_GETTER)
    loader->cancel(loader->ctx, load);
  else
    lc_remote_cancel(load);
}

static void on_timeout(struct lc_timer *timer) {
  struct lc_load *load = lc_container_of(timer, struct lc_load, timer);
  uint64_t ms = load->group->options.timeout_ms;
  bool whole = ms % 1000 == 0;
  char text[64];
  cancel(load);
  lc_count(&lc_group_counters(load->group, load->worker)->timeouts);
  int len = snprintf(text, sizeof text, "load timed out after %llu%s", (unsigned long long)(whole ? ms / 1000 : ms),
                     whole ? "s" : "ms");
  lc_load_set_error(load, LC_EDEADLINE, text, len > 0 ? (size_t)len : 0);
  end(load, NULL);
}

static void on_abandoned(struct lc_task *task) {
  struct lc_load *load = lc_container_of(task, struct lc_load, cancel_task);
  struct lc_flight *flight = load->flight;
  if (!load->over) {
    cancel(load);
    lc_load_set_static(load, LC_ECANCELLED, "cancelled");
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
static bool refuse_draining(struct lc_load *load) {
  if (load->nested || !lc_groups_draining(load->group->groups))
    return false;
  lc_load_set_static(load, LC_EUNAVAILABLE, "draining: this node is stopping, ask another");
  load->logged = true;
  return true;
}

static bool admit_getter(struct lc_load *load) {
  struct lc_group *group = load->group;
  if (atomic_fetch_add_explicit(&group->loads_now, 1, memory_order_relaxed) >= group->options.max_loads) {
    atomic_fetch_sub_explicit(&group->loads_now, 1, memory_order_relaxed);
    lc_load_set_static(load, LC_EEXHAUSTED, "the group has as many loads as its max_loads allows: try again later");
    return false;
  }
  load->counted = true;
  return true;
}

/* LC_PENDING, or LC_OK with the result set. */
static int begin_getter(struct lc_load *load) {
  const struct lc_loader *loader = load->group->groups->loader;
  struct lc_counters *counters = lc_group_counters(load->group, load->worker);
  lc_remote_uncount(load);
  load->step = LC_STEP_GETTER;
  load->from = LC_FROM_SOURCE;
  load->keep = !load->mirror || load->group->options.mirror_ttl_ms > 0;
  load->sent_ms = lc_group_now(load->group, load->worker);
  if (!admit_getter(load)) {
    lc_count(&counters->refused);
    return LC_OK;
  }
  lc_count(&counters->loads);
  return loader->start(loader->ctx, load);
}

void lc_load_fall_back(struct lc_load *load) {
  if (begin_getter(load) != LC_PENDING)
    end(load, NULL);
}

static int begin(struct lc_load *load) {
  int rc = load->step == LC_STEP_GETTER ? LC_EUNAVAILABLE : lc_remote_begin(load);
  return rc == LC_EUNAVAILABLE ? begin_getter(load) : rc;
}

/* What a Get forwarded to us asks for isn't forwarded again: rings that differ would send it round. */
static void plan(struct lc_load *load, const struct lc_get *leader, bool owned) {
  if (!load->group->groups->peers)
    return;
  load->view = lc_group_tag(load->group, load->worker, leader->key, owned);
  load->mirror = !owned;
  if (!owned && !leader->forwarded)
    load->step = LC_STEP_FORWARD;
  else if (owned && !leader->refresh)
    load->step = LC_STEP_PEEK;
}

static void init(struct lc_load *load, struct lc_flight *flight, const struct lc_get *leader) {
  load->group = leader->in_group;
  load->flight = flight;
  load->hash = leader->hash;
  load->worker = leader->worker;
  load->nested = leader->parent;
  load->refresh = leader->refresh;
  load->deadline_ms = lc_group_expiry(lc_group_now(load->group, load->worker), leader->in_group->options.timeout_ms);
  load->timer.fire = on_timeout;
  load->cancel_task.run = on_abandoned;
}

int lc_load_start(struct lc_flight *flight, struct lc_get *leader, bool owned) {
  struct lc_load *load = lc_flight_owner(flight);
  init(load, flight, leader);
  plan(load, leader, owned);
  const struct lc_exec *exec = load->group->groups->exec;
  if (refuse_draining(load)) {
    lc_count(&lc_group_counters(load->group, load->worker)->refused);
  } else if (begin(load) == LC_PENDING) {
    lc_timer_start(exec->timers(exec->ctx, load->worker), &load->timer, load->deadline_ms);
    return LC_PENDING;
  }
  end(load, leader);
  return leader->code;
}

void lc_load_done(struct lc_load *load) {
  assert(!load->over);
  end(load, NULL);
}
