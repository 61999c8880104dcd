#ifndef LC_WIRE_PB_H
#define LC_WIRE_PB_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/outq.h"
#include "base/slice.h"

/*
 * Protocol buffers without copies (protobuf.dev, "Encoding"), for wire/ only: a reader of fields, and codecs of
 * messages that a table describes: flat ones, and lists of flat ones. msg.h says why it is there beside protobuf-c.
 */

enum lc_pb_wire { LC_PB_VARINT = 0, LC_PB_FIXED64 = 1, LC_PB_LEN = 2, LC_PB_FIXED32 = 5 };

struct lc_pb_field {
  uint32_t number;
  enum lc_pb_wire wire;
  uint64_t value;        /* VARINT, FIXED64 */
  struct lc_slice bytes; /* LEN */
};

int lc_pb_next_slow(struct lc_slice *in, struct lc_pb_field *field, struct lc_err *err);

/* Takes the next field from *in: 1, 0 at the end, or LC_EPROTO with a text in err. Short runs of bytes, which nearly
 * all fields of a request are, are taken here. */
static inline int lc_pb_next(struct lc_slice *in, struct lc_pb_field *field, struct lc_err *err) {
  const uint8_t *at = in->ptr;
  if (in->len < 2 || at[0] >= 0x80 || (at[0] & 7) != LC_PB_LEN || at[0] < 8 || at[1] >= 0x80 || at[1] > in->len - 2)
    return lc_pb_next_slow(in, field, err);
  field->number = at[0] >> 3;
  field->wire = LC_PB_LEN;
  field->bytes = lc_slice_of(at + 2, at[1]);
  in->ptr = at + 2 + at[1];
  in->len -= (size_t)at[1] + 2;
  return 1;
}

/*
 * What a member is in its struct: a slice (BYTES; STRING, which must be UTF-8; TEXT, the same but cut before its first
 * byte that isn't, when it is encoded), bool, int32_t (INT32, enums), uint32_t, int64_t, uint64_t (UINT64, FIXED64); or
 * a LIST, a pointer to items.
 */
enum lc_pb_kind {
  LC_PB_BYTES,
  LC_PB_STRING,
  LC_PB_TEXT,
  LC_PB_BOOL,
  LC_PB_INT32,
  LC_PB_UINT32,
  LC_PB_INT64,
  LC_PB_UINT64,
  LC_PB_FIXED,
  LC_PB_LIST
};

struct lc_pb_message;

/* A repeated field: items behind a pointer, a size_t that counts them. */
struct lc_pb_list {
  const struct lc_pb_message *item; /* one without lists, or NULL: items are slices */
  size_t count_offset;
  size_t max;       /* more are LC_EINVAL */
  const char *what; /* "12 <what> at most 10" */
};

/* The field number is the place in the table, from 1. */
struct lc_pb_member {
  enum lc_pb_kind kind;
  size_t offset;
  const struct lc_pb_list *list;
};

struct lc_pb_message {
  const char *name;
  size_t size; /* of the struct */
  const struct lc_pb_member *members;
  size_t count;
  uint32_t large;      /* the number of the BYTES member that may be large, which frames have last; 0: none */
  size_t owner_offset; /* items with one: the member that holds its bytes */
};

/* Fills all of *out; slices point into `bytes`, lists are in the arena (unused without lists). 0, LC_EPROTO, and for
 * lists LC_EINVAL and LC_ENOMEM. */
int lc_pb_decode(const struct lc_pb_message *message, struct lc_arena *arena, struct lc_slice bytes, void *out,
                 struct lc_err *err);

size_t lc_pb_size(const struct lc_pb_message *message, const void *in);
size_t lc_pb_list_size(const struct lc_pb_member *member, uint32_t number, const void *in);
size_t lc_pb_item_size(const struct lc_pb_message *message, const void *in); /* as an item of a list, with its tag */
int lc_pb_encode(const struct lc_pb_message *message, const void *in, struct lc_buf *buf);

/* Writes all members but lists and that number (0: none); returns the end. */
uint8_t *lc_pb_write(const struct lc_pb_message *message, const void *in, uint32_t without, uint8_t *at);

/*
 * Queues the message with its gRPC prefix, its large member and those of its items (msg.h: LC_MSG_REF_MIN) last and by
 * reference. `owner` is for its own. 0, or LC_ENOMEM, LC_ETOOBIG with the queue as it was.
 */
int lc_pb_frame(const struct lc_pb_message *message, const void *in, void *owner, const struct lc_hold_ops *ops,
                struct lc_outq *q);

static inline struct lc_slice lc_pb_slice_at(const void *in, size_t offset) {
  return *(const struct lc_slice *)(const void *)((const char *)in + offset);
}

/* The items of a list. */
struct lc_pb_items {
  const char *first;
  size_t count, size; /* of one */
};

static inline struct lc_pb_items lc_pb_items_of(const struct lc_pb_member *member, const void *in) {
  const struct lc_pb_list *list = member->list;
  struct lc_pb_items items = {.size = list->item ? list->item->size : sizeof(struct lc_slice)};
  memcpy(&items.first, (const char *)in + member->offset, sizeof items.first);
  memcpy(&items.count, (const char *)in + list->count_offset, sizeof items.count);
  return items;
}

size_t lc_pb_varint_size(uint64_t value);
uint8_t *lc_pb_put_varint(uint8_t *at, uint64_t value);
uint8_t *lc_pb_put_len(uint8_t *at, uint32_t number, size_t len); /* the tag of a LEN field and its length */

/* The eight bytes of FIXED64. */
static inline uint64_t lc_pb_get_fixed(const uint8_t *at) {
  uint64_t value = 0;
  for (unsigned i = 8; i-- > 0;)
    value = value << 8 | at[i];
  return value;
}

/* The same, out; returns the end. */
static inline uint8_t *lc_pb_put_fixed(uint8_t *at, uint64_t value) {
  for (unsigned i = 0; i < 8; i++)
    at[i] = (uint8_t)(value >> (8 * i));
  return at + 8;
}

/* How many bytes of it, from its start, are UTF-8. */
size_t lc_pb_utf8_len(struct lc_slice text);

static inline bool lc_pb_is_utf8(struct lc_slice text) {
  return lc_pb_utf8_len(text) == text.len;
}

#endif
