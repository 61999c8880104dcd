#include "store/item.h"

#include "base/warm.h"
#include "store/internal.h"

_Static_assert(offsetof(struct lc_item, bytes) == 56, "the item's header grew");

/* glibc's malloc: 8 bytes before each block, sizes in steps of 16, whole pages from 128 KiB. */
#define CHUNK_HEADER 8u
#define CHUNK_STEP 16u
#define MAPPED_FROM ((size_t)128 << 10)
#define PAGE 4096u

/* A bucket's 8 bytes, its part of the segment's block and of the directory, at 1.5 items a bucket. */
#define INDEX_SHARE 6u

static size_t block_size(size_t key_len, size_t value_len) {
  return offsetof(struct lc_item, bytes) + key_len + value_len;
}

struct lc_item *lc_item_create(struct lc_slice key, struct lc_slice value, uint64_t expires_ms, uint64_t version) {
  if (key.len > LC_KEY_MAX || value.len > LC_VALUE_MAX) {
    return NULL;
  }
  struct lc_item *item = lc_warm_alloc(block_size(key.len, value.len));
  if (!item) {
    return NULL;
  }
  *item = (struct lc_item){.version = version & LC_VERSION_MASK};
  item->expires_ms = (expires_ms < LC_ITEM_NEVER ? expires_ms : LC_ITEM_NEVER) & LC_ITEM_NEVER;
  item->key_len = key.len & LC_KEY_MAX;
  item->value_len = (uint32_t)value.len;
  atomic_init(&item->refs, 1);
  if (key.len) {
    memcpy(item->bytes, key.ptr, key.len);
  }
  if (value.len) {
    memcpy(item->bytes + key.len, value.ptr, value.len);
  }
  return item;
}

void lc_item_set_view(struct lc_item *item, unsigned view, bool mirror) {
  item->view = view & LC_ITEM_VIEW_MASK;
  item->mirror = mirror;
}

unsigned lc_item_view(const struct lc_item *item) {
  return item->view;
}

bool lc_item_mirror(const struct lc_item *item) {
  return item->mirror;
}

struct lc_item *lc_item_ref(struct lc_item *item) {
  atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
  return item;
}

void lc_item_unref(struct lc_item *item) {
  if (item && atomic_fetch_sub_explicit(&item->refs, 1, memory_order_acq_rel) == 1) {
    lc_warm_free(item, block_size(item->key_len, item->value_len));
  }
}

void lc_item_unref_void(void *item) {
  lc_item_unref(item);
}

static void retain(void *item) {
  lc_item_ref(item);
}

const struct lc_hold_ops lc_item_hold_ops = {.retain = retain, .release = lc_item_unref_void};

struct lc_slice lc_item_key(const struct lc_item *item) {
  return lc_slice_of(item->bytes, item->key_len);
}

struct lc_slice lc_item_value(const struct lc_item *item) {
  return lc_slice_of(item->bytes + item->key_len, item->value_len);
}

uint64_t lc_item_version(const struct lc_item *item) {
  return item->version;
}

uint64_t lc_item_expires_ms(const struct lc_item *item) {
  return item->expires_ms == LC_ITEM_NEVER ? LC_TIME_NEVER : item->expires_ms;
}

int64_t lc_item_ttl_ms(const struct lc_item *item, uint64_t now_ms) {
  if (item->expires_ms == LC_ITEM_NEVER) {
    return 0;
  }
  return item->expires_ms > now_ms ? (int64_t)(item->expires_ms - now_ms) : 1;
}

size_t lc_item_charge(size_t key_len, size_t value_len) {
  const size_t fixed = offsetof(struct lc_item, bytes) + CHUNK_HEADER;
  const size_t slack = fixed + CHUNK_HEADER + PAGE + INDEX_SHARE;
  if (key_len > SIZE_MAX - slack || value_len > SIZE_MAX - slack - key_len) {
    return SIZE_MAX;
  }
  size_t block = fixed + key_len + value_len;
  if (block >= MAPPED_FROM) {
    block = (block + CHUNK_HEADER + PAGE - 1) & ~(size_t)(PAGE - 1);
  } else {
    block = (block + CHUNK_STEP - 1) & ~(size_t)(CHUNK_STEP - 1);
  }
  return block + INDEX_SHARE;
}
