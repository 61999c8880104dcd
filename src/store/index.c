#include "base/alloc.h"
#include "store/internal.h"

#define DIRECTORY_MIN 8u
#define BUCKETS_MAX (1u << 30)
#define SPLITS_PER_PUT 4u /* more than one, to catch up after growth failed for want of memory */

void lc_doomed_add_block(struct lc_doomed *doomed, void *block) {
  if (block) {
    *(void **)block = doomed->blocks;
    doomed->blocks = block;
  }
}

void lc_doomed_free_blocks(struct lc_doomed *doomed) {
  while (doomed->blocks) {
    void *block = doomed->blocks;
    doomed->blocks = *(void **)block;
    lc_free(block);
  }
}

static bool grow_directory(struct lc_index *index, struct lc_doomed *doomed) {
  uint32_t cap = index->directory_cap ? index->directory_cap * 2 : DIRECTORY_MIN;
  struct lc_item ***directory = lc_calloc(cap, sizeof(*directory));
  if (!directory) {
    return false;
  }
  if (index->directory) {
    memcpy(directory, index->directory, index->directory_cap * sizeof(*directory));
  }
  lc_doomed_add_block(doomed, index->directory);
  index->directory = directory;
  index->directory_cap = cap;
  return true;
}

/* The segment that bucket number `buckets` starts. */
static bool add_segment(struct lc_index *index, struct lc_doomed *doomed) {
  uint32_t at = index->buckets / LC_SEGMENT_BUCKETS;
  if (at == index->directory_cap && !grow_directory(index, doomed)) {
    return false;
  }
  index->directory[at] = lc_calloc(LC_SEGMENT_BUCKETS, sizeof(struct lc_item *));
  return index->directory[at] != NULL;
}

/* Adds one bucket and moves to it the items of the bucket it splits. */
static bool split(struct lc_index *index, struct lc_doomed *doomed) {
  uint32_t added = index->buckets;
  if (added >= BUCKETS_MAX || (added % LC_SEGMENT_BUCKETS == 0 && !add_segment(index, doomed))) {
    return false;
  }
  if (added > index->mask) {
    index->mask = index->mask * 2 + 1;
  }
  index->buckets++;
  struct lc_item **from = lc_index_bucket(index, added & (index->mask >> 1));
  struct lc_item **to = lc_index_bucket(index, added);
  while (*from) {
    struct lc_item *item = *from;
    if ((item->hash & index->mask) == added) {
      *from = item->chain;
      *to = item;
      to = &item->chain;
    } else {
      from = &item->chain;
    }
  }
  *to = NULL;
  return true;
}

/* Undoes the last split. */
static void merge(struct lc_index *index, struct lc_doomed *doomed) {
  uint32_t last = index->buckets - 1;
  struct lc_item **to = lc_index_bucket(index, last & (index->mask >> 1));
  while (*to) {
    to = &(*to)->chain;
  }
  *to = *lc_index_bucket(index, last);
  *lc_index_bucket(index, last) = NULL;
  index->buckets = last;
  if (last == (index->mask >> 1) + 1) {
    index->mask >>= 1;
  }
  if (last % LC_SEGMENT_BUCKETS == 0) {
    lc_doomed_add_block(doomed, index->directory[last / LC_SEGMENT_BUCKETS]);
    index->directory[last / LC_SEGMENT_BUCKETS] = NULL;
  }
}

int lc_index_grow(struct lc_index *index, size_t items, struct lc_doomed *doomed) {
  if (index->buckets == 0) {
    if (!add_segment(index, doomed)) {
      return LC_ENOMEM;
    }
    index->buckets = LC_SEGMENT_BUCKETS;
    index->mask = LC_SEGMENT_BUCKETS - 1;
  }
  for (unsigned i = 0; i < SPLITS_PER_PUT && items / 3 * 2 > index->buckets; i++) {
    if (!split(index, doomed)) {
      break;
    }
  }
  return 0;
}

void lc_index_shrink(struct lc_index *index, size_t items, struct lc_doomed *doomed) {
  if (items < index->buckets && index->buckets > LC_SEGMENT_BUCKETS) {
    merge(index, doomed);
  }
}

void lc_index_fini(struct lc_index *index) {
  for (uint32_t i = 0; i < index->directory_cap; i++) {
    lc_free(index->directory[i]);
  }
  lc_free(index->directory);
  *index = (struct lc_index){0};
}

void lc_index_insert(struct lc_index *index, struct lc_item *item) {
  struct lc_item **bucket = lc_index_bucket(index, lc_index_bucket_of(index, item->hash));
  item->chain = *bucket;
  *bucket = item;
}

void lc_index_remove(struct lc_index *index, struct lc_item *item) {
  struct lc_item **link = lc_index_bucket(index, lc_index_bucket_of(index, item->hash));
  while (*link != item) {
    link = &(*link)->chain;
  }
  *link = item->chain;
}
