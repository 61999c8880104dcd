/*
 * The numbered log of this node's writes: the last LC_LOG_ENTRIES of them, as far as their keys go into LC_LOG_BYTES.
 * All memory is taken at the start, so that appending, which happens under a flight's lock, never fails and is short.
 */
#include "cluster/log.h"

#include <assert.h>

#include "base/alloc.h"

int lc_write_log_create(struct lc_write_log **out) {
  struct lc_write_log *log = lc_calloc(1, sizeof *log);
  if (!log)
    return LC_ENOMEM;
  pthread_mutex_init(&log->lock, NULL);
  lc_list_init(&log->waited);
  lc_list_init(&log->waiting);
  log->oldest = 1;
  log->acknowledged = UINT64_MAX;
  log->entries = lc_calloc(LC_LOG_ENTRIES, sizeof *log->entries);
  log->bytes = lc_malloc(LC_LOG_BYTES);
  log->batch = lc_malloc(sizeof *log->batch);
  if (!log->entries || !log->bytes || !log->batch) {
    lc_write_log_destroy(log);
    return LC_ENOMEM;
  }
  *out = log;
  return LC_OK;
}

void lc_write_log_destroy(struct lc_write_log *log) {
  if (!log)
    return;
  struct lc_list *link;
  while ((link = lc_list_pop_front(&log->waited)))
    lc_peer_unref(lc_container_of(link, struct lc_peer, waited_link));
  pthread_mutex_destroy(&log->lock);
  lc_free(log->batch);
  lc_free(log->bytes);
  lc_free(log->entries);
  lc_free(log);
}

void lc_write_log_lock(struct lc_cluster *cluster) {
  pthread_mutex_lock(&cluster->log->lock);
}

void lc_write_log_unlock(struct lc_cluster *cluster) {
  pthread_mutex_unlock(&cluster->log->lock);
}

uint64_t lc_write_log_head(const struct lc_write_log *log) {
  return log->head;
}

uint64_t lc_write_log_oldest(const struct lc_write_log *log) {
  return log->oldest;
}

static struct lc_log_entry *entry_of(const struct lc_write_log *log, uint64_t number) {
  return &log->entries[number % LC_LOG_ENTRIES];
}

/* Where `size` bytes go without touching what is kept; SIZE_MAX: nowhere. */
static size_t place_for(const struct lc_write_log *log, size_t size) {
  if (log->oldest > log->head)
    return 0;
  size_t start = entry_of(log, log->oldest)->at;
  if (log->end <= start)
    return size < start - log->end ? log->end : SIZE_MAX;
  if (size <= LC_LOG_BYTES - log->end)
    return log->end;
  return size < start ? 0 : SIZE_MAX;
}

uint64_t lc_write_log_append(struct lc_write_log *log, struct lc_slice group, struct lc_slice key) {
  size_t size = group.len + key.len, at;
  assert(group.len <= UINT8_MAX && key.len <= UINT16_MAX && size > 0);
  if (log->head - log->oldest + 1 == LC_LOG_ENTRIES)
    log->oldest++;
  while ((at = place_for(log, size)) == SIZE_MAX)
    log->oldest++;
  memcpy(log->bytes + at, group.ptr, group.len);
  memcpy(log->bytes + at + group.len, key.ptr, key.len);
  log->head++;
  *entry_of(log, log->head) = (struct lc_log_entry){(uint32_t)at, (uint16_t)key.len, (uint8_t)group.len};
  log->end = at + size;
  return log->head;
}

void lc_write_log_copy(struct lc_write_log *log, uint64_t first) {
  struct lc_log_batch *batch = log->batch;
  size_t used = 0;
  assert(first >= log->oldest);
  batch->count = 0;
  for (uint64_t number = first; number <= log->head && batch->count < LC_LOG_BATCH_ENTRIES; number++) {
    const struct lc_log_entry *entry = entry_of(log, number);
    size_t size = (size_t)entry->group_len + entry->key_len;
    if (size > LC_LOG_BATCH_BYTES - used)
      break;
    uint8_t *at = batch->bytes + used;
    memcpy(at, log->bytes + entry->at, size);
    batch->names[batch->count++] =
        (struct lc_msg_name){lc_slice_of(at, entry->group_len), lc_slice_of(at + entry->group_len, entry->key_len)};
    used += size;
  }
}
