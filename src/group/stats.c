#include <string.h>

#include "group/group.h"
#include "group/internal.h"

static uint64_t read_counter(const _Atomic uint64_t *counter) {
  return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_worker(struct lc_group_stats *stats, const struct lc_counters *counters) {
  stats->hits += read_counter(&counters->hits);
  stats->misses += read_counter(&counters->misses);
  stats->coalesced += read_counter(&counters->coalesced);
  stats->loads += read_counter(&counters->loads);
  stats->load_errors += read_counter(&counters->load_errors);
  stats->not_found += read_counter(&counters->not_found);
  stats->timeouts += read_counter(&counters->timeouts);
  stats->sets += read_counter(&counters->sets);
  stats->deletes += read_counter(&counters->deletes);
  stats->refused += read_counter(&counters->refused);
  stats->mirror_hits += read_counter(&counters->mirror_hits);
  stats->forwards += read_counter(&counters->forwards);
  stats->forward_fails += read_counter(&counters->forward_fails);
  stats->peeks += read_counter(&counters->peeks);
  stats->peek_hits += read_counter(&counters->peek_hits);
  stats->served += read_counter(&counters->served);
  stats->invalidated += read_counter(&counters->invalidated);
  stats->added += read_counter(&counters->added);
}

void lc_group_stats(struct lc_groups *groups, size_t index, struct lc_group_stats *stats) {
  struct lc_group *group = groups->groups[index];
  size_t flights, waiters;
  memset(stats, 0, sizeof *stats);
  lc_store_stats(group->store, &stats->store);
  lc_flight_count(groups->flights, &flights, &waiters);
  stats->limit_bytes = lc_pool_limit(group->pool);
  stats->pool_used_bytes = lc_pool_used(group->pool);
  stats->flights = atomic_load_explicit(&group->loads_now, memory_order_relaxed) +
                   atomic_load_explicit(&group->remote_now, memory_order_relaxed);
  stats->waiters = waiters;
  for (unsigned worker = 0; worker <= groups->exec->workers; worker++) {
    add_worker(stats, lc_group_counters(group, worker));
  }
  stats->gets = stats->hits + stats->misses;
  stats->evict_dropped = read_counter(&group->evict_dropped);
}

uint64_t lc_groups_worker_requests(struct lc_groups *groups, unsigned worker) {
  uint64_t requests = 0;
  for (size_t i = 0; i < groups->count; i++) {
    const struct lc_counters *counters = lc_group_counters(groups->groups[i], worker);
    requests += read_counter(&counters->hits) + read_counter(&counters->misses) + read_counter(&counters->sets) +
                read_counter(&counters->deletes);
  }
  return requests;
}

size_t lc_groups_flights(struct lc_groups *groups) {
  size_t flights, waiters;
  lc_flight_count(groups->flights, &flights, &waiters);
  return flights;
}
