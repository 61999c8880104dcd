#include "wire/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "wire/grpc.h"

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

static void get_responses_of_all_sizes_survive_framing(void **state) {
  struct fixture *f = *state;
  const size_t sizes[] = {0, 1, 127, 128, 4095, 4096, 20000};
  const int64_t ttls[] = {0, 1, 59000, -1, INT64_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    for (size_t k = 0; k < 10; k++) {
      struct lc_msg_get_response in = {lc_slice_of(f->value, sizes[i]), ttls[k % 5], (int)k % 6}, out;
      assert_int_equal(lc_msg_get_response_frame(&in, k < 5 ? f : NULL, &ops, &f->q), 0);
      assert_int_equal(f->held, k < 5 && sizes[i] >= LC_MSG_REF_MIN ? 1 : 0);
      assert_int_equal(lc_msg_get_response_decode(&f->arena, take_frame(f), &out, &f->err), 0);
      assert_true(lc_slice_eq(in.value, out.value));
      assert_int_equal(in.ttl_ms, out.ttl_ms);
      assert_int_equal(in.served_from, out.served_from);
      assert_int_equal(f->held, 0);
    }
  }
}

static void a_large_value_is_queued_by_reference(void **state) {
  struct fixture *f = *state;
  struct lc_msg_get_response msg = {lc_slice_of(f->value, 20000), 0, LC_MSG_FROM_STORE};
  assert_int_equal(lc_msg_get_response_frame(&msg, f, &ops, &f->q), 0);
  struct lc_slice runs[3];
  assert_int_equal(lc_outq_peek(&f->q, runs, 3), 2);
  assert_ptr_equal(runs[1].ptr, f->value);
  assert_int_equal(runs[1].len, 20000);
}

static void set_and_pb_messages_survive_framing(void **state) {
  struct fixture *f = *state;
  for (size_t size = 0; size <= 20000; size = size * 5 + 1) {
    struct lc_msg_set_request set = {lc_slice_str("scores"), lc_slice_of("k\0", 2), lc_slice_of(f->value, size), -1},
                              out;
    assert_int_equal(lc_msg_set_request_frame(&set, f, &ops, &f->q), 0);
    assert_int_equal(lc_msg_set_request_decode(&f->arena, take_frame(f), &out, &f->err), 0);
    assert_true(lc_slice_eq(set.group, out.group) && lc_slice_eq(set.key, out.key) &&
                lc_slice_eq(set.value, out.value));
    assert_int_equal(out.ttl_ms, -1);
    struct lc_msg_pb_get_response pb = {lc_slice_of(f->value, size)}, pb_out;
    assert_int_equal(lc_msg_pb_get_response_frame(&pb, f, &ops, &f->q), 0);
    assert_int_equal(lc_msg_pb_get_response_decode(&f->arena, take_frame(f), &pb_out, &f->err), 0);
    assert_true(lc_slice_eq(pb.value, pb_out.value));
  }
}

static void batch_responses_survive_framing_and_encoding(void **state) {
  struct fixture *f = *state;
  struct lc_msg_batch_result results[] = {
      {lc_slice_str("a"), lc_slice_of(f->value, 10), 0, {0}, LC_MSG_FROM_STORE, f},
      {lc_slice_str("b"), {0}, 5, lc_slice_str("no such key"), 0, NULL},
      {lc_slice_of("", 0), lc_slice_of(f->value, 20000), 0, {0}, LC_MSG_FROM_SOURCE, f},
      {{0}, {0}, 0, {0}, 0, NULL},
  };
  struct lc_msg_batch_get_response in = {results, 4}, out;
  size_t total = 0;
  for (size_t i = 0; i < 4; i++)
    total += lc_msg_batch_result_size(&results[i]);
  for (int way = 0; way < 2; way++) {
    struct lc_slice bytes;
    if (way == 0) {
      assert_int_equal(lc_msg_batch_get_response_frame(&in, &ops, &f->q), 0);
      assert_int_equal(f->held, 1);
      bytes = take_frame(f);
    } else {
      f->buf.len = 0;
      assert_int_equal(lc_msg_batch_get_response_encode(&in, &f->buf), 0);
      bytes = lc_buf_slice(&f->buf);
    }
    assert_int_equal(bytes.len, total);
    assert_int_equal(lc_msg_batch_get_response_decode(&f->arena, bytes, &out, &f->err), 0);
    assert_int_equal(out.result_count, 4);
    for (size_t i = 0; i < 4; i++) {
      assert_true(lc_slice_eq(results[i].key, out.results[i].key));
      assert_true(lc_slice_eq(results[i].value, out.results[i].value));
      assert_true(lc_slice_eq(results[i].message, out.results[i].message));
      assert_int_equal(results[i].code, out.results[i].code);
      assert_int_equal(results[i].served_from, out.results[i].served_from);
    }
  }
}

static void a_message_that_is_not_utf8_is_cut_not_sent(void **state) {
  struct fixture *f = *state;
  struct lc_msg_batch_result result = {lc_slice_str("a"), {0}, 14, lc_slice_str("caf\xc3\xa9 \xff!"), 0, NULL};
  struct lc_msg_batch_get_response in = {&result, 1}, out;
  assert_int_equal(lc_msg_batch_get_response_frame(&in, &ops, &f->q), 0);
  assert_int_equal(lc_msg_batch_get_response_decode(&f->arena, take_frame(f), &out, &f->err), 0);
  assert_true(lc_slice_eq(out.results[0].message, lc_slice_str("caf\xc3\xa9 ")));
  f->buf.len = 0;
  assert_int_equal(lc_msg_batch_get_response_encode(&in, &f->buf), 0);
  assert_int_equal(f->buf.len, lc_msg_batch_result_size(&result));
  assert_int_equal(lc_msg_batch_get_response_decode(&f->arena, lc_buf_slice(&f->buf), &out, &f->err), 0);
  assert_int_equal(out.results[0].message.len, 6);
}

static void a_frame_that_fails_leaves_the_queue_as_it_was(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct fixture *f = *state;
  struct lc_msg_batch_result results[8];
  for (int i = 0; i < 8; i++)
    results[i] =
        (struct lc_msg_batch_result){lc_slice_str("key"), lc_slice_of(f->value, 3000u * (unsigned)i), 0, {0}, 1, f};
  struct lc_msg_batch_get_response batch = {results, 8};
  struct lc_msg_get_response get = {lc_slice_of(f->value, 20000), 1, 1};
  struct lc_msg_set_request set = {lc_slice_str("g"), lc_slice_str("k"), lc_slice_of(f->value, 20000), 1};
  int failures = 0;
  for (size_t n = 1; n < 30; n++) {
    for (int kind = 0; kind < 3; kind++) {
      lc_outq_append(&f->q, "before", 6);
      lc_alloc_fail_at(n);
      int rc = kind == 0   ? lc_msg_batch_get_response_frame(&batch, &ops, &f->q)
               : kind == 1 ? lc_msg_get_response_frame(&get, f, &ops, &f->q)
                           : lc_msg_set_request_frame(&set, f, &ops, &f->q);
      lc_alloc_fail_at(0);
      if (rc != 0) {
        failures++;
        assert_int_equal(rc, LC_ENOMEM);
        assert_int_equal(f->q.bytes, 6);
        assert_int_equal(f->held, 0);
      }
      lc_outq_consume(&f->q, f->q.bytes);
    }
  }
  assert_in_range(failures, 8, 40);
}

static void a_batch_has_at_most_ten_thousand_keys(void **state) {
  struct fixture *f = *state;
  struct lc_slice *keys = calloc(10001, sizeof *keys);
  struct lc_msg_batch_get_request in = {lc_slice_str("scores"), keys, 10000}, out;
  for (size_t i = 0; i < 10001; i++)
    keys[i] = lc_slice_of(f->value + i, i % 5);
  assert_int_equal(lc_msg_batch_get_request_encode(&in, &f->buf), 0);
  assert_int_equal(lc_msg_batch_get_request_decode(&f->arena, lc_buf_slice(&f->buf), &out, &f->err), 0);
  assert_int_equal(out.key_count, 10000);
  assert_true(lc_slice_eq(out.group, in.group));
  for (size_t i = 0; i < 10000; i++)
    assert_true(lc_slice_eq(out.keys[i], keys[i]));
  in.key_count = 10001;
  f->buf.len = 0;
  struct lc_arena none;
  lc_arena_init(&none, NULL, 0, 0); /* refused before memory is asked for */
  assert_int_equal(lc_msg_batch_get_request_encode(&in, &f->buf), 0);
  assert_int_equal(lc_msg_batch_get_request_decode(&none, lc_buf_slice(&f->buf), &out, &f->err), LC_EINVAL);
  assert_string_equal(f->err.msg, "10001 keys, a batch has at most 10000");
  lc_arena_fini(&none);
  free(keys);
}

static int decode_get(struct fixture *f, const char *bytes, size_t len) {
  struct lc_msg_get_request out;
  return lc_msg_get_request_decode(&f->arena, lc_slice_of(bytes, len), &out, &f->err);
}

static void malformed_requests_are_refused_with_a_reason(void **state) {
  struct fixture *f = *state;
  assert_int_equal(decode_get(f, "", 0), 0);
  assert_int_equal(decode_get(f, "\x0a\x03xy", 4), LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed GetRequest: cut short");
  assert_int_equal(decode_get(f, "\x0a\x02\xff\xfe", 4), LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed GetRequest: field 1: not UTF-8");
  assert_int_equal(decode_get(f, "\x08\x02", 2), LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed GetRequest: field 1: wrong wire type");
  assert_int_equal(decode_get(f, "\x03", 1), LC_EPROTO);
  assert_int_equal(decode_get(f, "\x02\x00", 2), LC_EPROTO);
  assert_int_equal(decode_get(f, "\x0a\xff\xff\xff\xff\x0f", 6), LC_EPROTO);
  assert_int_equal(decode_get(f, "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11), LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed GetRequest: a number over 64 bits");
  assert_int_equal(lc_msg_empty_decode(lc_slice_of("\x0a\x01", 2), NULL), LC_EPROTO);
  assert_int_equal(lc_msg_empty_decode(lc_slice_of("\x0a\x01x\x10\x05", 5), NULL), 0);
}

static void keys_that_differ_behind_a_nul_stay_two_keys(void **state) {
  struct fixture *f = *state;
  struct lc_msg_pb_request out;
  const char bytes[] = "\x12\x03"
                       "a\0b";
  assert_int_equal(lc_msg_pb_request_decode(&f->arena, lc_slice_of(bytes, 5), &out, &f->err), 0);
  assert_int_equal(out.key.len, 3);
}

static void unknown_fields_are_skipped(void **state) {
  struct fixture *f = *state;
  const char bytes[] = "\x7a\x03zzz\x80\x01\x05\x85\x01wxyz\x81\x01"
                       "01234567\x12\x01k";
  struct lc_msg_get_request out;
  assert_int_equal(lc_msg_get_request_decode(&f->arena, lc_slice_of(bytes, sizeof bytes - 1), &out, &f->err), 0);
  assert_int_equal(out.key.len, 1);
  assert_int_equal(out.key.ptr[0], 'k');
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(get_responses_of_all_sizes_survive_framing),  TEST(a_large_value_is_queued_by_reference),
      TEST(set_and_pb_messages_survive_framing),         TEST(batch_responses_survive_framing_and_encoding),
      TEST(a_message_that_is_not_utf8_is_cut_not_sent),  TEST(a_frame_that_fails_leaves_the_queue_as_it_was),
      TEST(a_batch_has_at_most_ten_thousand_keys),       TEST(malformed_requests_are_refused_with_a_reason),
      TEST(keys_that_differ_behind_a_nul_stay_two_keys), TEST(unknown_fields_are_skipped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
