/*
 * The change that a Set or Delete makes where its key is owned. The store is written under the lock of the key's
 * flight, after the flight was detached: a load that began before the write can't put its older value over it, and
 * writes and loads of one key have one order. The number that other nodes hear of the change by is drawn under the same
 * lock.
 */
#include "group/write.h"

struct commit {
  const struct lc_change *change;
  struct lc_item *item; /* NULL: remove */
  uint64_t hash, now_ms, seq;
  int rc;
  bool deleted;
  struct lc_store_rest rest; /* freed after the flight's lock */
};

static void apply(void *arg) {
  struct commit *commit = arg;
  const struct lc_change *change = commit->change;
  struct lc_store *store = change->group->store;
  const struct lc_peers *peers = change->group->groups->peers;
  if (commit->item)
    commit->rc = lc_store_put_rest(store, commit->item, commit->hash, commit->now_ms, &commit->rest);
  else
    commit->deleted = lc_store_delete_rest(store, change->key, commit->hash, commit->now_ms, &commit->rest);
  if (peers)
    commit->seq = peers->written(peers->ctx, change->group->name, change->key);
}

static int refuse_size(const struct lc_change *change, struct lc_write *write, int rc) {
  const struct lc_group *group = change->group;
  lc_count(&lc_group_counters(group, write->worker)->refused);
  if (change->value_len > group->options.max_value) {
    return lc_err_set(&write->err, LC_ETOOBIG, "value of %zu bytes is over the group's max_value of %zu",
                      change->value_len, group->options.max_value);
  }
  if (rc == LC_ETOOBIG) {
    return lc_err_set(&write->err, LC_ETOOBIG, "key and value of %zu bytes are over a quarter of the group's %zu bytes",
                      change->key.len + change->value_len, lc_pool_limit(group->pool));
  }
  return lc_err_set(&write->err, rc, "out of memory");
}

static int settle(const struct commit *commit, struct lc_write *write) {
  const struct lc_change *change = commit->change;
  struct lc_counters *counters = lc_group_counters(change->group, write->worker);
  if (!change->set) {
    write->deleted = commit->deleted;
    lc_count(&counters->deletes);
    return LC_OK;
  }
  if (!commit->item || commit->rc != LC_OK)
    return refuse_size(change, write, commit->rc);
  lc_count(&counters->sets);
  return LC_OK;
}

int lc_write_commit(const struct lc_change *change, struct lc_write *write, uint64_t *seq) {
  struct lc_group *group = change->group;
  const struct lc_peers *peers = group->groups->peers;
  bool fits = change->value_len <= group->options.max_value;
  struct commit commit = {.change = change, .item = fits ? change->item : NULL};
  commit.hash = lc_store_hash(group->store, change->key);
  commit.now_ms = lc_group_now(group, write->worker);
  if (commit.item && peers)
    lc_item_set_view(commit.item, lc_group_tag(group, write->worker, change->key, true), false);
  lc_flight_detach(group->groups->flights, group->name, change->key, commit.hash, apply, &commit);
  lc_store_finish(&commit.rest);
  *seq = commit.seq;
  return settle(&commit, write);
}
