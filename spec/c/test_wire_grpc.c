#include "wire/grpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"

static void codes_become_the_statuses_of_the_design(void **state) {
  (void)state;
  assert_int_equal(lc_grpc_status_of(LC_OK), 0);
  assert_int_equal(lc_grpc_status_of(LC_ENOTFOUND), 5);
  assert_int_equal(lc_grpc_status_of(LC_EINVAL), 3);
  assert_int_equal(lc_grpc_status_of(LC_ETOOBIG), 3);
  assert_int_equal(lc_grpc_status_of(LC_EDEADLINE), 4);
  assert_int_equal(lc_grpc_status_of(LC_EUNAVAILABLE), 14);
  assert_int_equal(lc_grpc_status_of(LC_EINTERNAL), 13);
  assert_int_equal(lc_grpc_status_of(LC_EEXHAUSTED), 8);
  assert_int_equal(lc_grpc_status_of(LC_ENOMEM), 8);
  assert_int_equal(lc_grpc_status_of(-999), LC_GRPC_UNKNOWN);
}

static void a_status_comes_back_as_a_code_of_the_same_status(void **state) {
  (void)state;
  const int known[] = {0, 1, 3, 4, 5, 8, 12, 13, 14};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    assert_int_equal(lc_grpc_status_of(lc_grpc_code_of(known[i])), known[i]);
  assert_int_equal(lc_grpc_code_of(5), LC_ENOTFOUND);
  assert_int_equal(lc_grpc_code_of(8), LC_EEXHAUSTED);
  assert_int_equal(lc_grpc_code_of(99), LC_EINTERNAL);
  assert_string_equal(lc_grpc_status_name(5), "NOT_FOUND");
  assert_string_equal(lc_grpc_status_name(16), "UNAUTHENTICATED");
  assert_string_equal(lc_grpc_status_name(-1), "UNKNOWN");
  assert_string_equal(lc_grpc_status_name(17), "UNKNOWN");
}

static uint64_t timeout_of(const char *text) {
  uint64_t ms = 0;
  return lc_grpc_parse_timeout(lc_slice_str(text), &ms) == 0 ? ms : UINT64_MAX;
}

static void timeouts_are_read_and_rounded_up_to_milliseconds(void **state) {
  (void)state;
  assert_int_equal(timeout_of("100m"), 100);
  assert_int_equal(timeout_of("0m"), 0);
  assert_int_equal(timeout_of("1n"), 1);
  assert_int_equal(timeout_of("1000000n"), 1);
  assert_int_equal(timeout_of("1000001n"), 2);
  assert_int_equal(timeout_of("99999999u"), 100000);
  assert_int_equal(timeout_of("5S"), 5000);
  assert_int_equal(timeout_of("2M"), 120000);
  assert_int_equal(timeout_of("99999999H"), 99999999ull * 3600000);
}

static void malformed_timeouts_are_refused(void **state) {
  (void)state;
  const char *bad[] = {"", "m", "5", "5s", "-5S", "5 S", "123456789m", "1.5S", "5SS", "S5"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(timeout_of(bad[i]), UINT64_MAX);
}

static void timeouts_are_written_in_the_shortest_form_that_is_not_later(void **state) {
  (void)state;
  const struct {
    uint64_t ms;
    const char *text;
  } rows[] = {{0, "0m"},
              {1, "1m"},
              {1500, "1500m"},
              {5000, "5S"},
              {60000, "1M"},
              {7200000, "2H"},
              {99999999, "99999999m"},
              {100000001, "100000S"},
              {UINT64_MAX, "99999999H"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char out[16];
    lc_grpc_format_timeout(rows[i].ms, out);
    assert_string_equal(out, rows[i].text);
  }
  srand(3);
  for (int i = 0; i < 20000; i++) {
    char out[16];
    uint64_t ms = ((uint64_t)rand() << 31 | (uint64_t)rand()) >> (rand() % 62), back;
    lc_grpc_format_timeout(ms, out);
    assert_int_equal(lc_grpc_parse_timeout(lc_slice_str(out), &back), 0);
    assert_true(back <= ms);
    assert_true(ms < 100000000 ? back == ms : back >= ms / 1000 * 999 || ms > 300000000000000ull);
  }
}

static void messages_are_percent_encoded_and_come_back(void **state) {
  (void)state;
  struct lc_buf out, back;
  lc_buf_init(&out);
  lc_buf_init(&back);
  assert_int_equal(lc_grpc_encode_message(lc_slice_str("50% of \xc3\xa9\n ~"), &out), 0);
  assert_int_equal(out.len, strlen("50%25 of %C3%A9%0A ~"));
  assert_memory_equal(out.data, "50%25 of %C3%A9%0A ~", out.len);
  assert_int_equal(lc_grpc_decode_message(lc_buf_slice(&out), &back), 0);
  assert_memory_equal(back.data, "50% of \xc3\xa9\n ~", back.len);
  uint8_t all[256];
  for (int i = 0; i < 256; i++)
    all[i] = (uint8_t)i;
  out.len = back.len = 0;
  assert_int_equal(lc_grpc_encode_message(lc_slice_of(all, 256), &out), 0);
  for (size_t i = 0; i < out.len; i++)
    assert_in_range(out.data[i], 0x20, 0x7e);
  assert_int_equal(lc_grpc_decode_message(lc_buf_slice(&out), &back), 0);
  assert_int_equal(back.len, 256);
  assert_memory_equal(back.data, all, 256);
  lc_buf_fini(&out);
  lc_buf_fini(&back);
}

static void a_broken_escape_is_kept(void **state) {
  (void)state;
  struct lc_buf out;
  lc_buf_init(&out);
  assert_int_equal(lc_grpc_decode_message(lc_slice_str("a%4 %zz%41%"), &out), 0);
  assert_int_equal(out.len, 9);
  assert_memory_equal(out.data, "a%4 %zzA%", 9);
  lc_buf_fini(&out);
}

struct stream {
  uint8_t *bytes;
  size_t len;
};

/* Messages of the given lengths, with their prefixes; the i-th is filled with i + 1. */
static struct stream frames(const size_t *lens, size_t count) {
  struct stream stream = {malloc(1), 0};
  for (size_t i = 0; i < count; i++) {
    stream.bytes = realloc(stream.bytes, stream.len + LC_GRPC_PREFIX + lens[i] + 1);
    lc_grpc_write_prefix(stream.bytes + stream.len, (uint32_t)lens[i]);
    memset(stream.bytes + stream.len + LC_GRPC_PREFIX, (int)i + 1, lens[i]);
    stream.len += LC_GRPC_PREFIX + lens[i];
  }
  return stream;
}

static void assert_message(struct lc_slice message, size_t len, int fill) {
  assert_int_equal(message.len, len);
  for (size_t i = 0; i < len; i++)
    assert_int_equal(message.ptr[i], fill);
}

static void messages_come_out_however_the_bytes_are_cut(void **state) {
  (void)state;
  const size_t lens[] = {0, 1, 5, 300, 0, 70000, 4096, 2, 0};
  enum { COUNT = sizeof lens / sizeof *lens };
  struct stream stream = frames(lens, COUNT);
  for (size_t cut = 1; cut <= stream.len; cut = cut < 12 ? cut + 1 : cut * 3) {
    struct lc_arena arena;
    lc_arena_init(&arena, NULL, 0, 1 << 20);
    struct lc_grpc_deframer deframer;
    lc_grpc_deframer_init(&deframer, &arena, 100000);
    size_t got = 0;
    for (size_t at = 0; at < stream.len; at += cut) {
      size_t len = stream.len - at < cut ? stream.len - at : cut;
      uint8_t *run = malloc(len);
      memcpy(run, stream.bytes + at, len);
      struct lc_slice in = lc_slice_of(run, len), message;
      int rc;
      while ((rc = lc_grpc_deframe(&deframer, &in, &message)) == 1) {
        assert_message(message, lens[got], (int)got + 1);
        got++;
      }
      assert_int_equal(rc, 0);
      assert_int_equal(in.len, 0);
      free(run);
    }
    assert_int_equal(got, COUNT);
    assert_false(lc_grpc_deframer_partial(&deframer));
    lc_arena_fini(&arena);
  }
  free(stream.bytes);
}

static void a_whole_message_is_not_copied(void **state) {
  (void)state;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 0); /* has no memory to give */
  struct lc_grpc_deframer deframer;
  lc_grpc_deframer_init(&deframer, &arena, 1 << 20);
  struct stream stream = frames((const size_t[]){50000}, 1);
  struct lc_slice in = lc_slice_of(stream.bytes, stream.len), message;
  assert_int_equal(lc_grpc_deframe(&deframer, &in, &message), 1);
  assert_ptr_equal(message.ptr, stream.bytes + LC_GRPC_PREFIX);
  free(stream.bytes);
  lc_arena_fini(&arena);
}

static void a_message_over_the_limit_is_refused_from_its_prefix_without_memory(void **state) {
  (void)state;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 1 << 20);
  struct lc_grpc_deframer deframer;
  lc_grpc_deframer_init(&deframer, &arena, 1000);
  uint8_t prefix[LC_GRPC_PREFIX];
  lc_grpc_write_prefix(prefix, 1001);
  struct lc_slice in = lc_slice_of(prefix, LC_GRPC_PREFIX), message;
  assert_int_equal(lc_grpc_deframe(&deframer, &in, &message), LC_ETOOBIG);
  assert_int_equal(arena.used_bytes, 0);
  lc_grpc_deframer_init(&deframer, &arena, 1000);
  lc_grpc_write_prefix(prefix, 1000);
  in = lc_slice_of(prefix, LC_GRPC_PREFIX);
  assert_int_equal(lc_grpc_deframe(&deframer, &in, &message), 0);
  assert_true(lc_grpc_deframer_partial(&deframer));
  lc_arena_fini(&arena);
}

static void a_compressed_message_is_refused(void **state) {
  (void)state;
  struct lc_grpc_deframer deframer;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 1 << 20);
  for (int cut = 0; cut < 2; cut++) {
    lc_grpc_deframer_init(&deframer, &arena, 1000);
    struct lc_slice in = lc_slice_of("\1\0\0\0\0", cut ? 1 : 5), message;
    assert_int_equal(lc_grpc_deframe(&deframer, &in, &message), LC_EPROTO);
  }
  lc_arena_fini(&arena);
}

static void memory_follows_the_bytes_that_came_not_the_prefix(void **state) {
  (void)state;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 64 << 20);
  struct lc_grpc_deframer deframer;
  lc_grpc_deframer_init(&deframer, &arena, 32 << 20);
  uint8_t prefix[LC_GRPC_PREFIX];
  lc_grpc_write_prefix(prefix, 16 << 20);
  struct lc_slice in = lc_slice_of(prefix, LC_GRPC_PREFIX), message;
  assert_int_equal(lc_grpc_deframe(&deframer, &in, &message), 0);
  assert_int_equal(arena.used_bytes, 0);
  uint8_t *run = calloc(1, 1 << 16);
  size_t came = 0;
  while (came < 16 << 20) {
    size_t len = came < 65536 ? 100 : 1 << 16;
    if (came + len > 16 << 20)
      len = (16 << 20) - came;
    in = lc_slice_of(run, len);
    came += len;
    assert_int_equal(lc_grpc_deframe(&deframer, &in, &message), came == 16 << 20);
    assert_true(arena.used_bytes <= 16384 + 6 * came);
  }
  assert_true(arena.used_bytes <= (16 << 20) / 3 * 4 + 100000);
  free(run);
  lc_arena_fini(&arena);
}

static void no_memory_for_a_message_is_an_error(void **state) {
  (void)state;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 2000);
  struct lc_grpc_deframer deframer;
  lc_grpc_deframer_init(&deframer, &arena, 1 << 20);
  struct stream stream = frames((const size_t[]){50000}, 1);
  struct lc_slice in = lc_slice_of(stream.bytes, 4000), message;
  assert_int_equal(lc_grpc_deframe(&deframer, &in, &message), LC_ENOMEM);
  free(stream.bytes);
  lc_arena_fini(&arena);
}

static void a_message_is_queued_with_its_prefix(void **state) {
  (void)state;
  struct lc_mempool *pool = lc_mempool_create(0);
  struct lc_outq q;
  lc_outq_init(&q, pool);
  assert_int_equal(lc_grpc_frame(&q, lc_slice_str("hello")), 0);
  uint8_t out[10];
  assert_int_equal(q.bytes, 10);
  lc_outq_read(&q, out, 10);
  assert_memory_equal(out, "\0\0\0\0\5hello", 10);
  for (size_t n = 1; lc_alloc_faults_built() && n < 3; n++) {
    uint8_t large[5000] = {0};
    lc_alloc_fail_at(n);
    int rc = lc_grpc_frame(&q, lc_slice_of(large, sizeof large));
    lc_alloc_fail_at(0);
    assert_int_equal(rc, LC_ENOMEM);
    assert_int_equal(q.bytes, 0);
  }
  lc_outq_fini(&q);
  lc_mempool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(codes_become_the_statuses_of_the_design),
      cmocka_unit_test(a_status_comes_back_as_a_code_of_the_same_status),
      cmocka_unit_test(timeouts_are_read_and_rounded_up_to_milliseconds),
      cmocka_unit_test(malformed_timeouts_are_refused),
      cmocka_unit_test(timeouts_are_written_in_the_shortest_form_that_is_not_later),
      cmocka_unit_test(messages_are_percent_encoded_and_come_back),
      cmocka_unit_test(a_broken_escape_is_kept),
      cmocka_unit_test(messages_come_out_however_the_bytes_are_cut),
      cmocka_unit_test(a_whole_message_is_not_copied),
      cmocka_unit_test(a_message_over_the_limit_is_refused_from_its_prefix_without_memory),
      cmocka_unit_test(a_compressed_message_is_refused),
      cmocka_unit_test(memory_follows_the_bytes_that_came_not_the_prefix),
      cmocka_unit_test(no_memory_for_a_message_is_an_error),
      cmocka_unit_test(a_message_is_queued_with_its_prefix),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
