/*
 * Who waits for whom. A flight's load is sequential, so it waits for one flight at most, and what it waits for forms a
 * chain. A load may not wait for a chain that ends in itself, and no chain is longer than LC_FLIGHT_MAX_DEPTH, which
 * also bounds the walk.
 */
#include <stdio.h>

#include "flight/name.h"
#include "flight/table.h"

#define NAME_SIZE (2 * LC_NAME_QUOTED_SIZE)

static void name_of(char out[NAME_SIZE], struct lc_slice group, struct lc_slice key) {
  size_t shown = group.len < LC_NAME_SHOWN ? group.len : LC_NAME_SHOWN;
  int len = snprintf(out, NAME_SIZE, "%.*s/", (int)shown, (const char *)group.ptr);
  lc_name_quote(out + len, key);
}

static int refuse_cycle(const struct lc_flight *found, const struct lc_flight *parent, struct lc_err *err) {
  char name[NAME_SIZE], chain[LC_ERR_MSG_SIZE];
  size_t len = 0;
  chain[0] = '\0';
  for (const struct lc_flight *at = found; at != parent && len < sizeof chain; at = at->waits_for) {
    name_of(name, lc_flight_group(at->waits_for), lc_flight_key(at->waits_for));
    len += (size_t)snprintf(chain + len, sizeof chain - len, "%s%s", len == 0 ? ", by " : ", ", name);
  }
  name_of(name, lc_flight_group(found), lc_flight_key(found));
  return lc_err_set(err, LC_EINVAL, "%s waits for itself%s", name, chain);
}

static int refuse_depth(const struct lc_flight_join *join, struct lc_err *err) {
  char name[NAME_SIZE];
  name_of(name, join->group, join->key);
  return lc_err_set(err, LC_EINVAL, "%s: getters that ask for one another are nested more than %d deep", name,
                    LC_FLIGHT_MAX_DEPTH);
}

static int check_locked(const struct lc_flight_join *join, const struct lc_flight *found, struct lc_err *err) {
  const struct lc_flight *parent = join->parent;
  unsigned depth = parent->depth + 1;
  for (const struct lc_flight *at = found; at; at = at->waits_for) {
    if (at == parent)
      return refuse_cycle(found, parent, err);
    if (at->waits_for && ++depth > LC_FLIGHT_MAX_DEPTH)
      return refuse_depth(join, err);
  }
  if (depth > LC_FLIGHT_MAX_DEPTH)
    return refuse_depth(join, err);
  if (parent->waits_for)
    return lc_err_set(err, LC_EINVAL, "a getter can wait for one key at a time");
  return LC_OK;
}

int lc_nest_check(struct lc_flight_table *table, const struct lc_flight_join *join, struct lc_flight *found, bool enter,
                  struct lc_err *err) {
  pthread_mutex_lock(&table->nest);
  int rc = check_locked(join, found, err);
  if (rc == LC_OK && enter && found)
    join->parent->waits_for = found;
  pthread_mutex_unlock(&table->nest);
  return rc;
}

void lc_nest_set(struct lc_flight_table *table, struct lc_flight *parent, struct lc_flight *waits_for) {
  pthread_mutex_lock(&table->nest);
  parent->waits_for = waits_for;
  pthread_mutex_unlock(&table->nest);
}
