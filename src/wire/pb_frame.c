#include "wire/grpc.h"
#include "wire/msg.h"
#include "wire/pb.h"

#define MESSAGE_MAX 0x7fffffffu

struct holder {
  void *owner;
  const struct lc_hold_ops *ops;
};

/* The members but lists, of `size` bytes, with the large one last; `lead` bytes before them are the caller's to fill.
 */
static int queue_flat(const struct lc_pb_message *message, const void *in, size_t size, size_t lead,
                      struct holder holder, struct lc_outq *q, uint8_t **lead_at) {
  struct lc_slice value = {0};
  if (message->large)
    value = lc_pb_slice_at(in, message->members[message->large - 1].offset);
  bool inside = value.len < LC_MSG_REF_MIN;
  uint8_t *at = lc_outq_reserve(q, lead + size - (inside ? 0 : value.len));
  if (!at)
    return LC_ENOMEM;
  *lead_at = at;
  at = lc_pb_write(message, in, message->large, at + lead);
  if (value.len == 0)
    return 0;
  at = lc_pb_put_len(at, message->large, value.len);
  if (inside)
    memcpy(at, value.ptr, value.len);
  else if (holder.owner)
    return lc_outq_append_ref(q, value, holder.owner, holder.ops);
  else
    return lc_outq_append(q, value.ptr, value.len);
  return 0;
}

static int queue_slice(struct lc_slice bytes, uint32_t number, struct lc_outq *q) {
  uint8_t head[16], *end = lc_pb_put_len(head, number, bytes.len);
  int rc = lc_outq_append(q, head, (size_t)(end - head));
  return rc == 0 ? lc_outq_append(q, bytes.ptr, bytes.len) : rc;
}

static int queue_item(const struct lc_pb_message *message, const char *item, uint32_t number,
                      const struct lc_hold_ops *ops, struct lc_outq *q) {
  size_t size = lc_pb_size(message, item);
  uint8_t head[16], *end = lc_pb_put_len(head, number, size), *at;
  struct holder holder = {NULL, ops};
  if (message->large)
    memcpy(&holder.owner, item + message->owner_offset, sizeof holder.owner);
  int rc = queue_flat(message, item, size, (size_t)(end - head), holder, q, &at);
  if (rc == 0)
    memcpy(at, head, (size_t)(end - head));
  return rc;
}

static int queue_list(const struct lc_pb_member *member, uint32_t number, const void *in, const struct lc_hold_ops *ops,
                      struct lc_outq *q) {
  struct lc_pb_items items = lc_pb_items_of(member, in);
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < items.count; i++) {
    const char *item = items.first + i * items.size;
    rc = member->list->item ? queue_item(member->list->item, item, number, ops, q)
                            : queue_slice(lc_pb_slice_at(item, 0), number, q);
  }
  return rc;
}

/* Of what queue_flat puts. */
static size_t flat_size(const struct lc_pb_message *message, const void *in, size_t size) {
  for (uint32_t i = 0; i < message->count; i++) {
    if (message->members[i].kind == LC_PB_LIST)
      size -= lc_pb_list_size(&message->members[i], i + 1, in);
  }
  return size;
}

int lc_pb_frame(const struct lc_pb_message *message, const void *in, void *owner, const struct lc_hold_ops *ops,
                struct lc_outq *q) {
  size_t size = lc_pb_size(message, in), before = q->bytes;
  if (size > MESSAGE_MAX)
    return LC_ETOOBIG;
  struct holder holder = {owner, ops};
  uint8_t *prefix;
  int rc = queue_flat(message, in, flat_size(message, in, size), LC_GRPC_PREFIX, holder, q, &prefix);
  if (rc == 0)
    lc_grpc_write_prefix(prefix, (uint32_t)size);
  for (uint32_t i = 0; rc == 0 && i < message->count; i++) {
    if (message->members[i].kind == LC_PB_LIST)
      rc = queue_list(&message->members[i], i + 1, in, ops, q);
  }
  if (rc != 0)
    lc_outq_truncate(q, before);
  return rc;
}
