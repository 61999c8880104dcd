/*
 * Which keys were written lately, by whom and as which number: so that an item that a leaving node read before such a
 * write isn't added after it. A fixed table, four ways a set, newest first; what is pushed out of it raises its
 * writer's floor, below which nothing is known of any key. A short lock: two keys of one set may have flights in
 * different shards.
 */
#include <pthread.h>

#include "base/alloc.h"
#include "cluster/internal.h"

#define SETS 16384u
#define WAYS 4u
#define WRITERS_MAX 1024u

struct slot {
  uint64_t hash, writer, seq; /* writer 0: empty */
  uint64_t noted_ms;
};

/* After that a write is known wherever it is ever going to be: it was acknowledged, or its node is gone. */
#define UNDER_WAY_MS 10000u

/* A writer that was silent for so long may make room for another, when there is none left. */
#define FORGET_MS 3600000u

struct writer {
  uint64_t process;
  uint64_t seen;  /* its last number that is in force here */
  uint64_t floor; /* of its writes that have no slot any more */
  uint64_t all;   /* it may have written any key up to this */
  uint64_t heard_ms;
};

struct lc_touched {
  pthread_mutex_t lock;
  atomic_bool any;                    /* something was noted */
  struct writer writers[WRITERS_MAX]; /* also those that are gone: others may still have to learn what they wrote */
  size_t writer_count, last;
  bool full; /* a writer was left out: nothing can be allowed */
  struct slot slots[SETS][WAYS];
};

int lc_touched_create(struct lc_touched **out) {
  struct lc_touched *touched = lc_calloc(1, sizeof *touched);
  if (!touched)
    return LC_ENOMEM;
  pthread_mutex_init(&touched->lock, NULL);
  *out = touched;
  return LC_OK;
}

void lc_touched_destroy(struct lc_touched *touched) {
  if (!touched)
    return;
  pthread_mutex_destroy(&touched->lock);
  lc_free(touched);
}

static void raise_to(uint64_t *number, uint64_t to) {
  if (*number < to)
    *number = to;
}

/* A new entry, or that of the writer that was silent longest. */
static struct writer *room_for_writer(struct lc_touched *touched) {
  if (touched->writer_count < WRITERS_MAX)
    return &touched->writers[touched->writer_count++];
  struct writer *oldest = &touched->writers[0];
  for (size_t i = 1; i < WRITERS_MAX; i++) {
    if (touched->writers[i].heard_ms < oldest->heard_ms)
      oldest = &touched->writers[i];
  }
  return oldest->heard_ms + FORGET_MS < lc_clock_ms() ? oldest : NULL;
}

/* The writer's entry, made if there is none; NULL: no room. */
static struct writer *writer_of(struct lc_touched *touched, uint64_t process) {
  if (touched->writers[touched->last].process == process)
    return &touched->writers[touched->last];
  for (size_t i = 0; i < touched->writer_count; i++) {
    if (touched->writers[i].process == process) {
      touched->last = i;
      return &touched->writers[i];
    }
  }
  struct writer *writer = room_for_writer(touched);
  if (!writer) {
    touched->full = true;
    return NULL;
  }
  *writer = (struct writer){.process = process, .heard_ms = lc_clock_ms()};
  return writer;
}

static struct slot *set_of(struct lc_touched *touched, uint64_t hash) {
  return touched->slots[hash % SETS];
}

static bool is_of(const struct slot *slot, uint64_t hash, uint64_t writer) {
  return slot->writer == writer && slot->hash == hash;
}

/* The slot of the writer's last write of that key, or the set's last one. */
static size_t find_way(const struct slot *set, uint64_t hash, uint64_t writer) {
  size_t way = 0;
  while (way < WAYS - 1 && !is_of(&set[way], hash, writer))
    way++;
  return way;
}

static void push_out(struct lc_touched *touched, const struct slot *slot) {
  struct writer *writer = slot->writer ? writer_of(touched, slot->writer) : NULL;
  if (writer)
    raise_to(&writer->floor, slot->seq);
}

void lc_touched_note(struct lc_touched *touched, uint64_t hash, uint64_t writer, uint64_t seq) {
  pthread_mutex_lock(&touched->lock);
  struct slot *set = set_of(touched, hash);
  size_t way = find_way(set, hash, writer);
  struct slot note = {hash, writer, seq, lc_clock_ms()};
  atomic_store_explicit(&touched->any, true, memory_order_release);
  if (is_of(&set[way], hash, writer))
    raise_to(&note.seq, set[way].seq);
  else
    push_out(touched, &set[way]);
  memmove(set + 1, set, way * sizeof *set);
  set[0] = note;
  struct writer *who = writer_of(touched, writer);
  if (who) {
    raise_to(&who->seen, seq);
    who->heard_ms = note.noted_ms;
  }
  pthread_mutex_unlock(&touched->lock);
}

void lc_touched_floor(struct lc_touched *touched, uint64_t writer, uint64_t seq) {
  pthread_mutex_lock(&touched->lock);
  struct writer *who = writer_of(touched, writer);
  if (who)
    raise_to(&who->all, seq);
  pthread_mutex_unlock(&touched->lock);
}

void lc_touched_seen(struct lc_touched *touched, uint64_t writer, uint64_t seq) {
  pthread_mutex_lock(&touched->lock);
  struct writer *who = writer_of(touched, writer);
  if (who)
    raise_to(&who->seen, seq);
  pthread_mutex_unlock(&touched->lock);
}

bool lc_touched_elsewhere(struct lc_touched *touched, uint64_t hash, uint64_t process, uint64_t now_ms) {
  if (!atomic_load_explicit(&touched->any, memory_order_acquire))
    return false;
  pthread_mutex_lock(&touched->lock);
  const struct slot *set = set_of(touched, hash);
  bool elsewhere = false;
  for (size_t way = 0; way < WAYS && !elsewhere; way++) {
    const struct slot *slot = &set[way];
    elsewhere = slot->writer && slot->hash == hash && slot->writer != process && now_ms < slot->noted_ms + UNDER_WAY_MS;
  }
  pthread_mutex_unlock(&touched->lock);
  return elsewhere;
}

size_t lc_touched_applied(struct lc_touched *touched, struct lc_msg_applied *out, size_t max) {
  pthread_mutex_lock(&touched->lock);
  size_t count = touched->writer_count < max ? touched->writer_count : max;
  for (size_t i = 0; i < count; i++)
    out[i] = (struct lc_msg_applied){touched->writers[i].process, touched->writers[i].seen};
  pthread_mutex_unlock(&touched->lock);
  return count;
}

static uint64_t applied_of(const struct lc_msg_applied *applied, size_t count, uint64_t process) {
  for (size_t i = 0; i < count; i++) {
    if (applied[i].process == process)
      return applied[i].seq;
  }
  return 0;
}

bool lc_touched_allows(struct lc_touched *touched, uint64_t hash, const struct lc_msg_applied *applied, size_t count) {
  pthread_mutex_lock(&touched->lock);
  const struct slot *set = set_of(touched, hash);
  bool allowed = !touched->full;
  for (size_t i = 0; allowed && i < touched->writer_count; i++) {
    const struct writer *writer = &touched->writers[i];
    const struct slot *slot = &set[find_way(set, hash, writer->process)];
    uint64_t needed = writer->all;
    raise_to(&needed, is_of(slot, hash, writer->process) ? slot->seq : writer->floor);
    allowed = needed == 0 || applied_of(applied, count, writer->process) >= needed;
  }
  pthread_mutex_unlock(&touched->lock);
  return allowed;
}
