#ifndef LC_WIRE_PB_H
#define LC_WIRE_PB_H

#include "base/buf.h"
#include "base/err.h"
#include "base/outq.h"
#include "base/slice.h"

/*
 * Protocol buffers without copies (protobuf.dev, "Encoding"), for wire/ only: a reader of fields, and codecs of flat
 * messages that a table describes. msg.h says why it is there beside protobuf-c.
 */

enum lc_pb_wire { LC_PB_VARINT = 0, LC_PB_FIXED64 = 1, LC_PB_LEN = 2, LC_PB_FIXED32 = 5 };

struct lc_pb_field {
  uint32_t number;
  enum lc_pb_wire wire;
  uint64_t value;        /* VARINT */
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

enum lc_pb_kind { LC_PB_BYTES, LC_PB_STRING, LC_PB_BOOL, LC_PB_INT32, LC_PB_INT64 };

/* A struct whose members are slices, bool, int (INT32, enums) and int64_t; the field number is the place in the table,
 * from 1. */
struct lc_pb_member {
  enum lc_pb_kind kind;
  size_t offset;
};

struct lc_pb_message {
  const char *name;
  size_t size; /* of the struct */
  const struct lc_pb_member *members;
  size_t count;
};

/* Fills all of *out; slices point into `bytes`. 0 or LC_EPROTO. */
int lc_pb_decode(const struct lc_pb_message *message, struct lc_slice bytes, void *out, struct lc_err *err);

size_t lc_pb_size(const struct lc_pb_message *message, const void *in);
uint8_t *lc_pb_write(const struct lc_pb_message *message, const void *in, uint8_t *at); /* returns the end */
int lc_pb_encode(const struct lc_pb_message *message, const void *in, struct lc_buf *buf);

/* The same with the BYTES member of that number left out of it and put last, so that it can be a reference: tag and
 * length only; the caller adds the bytes, which lc_pb_size counts. */
uint8_t *lc_pb_write_head(const struct lc_pb_message *message, const void *in, uint32_t last, uint8_t *at);

size_t lc_pb_varint_size(uint64_t value);
uint8_t *lc_pb_put_varint(uint8_t *at, uint64_t value);
uint8_t *lc_pb_put_len(uint8_t *at, uint32_t number, size_t len); /* the tag of a LEN field and its length */

/* How many bytes of it, from its start, are UTF-8. */
size_t lc_pb_utf8_len(struct lc_slice text);

static inline bool lc_pb_is_utf8(struct lc_slice text) {
  return lc_pb_utf8_len(text) == text.len;
}

#endif
