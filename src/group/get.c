/*
 * A Get, from its arguments to its answer:
 *
 *   arguments wrong                      -> LC_EINVAL, LC_ENOTFOUND
 *   the store has it                     -> a hit: no allocation, no lock but the store's
 *   only_if_cached                       -> LC_ENOTFOUND
 *   under the lock of the key's flight:
 *     the store has it by now            -> a hit
 *     somebody loads it                  -> wait for that load
 *     nobody does                        -> begin a flight and start the load (load.c)
 *   the load ends                        -> each waiter is answered on its own worker
 *
 * A refresh skips both looks at the store and never joins a load: what it returns was asked of the source after it was.
 */
#include "group/group.h"

#include "base/alloc.h"
#include "flight/name.h"
#include "group/internal.h"

enum { RECHECK_HIT = 3 }; /* beside enum lc_flight_role */

int lc_groups_resolve(struct lc_groups *groups, struct lc_slice name, struct lc_group **group, struct lc_err *err) {
  if (name.len == 0) {
    lc_err_set(err, LC_EINVAL, "the group is empty");
    return LC_EINVAL;
  }
  *group = lc_groups_find(groups, name);
  if (*group)
    return LC_OK;
  char quoted[LC_NAME_QUOTED_SIZE];
  lc_name_quote(quoted, name);
  lc_err_set(err, LC_ENOTFOUND, "unknown group %s", quoted);
  return LC_ENOTFOUND;
}

int lc_group_check(struct lc_groups *groups, struct lc_slice name, struct lc_slice key, struct lc_group **group,
                   struct lc_err *err) {
  if (name.len > 0 && key.len == 0)
    return lc_err_set(err, LC_EINVAL, "the key is empty");
  int rc = lc_groups_resolve(groups, name, group, err);
  if (rc != LC_OK)
    return rc;
  if (key.len > (*group)->options.max_key) {
    return lc_err_set(err, LC_EINVAL, "key of %zu bytes is over the group's max_key of %zu", key.len,
                      (*group)->options.max_key);
  }
  return LC_OK;
}

/* Ends a Get; `message` is static. */
static int refuse(struct lc_get *get, int code, const char *message) {
  get->code = code;
  get->message = message;
  return code;
}

/* Ends a Get with a copy of the message. */
static int fail(struct lc_get *get, int code, const char *message) {
  get->text = lc_strdup(message);
  return get->text ? refuse(get, code, get->text) : refuse(get, LC_ENOMEM, "out of memory");
}

static int check(struct lc_groups *groups, struct lc_get *get) {
  struct lc_err err;
  int code = lc_group_check(groups, get->group, get->key, &get->in_group, &err);
  if (code != LC_OK)
    return fail(get, code, err.msg);
  if (get->only_if_cached && get->refresh) {
    return refuse(get, LC_EINVAL, "only_if_cached and refresh exclude each other");
  }
  get->hash = lc_store_hash(get->in_group->store, get->key);
  return LC_OK;
}

static bool take_from_store(struct lc_get *get) {
  uint64_t now_ms = lc_group_now(get->in_group, get->worker);
  struct lc_item *item = lc_store_get(get->in_group->store, get->key, get->hash, now_ms);
  if (!item)
    return false;
  get->code = LC_OK;
  get->item = item;
  get->from = LC_FROM_STORE;
  get->ttl_ms = lc_item_ttl_ms(item, now_ms);
  get->message = "";
  return true;
}

static int recheck(void *arg) {
  return take_from_store(arg) ? RECHECK_HIT : 0;
}

static int join_flight(struct lc_groups *groups, struct lc_get *get) {
  struct lc_counters *counters = lc_group_counters(get->in_group, get->worker);
  struct lc_flight *flight = NULL;
  struct lc_err err;
  const struct lc_flight_join join = {
      .group = get->in_group->name,
      .key = get->key,
      .hash = get->hash,
      .recheck = get->refresh ? NULL : recheck,
      .arg = get,
      .parent = get->parent ? lc_load_flight(get->parent) : NULL,
      .owner_size = lc_load_size,
      .owner_fini = lc_load_fini,
      .alone = get->refresh,
  };
  int role = lc_flight_join(groups->flights, &join, &get->waiter, &flight, &err);
  lc_count(role == RECHECK_HIT ? &counters->hits : &counters->misses);
  switch (role) {
  case RECHECK_HIT:
    return LC_OK;
  case LC_FLIGHT_JOINED:
    lc_count(&counters->coalesced);
    return LC_PENDING;
  case LC_FLIGHT_LEADER:
    return lc_load_start(flight, get);
  default:
    return fail(get, role, err.msg);
  }
}

int lc_group_get(struct lc_groups *groups, struct lc_get *get) {
  int code = check(groups, get);
  if (code != LC_OK)
    return code;
  struct lc_counters *counters = lc_group_counters(get->in_group, get->worker);
  if (!get->refresh && take_from_store(get)) {
    lc_count(&counters->hits);
    return LC_OK;
  }
  if (get->only_if_cached) {
    lc_count(&counters->misses);
    return refuse(get, LC_ENOTFOUND, "not in the cache");
  }
  return join_flight(groups, get);
}

void lc_get_answer(struct lc_get *get, int code, struct lc_item *item, int64_t ttl_ms, const char *message,
                   struct lc_flight *message_owner) {
  get->code = code;
  get->from = code == LC_OK ? LC_FROM_SOURCE : LC_FROM_UNSPECIFIED;
  get->item = item ? lc_item_ref(item) : NULL;
  get->ttl_ms = ttl_ms;
  get->message = message ? message : "";
  get->shared = message && message_owner ? lc_flight_ref(message_owner) : NULL;
}

bool lc_get_cancel(struct lc_groups *groups, struct lc_get *get) {
  struct lc_flight *flight = NULL;
  enum lc_flight_leave left = lc_flight_leave(groups->flights, &get->waiter, get->hash, &flight);
  if (left == LC_FLIGHT_GONE)
    return false;
  if (left == LC_FLIGHT_ABANDONED)
    lc_load_abandon(flight);
  refuse(get, LC_ECANCELLED, "cancelled");
  return true;
}

void lc_get_fini(struct lc_get *get) {
  lc_item_unref(get->item);
  lc_flight_unref(get->shared);
  lc_free(get->text);
  get->item = NULL;
  get->shared = NULL;
  get->text = NULL;
  get->message = "";
}
