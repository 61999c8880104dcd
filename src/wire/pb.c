#include "wire/pb.h"

#include "base/utf8.h"

#define NUMBER_MAX 0x1fffffffu
#define LEN_MAX 0x7fffffffu
#define TAG_BYTES 5u /* of tags and lengths, which have 32 bits */
#define VARINT_BYTES 10u

/* How many bytes were read, or 0 with a text. */
static size_t read_varint(struct lc_slice in, uint64_t *value, struct lc_err *err) {
  uint64_t sum = 0;
  for (size_t i = 0; i < in.len; i++) {
    uint8_t byte = in.ptr[i];
    if (i == 9 && byte > 1) {
      lc_err_set(err, LC_EPROTO, "a number over 64 bits");
      return 0;
    }
    sum |= (uint64_t)(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      *value = sum;
      return i + 1;
    }
  }
  lc_err_set(err, LC_EPROTO, "cut short");
  return 0;
}

/* At most max_len bytes of it. */
static bool take_varint(struct lc_slice *in, size_t max_len, uint64_t *value, struct lc_err *err) {
  size_t len = 1;
  if (in->len > 0 && in->ptr[0] < 0x80)
    *value = in->ptr[0];
  else
    len = read_varint(*in, value, err);
  if (len > max_len) {
    lc_err_set(err, LC_EPROTO, "a tag or length of over %zu bytes", max_len);
    return false;
  }
  in->ptr += len;
  in->len -= len;
  return len > 0;
}

static int take_bytes(struct lc_slice *in, uint64_t len, struct lc_slice *bytes, struct lc_err *err) {
  if (len > LEN_MAX || len > in->len)
    return lc_err_set(err, LC_EPROTO, "cut short");
  *bytes = lc_slice_of(in->ptr, (size_t)len);
  in->ptr += len;
  in->len -= (size_t)len;
  return 1;
}

int lc_pb_next_slow(struct lc_slice *in, struct lc_pb_field *field, struct lc_err *err) {
  if (in->len == 0)
    return 0;
  uint64_t tag;
  if (!take_varint(in, TAG_BYTES, &tag, err))
    return LC_EPROTO;
  if (tag >> 3 == 0 || tag >> 3 > NUMBER_MAX)
    return lc_err_set(err, LC_EPROTO, "a field number out of range");
  field->number = (uint32_t)(tag >> 3);
  field->wire = (enum lc_pb_wire)(tag & 7);
  switch (field->wire) {
  case LC_PB_VARINT:
    return take_varint(in, VARINT_BYTES, &field->value, err) ? 1 : LC_EPROTO;
  case LC_PB_LEN:
    if (!take_varint(in, TAG_BYTES, &field->value, err))
      return LC_EPROTO;
    return take_bytes(in, field->value, &field->bytes, err);
  case LC_PB_FIXED64:
    return take_bytes(in, 8, &field->bytes, err);
  case LC_PB_FIXED32:
    return take_bytes(in, 4, &field->bytes, err);
  default:
    return lc_err_set(err, LC_EPROTO, "field %u: unknown wire type %u", field->number, (unsigned)field->wire);
  }
}

size_t lc_pb_utf8_len(struct lc_slice text) {
  size_t at = 0;
  while (at < text.len) {
    uint64_t eight;
    if (text.len - at >= 8 && (memcpy(&eight, text.ptr + at, 8), (eight & 0x8080808080808080u) == 0)) {
      at += 8;
      continue;
    }
    size_t len = text.ptr[at] < 0x80 ? 1 : lc_utf8_char_len(text, at);
    if (len == 0)
      return at;
    at += len;
  }
  return at;
}

static bool is_len(enum lc_pb_kind kind) {
  return kind == LC_PB_BYTES || kind == LC_PB_STRING;
}

static int store(const struct lc_pb_member *member, const struct lc_pb_field *field, char *out, struct lc_err *err) {
  if (field->wire != (is_len(member->kind) ? LC_PB_LEN : LC_PB_VARINT))
    return lc_err_set(err, LC_EPROTO, "field %u: wrong wire type", field->number);
  void *at = out + member->offset;
  switch (member->kind) {
  case LC_PB_STRING:
    if (!lc_pb_is_utf8(field->bytes))
      return lc_err_set(err, LC_EPROTO, "field %u: not UTF-8", field->number);
    *(struct lc_slice *)at = field->bytes;
    return 0;
  case LC_PB_BYTES:
    *(struct lc_slice *)at = field->bytes;
    return 0;
  case LC_PB_BOOL:
    *(bool *)at = field->value != 0;
    return 0;
  case LC_PB_INT32:
    *(int32_t *)at = (int32_t)(uint32_t)field->value;
    return 0;
  default:
    *(int64_t *)at = (int64_t)field->value;
    return 0;
  }
}

/* Puts the message's name before what is wrong with it. */
static int name_error(const struct lc_pb_message *message, struct lc_err *err) {
  if (!err)
    return LC_EPROTO;
  char what[128];
  size_t len = strnlen(err->msg, sizeof what - 1);
  memcpy(what, err->msg, len);
  what[len] = '\0';
  return lc_err_set(err, LC_EPROTO, "malformed %s: %s", message->name, what);
}

int lc_pb_decode(const struct lc_pb_message *message, struct lc_slice bytes, void *out, struct lc_err *err) {
  memset(out, 0, message->size);
  struct lc_pb_field field = {0};
  int rc;
  while ((rc = lc_pb_next(&bytes, &field, err)) == 1) {
    if (field.number <= message->count)
      rc = store(&message->members[field.number - 1], &field, out, err);
    if (rc < 0)
      break;
  }
  return rc < 0 ? name_error(message, err) : 0;
}

size_t lc_pb_varint_size(uint64_t value) {
  unsigned bits = 64u - (unsigned)__builtin_clzll(value | 1);
  return (bits + 6) / 7;
}

uint8_t *lc_pb_put_varint(uint8_t *at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = (uint8_t)(value | 0x80);
    value >>= 7;
  }
  *at++ = (uint8_t)value;
  return at;
}

uint8_t *lc_pb_put_len(uint8_t *at, uint32_t number, size_t len) {
  at = lc_pb_put_varint(at, (uint64_t)number << 3 | LC_PB_LEN);
  return lc_pb_put_varint(at, len);
}

static uint64_t number_of(const struct lc_pb_member *member, const char *in) {
  const void *at = in + member->offset;
  switch (member->kind) {
  case LC_PB_BOOL:
    return *(const bool *)at;
  case LC_PB_INT32:
    return (uint64_t)(int64_t) * (const int32_t *)at;
  default:
    return (uint64_t) * (const int64_t *)at;
  }
}

static struct lc_slice slice_of(const struct lc_pb_member *member, const char *in) {
  const void *at = in + member->offset;
  return *(const struct lc_slice *)at;
}

size_t lc_pb_size(const struct lc_pb_message *message, const void *in) {
  size_t size = 0;
  for (uint32_t i = 0; i < message->count; i++) {
    const struct lc_pb_member *member = &message->members[i];
    size_t tag = lc_pb_varint_size((uint64_t)(i + 1) << 3);
    if (is_len(member->kind)) {
      size_t len = slice_of(member, in).len;
      size += len ? tag + lc_pb_varint_size(len) + len : 0;
    } else {
      uint64_t value = number_of(member, in);
      size += value ? tag + lc_pb_varint_size(value) : 0;
    }
  }
  return size;
}

static uint8_t *put_member(const struct lc_pb_member *member, uint32_t number, const void *in, uint8_t *at) {
  if (is_len(member->kind)) {
    struct lc_slice bytes = slice_of(member, in);
    if (bytes.len == 0)
      return at;
    at = lc_pb_put_len(at, number, bytes.len);
    memcpy(at, bytes.ptr, bytes.len);
    return at + bytes.len;
  }
  uint64_t value = number_of(member, in);
  if (value == 0)
    return at;
  at = lc_pb_put_varint(at, (uint64_t)number << 3 | LC_PB_VARINT);
  return lc_pb_put_varint(at, value);
}

uint8_t *lc_pb_write(const struct lc_pb_message *message, const void *in, uint8_t *at) {
  for (uint32_t i = 0; i < message->count; i++)
    at = put_member(&message->members[i], i + 1, in, at);
  return at;
}

uint8_t *lc_pb_write_head(const struct lc_pb_message *message, const void *in, uint32_t last, uint8_t *at) {
  for (uint32_t i = 0; i < message->count; i++) {
    if (i + 1 != last)
      at = put_member(&message->members[i], i + 1, in, at);
  }
  size_t len = slice_of(&message->members[last - 1], in).len;
  return len ? lc_pb_put_len(at, last, len) : at;
}

int lc_pb_encode(const struct lc_pb_message *message, const void *in, struct lc_buf *buf) {
  size_t size = lc_pb_size(message, in);
  if (lc_buf_reserve(buf, size) != 0)
    return LC_ENOMEM;
  lc_pb_write(message, in, buf->data + buf->len);
  buf->len += size;
  return 0;
}
