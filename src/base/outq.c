#include "base/outq.h"

#include <assert.h>

#define REF_MIN_BYTES 256u

/* With the segment in front, these fill a size class of the pool. */
#define CHUNK_BYTES(class_) ((class_) - sizeof(struct lc_outq_seg))
#define CHUNK_SMALL CHUNK_BYTES(256u)
#define CHUNK_MEDIUM CHUNK_BYTES(1024u)
#define CHUNK_LARGE CHUNK_BYTES(4096u)

/* A run of bytes: of a chunk that follows the segment (ops NULL), or of somebody else's. */
struct lc_outq_seg {
  struct lc_outq_seg *next;
  const uint8_t *data;
  size_t len;
  size_t room; /* free bytes behind the run; 0 for a reference */
  void *owner;
  const struct lc_hold_ops *ops;
};

void lc_outq_init(struct lc_outq *q, struct lc_mempool *pool) {
  *q = (struct lc_outq){.pool = pool};
}

static void free_seg(struct lc_outq *q, struct lc_outq_seg *seg) {
  if (seg->ops)
    seg->ops->release(seg->owner);
  lc_mempool_free(q->pool, seg);
}

void lc_outq_fini(struct lc_outq *q) {
  while (q->head) {
    struct lc_outq_seg *seg = q->head;
    q->head = seg->next;
    free_seg(q, seg);
  }
  q->tail = NULL;
  q->bytes = 0;
}

static void link_seg(struct lc_outq *q, struct lc_outq_seg *seg) {
  if (q->tail)
    q->tail->next = seg;
  else
    q->head = seg;
  q->tail = seg;
}

/* A linked, empty chunk with room for `need` bytes; chunks grow with the queue. */
static struct lc_outq_seg *add_chunk(struct lc_outq *q, size_t need) {
  size_t room = q->bytes == 0 ? CHUNK_SMALL : q->bytes < 1024 ? CHUNK_MEDIUM : CHUNK_LARGE;
  if (room < need)
    room = need;
  if (room > SIZE_MAX - sizeof(struct lc_outq_seg))
    return NULL;
  struct lc_outq_seg *seg = lc_mempool_alloc(q->pool, sizeof *seg + room);
  if (!seg)
    return NULL;
  *seg = (struct lc_outq_seg){.data = (uint8_t *)(seg + 1), .room = room};
  link_seg(q, seg);
  return seg;
}

static uint8_t *take_room(struct lc_outq *q, struct lc_outq_seg *seg, size_t len) {
  uint8_t *at = (uint8_t *)(seg + 1) + (seg->data - (uint8_t *)(seg + 1)) + seg->len;
  seg->len += len;
  seg->room -= len;
  q->bytes += len;
  return at;
}

uint8_t *lc_outq_reserve(struct lc_outq *q, size_t len) {
  struct lc_outq_seg *seg = q->tail;
  if (!seg || seg->room < len) {
    seg = add_chunk(q, len);
    if (!seg)
      return NULL;
  }
  return take_room(q, seg, len);
}

int lc_outq_append(struct lc_outq *q, const void *data, size_t len) {
  if (len == 0)
    return 0;
  struct lc_outq_seg *tail = q->tail;
  if (tail && tail->room >= len) {
    memcpy(take_room(q, tail, len), data, len);
    return 0;
  }
  size_t first = tail ? tail->room : 0;
  struct lc_outq_seg *chunk = add_chunk(q, len - first);
  if (!chunk)
    return LC_ENOMEM;
  if (first)
    memcpy(take_room(q, tail, first), data, first);
  memcpy(take_room(q, chunk, len - first), (const uint8_t *)data + first, len - first);
  return 0;
}

static int append_shared(struct lc_outq *q, struct lc_slice bytes, void *owner, const struct lc_hold_ops *ops) {
  struct lc_outq_seg *seg = lc_mempool_alloc(q->pool, sizeof *seg);
  if (!seg)
    return LC_ENOMEM;
  ops->retain(owner);
  *seg = (struct lc_outq_seg){.data = bytes.ptr, .len = bytes.len, .owner = owner, .ops = ops};
  link_seg(q, seg);
  q->bytes += bytes.len;
  return 0;
}

int lc_outq_append_ref(struct lc_outq *q, struct lc_slice bytes, void *owner, const struct lc_hold_ops *ops) {
  if (bytes.len < REF_MIN_BYTES)
    return lc_outq_append(q, bytes.ptr, bytes.len);
  return append_shared(q, bytes, owner, ops);
}

void lc_outq_truncate(struct lc_outq *q, size_t bytes) {
  assert(bytes <= q->bytes);
  struct lc_outq_seg **link = &q->head, *last = NULL;
  q->bytes = bytes;
  while (*link && bytes > 0) {
    last = *link;
    if (last->len > bytes) {
      if (!last->ops)
        last->room += last->len - bytes;
      last->len = bytes;
    }
    bytes -= last->len;
    link = &last->next;
  }
  struct lc_outq_seg *rest = *link;
  *link = NULL;
  q->tail = last;
  while (rest) {
    struct lc_outq_seg *next = rest->next;
    free_seg(q, rest);
    rest = next;
  }
}

int lc_outq_move(struct lc_outq *to, struct lc_outq *from, size_t n) {
  assert(n <= from->bytes);
  size_t before = to->bytes, left = n;
  for (struct lc_outq_seg *seg = from->head; left > 0; seg = seg->next) {
    size_t len = seg->len < left ? seg->len : left;
    struct lc_slice run = lc_slice_of(seg->data, len);
    int rc = seg->ops ? lc_outq_append_ref(to, run, seg->owner, seg->ops) : lc_outq_append(to, run.ptr, run.len);
    if (rc != 0) {
      lc_outq_truncate(to, before);
      return rc;
    }
    left -= len;
  }
  lc_outq_consume(from, n);
  return 0;
}

void lc_outq_read(struct lc_outq *q, void *dst, size_t n) {
  assert(n <= q->bytes);
  uint8_t *at = dst;
  size_t left = n;
  for (struct lc_outq_seg *seg = q->head; left > 0; seg = seg->next) {
    size_t len = seg->len < left ? seg->len : left;
    memcpy(at, seg->data, len);
    at += len;
    left -= len;
  }
  lc_outq_consume(q, n);
}

unsigned lc_outq_peek(const struct lc_outq *q, struct lc_slice *runs, unsigned max) {
  unsigned count = 0;
  for (const struct lc_outq_seg *seg = q->head; seg && count < max; seg = seg->next) {
    if (seg->len > 0)
      runs[count++] = lc_slice_of(seg->data, seg->len);
  }
  return count;
}

void lc_outq_consume(struct lc_outq *q, size_t n) {
  assert(n <= q->bytes);
  q->bytes -= n;
  while (q->head && n >= q->head->len) {
    struct lc_outq_seg *seg = q->head;
    n -= seg->len;
    q->head = seg->next;
    if (!q->head)
      q->tail = NULL;
    free_seg(q, seg);
  }
  if (q->head && n > 0) {
    q->head->data += n;
    q->head->len -= n;
  }
}
