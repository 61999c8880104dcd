#include "wire/msg_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lcache/v1/peer.pb-c.h"

/*
 * Holds the codecs of Peer against protobuf-c's, on random messages and on mutations of them: they are made from
 * protobuf-c's descriptors and compared after both have been through protobuf-c.
 */

#define ROUNDS 20000
#define BYTES_MAX 65536

union any {
  struct lc_msg_hello_request hello_request;
  struct lc_msg_hello_response hello_response;
  struct lc_msg_peer_get_request peer_get_request;
  struct lc_msg_peer_get_response peer_get_response;
  struct lc_msg_peer_batch_get_request peer_batch_get_request;
  struct lc_msg_peer_batch_get_response peer_batch_get_response;
  struct lc_msg_peer_set_request peer_set_request;
  struct lc_msg_peer_delete_request peer_delete_request;
  struct lc_msg_peer_write_response peer_write_response;
  struct lc_msg_invalidate_request invalidate_request;
  struct lc_msg_invalidate_response invalidate_response;
  struct lc_msg_handover_request handover_request;
  struct lc_msg_handover_response handover_response;
  struct lc_msg_leave_request leave_request;
  struct lc_msg_leave_response leave_response;
};

struct kind {
  const ProtobufCMessageDescriptor *descriptor;
  int (*decode)(struct lc_arena *arena, struct lc_slice bytes, union any *out, struct lc_err *err);
  int (*encode)(const union any *msg, struct lc_buf *buf);
};

#define KINDS(X)                                                                                                       \
  X(hello_request, hello_request)                                                                                      \
  X(hello_response, hello_response)                                                                                    \
  X(peer_get_request, peer_get_request)                                                                                \
  X(peer_get_response, peer_get_response)                                                                              \
  X(peer_batch_get_request, peer_batch_get_request)                                                                    \
  X(peer_batch_get_response, peer_batch_get_response)                                                                  \
  X(peer_set_request, peer_set_request)                                                                                \
  X(peer_delete_request, peer_delete_request)                                                                          \
  X(peer_write_response, peer_write_response)                                                                          \
  X(invalidate_request, invalidate_request)                                                                            \
  X(invalidate_response, invalidate_response)                                                                          \
  X(handover_request, hand_over_request)                                                                               \
  X(handover_response, hand_over_response)                                                                             \
  X(leave_request, leave_request)                                                                                      \
  X(leave_response, leave_response)

#define WRAP(name_, theirs_)                                                                                           \
  static int name_##_decode(struct lc_arena *arena, struct lc_slice bytes, union any *out, struct lc_err *err) {       \
    return lc_msg_##name_##_decode(arena, bytes, &out->name_, err);                                                    \
  }                                                                                                                    \
  static int name_##_encode(const union any *msg, struct lc_buf *buf) {                                                \
    return lc_msg_##name_##_encode(&msg->name_, buf);                                                                  \
  }
KINDS(WRAP)

#define ROW(name_, theirs_) {&lcache__v1__##theirs_##__descriptor, name_##_decode, name_##_encode},
static const struct kind kinds[] = {KINDS(ROW)};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

/* Memory for one random message. */
static _Alignas(16) uint8_t heap[1 << 20];
static size_t heap_used;

static void *take(size_t size) {
  void *at = heap + heap_used;
  heap_used += (size + 15) / 16 * 16;
  assert_true(heap_used <= sizeof heap);
  return at;
}

static uint64_t random_number(void) {
  uint64_t number = (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
  return rand() % 4 == 0 ? 0 : rand() % 4 == 0 ? UINT64_MAX : number >> (rand() % 60);
}

static char *random_text(void) {
  static const char *const parts[] = {"a", "scores", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", " ", "players"};
  char *text = take(80);
  size_t len = 0;
  for (int i = rand() % 8; i > 0; i--)
    len += (size_t)snprintf(text + len, 80 - len, "%s", parts[rand() % 7]);
  text[len] = '\0';
  return text;
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *descriptor);

static void random_field(const ProtobufCFieldDescriptor *field, void *at) {
  uint64_t number = random_number();
  switch (field->type) {
  case PROTOBUF_C_TYPE_STRING:
    *(char **)at = random_text();
    return;
  case PROTOBUF_C_TYPE_BYTES: {
    ProtobufCBinaryData bytes = {(size_t)rand() % (rand() % 10 ? 20 : 600), take(600)};
    for (size_t i = 0; i < bytes.len; i++)
      bytes.data[i] = (uint8_t)rand();
    *(ProtobufCBinaryData *)at = bytes;
    return;
  }
  case PROTOBUF_C_TYPE_MESSAGE:
    *(ProtobufCMessage **)at = random_message(field->descriptor);
    return;
  case PROTOBUF_C_TYPE_BOOL:
    *(protobuf_c_boolean *)at = rand() % 2;
    return;
  case PROTOBUF_C_TYPE_INT64:
  case PROTOBUF_C_TYPE_UINT64:
  case PROTOBUF_C_TYPE_FIXED64:
    memcpy(at, &number, 8);
    return;
  default:
    memcpy(at, &number, 4);
  }
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *descriptor) {
  ProtobufCMessage *message = take(descriptor->sizeof_message);
  protobuf_c_message_init(descriptor, message);
  for (unsigned i = 0; i < descriptor->n_fields; i++) {
    const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
    char *at = (char *)message + field->offset;
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
      random_field(field, at);
      continue;
    }
    size_t count = (size_t)rand() % 5;
    size_t size = field->type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(void *) : sizeof(ProtobufCBinaryData);
    char *items = take(5 * size);
    memcpy((char *)message + field->quantifier_offset, &count, sizeof count);
    memcpy(at, &items, sizeof items);
    for (size_t k = 0; k < count; k++)
      random_field(field, items + k * size);
  }
  return message;
}

static size_t pack_random(const ProtobufCMessageDescriptor *descriptor, uint8_t *out) {
  heap_used = 0;
  return protobuf_c_message_pack(random_message(descriptor), out);
}

/* What protobuf-c makes of the bytes when it packs them again; SIZE_MAX if it refuses them. */
static size_t repack(const ProtobufCMessageDescriptor *descriptor, struct lc_slice bytes, uint8_t *out) {
  ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, NULL, bytes.len, bytes.ptr);
  if (!message)
    return SIZE_MAX;
  for (unsigned i = 0; i < message->n_unknown_fields; i++)
    free(message->unknown_fields[i].data);
  free(message->unknown_fields);
  message->unknown_fields = NULL;
  message->n_unknown_fields = 0;
  for (unsigned i = 0; i < descriptor->n_fields; i++) {
    const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
      continue;
    ProtobufCMessage **items = *(ProtobufCMessage ***)(void *)((char *)message + field->offset);
    size_t count = *(size_t *)(void *)((char *)message + field->quantifier_offset);
    for (size_t k = 0; k < count; k++) {
      for (unsigned u = 0; u < items[k]->n_unknown_fields; u++)
        free(items[k]->unknown_fields[u].data);
      free(items[k]->unknown_fields);
      items[k]->unknown_fields = NULL;
      items[k]->n_unknown_fields = 0;
    }
  }
  size_t len = protobuf_c_message_pack(message, out);
  protobuf_c_message_free_unpacked(message, NULL);
  return len;
}

/* protobuf-c is more lenient in these, and only in these: it takes a bool from any wire type; it knows no bounds. */
static bool is_our_strictness(const struct kind *kind, int rc, const char *msg) {
  const ProtobufCMessageDescriptor *descriptor = kind->descriptor;
  if (rc == LC_EINVAL)
    return strstr(msg, "has at most") != NULL;
  const char *field = strstr(msg, "field ");
  if (field && strstr(msg, "wrong wire type")) {
    if (strstr(msg, "PeerGetResponse:"))
      descriptor = &lcache__v1__peer_get_response__descriptor;
    unsigned number = (unsigned)strtoul(field + strlen("field "), NULL, 10);
    const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(descriptor, number);
    return known && known->type == PROTOBUF_C_TYPE_BOOL;
  }
  return strstr(msg, "not UTF-8") || strstr(msg, "field number") || strstr(msg, "over 64 bits");
}

static bool agree(const struct kind *kind, const uint8_t *bytes, size_t len, bool *accepted) {
  static uint8_t ours[BYTES_MAX], theirs[BYTES_MAX];
  uint8_t *exact = malloc(len ? len : 1); /* so that a read past the end is seen */
  memcpy(exact, bytes, len);
  struct lc_arena arena;
  struct lc_buf buf;
  struct lc_err err = {0};
  union any msg;
  lc_arena_init(&arena, NULL, 0, 8192 + 128 * len);
  lc_buf_init(&buf);
  int rc = kind->decode(&arena, lc_slice_of(exact, len), &msg, &err);
  size_t their_len = repack(kind->descriptor, lc_slice_of(exact, len), theirs);
  bool ok;
  if (rc == 0) {
    assert_int_equal(kind->encode(&msg, &buf), 0);
    size_t our_len = repack(kind->descriptor, lc_buf_slice(&buf), ours);
    ok = our_len != SIZE_MAX && our_len == their_len && memcmp(ours, theirs, our_len) == 0;
  } else {
    ok = err.code == rc && (rc == LC_EPROTO || rc == LC_EINVAL);
    if (their_len != SIZE_MAX)
      ok = is_our_strictness(kind, rc, err.msg);
  }
  *accepted = rc == 0;
  lc_buf_fini(&buf);
  lc_arena_fini(&arena);
  free(exact);
  return ok;
}

static void random_messages_survive_decoding_and_encoding(void **state) {
  (void)state;
  static uint8_t bytes[BYTES_MAX];
  srand(31);
  for (int i = 0; i < ROUNDS; i++) {
    const struct kind *kind = &kinds[i % (int)KIND_COUNT];
    bool accepted;
    size_t len = pack_random(kind->descriptor, bytes);
    if (!agree(kind, bytes, len, &accepted) || !accepted)
      fail_msg("round %d: %s of %zu bytes", i, kind->descriptor->name, len);
  }
}

static size_t mutate(uint8_t *bytes, size_t len) {
  for (int i = rand() % 4; i >= 0; i--) {
    size_t at = len ? (size_t)rand() % len : 0, copied = len < 500 ? len : 500;
    switch (rand() % 5) {
    case 0:
      len = at; /* cut */
      break;
    case 1:
      if (len)
        bytes[at] = (uint8_t)rand();
      break;
    case 2:
      if (len)
        bytes[at] ^= (uint8_t)(1u << rand() % 8);
      break;
    case 3: /* twice */
      memcpy(bytes + len, bytes, copied);
      len += copied;
      break;
    default: /* one byte more */
      memmove(bytes + at + 1, bytes + at, len - at);
      bytes[at] = (uint8_t)(rand() % 2 ? 0x80 | rand() : rand());
      len++;
    }
  }
  return len;
}

static void mutated_messages_decode_alike_or_are_refused_by_both(void **state) {
  (void)state;
  static uint8_t bytes[BYTES_MAX];
  int taken = 0, refused = 0;
  srand(32);
  for (int i = 0; i < ROUNDS * 10; i++) {
    const struct kind *kind = &kinds[i % (int)KIND_COUNT];
    size_t len = mutate(bytes, pack_random(kind->descriptor, bytes));
    bool accepted;
    if (!agree(kind, bytes, len, &accepted))
      fail_msg("round %d: %s of %zu bytes", i, kind->descriptor->name, len);
    *(accepted ? &taken : &refused) += 1;
  }
  assert_true(taken > ROUNDS && refused > ROUNDS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_messages_survive_decoding_and_encoding),
      cmocka_unit_test(mutated_messages_decode_alike_or_are_refused_by_both),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
