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
    if (take_bytes(in, 8, &field->bytes, err) != 1 || !field->bytes.ptr)
      return LC_EPROTO;
    field->value = lc_pb_get_fixed(field->bytes.ptr);
    return 1;
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

static const uint8_t wires[] = {
    [LC_PB_BYTES] = LC_PB_LEN,    [LC_PB_STRING] = LC_PB_LEN,    [LC_PB_TEXT] = LC_PB_LEN,
    [LC_PB_BOOL] = LC_PB_VARINT,  [LC_PB_INT32] = LC_PB_VARINT,  [LC_PB_UINT32] = LC_PB_VARINT,
    [LC_PB_INT64] = LC_PB_VARINT, [LC_PB_UINT64] = LC_PB_VARINT, [LC_PB_FIXED] = LC_PB_FIXED64,
    [LC_PB_LIST] = LC_PB_LEN,
};

/* Of lists it counts the items. */
static int store(const struct lc_pb_member *member, const struct lc_pb_field *field, char *out, struct lc_err *err) {
  if (field->wire != wires[member->kind])
    return lc_err_set(err, LC_EPROTO, "field %u: wrong wire type", field->number);
  void *at = out + member->offset;
  switch (member->kind) {
  case LC_PB_STRING:
  case LC_PB_TEXT:
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
  case LC_PB_UINT32:
    *(uint32_t *)at = (uint32_t)field->value;
    return 0;
  case LC_PB_INT64:
    *(int64_t *)at = (int64_t)field->value;
    return 0;
  case LC_PB_LIST:
    ++*(size_t *)(void *)(out + member->list->count_offset);
    return 0;
  default:
    *(uint64_t *)at = field->value;
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

/* Arrays for the items that were counted; the counts begin anew. */
static int make_lists(const struct lc_pb_message *message, struct lc_arena *arena, char *out, struct lc_err *err) {
  for (size_t i = 0; i < message->count; i++) {
    const struct lc_pb_member *member = &message->members[i];
    if (member->kind != LC_PB_LIST)
      continue;
    struct lc_pb_items items = lc_pb_items_of(member, out);
    if (items.count > member->list->max)
      return lc_err_set(err, LC_EINVAL, "%zu %s at most %zu", items.count, member->list->what, member->list->max);
    void *array = items.count ? lc_arena_alloc(arena, items.count * items.size) : NULL;
    if (items.count && !array)
      return lc_err_set(err, LC_ENOMEM, "no memory for a list");
    memcpy(out + member->offset, &array, sizeof array);
    memset(out + member->list->count_offset, 0, sizeof items.count);
  }
  return 0;
}

/* Of bytes that have been checked: `make_lists` has room for what is in them. */
static int fill_lists(const struct lc_pb_message *message, struct lc_slice bytes, char *out, struct lc_err *err) {
  struct lc_pb_field field = {0};
  int rc = 0;
  while (rc == 0 && lc_pb_next(&bytes, &field, NULL) == 1) {
    if (field.number > message->count || message->members[field.number - 1].kind != LC_PB_LIST)
      continue;
    const struct lc_pb_member *member = &message->members[field.number - 1];
    const struct lc_pb_list *list = member->list;
    size_t *count = (size_t *)(void *)(out + list->count_offset);
    char *first;
    memcpy(&first, out + member->offset, sizeof first);
    if (list->item)
      rc = lc_pb_decode(list->item, NULL, field.bytes, first + (*count)++ * list->item->size, err);
    else
      ((struct lc_slice *)(void *)first)[(*count)++] = field.bytes;
  }
  return rc;
}

int lc_pb_decode(const struct lc_pb_message *message, struct lc_arena *arena, struct lc_slice bytes, void *out,
                 struct lc_err *err) {
  memset(out, 0, message->size);
  struct lc_pb_field field = {0};
  struct lc_slice rest = bytes;
  bool listed = false;
  int rc;
  while ((rc = lc_pb_next(&rest, &field, err)) == 1) {
    if (field.number > message->count)
      continue;
    const struct lc_pb_member *member = &message->members[field.number - 1];
    rc = store(member, &field, out, err);
    if (rc < 0)
      break;
    listed |= member->kind == LC_PB_LIST;
  }
  if (rc < 0)
    return name_error(message, err);
  if (!listed)
    return 0;
  rc = make_lists(message, arena, out, err);
  return rc < 0 ? rc : fill_lists(message, bytes, out, err);
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
  case LC_PB_UINT32:
    return *(const uint32_t *)at;
  case LC_PB_INT64:
    return (uint64_t) * (const int64_t *)at;
  default:
    return *(const uint64_t *)at;
  }
}

/* What is encoded of a LEN member that is no list. */
static struct lc_slice slice_of(const struct lc_pb_member *member, const void *in) {
  struct lc_slice bytes = lc_pb_slice_at(in, member->offset);
  if (member->kind == LC_PB_TEXT)
    bytes.len = lc_pb_utf8_len(bytes);
  return bytes;
}

static size_t len_size(uint32_t number, size_t len) {
  return lc_pb_varint_size((uint64_t)number << 3) + lc_pb_varint_size(len) + len;
}

static size_t item_len(const struct lc_pb_list *list, const char *item) {
  return list->item ? lc_pb_size(list->item, item) : lc_pb_slice_at(item, 0).len;
}

size_t lc_pb_list_size(const struct lc_pb_member *member, uint32_t number, const void *in) {
  struct lc_pb_items items = lc_pb_items_of(member, in);
  size_t size = 0;
  for (size_t i = 0; i < items.count; i++)
    size += len_size(number, item_len(member->list, items.first + i * items.size));
  return size;
}

size_t lc_pb_size(const struct lc_pb_message *message, const void *in) {
  size_t size = 0;
  for (uint32_t i = 0; i < message->count; i++) {
    const struct lc_pb_member *member = &message->members[i];
    if (member->kind == LC_PB_LIST) {
      size += lc_pb_list_size(member, i + 1, in);
    } else if (wires[member->kind] == LC_PB_LEN) {
      size_t len = slice_of(member, in).len;
      size += len ? len_size(i + 1, len) : 0;
    } else {
      uint64_t value = number_of(member, in);
      size_t bytes = member->kind == LC_PB_FIXED ? sizeof value : lc_pb_varint_size(value);
      size += value ? lc_pb_varint_size((uint64_t)(i + 1) << 3) + bytes : 0;
    }
  }
  return size;
}

size_t lc_pb_item_size(const struct lc_pb_message *message, const void *in) {
  return len_size(1, lc_pb_size(message, in));
}

static uint8_t *put_slice(struct lc_slice bytes, uint32_t number, uint8_t *at) {
  at = lc_pb_put_len(at, number, bytes.len);
  if (bytes.len > 0)
    memcpy(at, bytes.ptr, bytes.len);
  return at + bytes.len;
}

static uint8_t *put_member(const struct lc_pb_member *member, uint32_t number, const void *in, uint8_t *at) {
  unsigned wire = wires[member->kind];
  if (wire == LC_PB_LEN) {
    struct lc_slice bytes = slice_of(member, in);
    return bytes.len ? put_slice(bytes, number, at) : at;
  }
  uint64_t value = number_of(member, in);
  if (value == 0)
    return at;
  at = lc_pb_put_varint(at, (uint64_t)number << 3 | wire);
  if (wire == LC_PB_VARINT)
    return lc_pb_put_varint(at, value);
  return lc_pb_put_fixed(at, value);
}

uint8_t *lc_pb_write(const struct lc_pb_message *message, const void *in, uint32_t without, uint8_t *at) {
  for (uint32_t i = 0; i < message->count; i++) {
    const struct lc_pb_member *member = &message->members[i];
    if (i + 1 != without && member->kind != LC_PB_LIST)
      at = put_member(member, i + 1, in, at);
  }
  return at;
}

static uint8_t *put_list(const struct lc_pb_member *member, uint32_t number, const void *in, uint8_t *at) {
  const struct lc_pb_message *message = member->list->item;
  struct lc_pb_items items = lc_pb_items_of(member, in);
  for (size_t i = 0; i < items.count; i++) {
    const char *item = items.first + i * items.size;
    if (message)
      at = lc_pb_write(message, item, 0, lc_pb_put_len(at, number, lc_pb_size(message, item)));
    else
      at = put_slice(lc_pb_slice_at(item, 0), number, at);
  }
  return at;
}

int lc_pb_encode(const struct lc_pb_message *message, const void *in, struct lc_buf *buf) {
  size_t size = lc_pb_size(message, in);
  if (lc_buf_reserve(buf, size) != 0)
    return LC_ENOMEM;
  uint8_t *at = lc_pb_write(message, in, 0, buf->data + buf->len);
  for (uint32_t i = 0; i < message->count; i++) {
    if (message->members[i].kind == LC_PB_LIST)
      at = put_list(&message->members[i], i + 1, in, at);
  }
  buf->len += size;
  return 0;
}
