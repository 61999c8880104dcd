#include "wire/msg_peer.h"

#include "wire/grpc.h"
#include "wire/msg_table.h"

static const struct lc_pb_member lc_msg_hello_request_members[] = {
    LC_MEMBER(FIXED, lc_msg_hello_request, from),          LC_MEMBER(STRING, lc_msg_hello_request, address),
    LC_MEMBER(UINT32, lc_msg_hello_request, weight),       LC_MEMBER(UINT32, lc_msg_hello_request, protocol),
    LC_MEMBER(UINT32, lc_msg_hello_request, ring_version), LC_MEMBER(FIXED, lc_msg_hello_request, ring),
    LC_MEMBER(BOOL, lc_msg_hello_request, leaving),        LC_MEMBER(BOOL, lc_msg_hello_request, given_up),
    LC_MEMBER(STRING, lc_msg_hello_request, service),
};
LC_MESSAGE("HelloRequest", lc_msg_hello_request);

static const struct lc_pb_member lc_msg_hello_response_members[] = {
    LC_MEMBER(FIXED, lc_msg_hello_response, process),       LC_MEMBER(STRING, lc_msg_hello_response, address),
    LC_MEMBER(UINT32, lc_msg_hello_response, weight),       LC_MEMBER(UINT32, lc_msg_hello_response, protocol),
    LC_MEMBER(UINT32, lc_msg_hello_response, ring_version), LC_MEMBER(FIXED, lc_msg_hello_response, ring),
    LC_MEMBER(BOOL, lc_msg_hello_response, leaving),        LC_MEMBER(UINT64, lc_msg_hello_response, head),
    LC_MEMBER(BOOL, lc_msg_hello_response, was_waited),     LC_MEMBER(BOOL, lc_msg_hello_response, on_ring),
    LC_MEMBER(STRING, lc_msg_hello_response, service),
};
LC_MESSAGE("HelloResponse", lc_msg_hello_response);

static const struct lc_pb_member lc_msg_name_members[] = {
    LC_MEMBER(STRING, lc_msg_name, group),
    LC_MEMBER(BYTES, lc_msg_name, key),
};
LC_MESSAGE("PeerWaiting or Invalidation", lc_msg_name);

static const struct lc_pb_list peer_get_request_lineage = {&lc_msg_name,
                                                           offsetof(struct lc_msg_peer_get_request, lineage_count),
                                                           LC_PEER_LINEAGE_MAX, "waiting keys, a lineage has"};
static const struct lc_pb_member lc_msg_peer_get_request_members[] = {
    LC_MEMBER(FIXED, lc_msg_peer_get_request, from),
    LC_MEMBER(FIXED, lc_msg_peer_get_request, to),
    LC_MEMBER(STRING, lc_msg_peer_get_request, group),
    LC_MEMBER(BYTES, lc_msg_peer_get_request, key),
    LC_MEMBER(BOOL, lc_msg_peer_get_request, only_if_cached),
    LC_MEMBER(BOOL, lc_msg_peer_get_request, refresh),
    LC_MEMBER_LIST(lc_msg_peer_get_request, lineage, &peer_get_request_lineage),
};
LC_MESSAGE("PeerGetRequest", lc_msg_peer_get_request);

static const struct lc_pb_member lc_msg_applied_members[] = {
    LC_MEMBER(FIXED, lc_msg_applied, process),
    LC_MEMBER(UINT64, lc_msg_applied, seq),
};
LC_MESSAGE("Applied", lc_msg_applied);

static const struct lc_pb_member lc_msg_peer_get_response_members[] = {
    LC_MEMBER(INT32, lc_msg_peer_get_response, outcome), LC_MEMBER(INT32, lc_msg_peer_get_response, code),
    LC_MEMBER(TEXT, lc_msg_peer_get_response, message),  LC_MEMBER(INT64, lc_msg_peer_get_response, ttl_ms),
    LC_MEMBER(BOOL, lc_msg_peer_get_response, keep),     LC_MEMBER(BYTES, lc_msg_peer_get_response, value),
    LC_MEMBER(BYTES, lc_msg_peer_get_response, applied),
};
LC_MESSAGE_LARGE("PeerGetResponse", lc_msg_peer_get_response, 6, offsetof(struct lc_msg_peer_get_response, owner));

static const struct lc_pb_list peer_batch_get_request_keys = {
    NULL, offsetof(struct lc_msg_peer_batch_get_request, key_count), LC_BATCH_KEYS_MAX, "keys, a batch has"};
static const struct lc_pb_member lc_msg_peer_batch_get_request_members[] = {
    LC_MEMBER(FIXED, lc_msg_peer_batch_get_request, from),
    LC_MEMBER(FIXED, lc_msg_peer_batch_get_request, to),
    LC_MEMBER(STRING, lc_msg_peer_batch_get_request, group),
    LC_MEMBER_LIST(lc_msg_peer_batch_get_request, keys, &peer_batch_get_request_keys),
};
LC_MESSAGE("PeerBatchGetRequest", lc_msg_peer_batch_get_request);

static const struct lc_pb_list peer_batch_get_response_results = {
    &lc_msg_peer_get_response, offsetof(struct lc_msg_peer_batch_get_response, result_count), LC_BATCH_KEYS_MAX,
    "results, a batch has"};
static const struct lc_pb_member lc_msg_peer_batch_get_response_members[] = {
    LC_MEMBER(INT32, lc_msg_peer_batch_get_response, outcome),
    LC_MEMBER_LIST(lc_msg_peer_batch_get_response, results, &peer_batch_get_response_results),
};
LC_MESSAGE("PeerBatchGetResponse", lc_msg_peer_batch_get_response);

static const struct lc_pb_member lc_msg_peer_set_request_members[] = {
    LC_MEMBER(FIXED, lc_msg_peer_set_request, from),   LC_MEMBER(FIXED, lc_msg_peer_set_request, to),
    LC_MEMBER(STRING, lc_msg_peer_set_request, group), LC_MEMBER(BYTES, lc_msg_peer_set_request, key),
    LC_MEMBER(INT64, lc_msg_peer_set_request, ttl_ms), LC_MEMBER(BYTES, lc_msg_peer_set_request, value),
};
LC_MESSAGE_LARGE("PeerSetRequest", lc_msg_peer_set_request, 6, 0);

static const struct lc_pb_member lc_msg_peer_delete_request_members[] = {
    LC_MEMBER(FIXED, lc_msg_peer_delete_request, from),
    LC_MEMBER(FIXED, lc_msg_peer_delete_request, to),
    LC_MEMBER(STRING, lc_msg_peer_delete_request, group),
    LC_MEMBER(BYTES, lc_msg_peer_delete_request, key),
};
LC_MESSAGE("PeerDeleteRequest", lc_msg_peer_delete_request);

static const struct lc_pb_member lc_msg_peer_write_response_members[] = {
    LC_MEMBER(INT32, lc_msg_peer_write_response, outcome), LC_MEMBER(INT32, lc_msg_peer_write_response, code),
    LC_MEMBER(TEXT, lc_msg_peer_write_response, message),  LC_MEMBER(BOOL, lc_msg_peer_write_response, deleted),
    LC_MEMBER(FIXED, lc_msg_peer_write_response, ring),
};
LC_MESSAGE("PeerWriteResponse", lc_msg_peer_write_response);

static const struct lc_pb_list invalidate_request_entries = {&lc_msg_name,
                                                             offsetof(struct lc_msg_invalidate_request, entry_count),
                                                             LC_PEER_ENTRIES_MAX, "invalidations, a message has"};
static const struct lc_pb_member lc_msg_invalidate_request_members[] = {
    LC_MEMBER(FIXED, lc_msg_invalidate_request, from),
    LC_MEMBER(FIXED, lc_msg_invalidate_request, to),
    LC_MEMBER(UINT64, lc_msg_invalidate_request, prev),
    LC_MEMBER_LIST(lc_msg_invalidate_request, entries, &invalidate_request_entries),
    LC_MEMBER(BOOL, lc_msg_invalidate_request, drop_all),
};
LC_MESSAGE("InvalidateRequest", lc_msg_invalidate_request);

static const struct lc_pb_member lc_msg_invalidate_response_members[] = {
    LC_MEMBER(INT32, lc_msg_invalidate_response, outcome),
    LC_MEMBER(UINT64, lc_msg_invalidate_response, applied),
    LC_MEMBER(BOOL, lc_msg_invalidate_response, mismatch),
};
LC_MESSAGE("InvalidateResponse", lc_msg_invalidate_response);

static const struct lc_pb_member lc_msg_handover_item_members[] = {
    LC_MEMBER(STRING, lc_msg_handover_item, group),
    LC_MEMBER(BYTES, lc_msg_handover_item, key),
    LC_MEMBER(INT64, lc_msg_handover_item, ttl_ms),
    LC_MEMBER(BYTES, lc_msg_handover_item, value),
};
LC_MESSAGE_LARGE("HandOverItem", lc_msg_handover_item, 4, offsetof(struct lc_msg_handover_item, owner));

static const struct lc_pb_list handover_request_applied = {&lc_msg_applied,
                                                           offsetof(struct lc_msg_handover_request, applied_count),
                                                           LC_PEER_APPLIED_MAX, "logs, a message has"};
static const struct lc_pb_list handover_request_items = {&lc_msg_handover_item,
                                                         offsetof(struct lc_msg_handover_request, item_count),
                                                         LC_PEER_ENTRIES_MAX, "items, a message has"};
static const struct lc_pb_member lc_msg_handover_request_members[] = {
    LC_MEMBER(FIXED, lc_msg_handover_request, from),
    LC_MEMBER(FIXED, lc_msg_handover_request, to),
    LC_MEMBER_LIST(lc_msg_handover_request, applied, &handover_request_applied),
    LC_MEMBER_LIST(lc_msg_handover_request, items, &handover_request_items),
};
LC_MESSAGE("HandOverRequest", lc_msg_handover_request);

static const struct lc_pb_member lc_msg_handover_response_members[] = {
    LC_MEMBER(INT32, lc_msg_handover_response, outcome),
    LC_MEMBER(UINT32, lc_msg_handover_response, taken),
};
LC_MESSAGE("HandOverResponse", lc_msg_handover_response);

static const struct lc_pb_member lc_msg_leave_request_members[] = {
    LC_MEMBER(FIXED, lc_msg_leave_request, from),
    LC_MEMBER(FIXED, lc_msg_leave_request, to),
};
LC_MESSAGE("LeaveRequest", lc_msg_leave_request);

static const struct lc_pb_member lc_msg_leave_response_members[] = {
    LC_MEMBER(INT32, lc_msg_leave_response, outcome),
};
LC_MESSAGE("LeaveResponse", lc_msg_leave_response);

LC_CODEC(lc_msg_hello_request)
LC_CODEC(lc_msg_hello_response)
LC_CODEC(lc_msg_peer_get_request)
LC_CODEC(lc_msg_peer_get_response)
LC_CODEC(lc_msg_peer_batch_get_request)
LC_CODEC(lc_msg_peer_batch_get_response)
LC_CODEC(lc_msg_peer_set_request)
LC_CODEC(lc_msg_peer_delete_request)
LC_CODEC(lc_msg_peer_write_response)
LC_CODEC(lc_msg_invalidate_request)
LC_CODEC(lc_msg_invalidate_response)
LC_CODEC(lc_msg_handover_request)
LC_CODEC(lc_msg_handover_response)
LC_CODEC(lc_msg_leave_request)
LC_CODEC(lc_msg_leave_response)

/*
 * A forwarded Get and its answer are written straight where they have no lineage and no error: the tables would cost
 * half as much as the look-up.
 */
static uint8_t *put_fixed(uint8_t *at, uint32_t number, uint64_t value) {
  if (value == 0)
    return at;
  *at = (uint8_t)(number << 3 | LC_PB_FIXED64);
  return lc_pb_put_fixed(at + 1, value);
}

static uint8_t *put_bytes(uint8_t *at, uint32_t number, struct lc_slice bytes) {
  if (bytes.len == 0)
    return at;
  at = lc_pb_put_len(at, number, bytes.len);
  memcpy(at, bytes.ptr, bytes.len);
  return at + bytes.len;
}

static uint8_t *put_number(uint8_t *at, uint32_t number, uint64_t value) {
  if (value == 0)
    return at;
  *at = (uint8_t)(number << 3 | LC_PB_VARINT);
  return lc_pb_put_varint(at + 1, value);
}

#define REQUEST_SHORT 512u /* of group and key together */

int lc_msg_peer_get_request_frame(const struct lc_msg_peer_get_request *msg, struct lc_outq *q) {
  uint8_t bytes[LC_GRPC_PREFIX + REQUEST_SHORT + 40], *at = bytes + LC_GRPC_PREFIX;
  if (msg->lineage_count > 0 || msg->group.len > REQUEST_SHORT || msg->key.len > REQUEST_SHORT - msg->group.len)
    return lc_pb_frame(&lc_msg_peer_get_request, msg, NULL, NULL, q);
  at = put_fixed(at, 1, msg->from);
  at = put_fixed(at, 2, msg->to);
  at = put_bytes(at, 3, msg->group);
  at = put_bytes(at, 4, msg->key);
  at = put_number(at, 5, msg->only_if_cached);
  at = put_number(at, 6, msg->refresh);
  size_t len = (size_t)(at - bytes);
  lc_grpc_write_prefix(bytes, (uint32_t)(len - LC_GRPC_PREFIX));
  return lc_outq_append(q, bytes, len);
}

int lc_msg_peer_get_response_frame(const struct lc_msg_peer_get_response *msg, void *owner,
                                   const struct lc_hold_ops *ops, struct lc_outq *q) {
  uint8_t head[LC_GRPC_PREFIX + 40], *at = head + LC_GRPC_PREFIX;
  if (msg->outcome < 0 || msg->code != 0 || msg->message.len > 0 || msg->value.len >= LC_MSG_REF_MIN ||
      msg->applied.len > 0)
    return lc_pb_frame(&lc_msg_peer_get_response, msg, owner, ops, q);
  at = put_number(at, 1, (uint64_t)msg->outcome);
  at = put_number(at, 4, (uint64_t)msg->ttl_ms);
  at = put_number(at, 5, msg->keep);
  if (msg->value.len > 0)
    at = lc_pb_put_len(at, 6, msg->value.len);
  size_t len = (size_t)(at - head);
  lc_grpc_write_prefix(head, (uint32_t)(len - LC_GRPC_PREFIX + msg->value.len));
  at = lc_outq_reserve(q, len + msg->value.len);
  if (!at)
    return LC_ENOMEM;
  memcpy(at, head, len);
  if (msg->value.len > 0)
    memcpy(at + len, msg->value.ptr, msg->value.len);
  return 0;
}

int lc_msg_peer_batch_get_response_frame(const struct lc_msg_peer_batch_get_response *msg,
                                         const struct lc_hold_ops *ops, struct lc_outq *q) {
  return lc_pb_frame(&lc_msg_peer_batch_get_response, msg, NULL, ops, q);
}

int lc_msg_peer_set_request_frame(const struct lc_msg_peer_set_request *msg, void *owner, const struct lc_hold_ops *ops,
                                  struct lc_outq *q) {
  return lc_pb_frame(&lc_msg_peer_set_request, msg, owner, ops, q);
}

int lc_msg_handover_request_frame(const struct lc_msg_handover_request *msg, const struct lc_hold_ops *ops,
                                  struct lc_outq *q) {
  return lc_pb_frame(&lc_msg_handover_request, msg, NULL, ops, q);
}

void lc_msg_applied_pack(const struct lc_msg_applied *applied, size_t count, uint8_t *out) {
  for (size_t i = 0; i < count; i++)
    out = lc_pb_put_fixed(lc_pb_put_fixed(out, applied[i].process), applied[i].seq);
}

size_t lc_msg_applied_unpack(struct lc_slice bytes, struct lc_msg_applied *out, size_t max) {
  size_t count = bytes.len / LC_APPLIED_SIZE < max ? bytes.len / LC_APPLIED_SIZE : max;
  for (size_t i = 0; i < count; i++) {
    const uint8_t *at = bytes.ptr + i * LC_APPLIED_SIZE;
    out[i] = (struct lc_msg_applied){lc_pb_get_fixed(at), lc_pb_get_fixed(at + 8)};
  }
  return count;
}

size_t lc_msg_handover_item_size(const struct lc_msg_handover_item *item) {
  return lc_pb_item_size(&lc_msg_handover_item, item);
}

size_t lc_msg_peer_batch_result_size(const struct lc_msg_peer_get_response *result) {
  return lc_pb_item_size(&lc_msg_peer_get_response, result);
}
