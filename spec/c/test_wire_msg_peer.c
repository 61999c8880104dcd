#include "wire/msg_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "lcache/v1/peer.pb-c.h"
#include "wire/grpc.h"

/* That each member is where peer.proto has it (protobuf-c tells); framing; bounds. */

struct fixture {
  struct lc_mempool *pool;
  struct lc_outq q;
  struct lc_arena arena;
  struct lc_buf buf;
  struct lc_err err;
  uint8_t value[20000];
  int held;
};

static void hold(void *owner) {
  ((struct fixture *)owner)->held++;
}

static void drop(void *owner) {
  ((struct fixture *)owner)->held--;
}

static const struct lc_hold_ops ops = {hold, drop};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  f->pool = lc_mempool_create(0);
  lc_outq_init(&f->q, f->pool);
  lc_arena_init(&f->arena, NULL, 0, 32 << 20);
  lc_buf_init(&f->buf);
  for (size_t i = 0; i < sizeof f->value; i++)
    f->value[i] = (uint8_t)(i * 13);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  lc_outq_fini(&f->q);
  assert_int_equal(f->held, 0);
  lc_mempool_destroy(f->pool);
  lc_arena_fini(&f->arena);
  lc_buf_fini(&f->buf);
  free(f);
  return 0;
}

/* Encodes ours and unpacks theirs. */
#define THEIRS(type_, their_type_, unpack_, ...)                                                                       \
  struct type_ ours = {__VA_ARGS__};                                                                                   \
  struct lc_buf buf;                                                                                                   \
  lc_buf_init(&buf);                                                                                                   \
  assert_int_equal(type_##_encode(&ours, &buf), 0);                                                                    \
  Lcache__V1__##their_type_ *theirs = lcache__v1__##unpack_##__unpack(NULL, buf.len, buf.data);                        \
  assert_non_null(theirs)

#define DONE(unpack_)                                                                                                  \
  lcache__v1__##unpack_##__free_unpacked(theirs, NULL);                                                                \
  lc_buf_fini(&buf)

static bool is_bytes(ProtobufCBinaryData bytes, const char *text) {
  return lc_slice_eq(lc_slice_of(bytes.data, bytes.len), lc_slice_str(text));
}

static void members_of_hello_are_where_the_proto_has_them(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    THEIRS(lc_msg_hello_request, HelloRequest, hello_request, 1, lc_slice_str("a:1"), 2, 3, 4, 5, i == 0, i == 1,
           lc_slice_str("s"));
    assert_int_equal(theirs->from, 1);
    assert_string_equal(theirs->address, "a:1");
    assert_int_equal(theirs->weight, 2);
    assert_int_equal(theirs->protocol, 3);
    assert_int_equal(theirs->ring_version, 4);
    assert_int_equal(theirs->ring, 5);
    assert_int_equal(theirs->leaving, i == 0);
    assert_int_equal(theirs->given_up, i == 1);
    assert_string_equal(theirs->service, "s");
    DONE(hello_request);
  }
  for (int i = 0; i < 3; i++) {
    THEIRS(lc_msg_hello_response, HelloResponse, hello_response, 1, lc_slice_str("a:1"), 2, 3, 4, 5, i == 0, 6, i == 1,
           i == 2, lc_slice_str("s"));
    assert_int_equal(theirs->process, 1);
    assert_string_equal(theirs->address, "a:1");
    assert_int_equal(theirs->weight, 2);
    assert_int_equal(theirs->protocol, 3);
    assert_int_equal(theirs->ring_version, 4);
    assert_int_equal(theirs->ring, 5);
    assert_int_equal(theirs->head, 6);
    assert_int_equal(theirs->leaving, i == 0);
    assert_int_equal(theirs->was_waited, i == 1);
    assert_int_equal(theirs->on_ring, i == 2);
    assert_string_equal(theirs->service, "s");
    DONE(hello_response);
  }
}

static void members_of_gets_are_where_the_proto_has_them(void **state) {
  (void)state;
  struct lc_msg_name name = {lc_slice_str("lg"), lc_slice_str("lk")};
  for (int i = 0; i < 2; i++) {
    THEIRS(lc_msg_peer_get_request, PeerGetRequest, peer_get_request, 1, 2, lc_slice_str("g"), lc_slice_str("k"),
           i == 0, i == 1, &name, 1);
    assert_int_equal(theirs->from, 1);
    assert_int_equal(theirs->to, 2);
    assert_string_equal(theirs->group, "g");
    assert_true(is_bytes(theirs->key, "k"));
    assert_int_equal(theirs->only_if_cached, i == 0);
    assert_int_equal(theirs->refresh, i == 1);
    assert_string_equal(theirs->lineage[0]->group, "lg");
    assert_true(is_bytes(theirs->lineage[0]->key, "lk"));
    DONE(peer_get_request);
  }
  {
    THEIRS(lc_msg_peer_get_response, PeerGetResponse, peer_get_response, LC_OUTCOME_FAILED, 14, lc_slice_str("why"),
           1000, true, lc_slice_str("v"), lc_slice_str("0123456789abcdef"), NULL);
    assert_int_equal(theirs->outcome, LCACHE__V1__PEER_OUTCOME__PEER_OUTCOME_FAILED);
    assert_true(is_bytes(theirs->applied, "0123456789abcdef"));
    assert_int_equal(theirs->code, 14);
    assert_string_equal(theirs->message, "why");
    assert_int_equal(theirs->ttl_ms, 1000);
    assert_true(theirs->keep);
    assert_true(is_bytes(theirs->value, "v"));
    DONE(peer_get_response);
  }
  struct lc_slice key = lc_slice_str("k");
  {
    THEIRS(lc_msg_peer_batch_get_request, PeerBatchGetRequest, peer_batch_get_request, 1, 2, lc_slice_str("g"), &key,
           1);
    assert_int_equal(theirs->from, 1);
    assert_int_equal(theirs->to, 2);
    assert_string_equal(theirs->group, "g");
    assert_true(theirs->n_keys == 1 && is_bytes(theirs->keys[0], "k"));
    DONE(peer_batch_get_request);
  }
  struct lc_msg_peer_get_response result = {.outcome = LC_OUTCOME_NOT_FOUND};
  {
    THEIRS(lc_msg_peer_batch_get_response, PeerBatchGetResponse, peer_batch_get_response, LC_OUTCOME_OK, &result, 1);
    assert_int_equal(theirs->outcome, LCACHE__V1__PEER_OUTCOME__PEER_OUTCOME_OK);
    assert_int_equal(theirs->results[0]->outcome, LCACHE__V1__PEER_OUTCOME__PEER_OUTCOME_NOT_FOUND);
    DONE(peer_batch_get_response);
  }
}

static void members_of_writes_are_where_the_proto_has_them(void **state) {
  (void)state;
  {
    THEIRS(lc_msg_peer_set_request, PeerSetRequest, peer_set_request, 1, 2, lc_slice_str("g"), lc_slice_str("k"), -1,
           lc_slice_str("v"));
    assert_int_equal(theirs->from, 1);
    assert_int_equal(theirs->to, 2);
    assert_string_equal(theirs->group, "g");
    assert_true(is_bytes(theirs->key, "k") && is_bytes(theirs->value, "v"));
    assert_int_equal(theirs->ttl_ms, -1);
    DONE(peer_set_request);
  }
  {
    THEIRS(lc_msg_peer_delete_request, PeerDeleteRequest, peer_delete_request, 1, 2, lc_slice_str("g"),
           lc_slice_str("k"));
    assert_int_equal(theirs->from, 1);
    assert_int_equal(theirs->to, 2);
    assert_string_equal(theirs->group, "g");
    assert_true(is_bytes(theirs->key, "k"));
    DONE(peer_delete_request);
  }
  {
    THEIRS(lc_msg_peer_write_response, PeerWriteResponse, peer_write_response, LC_OUTCOME_NOT_OWNER, 3,
           lc_slice_str("caf\xc3\xa9 \xff!"), true, 7);
    assert_int_equal(theirs->outcome, LCACHE__V1__PEER_OUTCOME__PEER_OUTCOME_NOT_OWNER);
    assert_int_equal(theirs->code, 3);
    assert_string_equal(theirs->message, "caf\xc3\xa9 "); /* not UTF-8: cut, not sent */
    assert_true(theirs->deleted);
    assert_int_equal(theirs->ring, 7);
    DONE(peer_write_response);
  }
}

static void members_of_invalidate_are_where_the_proto_has_them(void **state) {
  (void)state;
  struct lc_msg_name names[] = {{lc_slice_str("g"), lc_slice_str("k")}, {lc_slice_str("h"), {0}}};
  {
    THEIRS(lc_msg_invalidate_request, InvalidateRequest, invalidate_request, 1, 2, 3, names, 2, true);
    assert_int_equal(theirs->from, 1);
    assert_int_equal(theirs->to, 2);
    assert_int_equal(theirs->prev, 3);
    assert_int_equal(theirs->n_entries, 2);
    assert_string_equal(theirs->entries[0]->group, "g");
    assert_true(is_bytes(theirs->entries[0]->key, "k"));
    assert_string_equal(theirs->entries[1]->group, "h");
    assert_true(theirs->drop_all);
    DONE(invalidate_request);
  }
  {
    THEIRS(lc_msg_invalidate_response, InvalidateResponse, invalidate_response, LC_OUTCOME_OK, 9, true);
    assert_int_equal(theirs->outcome, LCACHE__V1__PEER_OUTCOME__PEER_OUTCOME_OK);
    assert_int_equal(theirs->applied, 9);
    assert_true(theirs->mismatch);
    DONE(invalidate_response);
  }
}

static void members_of_handover_and_leave_are_where_the_proto_has_them(void **state) {
  (void)state;
  struct lc_msg_applied applied = {5, 6};
  struct lc_msg_handover_item item = {lc_slice_str("g"), lc_slice_str("k"), 7, lc_slice_str("v"), NULL};
  {
    THEIRS(lc_msg_handover_request, HandOverRequest, hand_over_request, 1, 2, &applied, 1, &item, 1);
    assert_int_equal(theirs->from, 1);
    assert_int_equal(theirs->to, 2);
    assert_int_equal(theirs->applied[0]->process, 5);
    assert_int_equal(theirs->applied[0]->seq, 6);
    assert_string_equal(theirs->items[0]->group, "g");
    assert_true(is_bytes(theirs->items[0]->key, "k") && is_bytes(theirs->items[0]->value, "v"));
    assert_int_equal(theirs->items[0]->ttl_ms, 7);
    DONE(hand_over_request);
  }
  {
    THEIRS(lc_msg_handover_response, HandOverResponse, hand_over_response, LC_OUTCOME_DRAINING, 8);
    assert_int_equal(theirs->outcome, LCACHE__V1__PEER_OUTCOME__PEER_OUTCOME_DRAINING);
    assert_int_equal(theirs->taken, 8);
    DONE(hand_over_response);
  }
  {
    THEIRS(lc_msg_leave_request, LeaveRequest, leave_request, 1, 2);
    assert_int_equal(theirs->from, 1);
    assert_int_equal(theirs->to, 2);
    DONE(leave_request);
  }
  {
    THEIRS(lc_msg_leave_response, LeaveResponse, leave_response, LC_OUTCOME_STRANGER);
    assert_int_equal(theirs->outcome, LCACHE__V1__PEER_OUTCOME__PEER_OUTCOME_STRANGER);
    DONE(leave_response);
  }
}

/* Takes one frame out of the queue, into buf without its prefix. */
static struct lc_slice take_frame(struct fixture *f) {
  uint8_t prefix[LC_GRPC_PREFIX], expected[LC_GRPC_PREFIX];
  assert_true(f->q.bytes >= LC_GRPC_PREFIX);
  lc_outq_read(&f->q, prefix, LC_GRPC_PREFIX);
  lc_grpc_write_prefix(expected, (uint32_t)f->q.bytes);
  assert_memory_equal(prefix, expected, LC_GRPC_PREFIX);
  f->buf.len = 0;
  assert_int_equal(lc_buf_reserve(&f->buf, f->q.bytes), 0);
  f->buf.len = f->q.bytes;
  lc_outq_read(&f->q, f->buf.data, f->q.bytes);
  return lc_buf_slice(&f->buf);
}

static void gets_of_all_sizes_survive_framing(void **state) {
  struct fixture *f = *state;
  struct lc_msg_name names[LC_PEER_LINEAGE_MAX] = {{lc_slice_str("g"), lc_slice_str("k")}};
  for (size_t size = 0; size <= 20000; size = size * 5 + 1) {
    struct lc_msg_peer_get_request in = {.from = 7, .group = lc_slice_str("g"), .key = lc_slice_of(f->value, size)};
    struct lc_msg_peer_get_request out;
    in.lineage = names;
    in.lineage_count = size % (LC_PEER_LINEAGE_MAX + 1);
    assert_int_equal(lc_msg_peer_get_request_frame(&in, &f->q), 0);
    assert_int_equal(lc_msg_peer_get_request_decode(&f->arena, take_frame(f), &out, &f->err), 0);
    assert_true(lc_slice_eq(in.key, out.key) && out.from == 7 && out.lineage_count == in.lineage_count);
    for (int by = 0; by < 2; by++) {
      struct lc_msg_peer_get_response reply = {.outcome = LC_OUTCOME_VALUE, .ttl_ms = -1, .keep = true}, got;
      reply.value = lc_slice_of(f->value, size);
      assert_int_equal(lc_msg_peer_get_response_frame(&reply, by ? f : NULL, &ops, &f->q), 0);
      assert_int_equal(f->held, by && size >= LC_MSG_REF_MIN ? 1 : 0);
      assert_int_equal(lc_msg_peer_get_response_decode(&f->arena, take_frame(f), &got, &f->err), 0);
      assert_true(lc_slice_eq(reply.value, got.value) && got.keep && got.ttl_ms == -1);
      assert_int_equal(got.outcome, LC_OUTCOME_VALUE);
    }
  }
}

/* The short ways of the hot messages put the same bytes as the tables. */
static void frames_of_gets_are_what_encode_makes(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 512; i++) {
    struct lc_buf encoded;
    lc_buf_init(&encoded);
    struct lc_msg_peer_get_request in = {.from = i & 1 ? UINT64_MAX : 0, .to = i & 2 ? 1 : 0};
    in.group = lc_slice_of(f->value, i & 4 ? 200 : i & 8 ? 3 : 0);
    in.group.ptr = (const uint8_t *)memset(f->value, 'g', 200);
    in.key = lc_slice_of(f->value, i & 16 ? 312 : i & 32 ? 313 : i & 64 ? 5 : 0);
    in.only_if_cached = i & 128;
    in.refresh = i & 256;
    assert_int_equal(lc_msg_peer_get_request_encode(&in, &encoded), 0);
    assert_int_equal(lc_msg_peer_get_request_frame(&in, &f->q), 0);
    assert_true(lc_slice_eq(take_frame(f), lc_buf_slice(&encoded)));
    struct lc_msg_peer_get_response reply = {.outcome = i & 1 ? LC_OUTCOME_VALUE : i & 2 ? -5 : 0};
    reply.code = i & 4 ? 14 : 0;
    reply.message = lc_slice_of("why", i & 8 ? 3 : 0);
    reply.ttl_ms = i & 16 ? -1 : i & 32 ? INT64_MAX : 0;
    reply.keep = i & 64;
    reply.value = lc_slice_of(f->value, i & 128 ? 4095 : i & 256 ? 4096 : 0);
    encoded.len = 0;
    assert_int_equal(lc_msg_peer_get_response_encode(&reply, &encoded), 0);
    assert_int_equal(lc_msg_peer_get_response_frame(&reply, f, &ops, &f->q), 0);
    assert_true(lc_slice_eq(take_frame(f), lc_buf_slice(&encoded)));
    lc_buf_fini(&encoded);
  }
}

static void a_set_survives_framing(void **state) {
  struct fixture *f = *state;
  for (size_t size = 0; size <= 20000; size = size * 5 + 1) {
    struct lc_msg_peer_set_request in =
                                       {1, 2, lc_slice_str("g"), lc_slice_str("k"), 60000, lc_slice_of(f->value, size)},
                                   out;
    assert_int_equal(lc_msg_peer_set_request_frame(&in, f, &ops, &f->q), 0);
    assert_int_equal(lc_msg_peer_set_request_decode(&f->arena, take_frame(f), &out, &f->err), 0);
    assert_true(lc_slice_eq(in.value, out.value) && lc_slice_eq(in.key, out.key) && out.ttl_ms == 60000);
    assert_true(out.from == 1 && out.to == 2);
  }
}

static void lists_of_large_values_go_by_reference(void **state) {
  struct fixture *f = *state;
  struct lc_msg_peer_get_response results[] = {
      {.outcome = LC_OUTCOME_VALUE, .value = lc_slice_of(f->value, 20000), .owner = f},
      {.outcome = LC_OUTCOME_FAILED, .code = 14, .message = lc_slice_str("caf\xc3\xa9 \xff!")},
      {.outcome = LC_OUTCOME_VALUE, .value = lc_slice_of(f->value, 100), .owner = f},
      {.outcome = LC_OUTCOME_VALUE, .value = lc_slice_of(f->value, 20000)},
  };
  struct lc_msg_peer_batch_get_response in = {LC_OUTCOME_OK, results, 4}, out;
  size_t size = 2;
  for (size_t i = 0; i < 4; i++)
    size += lc_msg_peer_batch_result_size(&results[i]);
  assert_int_equal(lc_msg_peer_batch_get_response_frame(&in, &ops, &f->q), 0);
  assert_int_equal(f->held, 1);
  assert_int_equal(f->q.bytes, LC_GRPC_PREFIX + size);
  assert_int_equal(lc_msg_peer_batch_get_response_decode(&f->arena, take_frame(f), &out, &f->err), 0);
  assert_int_equal(out.outcome, LC_OUTCOME_OK);
  assert_int_equal(out.result_count, 4);
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(out.results[i].outcome, results[i].outcome);
    assert_true(lc_slice_eq(out.results[i].value, results[i].value));
  }
  assert_true(lc_slice_eq(out.results[1].message, lc_slice_str("caf\xc3\xa9 ")));
}

static void a_handover_survives_framing(void **state) {
  struct fixture *f = *state;
  struct lc_msg_applied applied[] = {{1, 2}, {UINT64_MAX, 0}};
  struct lc_msg_handover_item items[] = {
      {lc_slice_str("g"), lc_slice_str("a"), 5, lc_slice_of(f->value, 9000), f},
      {lc_slice_str("g"), lc_slice_str("b"), 0, {0}, f},
  };
  struct lc_msg_handover_request in = {8, 9, applied, 2, items, 2}, out;
  assert_int_equal(lc_msg_handover_request_frame(&in, &ops, &f->q), 0);
  assert_int_equal(f->held, 1);
  struct lc_slice bytes = take_frame(f);
  assert_int_equal(lc_msg_handover_request_decode(&f->arena, bytes, &out, &f->err), 0);
  assert_true(out.from == 8 && out.to == 9 && out.applied_count == 2 && out.item_count == 2);
  assert_true(out.applied[0].process == 1 && out.applied[0].seq == 2 && out.applied[1].process == UINT64_MAX);
  assert_true(lc_slice_eq(out.items[0].value, items[0].value) && out.items[0].ttl_ms == 5);
  assert_true(lc_slice_eq(out.items[1].key, items[1].key));
  out.item_count = 0;
  size_t others = f->buf.len - lc_msg_handover_item_size(&items[0]) - lc_msg_handover_item_size(&items[1]);
  f->buf.len = 0;
  in.item_count = 0;
  assert_int_equal(lc_msg_handover_request_encode(&in, &f->buf), 0);
  assert_int_equal(f->buf.len, others);
}

static void a_frame_that_fails_leaves_the_queue_as_it_was(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct fixture *f = *state;
  struct lc_msg_handover_item items[8];
  for (unsigned i = 0; i < 8; i++)
    items[i] = (struct lc_msg_handover_item){lc_slice_str("g"), {0}, 1, lc_slice_of(f->value, 2500u * i), f};
  struct lc_msg_handover_request msg = {1, 2, NULL, 0, items, 8};
  int failures = 0;
  for (size_t n = 1; n < 30; n++) {
    lc_outq_append(&f->q, "before", 6);
    lc_alloc_fail_at(n);
    int rc = lc_msg_handover_request_frame(&msg, &ops, &f->q);
    lc_alloc_fail_at(0);
    if (rc != 0) {
      failures++;
      assert_int_equal(rc, LC_ENOMEM);
      assert_int_equal(f->q.bytes, 6);
      assert_int_equal(f->held, 0);
    }
    lc_outq_consume(&f->q, f->q.bytes);
  }
  assert_in_range(failures, 5, 28);
}

/* One item more than `max` of that LEN field, all empty: refused before memory is asked for; `max` are taken. */
#define CHECK_BOUND(type_, number_, max_, words_)                                                                      \
  do {                                                                                                                 \
    struct type_ out;                                                                                                  \
    f->buf.len = 0;                                                                                                    \
    for (size_t i = 0; i < (max_); i++)                                                                                \
      lc_buf_append(&f->buf, (uint8_t[]){(number_) << 3 | 2, 0}, 2);                                                   \
    struct lc_slice bytes = lc_buf_slice(&f->buf);                                                                     \
    assert_int_equal(type_##_decode(&f->arena, bytes, &out, &f->err), 0);                                              \
    assert_int_equal(type_##_decode(&none, bytes, &out, &f->err), LC_ENOMEM);                                          \
    lc_buf_append(&f->buf, (uint8_t[]){(number_) << 3 | 2, 0}, 2);                                                     \
    assert_int_equal(type_##_decode(&none, lc_buf_slice(&f->buf), &out, &f->err), LC_EINVAL);                          \
    assert_string_equal(f->err.msg, words_);                                                                           \
  } while (0)

static void lists_have_bounds(void **state) {
  struct fixture *f = *state;
  struct lc_arena none;
  lc_arena_init(&none, NULL, 0, 0);
  CHECK_BOUND(lc_msg_peer_get_request, 7, LC_PEER_LINEAGE_MAX, "9 waiting keys, a lineage has at most 8");
  CHECK_BOUND(lc_msg_peer_batch_get_request, 4, LC_BATCH_KEYS_MAX, "10001 keys, a batch has at most 10000");
  CHECK_BOUND(lc_msg_peer_batch_get_response, 2, LC_BATCH_KEYS_MAX, "10001 results, a batch has at most 10000");
  lc_arena_fini(&none);
}

static void lists_of_writes_and_items_have_bounds(void **state) {
  struct fixture *f = *state;
  struct lc_arena none;
  lc_arena_init(&none, NULL, 0, 0);
  CHECK_BOUND(lc_msg_invalidate_request, 4, LC_PEER_ENTRIES_MAX, "4097 invalidations, a message has at most 4096");
  CHECK_BOUND(lc_msg_handover_request, 3, LC_PEER_APPLIED_MAX, "4097 logs, a message has at most 4096");
  CHECK_BOUND(lc_msg_handover_request, 4, LC_PEER_ENTRIES_MAX, "4097 items, a message has at most 4096");
  lc_arena_fini(&none);
}

static void malformed_messages_are_refused_with_a_reason(void **state) {
  struct fixture *f = *state;
  struct lc_msg_peer_get_request out;
  assert_int_equal(lc_msg_peer_get_request_decode(&f->arena, lc_slice_of("\x09\x01", 2), &out, &f->err), LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed PeerGetRequest: cut short");
  assert_int_equal(lc_msg_peer_get_request_decode(&f->arena, lc_slice_of("\x08\x01", 2), &out, &f->err), LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed PeerGetRequest: field 1: wrong wire type");
  assert_int_equal(lc_msg_peer_get_request_decode(&f->arena, lc_slice_of("\x3a\x02\x0a\x05", 4), &out, &f->err),
                   LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed PeerWaiting or Invalidation: cut short");
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(members_of_hello_are_where_the_proto_has_them),
      TEST(members_of_gets_are_where_the_proto_has_them),
      TEST(members_of_writes_are_where_the_proto_has_them),
      TEST(members_of_invalidate_are_where_the_proto_has_them),
      TEST(members_of_handover_and_leave_are_where_the_proto_has_them),
      TEST(gets_of_all_sizes_survive_framing),
      TEST(frames_of_gets_are_what_encode_makes),
      TEST(a_set_survives_framing),
      TEST(lists_of_large_values_go_by_reference),
      TEST(a_handover_survives_framing),
      TEST(a_frame_that_fails_leaves_the_queue_as_it_was),
      TEST(lists_have_bounds),
      TEST(lists_of_writes_and_items_have_bounds),
      TEST(malformed_messages_are_refused_with_a_reason),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
