/* The table of groups: made once from the script's declarations, read by all workers without a lock. */
#include "group/group.h"

#include <stdint.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "group/internal.h"

#define MIN_SHARED_BYTES (1u << 20)
#define FLIGHT_SHARDS 64u
#define MIRROR_PART 8u    /* of a group's bytes, what its mirrors may take */
#define SWEEP_ITEMS 2000u /* a call, over all groups of a worker */
#define SWEEP_ITEMS_MIN 100u

static uint64_t sum_of_limits(const struct lc_groups_config *config) {
  uint64_t sum = 0;
  for (size_t i = 0; i < config->count; i++) {
    if (__builtin_add_overflow(sum, config->options[i].limit_bytes, &sum))
      return UINT64_MAX;
  }
  return sum;
}

/* What the groups without a cap share. */
static int shared_bytes(const struct lc_groups_config *config, uint64_t *shared, struct lc_err *err) {
  char sum[LC_SIZE_TEXT], memory[LC_SIZE_TEXT];
  uint64_t left = config->memory_bytes;
  bool any_shares = false;
  for (size_t i = 0; i < config->count; i++) {
    uint64_t limit = config->options[i].limit_bytes;
    if (limit > left) {
      return lc_err_set(err, LC_EINVAL,
                        "group \"%s\": the groups' bytes add up to %s, more than --memory %s: lower them or raise it",
                        config->options[i].name, lc_format_size(sum_of_limits(config), sum),
                        lc_format_size(config->memory_bytes, memory));
    }
    left -= limit;
    any_shares = any_shares || limit == 0;
  }
  if (any_shares && left < MIN_SHARED_BYTES) {
    return lc_err_set(err, LC_EINVAL,
                      "the groups with bytes leave %s of --memory %s to those without, which need 1MB: lower them or "
                      "raise it",
                      lc_format_size(left, sum), lc_format_size(config->memory_bytes, memory));
  }
  *shared = any_shares ? left : 0;
  return LC_OK;
}

static struct lc_group **slot_of(struct lc_groups *groups, struct lc_slice name) {
  uint64_t at = lc_hash_keyed(&groups->hash_key, name);
  while (groups->slots[at & groups->slot_mask] && !lc_slice_eq(groups->slots[at & groups->slot_mask]->name, name)) {
    at++;
  }
  return &groups->slots[at & groups->slot_mask];
}

static int list_group(struct lc_group *group, struct lc_err *err) {
  struct lc_group **slot = slot_of(group->groups, group->name);
  if (*slot)
    return lc_err_set(err, LC_EINVAL, "group \"%s\" is declared twice", group->options.name);
  *slot = group;
  return LC_OK;
}

static int open_store(struct lc_group *group) {
  struct lc_groups *groups = group->groups;
  int rc = LC_OK;
  group->pool = groups->shared_pool;
  if (group->options.limit_bytes > 0)
    rc = lc_pool_create((size_t)group->options.limit_bytes, &group->pool);
  if (rc != LC_OK) {
    group->pool = NULL;
    return rc;
  }
  struct lc_store_config config = {.pool = group->pool, .policy = group->options.policy, .key = &groups->hash_key};
  if (groups->peers && group->options.mirror_ttl_ms > 0)
    config.mirror_limit_bytes = lc_pool_limit(group->pool) / MIRROR_PART;
  if (group->options.wants_evict) {
    config.on_evict = lc_evict_push;
    config.on_evict_arg = group;
  }
  return lc_store_create(&config, &group->store);
}

static void group_destroy(struct lc_group *group) {
  if (!group)
    return;
  lc_store_destroy(group->store);
  if (group->pool != group->groups->shared_pool)
    lc_pool_destroy(group->pool);
  pthread_mutex_destroy(&group->log_limit.lock);
  lc_free((char *)(uintptr_t)group->options.name);
  lc_free(group->memory);
}

static struct lc_group *group_alloc(struct lc_groups *groups) {
  void *memory = lc_calloc(1, sizeof(struct lc_group) + _Alignof(struct lc_group));
  if (!memory)
    return NULL;
  const uintptr_t align = _Alignof(struct lc_group);
  struct lc_group *group = (struct lc_group *)(((uintptr_t)memory + align - 1) & ~(align - 1));
  group->memory = memory;
  group->groups = groups;
  pthread_mutex_init(&group->log_limit.lock, NULL);
  return group;
}

static int add_group(struct lc_groups *groups, const struct lc_groups_config *config, uint64_t shared,
                     struct lc_err *err) {
  struct lc_group_options options = config->options[groups->count];
  uint64_t budget = options.limit_bytes > 0 ? options.limit_bytes : shared;
  int rc = lc_group_options_check(&options, budget, config->max_message_bytes, err);
  if (rc != LC_OK)
    return rc;
  struct lc_group *group = group_alloc(groups);
  if (!group)
    return LC_ENOMEM;
  group->index = (unsigned)groups->count;
  groups->groups[groups->count++] = group;
  group->options = options;
  group->options.name = lc_strdup(options.name);
  if (!group->options.name)
    return LC_ENOMEM;
  group->name = lc_slice_str(group->options.name);
  rc = list_group(group, err);
  return rc != LC_OK ? rc : open_store(group);
}

static int make_tables(struct lc_groups *groups, const struct lc_groups_config *config, uint64_t shared) {
  size_t slots = 4;
  while (slots < config->count * 2)
    slots *= 2;
  groups->slot_mask = slots - 1;
  groups->slots = lc_calloc(slots, sizeof(struct lc_group *));
  groups->groups = lc_calloc(config->count + 1, sizeof(struct lc_group *));
  const size_t align = _Alignof(struct lc_counters);
  groups->counters_block =
      lc_calloc(1, config->count * (config->exec->workers + 1) * sizeof(struct lc_counters) + align);
  if (!groups->slots || !groups->groups || !groups->counters_block)
    return LC_ENOMEM;
  groups->counters = (struct lc_counters *)(((uintptr_t)groups->counters_block + align - 1) & ~(uintptr_t)(align - 1));
  if (shared > 0 && lc_pool_create((size_t)shared, &groups->shared_pool) != LC_OK)
    return LC_ENOMEM;
  return lc_flight_table_create(FLIGHT_SHARDS, &groups->flights);
}

static int make_evict_queue(struct lc_groups *groups, const struct lc_groups_config *config) {
  bool wanted = false;
  for (size_t i = 0; i < config->count; i++)
    wanted = wanted || config->options[i].wants_evict;
  return wanted ? lc_evict_queue_create(groups, &groups->evict_queue) : LC_OK;
}

static int make_heat(struct lc_groups *groups, const struct lc_groups_config *config) {
  bool mirrors = false;
  for (size_t i = 0; i < config->count; i++)
    mirrors = mirrors || config->options[i].mirror_ttl_ms > 0;
  return groups->peers && mirrors ? lc_heat_create(&groups->heat) : LC_OK;
}

static int fill(struct lc_groups *groups, const struct lc_groups_config *config, uint64_t shared, struct lc_err *err) {
  int rc = lc_hash_key_init(&groups->hash_key);
  if (rc != LC_OK)
    return lc_err_set(err, rc, "the kernel gives no random bytes");
  rc = make_tables(groups, config, shared);
  if (rc == LC_OK)
    rc = make_evict_queue(groups, config);
  if (rc == LC_OK)
    rc = make_heat(groups, config);
  while (rc == LC_OK && groups->count < config->count)
    rc = add_group(groups, config, shared, err);
  return rc == LC_ENOMEM ? lc_err_set(err, rc, "out of memory") : rc;
}

int lc_groups_create(const struct lc_groups_config *config, struct lc_groups **groups, struct lc_err *err) {
  uint64_t shared = 0;
  int rc = shared_bytes(config, &shared, err);
  if (rc != LC_OK)
    return rc;
  struct lc_groups *made = lc_calloc(1, sizeof *made);
  if (!made)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  made->exec = config->exec;
  made->loader = config->loader;
  made->peers = config->peers;
  made->log = config->log;
  rc = fill(made, config, shared, err);
  if (rc != LC_OK) {
    lc_groups_destroy(made);
    return rc;
  }
  *groups = made;
  return LC_OK;
}

void lc_groups_destroy(struct lc_groups *groups) {
  if (!groups)
    return;
  for (size_t i = 0; i < groups->count; i++)
    group_destroy(groups->groups[i]);
  lc_pool_destroy(groups->shared_pool);
  lc_evict_queue_destroy(groups->evict_queue);
  lc_heat_destroy(groups->heat);
  lc_flight_table_destroy(groups->flights);
  lc_free(groups->counters_block);
  lc_free(groups->slots);
  lc_free(groups->groups);
  lc_free(groups);
}

size_t lc_groups_count(const struct lc_groups *groups) {
  return groups->count;
}

struct lc_group *lc_groups_at(struct lc_groups *groups, size_t index) {
  return groups->groups[index];
}

struct lc_group *lc_groups_find(struct lc_groups *groups, struct lc_slice name) {
  return name.len <= LC_GROUP_NAME_MAX ? *slot_of(groups, name) : NULL;
}

struct lc_store *lc_group_store(const struct lc_group *group) {
  return group->store;
}

const char *lc_group_name(const struct lc_group *group) {
  return group->options.name;
}

void lc_groups_drain(struct lc_groups *groups) {
  atomic_store_explicit(&groups->draining, true, memory_order_relaxed);
}

bool lc_groups_draining(const struct lc_groups *groups) {
  return atomic_load_explicit(&groups->draining, memory_order_relaxed);
}

void lc_groups_sweep(struct lc_groups *groups, unsigned worker) {
  unsigned workers = groups->exec->workers;
  size_t mine = (groups->count + workers - 1 - worker) / workers;
  size_t share = mine > 0 ? SWEEP_ITEMS / mine : 0;
  if (share < SWEEP_ITEMS_MIN)
    share = SWEEP_ITEMS_MIN;
  for (size_t i = worker; i < groups->count; i += workers) {
    struct lc_group *group = groups->groups[i];
    uint64_t now_ms = lc_group_now(group, worker);
    lc_store_sweep(group->store, now_ms, share);
    lc_load_log_flush(group, now_ms);
  }
}
