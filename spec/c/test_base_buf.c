#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/utf8.h"

static void assert_buf(const struct lc_buf *buf, const char *text) {
  assert_int_equal(buf->len, strlen(text));
  assert_memory_equal(buf->data, text, buf->len);
}

static void test_appends_follow_one_another(void **state) {
  (void)state;
  struct lc_buf buf;
  lc_buf_init(&buf);
  assert_int_equal(lc_buf_append(&buf, NULL, 0), LC_OK);
  lc_buf_str(&buf, "group=");
  lc_buf_append(&buf, "scores", 6);
  lc_buf_char(&buf, ' ');
  lc_buf_printf(&buf, "n=%d", 42);
  assert_buf(&buf, "group=scores n=42");
  assert_false(buf.failed);
  lc_buf_fini(&buf);
}

static void test_it_grows_to_any_length(void **state) {
  (void)state;
  struct lc_buf buf;
  lc_buf_init(&buf);
  for (int i = 0; i < 10000; i++)
    assert_int_equal(lc_buf_printf(&buf, "%07d\n", i), LC_OK);
  assert_int_equal(buf.len, 80000);
  assert_memory_equal(buf.data + 79992, "0009999\n", 8);
  lc_buf_fini(&buf);
}

static void test_reserve_makes_room_without_changing_the_contents(void **state) {
  (void)state;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_buf_str(&buf, "x");
  assert_int_equal(lc_buf_reserve(&buf, 1000), LC_OK);
  assert_true(buf.cap - buf.len >= 1000);
  assert_buf(&buf, "x");
  lc_buf_fini(&buf);
}

static void test_an_impossible_length_fails(void **state) {
  (void)state;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_buf_str(&buf, "x");
  assert_int_equal(lc_buf_reserve(&buf, SIZE_MAX), LC_ENOMEM);
  assert_buf(&buf, "x");
  assert_true(buf.failed);
  lc_buf_fini(&buf);
}

static void test_consume_drops_from_the_front(void **state) {
  (void)state;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_buf_consume(&buf, 0);
  lc_buf_str(&buf, "abcdef");
  lc_buf_consume(&buf, 2);
  assert_buf(&buf, "cdef");
  lc_buf_consume(&buf, 4);
  assert_int_equal(buf.len, 0);
  lc_buf_fini(&buf);
}

static void test_json_strings_are_escaped(void **state) {
  (void)state;
  static const struct {
    struct lc_slice text;
    const char *json;
  } rows[] = {
#define TEXT(s) {(const uint8_t *)(s), sizeof(s) - 1}
      {TEXT(""), "\"\""},
      {TEXT("plain text"), "\"plain text\""},
      {TEXT("a\"b\\c/d"), "\"a\\\"b\\\\c/d\""},
      {TEXT("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\""},
      {TEXT("\0\x1f\x7f"), "\"\\u0000\\u001f\\u007f\""},
      {TEXT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
      {TEXT("a\xff\xc3"), "\"a\\ufffd\\ufffd\""},
      {TEXT("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\""},
      {TEXT("\xc0\x80!"), "\"\\ufffd\\ufffd!\""},
#undef TEXT
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lc_buf buf;
    lc_buf_init(&buf);
    assert_int_equal(lc_buf_json(&buf, rows[i].text), LC_OK);
    assert_buf(&buf, rows[i].json);
    lc_buf_fini(&buf);
  }
}

/* Encodes by RFC 3629's table, whether or not the number is a character. */
static size_t encode(uint32_t point, size_t len, uint8_t *out) {
  static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = len; i-- > 1; point >>= 6)
    out[i] = (uint8_t)(0x80 | (point & 0x3f));
  out[0] = (uint8_t)(lead[len] | point);
  return len;
}

static size_t right_len(uint32_t point) {
  if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
    return 0;
  return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

static void test_utf8_knows_every_character_and_no_other_sequence(void **state) {
  (void)state;
  static const uint32_t limit[] = {0, 0x80, 0x800, 0x10000, 0x200000};
  for (size_t len = 1; len <= 4; len++) {
    for (uint32_t point = 0; point < limit[len]; point++) {
      uint8_t bytes[4];
      struct lc_slice text = lc_slice_of(bytes, encode(point, len, bytes));
      size_t expected = right_len(point) == len ? len : 0;
      if (lc_utf8_char_len(text, 0) != expected)
        fail_msg("U+%04X in %zu bytes", (unsigned)point, len);
      if (len > 1) {
        text.len--;
        assert_int_equal(lc_utf8_char_len(text, 0), 0);
      }
    }
  }
  for (unsigned byte = 0x80; byte < 0xc0; byte++)
    assert_int_equal(lc_utf8_char_len(lc_slice_of(&(uint8_t){(uint8_t)byte}, 1), 0), 0);
}

static void append_all(struct lc_buf *buf) {
  lc_buf_str(buf, "head ");
  lc_buf_json(buf, lc_slice_str("a rather long text that does not fit into the first block of a buffer \x01"));
  lc_buf_printf(buf, "%0100d", 7);
  lc_buf_str(buf, " tail");
}

static void test_each_failing_allocation_is_noticed_at_the_end_of_a_chain(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct lc_buf whole;
  lc_buf_init(&whole);
  lc_alloc_fail_at(0);
  append_all(&whole);
  size_t count = lc_alloc_fail_at(0);
  assert_true(count >= 3);
  for (size_t n = 1; n <= count; n++) {
    struct lc_buf buf;
    lc_buf_init(&buf);
    lc_alloc_fail_at(n);
    append_all(&buf);
    lc_alloc_fail_at(0);
    assert_true(buf.failed);
    assert_true(buf.len < whole.len);
    if (buf.len)
      assert_memory_equal(buf.data, whole.data, buf.len);
    assert_int_equal(lc_buf_char(&buf, 'x'), LC_ENOMEM);
    lc_buf_fini(&buf);
  }
  lc_buf_fini(&whole);
}

static void test_a_failed_json_string_leaves_nothing_behind(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct lc_buf buf;
  char text[200];
  memset(text, 'x', sizeof text);
  text[50] = '\n';
  lc_buf_init(&buf);
  lc_buf_str(&buf, "head");
  lc_alloc_fail_at(1);
  assert_int_equal(lc_buf_json(&buf, lc_slice_of(text, sizeof text)), LC_ENOMEM);
  lc_alloc_fail_at(0);
  assert_buf(&buf, "head");
  lc_buf_fini(&buf);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_appends_follow_one_another),
      cmocka_unit_test(test_it_grows_to_any_length),
      cmocka_unit_test(test_reserve_makes_room_without_changing_the_contents),
      cmocka_unit_test(test_an_impossible_length_fails),
      cmocka_unit_test(test_consume_drops_from_the_front),
      cmocka_unit_test(test_json_strings_are_escaped),
      cmocka_unit_test(test_utf8_knows_every_character_and_no_other_sequence),
      cmocka_unit_test(test_each_failing_allocation_is_noticed_at_the_end_of_a_chain),
      cmocka_unit_test(test_a_failed_json_string_leaves_nothing_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
