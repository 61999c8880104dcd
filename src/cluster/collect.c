/* What there is to hand over: all stored items, sorted by their owners. On a thread of its own; it may take a while. */
#include "base/alloc.h"
#include "cluster/handover.h"

#define STOP_EVERY 1024u
#define NO_TARGET UINT32_MAX

/* One group's, the most recently used first. */
struct run {
  struct lc_item **items;
  size_t count, next;
};

struct collection {
  const struct lc_view *view;
  struct run *runs;
  size_t group_count, total;
  uint32_t *target_of_slot; /* index by the peer's slot */
  struct lc_handover_load *load;
};

static void drop_runs(struct collection *all) {
  for (size_t i = 0; all->runs && i < all->group_count; i++) {
    struct run *run = &all->runs[i];
    for (; run->next < run->count; run->next++)
      lc_item_unref(run->items[run->next]);
    lc_free(run->items);
  }
  lc_free(all->runs);
  all->runs = NULL;
}

static int fetch_runs(struct lc_groups *groups, struct collection *all, const atomic_bool *stop) {
  for (size_t i = 0; i < all->group_count; i++) {
    struct run *run = &all->runs[i];
    struct lc_store *store = lc_group_store(lc_groups_at(groups, i));
    int rc = atomic_load(stop) ? LC_ECANCELLED : lc_store_collect(store, lc_clock_ms(), &run->items, &run->count);
    if (rc != LC_OK)
      return rc;
    all->total += run->count;
  }
  return LC_OK;
}

/* The group of which the smallest part has been taken; there is one left. */
static size_t next_group(const struct collection *all) {
  size_t best = SIZE_MAX;
  double least = 2;
  for (size_t i = 0; i < all->group_count; i++) {
    const struct run *run = &all->runs[i];
    if (run->next == run->count)
      continue;
    double part = ((double)run->next + 1) / (double)run->count;
    if (part < least) {
      least = part;
      best = i;
    }
  }
  return best;
}

static uint32_t target_of(struct collection *all, struct lc_slice group, struct lc_slice key) {
  struct lc_peer *peer = lc_view_owner(all->view, lc_hash_ring(group, key));
  struct lc_handover_load *load = all->load;
  if (!peer)
    return NO_TARGET;
  uint32_t *target = &all->target_of_slot[peer->slot];
  if (*target == NO_TARGET) {
    *target = (uint32_t)load->target_count++;
    load->targets[*target].peer = peer;
  }
  load->targets[*target].end++; /* a count, for now */
  return *target;
}

/* In the order in which they are to go, all targets together; those without one are let go. */
static int merge(struct lc_groups *groups, struct collection *all, struct lc_handover_item *merged, size_t *count,
                 const atomic_bool *stop) {
  for (size_t i = 0; i < all->total; i++) {
    if (i % STOP_EVERY == 0 && atomic_load(stop))
      return LC_ECANCELLED;
    size_t group = next_group(all);
    struct lc_item *item = all->runs[group].items[all->runs[group].next++];
    struct lc_slice name = lc_slice_str(lc_group_name(lc_groups_at(groups, group)));
    uint32_t target = target_of(all, name, lc_item_key(item));
    if (target == NO_TARGET)
      lc_item_unref(item);
    else
      merged[(*count)++] = (struct lc_handover_item){item, (uint32_t)group, target};
  }
  return LC_OK;
}

/* A counting sort by target, which keeps the order within each. */
static void sort(struct lc_handover_load *load, const struct lc_handover_item *merged, size_t count) {
  size_t begin = 0;
  for (size_t i = 0; i < load->target_count; i++) {
    struct lc_handover_target *target = &load->targets[i];
    size_t size = target->end;
    target->begin = target->end = begin;
    begin += size;
  }
  for (size_t i = 0; i < count; i++)
    load->items[load->targets[merged[i].target].end++] = merged[i];
  load->count = count;
}

static void merge_and_sort(struct lc_groups *groups, struct collection *all, const atomic_bool *stop) {
  struct lc_handover_load *load = all->load;
  struct lc_handover_item *merged = lc_malloc((all->total + 1) * sizeof *merged);
  size_t count = 0;
  load->items = lc_malloc((all->total + 1) * sizeof *load->items);
  load->targets = lc_calloc(all->view->peer_count + 1, sizeof *load->targets);
  all->target_of_slot = lc_malloc(LC_RING_MEMBERS_MAX * sizeof *all->target_of_slot);
  if (merged && load->items && load->targets && all->target_of_slot) {
    memset(all->target_of_slot, 0xff, LC_RING_MEMBERS_MAX * sizeof *all->target_of_slot);
    if (merge(groups, all, merged, &count, stop) == LC_OK) {
      sort(load, merged, count);
      count = 0;
    }
  }
  for (size_t i = 0; i < count; i++)
    lc_item_unref(merged[i].item);
  if (load->count == 0)
    load->target_count = 0;
  lc_free(all->target_of_slot);
  lc_free(merged);
}

void lc_handover_collect(struct lc_groups *groups, const struct lc_view *view, const atomic_bool *stop,
                         struct lc_handover_load *load) {
  struct collection all = {.view = view, .group_count = lc_groups_count(groups), .load = load};
  *load = (struct lc_handover_load){0};
  all.runs = lc_calloc(all.group_count + 1, sizeof *all.runs);
  if (all.runs && fetch_runs(groups, &all, stop) == LC_OK)
    merge_and_sort(groups, &all, stop);
  drop_runs(&all);
}

void lc_handover_unload(struct lc_handover_load *load) {
  for (size_t i = 0; i < load->count; i++)
    lc_item_unref(load->items[i].item);
  lc_free(load->items);
  lc_free(load->targets);
  *load = (struct lc_handover_load){0};
}
