/*
 * A Get, from its arguments to its answer:
 *
 *   arguments wrong                      -> LC_EINVAL, LC_ENOTFOUND
 *   stored copies can't be trusted now   -> parked until they can (this node stood still, and may have missed writes)
 *   the store has it                     -> a hit: no allocation, no lock but the store's
 *   only_if_cached                       -> LC_ENOTFOUND
 *   under the lock of the key's flight:
 *     the store has it by now            -> a hit
 *     somebody loads it                  -> wait for that load
 *     nobody does                        -> begin a flight and start the load (load.c)
 *   the load ends                        -> each waiter is answered on its own worker
 *
 * A refresh skips both looks at the store and never joins a load: what it returns was asked of the source after it was.
 * A Get that another node forwarded never joins a load that is being forwarded: the two might wait for each other.
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
  lc_free(get->own);
  get->own = lc_strdup(message);
  return get->own ? refuse(get, code, get->own) : refuse(get, LC_ENOMEM, "out of memory");
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

/* Whether a stored copy is the answer, by the view it was stored under and the present one. */
static bool answers(const struct lc_get *get, const struct lc_item *item) {
  const struct lc_peers *peers = get->in_group->groups->peers;
  if (lc_item_view(item) == (peers->view(peers->ctx, get->worker) & LC_ITEM_VIEW_MASK))
    return true;
  return lc_group_owns(get->in_group, get->worker, get->key) != lc_item_mirror(item);
}

static bool take_from_store(struct lc_get *get) {
  uint64_t now_ms = lc_group_now(get->in_group, get->worker);
  struct lc_item *item = lc_store_get(get->in_group->store, get->key, get->hash, now_ms);
  if (!item)
    return false;
  get->from = LC_FROM_STORE;
  if (get->in_group->groups->peers) {
    if (!answers(get, item)) {
      lc_item_unref(item);
      return false;
    }
    if (lc_item_mirror(item))
      get->from = LC_FROM_MIRROR;
  }
  get->code = LC_OK;
  get->item = item;
  get->ttl_ms = lc_item_ttl_ms(item, now_ms);
  get->message = "";
  return true;
}

static void count_hit(const struct lc_get *get) {
  struct lc_counters *counters = lc_group_counters(get->in_group, get->worker);
  lc_count(&counters->hits);
  if (get->from == LC_FROM_MIRROR)
    lc_count(&counters->mirror_hits);
}

static int recheck(void *arg) {
  return take_from_store(arg) ? RECHECK_HIT : 0;
}

static int join_flight(struct lc_groups *groups, struct lc_get *get) {
  struct lc_counters *counters = lc_group_counters(get->in_group, get->worker);
  struct lc_flight *flight = NULL;
  struct lc_err err;
  bool owned = !groups->peers || lc_group_owns(get->in_group, get->worker, get->key);
  const struct lc_flight_join join = {
      .group = get->in_group->name,
      .key = get->key,
      .hash = get->hash,
      .recheck = get->refresh ? NULL : recheck,
      .arg = get,
      .parent = get->parent ? lc_load_flight(get->parent) : NULL,
      .lineage = get->lineage,
      .lineage_count = get->lineage_count,
      .owner_size = lc_load_size,
      .owner_fini = lc_load_fini,
      .alone = get->refresh,
      .remote = !owned && !get->forwarded,
      .here = get->forwarded,
  };
  int role = lc_flight_join(groups->flights, &join, &get->waiter, &flight, &err);
  if (role == RECHECK_HIT) {
    count_hit(get);
    return LC_OK;
  }
  lc_count(&counters->misses);
  switch (role) {
  case LC_FLIGHT_JOINED:
    lc_count(&counters->coalesced);
    return LC_PENDING;
  case LC_FLIGHT_LEADER:
    return lc_load_start(flight, get, owned);
  default:
    return fail(get, role, err.msg);
  }
}

/* A Get whose arguments are right, on a node that may serve what it has stored. */
static inline int begin(struct lc_groups *groups, struct lc_get *get) {
  if (!get->refresh && take_from_store(get)) {
    count_hit(get);
    return LC_OK;
  }
  if (get->only_if_cached) {
    lc_count(&lc_group_counters(get->in_group, get->worker)->misses);
    return refuse(get, LC_ENOTFOUND, "not in the cache");
  }
  return join_flight(groups, get);
}

/* Copies the names and, after them, their bytes: 0 or LC_ENOMEM. */
static int keep_lineage(struct lc_get *get) {
  size_t size = get->lineage_count * sizeof *get->lineage;
  for (size_t i = 0; i < get->lineage_count; i++)
    size += get->lineage[i].group.len + get->lineage[i].key.len;
  struct lc_flight_name *names = lc_malloc(size);
  if (!names)
    return LC_ENOMEM;
  char *bytes = (char *)(names + get->lineage_count);
  for (size_t i = 0; i < get->lineage_count; i++) {
    names[i] = get->lineage[i];
    struct lc_slice *slices[] = {&names[i].group, &names[i].key};
    for (size_t j = 0; j < 2; j++) {
      if (slices[j]->len > 0)
        memcpy(bytes, slices[j]->ptr, slices[j]->len);
      slices[j]->ptr = (uint8_t *)bytes;
      bytes += slices[j]->len;
    }
  }
  get->own = names;
  get->lineage = names;
  return LC_OK;
}

static void on_fresh(struct lc_peer_fresh *fresh);

static void wait_fresh(const struct lc_groups *groups, struct lc_get *get) {
  get->parked = true;
  get->fresh = (struct lc_peer_fresh){.done = on_fresh};
  groups->peers->wait_fresh(groups->peers->ctx, get->worker, &get->fresh);
}

/* Stored copies may be served again, or so it was a moment ago. */
static void on_fresh(struct lc_peer_fresh *fresh) {
  struct lc_get *get = lc_container_of(fresh, struct lc_get, fresh);
  struct lc_groups *groups = get->in_group->groups;
  if (!lc_groups_fresh(groups, get->worker)) {
    wait_fresh(groups, get);
    return;
  }
  get->parked = false;
  get->waiter = (struct lc_flight_waiter){0};
  if (begin(groups, get) != LC_PENDING)
    get->done(get);
}

/* Out of line: a hit doesn't pay for it. */
static __attribute__((noinline)) int park(struct lc_groups *groups, struct lc_get *get) {
  if (get->lineage_count > 0 && keep_lineage(get) != LC_OK)
    return refuse(get, LC_ENOMEM, "out of memory");
  wait_fresh(groups, get);
  return LC_PENDING;
}

static void unpark(struct lc_get *get) {
  lc_list_remove(&get->fresh.link);
  get->parked = false;
  get->waiter = (struct lc_flight_waiter){0};
}

int lc_group_get(struct lc_groups *groups, struct lc_get *get) {
  int code = check(groups, get);
  if (code != LC_OK)
    return code;
  if (groups->peers) {
    if (get->forwarded)
      lc_count(&lc_group_counters(get->in_group, get->worker)->served);
    if (!lc_groups_fresh(groups, get->worker))
      return park(groups, get);
  }
  return begin(groups, get);
}

void lc_groups_cork(struct lc_groups *groups, unsigned worker) {
  if (groups->peers)
    groups->peers->cork(groups->peers->ctx, worker);
}

void lc_groups_uncork(struct lc_groups *groups, unsigned worker) {
  if (groups->peers)
    groups->peers->uncork(groups->peers->ctx, worker);
}

void lc_get_answer(struct lc_get *get, int code, struct lc_item *item, enum lc_from from, int64_t ttl_ms,
                   const char *message, struct lc_flight *message_owner) {
  get->code = code;
  get->from = code == LC_OK ? from : LC_FROM_UNSPECIFIED;
  get->item = item ? lc_item_ref(item) : NULL;
  get->ttl_ms = ttl_ms;
  get->message = message ? message : "";
  get->shared = message && message_owner ? lc_flight_ref(message_owner) : NULL;
}

bool lc_get_cancel(struct lc_groups *groups, struct lc_get *get) {
  struct lc_flight *flight = NULL;
  if (get->parked) {
    unpark(get);
    refuse(get, LC_ECANCELLED, "cancelled");
    return true;
  }
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
  lc_free(get->own);
  get->item = NULL;
  get->shared = NULL;
  get->own = NULL;
  get->message = "";
}
