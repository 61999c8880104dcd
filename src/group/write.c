/*
 * Set and Delete. The store is written under the lock of the key's flight, after the flight was detached: a load that
 * began before the write can't put its older value over it, and writes and loads of one key have one order.
 */
#include "group/group.h"

#include "group/internal.h"

struct write {
  struct lc_group *group;
  struct lc_slice key;
  uint64_t hash, now_ms;
  struct lc_item *item; /* NULL: delete */
  int rc;
  bool deleted;
  struct lc_store_rest rest; /* freed after the flight's lock */
};

static void apply(void *arg) {
  struct write *write = arg;
  struct lc_store *store = write->group->store;
  if (write->item) {
    write->rc = lc_store_put_rest(store, write->item, write->hash, write->now_ms, &write->rest);
  } else {
    write->deleted = lc_store_delete_rest(store, write->key, write->hash, write->now_ms, &write->rest);
  }
}

static void write_through(struct write *write, unsigned worker) {
  struct lc_group *group = write->group;
  write->hash = lc_store_hash(group->store, write->key);
  write->now_ms = lc_group_now(group, worker);
  lc_flight_detach(group->groups->flights, group->name, write->key, write->hash, apply, write);
  lc_store_finish(&write->rest);
}

static int refuse_size(struct lc_group *group, const struct lc_write *asked, struct lc_err *err) {
  struct write removal = {.group = group, .key = asked->key};
  write_through(&removal, asked->worker);
  lc_count(&lc_group_counters(group, asked->worker)->refused);
  return lc_err_set(err, LC_ETOOBIG, "value of %zu bytes is over the group's max_value of %zu", asked->value.len,
                    group->options.max_value);
}

static int put(struct lc_group *group, const struct lc_write *asked, struct lc_err *err) {
  uint64_t ttl_ms = asked->ttl_ms == LC_TTL_GROUP ? group->options.ttl_ms : (uint64_t)asked->ttl_ms;
  if (asked->ttl_ms == LC_TTL_NEVER)
    ttl_ms = 0;
  uint64_t expires_ms = lc_group_expiry(lc_group_now(group, asked->worker), ttl_ms);
  struct write write = {.group = group, .key = asked->key};
  write.item = lc_item_create(asked->key, asked->value, expires_ms, 0);
  if (!write.item)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  write_through(&write, asked->worker);
  lc_item_unref(write.item);
  if (write.rc == LC_OK) {
    lc_count(&lc_group_counters(group, asked->worker)->sets);
    return LC_OK;
  }
  lc_count(&lc_group_counters(group, asked->worker)->refused);
  if (write.rc != LC_ETOOBIG)
    return lc_err_set(err, write.rc, "out of memory");
  return lc_err_set(err, LC_ETOOBIG, "key and value of %zu bytes are over a quarter of the group's %zu bytes",
                    asked->key.len + asked->value.len, lc_pool_limit(group->pool));
}

int lc_group_set(struct lc_groups *groups, const struct lc_write *write, struct lc_err *err) {
  struct lc_group *group;
  int rc = lc_group_check(groups, write->group, write->key, &group, err);
  if (rc != LC_OK)
    return rc;
  if (write->ttl_ms < LC_TTL_NEVER) {
    return lc_err_set(err, LC_EINVAL, "ttl_ms of %lld: use milliseconds, 0 for the group's, -1 for never",
                      (long long)write->ttl_ms);
  }
  return write->value.len > group->options.max_value ? refuse_size(group, write, err) : put(group, write, err);
}

int lc_group_delete(struct lc_groups *groups, struct lc_write *write, struct lc_err *err) {
  struct lc_group *group;
  int rc = lc_group_check(groups, write->group, write->key, &group, err);
  if (rc != LC_OK)
    return rc;
  struct write removal = {.group = group, .key = write->key};
  write_through(&removal, write->worker);
  write->deleted = removal.deleted;
  lc_count(&lc_group_counters(group, write->worker)->deletes);
  return LC_OK;
}
