/*
 * Set and Delete: their arguments, and the whole of it on a node alone. commit.c makes the change; write_op.c takes it
 * to the key's owner and waits for the other nodes.
 */
#include "group/write.h"

struct lc_item *lc_write_item(const struct lc_group *group, const struct lc_write *write) {
  uint64_t ttl_ms = write->ttl_ms == LC_TTL_GROUP ? group->options.ttl_ms : (uint64_t)write->ttl_ms;
  if (write->ttl_ms == LC_TTL_NEVER)
    ttl_ms = 0;
  return lc_item_create(write->key, write->value, lc_group_expiry(lc_group_now(group, write->worker), ttl_ms), 0);
}

static int set_alone(struct lc_group *group, struct lc_write *write) {
  struct lc_change change = {.group = group, .key = write->key, .set = true, .value_len = write->value.len};
  uint64_t seq;
  if (lc_write_fits(group, write)) {
    change.item = lc_write_item(group, write);
    if (!change.item)
      return lc_err_set(&write->err, LC_ENOMEM, "out of memory");
  }
  int code = lc_write_commit(&change, write, &seq);
  lc_item_unref(change.item);
  return code;
}

static int delete_alone(struct lc_group *group, struct lc_write *write) {
  const struct lc_change change = {.group = group, .key = write->key};
  uint64_t seq;
  return lc_write_commit(&change, write, &seq);
}

static int set(struct lc_groups *groups, struct lc_write *write) {
  struct lc_group *group;
  int code = lc_group_check(groups, write->group, write->key, &group, &write->err);
  if (code != LC_OK)
    return code;
  if (write->ttl_ms < LC_TTL_NEVER) {
    return lc_err_set(&write->err, LC_EINVAL, "ttl_ms of %lld: use milliseconds, 0 for the group's, -1 for never",
                      (long long)write->ttl_ms);
  }
  return groups->peers ? lc_write_start(group, write, true) : set_alone(group, write);
}

static int delete (struct lc_groups *groups, struct lc_write *write) {
  struct lc_group *group;
  int code = lc_group_check(groups, write->group, write->key, &group, &write->err);
  if (code != LC_OK)
    return code;
  return groups->peers ? lc_write_start(group, write, false) : delete_alone(group, write);
}

int lc_group_set(struct lc_groups *groups, struct lc_write *write) {
  int code = set(groups, write);
  if (code != LC_PENDING)
    write->code = code;
  return code;
}

int lc_group_delete(struct lc_groups *groups, struct lc_write *write) {
  int code = delete (groups, write);
  if (code != LC_PENDING)
    write->code = code;
  return code;
}
