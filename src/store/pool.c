#include "base/alloc.h"
#include "store/internal.h"

#define SAMPLES 8u /* shards compared for one choice, beside the caller's own */

int lc_pool_create(size_t limit_bytes, struct lc_pool **pool) {
  struct lc_pool *made = lc_calloc(1, sizeof(*made));
  if (!made) {
    return LC_ENOMEM;
  }
  made->limit = limit_bytes;
  atomic_init(&made->used, 0);
  atomic_init(&made->level2, 0);
  atomic_init(&made->versions, 0);
  atomic_init(&made->clock, 0);
  pthread_mutex_init(&made->lock, NULL);
  pthread_cond_init(&made->unpinned, NULL);
  *pool = made;
  return 0;
}

void lc_pool_destroy(struct lc_pool *pool) {
  if (!pool) {
    return;
  }
  pthread_cond_destroy(&pool->unpinned);
  pthread_mutex_destroy(&pool->lock);
  lc_free(pool->shards);
  lc_free(pool);
}

size_t lc_pool_used(const struct lc_pool *pool) {
  return atomic_load_explicit(&pool->used, memory_order_relaxed);
}

size_t lc_pool_limit(const struct lc_pool *pool) {
  return pool->limit;
}

uint64_t lc_pool_next_version(struct lc_pool *pool) {
  uint64_t version;
  do {
    version = (atomic_fetch_add_explicit(&pool->versions, 1, memory_order_relaxed) + 1) & LC_VERSION_MASK;
  } while (version == 0); /* which means none */
  return version;
}

/* The pool counts in 64 bits, items hold the low 48: a version up to 2^47 - 1 ahead of the count is above it. */
void lc_pool_saw_version(struct lc_pool *pool, uint64_t version) {
  uint64_t known = atomic_load_explicit(&pool->versions, memory_order_relaxed);
  uint64_t ahead;
  do {
    ahead = (version - known) & LC_VERSION_MASK;
  } while (ahead != 0 && ahead <= LC_VERSION_MASK / 2 &&
           !atomic_compare_exchange_weak_explicit(&pool->versions, &known, known + ahead, memory_order_relaxed,
                                                  memory_order_relaxed));
}

int lc_pool_join(struct lc_pool *pool, struct lc_store *store) {
  int rc = 0;
  pthread_mutex_lock(&pool->lock);
  if (pool->count + store->shard_count > pool->cap) {
    size_t cap = (pool->count + store->shard_count) * 2;
    struct lc_shard **shards = lc_realloc(pool->shards, cap * sizeof(struct lc_shard *));
    if (!shards) {
      rc = LC_ENOMEM;
      goto out;
    }
    pool->shards = shards;
    pool->cap = cap;
  }
  for (unsigned i = 0; i < store->shard_count; i++) {
    pool->shards[pool->count++] = &store->shards[i];
  }
out:
  pthread_mutex_unlock(&pool->lock);
  return rc;
}

void lc_pool_leave(struct lc_pool *pool, struct lc_store *store) {
  pthread_mutex_lock(&pool->lock);
  size_t kept = 0;
  for (size_t i = 0; i < pool->count; i++) {
    if (pool->shards[i]->store != store) {
      pool->shards[kept++] = pool->shards[i];
    }
  }
  pool->count = kept;
  while (store->pins > 0) {
    pthread_cond_wait(&pool->unpinned, &pool->lock);
  }
  pthread_mutex_unlock(&pool->lock);
}

struct choice {
  struct lc_shard *shard;
  uint32_t now, age, second;
};

static void consider(struct choice *choice, struct lc_shard *shard) {
  uint64_t tail = atomic_load_explicit(&shard->tail, memory_order_relaxed);
  if (tail == 0 || shard == choice->shard) {
    return;
  }
  uint32_t age = lc_stamp_age(choice->now, tail & LC_STAMP_MASK);
  if (!choice->shard || age > choice->age) {
    choice->second = choice->shard ? choice->age : 0;
    choice->shard = shard;
    choice->age = age;
  } else if (age > choice->second) {
    choice->second = age;
  }
}

/* Looks at a few shards spread evenly over all, so that every store is seen; the next call looks at their neighbours.
 */
static void consider_some(struct lc_pool *pool, struct choice *choice, const struct lc_shard *own) {
  size_t samples = pool->count < SAMPLES ? pool->count : SAMPLES;
  for (size_t i = 0; i < samples; i++) {
    struct lc_shard *shard = pool->shards[(pool->cursor + i * pool->count / samples) % pool->count];
    if (shard != own) {
      consider(choice, shard);
    }
  }
  pool->cursor++;
}

static void consider_all(struct lc_pool *pool, struct choice *choice, const struct lc_shard *own) {
  for (size_t i = 0; i < pool->count && !choice->shard; i++) {
    struct lc_shard *shard = pool->shards[(pool->cursor + i) % pool->count];
    if (shard != own) {
      consider(choice, shard);
    }
  }
}

bool lc_pool_pick(struct lc_pool *pool, struct lc_shard *own, bool skip_own, struct lc_victim *victim) {
  struct choice choice = {.now = lc_pool_stamp(pool)};
  pthread_mutex_lock(&pool->lock);
  if (!skip_own) {
    consider(&choice, own);
  }
  consider_some(pool, &choice, own);
  consider_all(pool, &choice, own);
  if (choice.shard && choice.shard->store != own->store) {
    choice.shard->store->pins++;
  }
  pthread_mutex_unlock(&pool->lock);
  *victim = (struct lc_victim){choice.shard, choice.second};
  return choice.shard != NULL;
}

/* The caller's own store needs no pin: the caller keeps it. */
void lc_pool_unpin(struct lc_pool *pool, const struct lc_shard *own, struct lc_shard *victim) {
  if (victim->store == own->store) {
    return;
  }
  pthread_mutex_lock(&pool->lock);
  if (--victim->store->pins == 0) {
    pthread_cond_broadcast(&pool->unpinned);
  }
  pthread_mutex_unlock(&pool->lock);
}
