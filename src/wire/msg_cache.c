#include <stddef.h>

#include "wire/grpc.h"
#include "wire/msg.h"
#include "wire/pb.h"

#define MESSAGE_MAX 0x7fffffffu

#define MEMBER(kind_, type_, member_)                                                                                  \
  { kind_, offsetof(struct type_, member_) }
#define MESSAGE(name_, type_)                                                                                          \
  static const struct lc_pb_message type_ = {name_, sizeof(struct type_), type_##_members,                             \
                                             sizeof type_##_members / sizeof *type_##_members}

static const struct lc_pb_member lc_msg_get_request_members[] = {
    MEMBER(LC_PB_STRING, lc_msg_get_request, group),
    MEMBER(LC_PB_BYTES, lc_msg_get_request, key),
    MEMBER(LC_PB_BOOL, lc_msg_get_request, only_if_cached),
    MEMBER(LC_PB_BOOL, lc_msg_get_request, refresh),
};
MESSAGE("GetRequest", lc_msg_get_request);

static const struct lc_pb_member lc_msg_get_response_members[] = {
    MEMBER(LC_PB_BYTES, lc_msg_get_response, value),
    MEMBER(LC_PB_INT64, lc_msg_get_response, ttl_ms),
    MEMBER(LC_PB_INT32, lc_msg_get_response, served_from),
};
MESSAGE("GetResponse", lc_msg_get_response);
#define GET_RESPONSE_VALUE 1u

static const struct lc_pb_member lc_msg_set_request_members[] = {
    MEMBER(LC_PB_STRING, lc_msg_set_request, group),
    MEMBER(LC_PB_BYTES, lc_msg_set_request, key),
    MEMBER(LC_PB_BYTES, lc_msg_set_request, value),
    MEMBER(LC_PB_INT64, lc_msg_set_request, ttl_ms),
};
MESSAGE("SetRequest", lc_msg_set_request);
#define SET_REQUEST_VALUE 3u

static const struct lc_pb_member lc_msg_delete_request_members[] = {
    MEMBER(LC_PB_STRING, lc_msg_delete_request, group),
    MEMBER(LC_PB_BYTES, lc_msg_delete_request, key),
};
MESSAGE("DeleteRequest", lc_msg_delete_request);

static const struct lc_pb_member lc_msg_delete_response_members[] = {
    MEMBER(LC_PB_BOOL, lc_msg_delete_response, deleted),
};
MESSAGE("DeleteResponse", lc_msg_delete_response);

static const struct lc_pb_member lc_msg_batch_result_members[] = {
    MEMBER(LC_PB_BYTES, lc_msg_batch_result, key),         MEMBER(LC_PB_BYTES, lc_msg_batch_result, value),
    MEMBER(LC_PB_INT32, lc_msg_batch_result, code),        MEMBER(LC_PB_STRING, lc_msg_batch_result, message),
    MEMBER(LC_PB_INT32, lc_msg_batch_result, served_from),
};
MESSAGE("BatchGetResponse.Result", lc_msg_batch_result);
#define BATCH_RESULT_VALUE 2u
#define BATCH_RESULTS 1u

static const struct lc_pb_member lc_msg_pb_request_members[] = {
    MEMBER(LC_PB_STRING, lc_msg_pb_request, group),
    MEMBER(LC_PB_STRING, lc_msg_pb_request, key),
    MEMBER(LC_PB_BYTES, lc_msg_pb_request, value),
};
MESSAGE("Request", lc_msg_pb_request);

static const struct lc_pb_member lc_msg_pb_get_response_members[] = {
    MEMBER(LC_PB_BYTES, lc_msg_pb_get_response, value),
};
MESSAGE("ResponseForGet", lc_msg_pb_get_response);

static const struct lc_pb_member lc_msg_pb_delete_response_members[] = {
    MEMBER(LC_PB_BOOL, lc_msg_pb_delete_response, value),
};
MESSAGE("ResponseForDelete", lc_msg_pb_delete_response);

/* The flat messages: their codecs are the tables above. */
#define CODEC(type_)                                                                                                   \
  int type_##_decode(struct lc_arena *arena, struct lc_slice bytes, struct type_ *out, struct lc_err *err) {           \
    (void)arena;                                                                                                       \
    return lc_pb_decode(&type_, bytes, out, err);                                                                      \
  }                                                                                                                    \
  int type_##_encode(const struct type_ *msg, struct lc_buf *buf) {                                                    \
    return lc_pb_encode(&type_, msg, buf);                                                                             \
  }

CODEC(lc_msg_get_request)
CODEC(lc_msg_get_response)
CODEC(lc_msg_set_request)
CODEC(lc_msg_delete_request)
CODEC(lc_msg_delete_response)
CODEC(lc_msg_pb_request)
CODEC(lc_msg_pb_get_response)
CODEC(lc_msg_pb_delete_response)

int lc_msg_empty_decode(struct lc_slice bytes, struct lc_err *err) {
  static const struct lc_pb_message empty = {.name = "message"};
  char nothing[1];
  return lc_pb_decode(&empty, bytes, nothing, err);
}

/* One field of a message that repeats field `number`, which must be LEN: 1, 0 at the end, LC_EPROTO. Skips others. */
static int next_repeated(struct lc_slice *in, uint32_t number, struct lc_pb_field *field, struct lc_err *err) {
  int rc;
  while ((rc = lc_pb_next(in, field, err)) == 1) {
    if (field->number != number)
      continue;
    if (field->wire != LC_PB_LEN)
      return lc_err_set(err, LC_EPROTO, "field %u: wrong wire type", number);
    return 1;
  }
  return rc;
}

static int count_repeated(struct lc_slice in, uint32_t number, size_t *count, struct lc_err *err) {
  struct lc_pb_field field;
  int rc;
  *count = 0;
  while ((rc = next_repeated(&in, number, &field, err)) == 1)
    (*count)++;
  return rc;
}

int lc_msg_batch_get_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_batch_get_request *out,
                                    struct lc_err *err) {
  enum { KEYS = 2 };
  *out = (struct lc_msg_batch_get_request){0};
  struct lc_msg_delete_request group_only;
  size_t count;
  int rc = count_repeated(bytes, KEYS, &count, err);
  if (rc == 0 && count > LC_BATCH_KEYS_MAX)
    return lc_err_set(err, LC_EINVAL, "%zu keys, a batch has at most %u", count, LC_BATCH_KEYS_MAX);
  /* Its fields have the same numbers and types, so it finds the group and checks the rest. */
  if (rc == 0)
    rc = lc_msg_delete_request_decode(arena, bytes, &group_only, err);
  if (rc != 0)
    return rc;
  out->group = group_only.group;
  if (count == 0)
    return 0;
  out->keys = lc_arena_alloc(arena, count * sizeof *out->keys);
  if (!out->keys)
    return lc_err_set(err, LC_ENOMEM, "no memory for a batch");
  struct lc_pb_field field;
  while (next_repeated(&bytes, KEYS, &field, err) == 1)
    out->keys[out->key_count++] = field.bytes;
  return 0;
}

int lc_msg_batch_get_request_encode(const struct lc_msg_batch_get_request *msg, struct lc_buf *buf) {
  size_t before = buf->len;
  struct lc_msg_delete_request head = {.group = msg->group};
  int rc = lc_pb_encode(&lc_msg_delete_request, &head, buf);
  for (size_t i = 0; rc == 0 && i < msg->key_count; i++) {
    struct lc_slice key = msg->keys[i];
    rc = lc_buf_reserve(buf, key.len + 16);
    if (rc != 0)
      break;
    uint8_t *at = lc_pb_put_len(buf->data + buf->len, 2, key.len);
    buf->len = (size_t)(at - buf->data);
    lc_buf_append(buf, key.ptr, key.len);
  }
  if (rc != 0)
    buf->len = before;
  return rc;
}

int lc_msg_batch_get_response_decode(struct lc_arena *arena, struct lc_slice bytes,
                                     struct lc_msg_batch_get_response *out, struct lc_err *err) {
  *out = (struct lc_msg_batch_get_response){0};
  size_t count;
  int rc = count_repeated(bytes, BATCH_RESULTS, &count, err);
  if (rc != 0 || count == 0)
    return rc;
  if (count > LC_BATCH_KEYS_MAX)
    return lc_err_set(err, LC_EINVAL, "%zu results, a batch has at most %u", count, LC_BATCH_KEYS_MAX);
  out->results = lc_arena_alloc(arena, count * sizeof *out->results);
  if (!out->results)
    return lc_err_set(err, LC_ENOMEM, "no memory for a batch");
  struct lc_pb_field field;
  while (rc == 0 && next_repeated(&bytes, BATCH_RESULTS, &field, err) == 1)
    rc = lc_pb_decode(&lc_msg_batch_result, field.bytes, &out->results[out->result_count++], err);
  return rc;
}

size_t lc_msg_batch_result_size(const struct lc_msg_batch_result *result) {
  size_t size = lc_pb_size(&lc_msg_batch_result, result);
  return 1 + lc_pb_varint_size(size) + size;
}

int lc_msg_batch_get_response_encode(const struct lc_msg_batch_get_response *msg, struct lc_buf *buf) {
  size_t before = buf->len;
  for (size_t i = 0; i < msg->result_count; i++) {
    const struct lc_msg_batch_result *result = &msg->results[i];
    if (lc_buf_reserve(buf, lc_msg_batch_result_size(result)) != 0) {
      buf->len = before;
      return LC_ENOMEM;
    }
    uint8_t *at = lc_pb_put_len(buf->data + buf->len, BATCH_RESULTS, lc_pb_size(&lc_msg_batch_result, result));
    at = lc_pb_write(&lc_msg_batch_result, result, at);
    buf->len = (size_t)(at - buf->data);
  }
  return 0;
}

/* A message with one large member, `last`, put after the others; `lead` bytes before it are the caller's to fill. */
static int queue_message(const struct lc_pb_message *message, const void *msg, size_t size, uint32_t last, size_t lead,
                         void *owner, const struct lc_hold_ops *ops, struct lc_outq *q, uint8_t **lead_at) {
  const char *member = (const char *)msg + message->members[last - 1].offset;
  struct lc_slice value = *(const struct lc_slice *)(const void *)member;
  bool by_ref = owner && value.len >= LC_MSG_REF_MIN;
  bool inside = value.len < LC_MSG_REF_MIN;
  size_t head = lead + size - (inside ? 0 : value.len);
  uint8_t *at = lc_outq_reserve(q, head);
  if (!at)
    return LC_ENOMEM;
  *lead_at = at;
  at = lc_pb_write_head(message, msg, last, at + lead);
  if (!inside)
    return by_ref ? lc_outq_append_ref(q, value, owner, ops) : lc_outq_append(q, value.ptr, value.len);
  if (value.len)
    memcpy(at, value.ptr, value.len);
  return 0;
}

static int frame_message(const struct lc_pb_message *message, const void *msg, uint32_t last, void *owner,
                         const struct lc_hold_ops *ops, struct lc_outq *q) {
  size_t size = lc_pb_size(message, msg), before = q->bytes;
  if (size > MESSAGE_MAX)
    return LC_ETOOBIG;
  uint8_t *prefix;
  int rc = queue_message(message, msg, size, last, LC_GRPC_PREFIX, owner, ops, q, &prefix);
  if (rc != 0) {
    lc_outq_truncate(q, before);
    return rc;
  }
  lc_grpc_write_prefix(prefix, (uint32_t)size);
  return 0;
}

int lc_msg_get_response_frame(const struct lc_msg_get_response *msg, void *owner, const struct lc_hold_ops *ops,
                              struct lc_outq *q) {
  return frame_message(&lc_msg_get_response, msg, GET_RESPONSE_VALUE, owner, ops, q);
}

int lc_msg_set_request_frame(const struct lc_msg_set_request *msg, void *owner, const struct lc_hold_ops *ops,
                             struct lc_outq *q) {
  return frame_message(&lc_msg_set_request, msg, SET_REQUEST_VALUE, owner, ops, q);
}

int lc_msg_pb_get_response_frame(const struct lc_msg_pb_get_response *msg, void *owner, const struct lc_hold_ops *ops,
                                 struct lc_outq *q) {
  return frame_message(&lc_msg_pb_get_response, msg, GET_RESPONSE_VALUE, owner, ops, q);
}

int lc_msg_batch_get_response_frame(const struct lc_msg_batch_get_response *msg, const struct lc_hold_ops *ops,
                                    struct lc_outq *q) {
  size_t total = 0, before = q->bytes;
  for (size_t i = 0; i < msg->result_count; i++)
    total += lc_msg_batch_result_size(&msg->results[i]);
  if (total > MESSAGE_MAX)
    return LC_ETOOBIG;
  uint8_t *prefix = lc_outq_reserve(q, LC_GRPC_PREFIX);
  int rc = prefix ? 0 : LC_ENOMEM;
  if (prefix)
    lc_grpc_write_prefix(prefix, (uint32_t)total);
  for (size_t i = 0; rc == 0 && i < msg->result_count; i++) {
    const struct lc_msg_batch_result *result = &msg->results[i];
    size_t size = lc_pb_size(&lc_msg_batch_result, result);
    uint8_t *at;
    rc = queue_message(&lc_msg_batch_result, result, size, BATCH_RESULT_VALUE, 1 + lc_pb_varint_size(size),
                       result->owner, ops, q, &at);
    if (rc == 0)
      lc_pb_put_len(at, BATCH_RESULTS, size);
  }
  if (rc != 0)
    lc_outq_truncate(q, before);
  return rc;
}
