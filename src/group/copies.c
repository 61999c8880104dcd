/* What other nodes do to the copies stored here: look at them, drop them, add some. */
#include "base/clock.h"
#include "group/internal.h"

static uint64_t hash_of(const struct lc_groups *groups, struct lc_slice key) {
  return lc_hash_keyed(&groups->hash_key, key);
}

/* The control thread has no time of its own in exec. */
static uint64_t now_on(const struct lc_group *group, unsigned worker) {
  return worker < group->groups->exec->workers ? lc_group_now(group, worker) : lc_clock_ms();
}

struct lc_item *lc_group_peek(struct lc_groups *groups, struct lc_slice group, struct lc_slice key, unsigned worker) {
  struct lc_group *in_group = lc_groups_find(groups, group);
  if (!in_group || !lc_groups_fresh(groups, worker))
    return NULL;
  struct lc_item *item = lc_store_peek(in_group->store, key, hash_of(groups, key), now_on(in_group, worker));
  if (!item || !lc_item_mirror(item))
    return item;
  lc_item_unref(item);
  return NULL;
}

struct invalidation {
  struct lc_group *group;
  struct lc_slice key;
  uint64_t hash, now_ms;
  bool dropped;
  struct lc_store_rest rest;
  void (*under)(void *arg);
  void *arg;
};

static void drop(void *arg) {
  struct invalidation *drop = arg;
  if (drop->group)
    drop->dropped = lc_store_delete_rest(drop->group->store, drop->key, drop->hash, drop->now_ms, &drop->rest);
  if (drop->under)
    drop->under(drop->arg);
}

bool lc_group_invalidate(struct lc_groups *groups, struct lc_slice group, struct lc_slice key, unsigned worker,
                         void (*under)(void *arg), void *arg) {
  struct invalidation call = {.group = lc_groups_find(groups, group), .key = key, .under = under, .arg = arg};
  call.hash = hash_of(groups, key);
  if (!call.group) {
    lc_flight_locked(groups->flights, call.hash, drop, &call);
    return false;
  }
  call.now_ms = now_on(call.group, worker);
  lc_flight_detach(groups->flights, group, key, call.hash, drop, &call);
  lc_store_finish(&call.rest);
  lc_count(&lc_group_counters(call.group, worker)->invalidated);
  return call.dropped;
}

void lc_group_forget(struct lc_group *group, struct lc_slice key, unsigned worker) {
  struct invalidation call = {.group = group, .key = key};
  call.hash = hash_of(group->groups, key);
  call.now_ms = now_on(group, worker);
  lc_flight_detach(group->groups->flights, group->name, key, call.hash, drop, &call);
  lc_store_finish(&call.rest);
}

struct addition {
  struct lc_group *group;
  struct lc_item *item;
  unsigned worker;
  uint64_t hash, now_ms;
  bool added;
  struct lc_store_rest rest;
  bool (*allow)(void *arg);
  void *arg;
};

/* A mirror is no reason to refuse: it won't answer for a key that we own. */
static bool is_absent(const struct addition *add, struct lc_slice key) {
  struct lc_item *here = lc_store_peek(add->group->store, key, add->hash, add->now_ms);
  bool absent = !here || lc_item_mirror(here);
  lc_item_unref(here);
  return absent;
}

static void add(void *arg) {
  struct addition *add = arg;
  struct lc_slice key = lc_item_key(add->item);
  if (!lc_group_owns(add->group, add->worker, key) || !is_absent(add, key) || !add->allow(add->arg))
    return;
  add->added = lc_store_put_rest(add->group->store, add->item, add->hash, add->now_ms, &add->rest) == LC_OK;
}

bool lc_group_add(struct lc_groups *groups, struct lc_slice group, struct lc_slice key, struct lc_slice value,
                  int64_t ttl_ms, unsigned worker, bool (*allow)(void *arg), void *arg) {
  struct lc_group *in_group;
  if (lc_group_check(groups, group, key, &in_group, NULL) != LC_OK || value.len > in_group->options.max_value)
    return false;
  struct addition call = {.group = in_group, .worker = worker, .allow = allow, .arg = arg};
  call.hash = hash_of(groups, key);
  call.now_ms = now_on(in_group, worker);
  call.item = lc_item_create(key, value, lc_group_expiry(call.now_ms, ttl_ms > 0 ? (uint64_t)ttl_ms : 0), 0);
  if (!call.item)
    return false;
  lc_item_set_view(call.item, groups->peers->view(groups->peers->ctx, worker) & LC_ITEM_VIEW_MASK, false);
  lc_flight_locked(groups->flights, call.hash, add, &call);
  lc_store_finish(&call.rest);
  lc_item_unref(call.item);
  if (call.added)
    lc_count(&lc_group_counters(in_group, worker)->added);
  return call.added;
}

/* Flights first: what they load may be older than what this node has missed. */
void lc_groups_drop_all(struct lc_groups *groups) {
  for (size_t i = 0; i < groups->count; i++)
    lc_flight_detach_group(groups->flights, groups->groups[i]->name);
  for (size_t i = 0; i < groups->count; i++)
    lc_store_clear(groups->groups[i]->store);
}
