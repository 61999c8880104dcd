/*
 * Who waits for whom. A flight's load is sequential, so it waits for one flight at most, and what it waits for forms a
 * chain. A load may not wait for a chain that ends in itself, and no chain is longer than LC_FLIGHT_MAX_DEPTH, which
 * also bounds the walk. Loads on this node are known by their flights; those on other nodes only by name.
 */
#include <stdio.h>

#include "flight/name.h"
#include "flight/table.h"

#define NAME_SIZE (2 * LC_NAME_QUOTED_SIZE)

static void name_of(char out[NAME_SIZE], struct lc_flight_name name) {
  size_t shown = name.group.len < LC_NAME_SHOWN ? name.group.len : LC_NAME_SHOWN;
  int len = snprintf(out, NAME_SIZE, "%.*s/", (int)shown, (const char *)name.group.ptr);
  lc_name_quote(out + len, name.key);
}

static struct lc_flight_name flight_name(const struct lc_flight *flight) {
  return (struct lc_flight_name){.group = lc_flight_group(flight), .key = lc_flight_key(flight)};
}

/* A message's "by this, that" as it grows; what doesn't fit is cut. */
struct chain {
  size_t len;
  char text[LC_ERR_MSG_SIZE];
};

static void chain_add(struct chain *chain, struct lc_flight_name link) {
  char name[NAME_SIZE];
  if (chain->len >= sizeof chain->text)
    return;
  name_of(name, link);
  chain->len += (size_t)snprintf(chain->text + chain->len, sizeof chain->text - chain->len, "%s%s",
                                 chain->len == 0 ? ", by " : ", ", name);
}

/* What asks, and for what: the join with its ancestors spelled out. */
struct asking {
  const struct lc_flight_join *join;
  struct lc_flight_name ancestors[LC_FLIGHT_MAX_DEPTH + 1];
  size_t count, foreign; /* the first `foreign` wait on other nodes */
};

/* The key waits for `found` to `last` (NULL: nothing here), and that for the ancestors from number `from` on. */
static int refuse_cycle(const struct asking *asking, const struct lc_flight *found, const struct lc_flight *last,
                        size_t from, struct lc_err *err) {
  char name[NAME_SIZE];
  struct chain chain = {0};
  for (const struct lc_flight *at = found; at != last; at = at->waits_for)
    chain_add(&chain, flight_name(at->waits_for));
  for (size_t i = from; i < asking->count; i++)
    chain_add(&chain, asking->ancestors[i]);
  name_of(name, (struct lc_flight_name){.group = asking->join->group, .key = asking->join->key});
  return lc_err_set(err, LC_EINVAL, "%s waits for itself%s", name, chain.text);
}

static int refuse_depth(const struct lc_flight_join *join, struct lc_err *err) {
  char name[NAME_SIZE];
  name_of(name, (struct lc_flight_name){.group = join->group, .key = join->key});
  return lc_err_set(err, LC_EINVAL, "%s: getters that ask for one another are nested more than %d deep", name,
                    LC_FLIGHT_MAX_DEPTH);
}

/* The number of the load on another node that has this name, or `foreign`. */
static size_t find_foreign(const struct asking *asking, struct lc_slice group, struct lc_slice key) {
  size_t i = 0;
  while (i < asking->foreign &&
         !(lc_slice_eq(asking->ancestors[i].key, key) && lc_slice_eq(asking->ancestors[i].group, group)))
    i++;
  return i;
}

static int check_chain(const struct asking *asking, const struct lc_flight *found, struct lc_err *err) {
  const struct lc_flight_join *join = asking->join;
  size_t depth = asking->count;
  for (const struct lc_flight *at = found; at; at = at->waits_for) {
    if (at == join->parent)
      return refuse_cycle(asking, found, at, asking->count, err);
    size_t foreign = find_foreign(asking, lc_flight_group(at), lc_flight_key(at));
    if (foreign < asking->foreign)
      return refuse_cycle(asking, found, at, foreign + 1, err);
    if (at->waits_for && ++depth > LC_FLIGHT_MAX_DEPTH)
      return refuse_depth(join, err);
  }
  return LC_OK;
}

static int check_locked(const struct asking *asking, const struct lc_flight *found, struct lc_err *err) {
  const struct lc_flight_join *join = asking->join;
  size_t foreign = find_foreign(asking, join->group, join->key);
  if (foreign < asking->foreign)
    return refuse_cycle(asking, NULL, NULL, foreign + 1, err);
  int rc = check_chain(asking, found, err);
  if (rc != LC_OK)
    return rc;
  if (asking->count > LC_FLIGHT_MAX_DEPTH)
    return refuse_depth(join, err);
  if (join->parent && join->parent->waits_for)
    return lc_err_set(err, LC_EINVAL, "a getter can wait for one key at a time");
  return LC_OK;
}

size_t lc_nest_ancestors(const struct lc_flight_join *join, struct lc_flight_name names[LC_FLIGHT_MAX_DEPTH + 1]) {
  if (join->parent)
    return lc_flight_lineage(join->parent, names);
  for (size_t i = 0; i < join->lineage_count; i++)
    names[i] = join->lineage[i];
  return join->lineage_count;
}

int lc_nest_check(struct lc_flight_table *table, const struct lc_flight_join *join, struct lc_flight *found, bool enter,
                  struct lc_err *err) {
  if (!join->parent && join->lineage_count > LC_FLIGHT_MAX_DEPTH)
    return refuse_depth(join, err);
  struct asking asking = {.join = join};
  asking.count = lc_nest_ancestors(join, asking.ancestors);
  asking.foreign = join->parent ? join->parent->foreign : join->lineage_count;
  pthread_mutex_lock(&table->nest);
  int rc = check_locked(&asking, found, err);
  if (rc == LC_OK && enter && found && join->parent)
    join->parent->waits_for = found;
  pthread_mutex_unlock(&table->nest);
  return rc;
}

void lc_nest_set(struct lc_flight_table *table, struct lc_flight *parent, struct lc_flight *waits_for) {
  pthread_mutex_lock(&table->nest);
  parent->waits_for = waits_for;
  pthread_mutex_unlock(&table->nest);
}
