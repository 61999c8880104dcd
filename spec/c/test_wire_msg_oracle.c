#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lcache/v1/cache.pb-c.h"
#include "pb/lcache.pb-c.h"
#include "wire/msg.h"

/* Holds the codecs of Cache and pb.LCache against protobuf-c's, on random messages and on mutations of them. */

#define ROUNDS 60000

static uint8_t noise[64];

static ProtobufCBinaryData random_bytes(void) {
  static uint8_t pool[4][600];
  static unsigned turn;
  uint8_t *bytes = pool[turn++ % 4];
  size_t len = (size_t)rand() % (rand() % 10 ? 20 : 600);
  for (size_t i = 0; i < len; i++)
    bytes[i] = (uint8_t)rand();
  return (ProtobufCBinaryData){len, bytes};
}

static char *random_text(void) {
  static char pool[4][80];
  static unsigned turn;
  static const char *const parts[] = {"a", "scores", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", " ", "players"};
  char *text = pool[turn++ % 4];
  size_t len = 0;
  for (int i = rand() % 8; i > 0; i--)
    len += (size_t)snprintf(text + len, sizeof pool[0] - len, "%s", parts[rand() % 7]);
  text[len] = '\0';
  return text;
}

static int64_t random_number(void) {
  int64_t number = (int64_t)((uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand());
  return rand() % 4 == 0 ? 0 : rand() % 4 == 0 ? -1 : number >> (rand() % 60);
}

/* A C string of protobuf-c's holds what ours does up to the first NUL. */
static bool same_text(struct lc_slice ours, const char *theirs) {
  size_t len = ours.len ? strnlen((const char *)ours.ptr, ours.len) : 0;
  return len == strlen(theirs) && (len == 0 || memcmp(ours.ptr, theirs, len) == 0);
}

static bool same_bytes(struct lc_slice ours, ProtobufCBinaryData theirs) {
  return lc_slice_eq(ours, lc_slice_of(theirs.data, theirs.len));
}

/* One message: how to make one, and whether two decoded ones are the same. */
struct kind {
  const ProtobufCMessageDescriptor *descriptor;
  size_t (*pack_random)(uint8_t *out);
  int (*decode)(struct lc_slice bytes, void *out, struct lc_err *err);
  bool (*same)(const void *ours, const void *theirs);
  int (*encode)(const void *ours, struct lc_buf *buf);
};

#define KIND(name_, type_)                                                                                             \
  static int name_##_decode(struct lc_slice bytes, void *out, struct lc_err *err) {                                    \
    struct lc_arena arena;                                                                                             \
    lc_arena_init(&arena, NULL, 0, 0);                                                                                 \
    return type_##_decode(&arena, bytes, out, err);                                                                    \
  }                                                                                                                    \
  static int name_##_encode(const void *ours, struct lc_buf *buf) {                                                    \
    return type_##_encode(ours, buf);                                                                                  \
  }

KIND(get_request, lc_msg_get_request)
KIND(get_response, lc_msg_get_response)
KIND(set_request, lc_msg_set_request)
KIND(delete_request, lc_msg_delete_request)
KIND(delete_response, lc_msg_delete_response)
KIND(pb_request, lc_msg_pb_request)
KIND(pb_get_response, lc_msg_pb_get_response)

static size_t random_get_request(uint8_t *out) {
  Lcache__V1__GetRequest msg = LCACHE__V1__GET_REQUEST__INIT;
  msg.group = random_text();
  msg.key = random_bytes();
  msg.only_if_cached = rand() % 2;
  msg.refresh = rand() % 2;
  return lcache__v1__get_request__pack(&msg, out);
}

static bool same_get_request(const void *a, const void *b) {
  const struct lc_msg_get_request *ours = a;
  const Lcache__V1__GetRequest *theirs = b;
  return same_text(ours->group, theirs->group) && same_bytes(ours->key, theirs->key) &&
         ours->only_if_cached == theirs->only_if_cached && ours->refresh == theirs->refresh;
}

static size_t random_get_response(uint8_t *out) {
  Lcache__V1__GetResponse msg = LCACHE__V1__GET_RESPONSE__INIT;
  msg.value = random_bytes();
  msg.ttl_ms = random_number();
  msg.served_from = (Lcache__V1__ServedFrom)(rand() % 7);
  return lcache__v1__get_response__pack(&msg, out);
}

static bool same_get_response(const void *a, const void *b) {
  const struct lc_msg_get_response *ours = a;
  const Lcache__V1__GetResponse *theirs = b;
  return same_bytes(ours->value, theirs->value) && ours->ttl_ms == theirs->ttl_ms &&
         ours->served_from == (int)theirs->served_from;
}

static size_t random_set_request(uint8_t *out) {
  Lcache__V1__SetRequest msg = LCACHE__V1__SET_REQUEST__INIT;
  msg.group = random_text();
  msg.key = random_bytes();
  msg.value = random_bytes();
  msg.ttl_ms = random_number();
  return lcache__v1__set_request__pack(&msg, out);
}

static bool same_set_request(const void *a, const void *b) {
  const struct lc_msg_set_request *ours = a;
  const Lcache__V1__SetRequest *theirs = b;
  return same_text(ours->group, theirs->group) && same_bytes(ours->key, theirs->key) &&
         same_bytes(ours->value, theirs->value) && ours->ttl_ms == theirs->ttl_ms;
}

static size_t random_delete_request(uint8_t *out) {
  Lcache__V1__DeleteRequest msg = LCACHE__V1__DELETE_REQUEST__INIT;
  msg.group = random_text();
  msg.key = random_bytes();
  return lcache__v1__delete_request__pack(&msg, out);
}

static bool same_delete_request(const void *a, const void *b) {
  const struct lc_msg_delete_request *ours = a;
  const Lcache__V1__DeleteRequest *theirs = b;
  return same_text(ours->group, theirs->group) && same_bytes(ours->key, theirs->key);
}

static size_t random_delete_response(uint8_t *out) {
  Lcache__V1__DeleteResponse msg = LCACHE__V1__DELETE_RESPONSE__INIT;
  msg.deleted = rand() % 2;
  return lcache__v1__delete_response__pack(&msg, out);
}

static bool same_delete_response(const void *a, const void *b) {
  return ((const struct lc_msg_delete_response *)a)->deleted == ((const Lcache__V1__DeleteResponse *)b)->deleted;
}

static size_t random_pb_request(uint8_t *out) {
  Pb__Request msg = PB__REQUEST__INIT;
  msg.group = random_text();
  msg.key = random_text();
  msg.value = random_bytes();
  return pb__request__pack(&msg, out);
}

static bool same_pb_request(const void *a, const void *b) {
  const struct lc_msg_pb_request *ours = a;
  const Pb__Request *theirs = b;
  return same_text(ours->group, theirs->group) && same_text(ours->key, theirs->key) &&
         same_bytes(ours->value, theirs->value);
}

static size_t random_pb_get_response(uint8_t *out) {
  Pb__ResponseForGet msg = PB__RESPONSE_FOR_GET__INIT;
  msg.value = random_bytes();
  return pb__response_for_get__pack(&msg, out);
}

static bool same_pb_get_response(const void *a, const void *b) {
  return same_bytes(((const struct lc_msg_pb_get_response *)a)->value, ((const Pb__ResponseForGet *)b)->value);
}

#define ROW(name_, descriptor_)                                                                                        \
  { &descriptor_, random_##name_, name_##_decode, same_##name_, name_##_encode }

static const struct kind kinds[] = {
    ROW(get_request, lcache__v1__get_request__descriptor),
    ROW(get_response, lcache__v1__get_response__descriptor),
    ROW(set_request, lcache__v1__set_request__descriptor),
    ROW(delete_request, lcache__v1__delete_request__descriptor),
    ROW(delete_response, lcache__v1__delete_response__descriptor),
    ROW(pb_request, pb__request__descriptor),
    ROW(pb_get_response, pb__response_for_get__descriptor),
};
#define KINDS (sizeof kinds / sizeof *kinds)

union any {
  struct lc_msg_get_request get;
  struct lc_msg_get_response got;
  struct lc_msg_set_request set;
  struct lc_msg_pb_request pb;
};

static size_t mutate(uint8_t *bytes, size_t len) {
  for (int i = rand() % 4; i >= 0; i--) {
    size_t at = len ? (size_t)rand() % len : 0;
    switch (rand() % 6) {
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
    case 3: /* an unknown field, or something like one */
      memcpy(bytes + len, noise + rand() % 32, 12);
      len += (size_t)rand() % 12;
      break;
    case 4: /* twice */
      memcpy(bytes + len, bytes, len < 500 ? len : 500);
      len += len < 500 ? len : 500;
      break;
    default: /* one byte more */
      memmove(bytes + at + 1, bytes + at, len - at);
      bytes[at] = (uint8_t)(rand() % 2 ? 0x80 | rand() : rand());
      len++;
    }
  }
  return len;
}

/* protobuf-c is more lenient in these, and only in these: it takes a bool from any wire type. */
static bool is_our_strictness(const struct kind *kind, const char *msg) {
  const char *field = strstr(msg, "field ");
  if (field && strstr(msg, "wrong wire type")) {
    unsigned number = (unsigned)strtoul(field + strlen("field "), NULL, 10);
    const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(kind->descriptor, number);
    return known && known->type == PROTOBUF_C_TYPE_BOOL;
  }
  return strstr(msg, "not UTF-8") || strstr(msg, "field number") || strstr(msg, "over 64 bits");
}

static bool agree(const struct kind *kind, const uint8_t *bytes, size_t len, bool *accepted) {
  uint8_t *exact = malloc(len + 1); /* so that a read past the end is seen */
  if (len)
    memcpy(exact, bytes, len);
  exact = realloc(exact, len ? len : 1);
  union any ours;
  struct lc_err err = {0};
  int rc = kind->decode(lc_slice_of(exact, len), &ours, &err);
  ProtobufCMessage *theirs = protobuf_c_message_unpack(kind->descriptor, NULL, len, exact);
  bool ok = rc == 0 ? theirs && kind->same(&ours, theirs) : rc == LC_EPROTO && err.code == LC_EPROTO;
  if (rc != 0 && theirs)
    ok = is_our_strictness(kind, err.msg);
  *accepted = rc == 0;
  if (theirs)
    protobuf_c_message_free_unpacked(theirs, NULL);
  free(exact);
  return ok;
}

static void random_messages_decode_alike(void **state) {
  (void)state;
  srand(21);
  uint8_t bytes[8192];
  for (int i = 0; i < ROUNDS / 4; i++) {
    const struct kind *kind = &kinds[i % (int)KINDS];
    bool accepted;
    assert_true(agree(kind, bytes, kind->pack_random(bytes), &accepted));
    assert_true(accepted);
  }
}

static void odd_encodings_decode_alike(void **state) {
  (void)state;
  static const char *const odd[] = {
      "8a8000 016b",        /* a tag of more bytes than it needs */
      "8a80808000 016b",    /* of five */
      "8a8080808000 016b",  /* of six */
      "12 8180808000 6b",   /* lengths the same */
      "12 818080808000 6b", /* */
      "12 ffffffff7f",
      "1880",
      "18 80808080808080808001",
      "18 8080808080808080808001",
      "1b 1c",
      "1c",
      "0f",
      "20 7f",
      "0a00 0a0161",
      "22 0101",
      "fa01 0101",
      "10 05",
  };
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    uint8_t bytes[32];
    size_t len = 0;
    for (const char *at = odd[i]; *at; at++) {
      unsigned byte;
      if (*at == ' ')
        continue;
      assert_int_equal(sscanf(at, "%2x", &byte), 1);
      bytes[len++] = (uint8_t)byte;
      at++;
    }
    for (size_t k = 0; k < KINDS; k++) {
      bool accepted;
      if (!agree(&kinds[k], bytes, len, &accepted))
        fail_msg("%s as %s", odd[i], kinds[k].descriptor->name);
    }
  }
}

static void mutated_messages_decode_alike_or_are_refused_by_both(void **state) {
  (void)state;
  srand(22);
  uint8_t bytes[16384];
  int taken = 0, refused = 0;
  for (int i = 0; i < ROUNDS * (int)KINDS; i++) {
    const struct kind *kind = &kinds[i % (int)KINDS];
    for (size_t k = 0; k < sizeof noise; k++)
      noise[k] = (uint8_t)rand();
    size_t len = mutate(bytes, kind->pack_random(bytes));
    bool accepted;
    if (!agree(kind, bytes, len, &accepted))
      fail_msg("round %d: %s of %zu bytes", i, kind->descriptor->name, len);
    *(accepted ? &taken : &refused) += 1;
  }
  assert_true(taken > ROUNDS && refused > ROUNDS);
}

static void what_we_encode_protobuf_c_reads_and_packs_to_the_same_bytes(void **state) {
  (void)state;
  srand(23);
  uint8_t bytes[8192], packed[8192];
  for (int i = 0; i < ROUNDS / 4; i++) {
    const struct kind *kind = &kinds[i % (int)KINDS];
    size_t len = kind->pack_random(bytes);
    union any ours;
    assert_int_equal(kind->decode(lc_slice_of(bytes, len), &ours, NULL), 0);
    struct lc_buf buf;
    lc_buf_init(&buf);
    assert_int_equal(kind->encode(&ours, &buf), 0);
    ProtobufCMessage *theirs = protobuf_c_message_unpack(kind->descriptor, NULL, buf.len, buf.data);
    assert_non_null(theirs);
    assert_int_equal(protobuf_c_message_pack(theirs, packed), buf.len);
    if (buf.len)
      assert_memory_equal(packed, buf.data, buf.len);
    assert_true(kind->same(&ours, theirs));
    protobuf_c_message_free_unpacked(theirs, NULL);
    lc_buf_fini(&buf);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_messages_decode_alike),
      cmocka_unit_test(odd_encodings_decode_alike),
      cmocka_unit_test(mutated_messages_decode_alike_or_are_refused_by_both),
      cmocka_unit_test(what_we_encode_protobuf_c_reads_and_packs_to_the_same_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
