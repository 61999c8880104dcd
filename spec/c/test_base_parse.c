#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/parse.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct good {
  const char *word;
  uint64_t value;
};

struct bad {
  const char *word;
  const char *message;
};

typedef int (*parse_fn)(const char *word, uint64_t *value, struct lc_err *err);

static void assert_good(parse_fn parse, const struct good *rows, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct lc_err err = {0};
    uint64_t value = 12345;
    if (parse(rows[i].word, &value, &err) != LC_OK || value != rows[i].value)
      fail_msg("%s: %llu, %s", rows[i].word, (unsigned long long)value, err.msg);
  }
}

static void assert_bad(parse_fn parse, const struct bad *rows, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct lc_err err = {0};
    uint64_t value = 12345;
    assert_int_equal(parse(rows[i].word, &value, &err), LC_EINVAL);
    assert_int_equal(err.code, LC_EINVAL);
    assert_string_equal(err.msg, rows[i].message);
    assert_int_equal(value, 12345);
  }
}

static void test_sizes(void **state) {
  (void)state;
  static const struct good rows[] = {
      {"0", 0},
      {"4096", 4096},
      {"64KB", 65536},
      {"64kb", 65536},
      {"256MB", 268435456},
      {"256Mb", 268435456},
      {"1GB", 1073741824},
      {"0001KB", 1024},
      {"18446744073709551615", UINT64_MAX},
      {"17179869183GB", UINT64_C(17179869183) << 30},
  };
  assert_good(lc_parse_size, rows, COUNT(rows));
}

static void test_words_that_are_no_sizes(void **state) {
  (void)state;
  static const struct bad rows[] = {
      {"12XB", "12XB: not a size, use 256MB"},
      {"", "\"\": not a size, use 256MB"},
      {"MB", "MB: not a size, use 256MB"},
      {"-1", "-1: not a size, use 256MB"},
      {"+1", "+1: not a size, use 256MB"},
      {" 1MB", " 1MB: not a size, use 256MB"},
      {"1MB ", "1MB : not a size, use 256MB"},
      {"1 MB", "1 MB: not a size, use 256MB"},
      {"1.5GB", "1.5GB: not a size, use 256MB"},
      {"1MBs", "1MBs: not a size, use 256MB"},
      {"0x10", "0x10: not a size, use 256MB"},
      {"18446744073709551616", "18446744073709551616: too large for a size, use 256MB"},
      {"17179869184GB", "17179869184GB: too large for a size, use 256MB"},
      {"99999999999999999999999KB", "99999999999999999999999KB: too large for a size, use 256MB"},
  };
  assert_bad(lc_parse_size, rows, COUNT(rows));
}

static void test_durations(void **state) {
  (void)state;
  static const struct good rows[] = {
      {"0", 0},
      {"250ms", 250},
      {"60s", 60000},
      {"5m", 300000},
      {"1h", 3600000},
      {"1.5s", 1500},
      {"0.25", 250},
      {"60", 60000},
      {"1.5h", 5400000},
      {"0.4ms", 1},
      {"0.0s", 0},
      {"1.0000000001ms", 2},
      {"0.001", 1},
      {"0.0010", 1},
      {"0.999999s", 1000},
      {"2.000000000000", 2000},
      {"876000h", UINT64_C(3153600000000)},
  };
  assert_good(lc_parse_duration_ms, rows, COUNT(rows));
}

static void test_words_that_are_no_durations(void **state) {
  (void)state;
  static const struct bad rows[] = {
      {"soon", "soon: not a duration, use 60s"},
      {"", "\"\": not a duration, use 60s"},
      {"s", "s: not a duration, use 60s"},
      {".5s", ".5s: not a duration, use 60s"},
      {"5.s", "5.s: not a duration, use 60s"},
      {"1.2.3", "1.2.3: not a duration, use 60s"},
      {"-1s", "-1s: not a duration, use 60s"},
      {"60S", "60S: not a duration, use 60s"},
      {"60 s", "60 s: not a duration, use 60s"},
      {"1d", "1d: not a duration, use 60s"},
      {"1e3", "1e3: not a duration, use 60s"},
      {"876001h", "876001h: too long for a duration, use 60s"},
      {"18446744073709551616ms", "18446744073709551616ms: too long for a duration, use 60s"},
  };
  assert_bad(lc_parse_duration_ms, rows, COUNT(rows));
}

static int parse_workers(const char *word, uint64_t *value, struct lc_err *err) {
  return lc_parse_uint(word, 1, 64, value, err);
}

static void test_numbers_within_bounds(void **state) {
  (void)state;
  static const struct good rows[] = {{"1", 1}, {"64", 64}, {"007", 7}};
  assert_good(parse_workers, rows, COUNT(rows));
  uint64_t value;
  assert_int_equal(lc_parse_uint("18446744073709551615", 0, UINT64_MAX, &value, NULL), LC_OK);
  assert_true(value == UINT64_MAX);
}

static void test_words_that_are_no_numbers_within_bounds(void **state) {
  (void)state;
  static const struct bad rows[] = {
      {"0", "0: not a number from 1 to 64"},
      {"65", "65: not a number from 1 to 64"},
      {"", "\"\": not a number from 1 to 64"},
      {"two", "two: not a number from 1 to 64"},
      {"2x", "2x: not a number from 1 to 64"},
      {"-2", "-2: not a number from 1 to 64"},
      {"18446744073709551618", "18446744073709551618: not a number from 1 to 64"},
  };
  assert_bad(parse_workers, rows, COUNT(rows));
}

static void test_an_err_may_be_left_out(void **state) {
  (void)state;
  uint64_t value;
  assert_int_equal(lc_parse_size("12XB", &value, NULL), LC_EINVAL);
}

static void test_a_long_word_is_cut_but_the_advice_is_not(void **state) {
  (void)state;
  char word[2000];
  memset(word, 'x', sizeof word);
  word[sizeof word - 1] = '\0';
  struct lc_err err;
  uint64_t value;
  lc_parse_size(word, &value, &err);
  assert_non_null(strstr(err.msg, "x: not a size, use 256MB"));
}

static void test_addresses(void **state) {
  (void)state;
  static const struct {
    const char *word, *host;
    uint16_t port;
  } rows[] = {
      {"127.0.0.1:8001", "127.0.0.1", 8001},
      {"localhost:0", "localhost", 0},
      {"cache-1.svc_a.example.org:65535", "cache-1.svc_a.example.org", 65535},
      {"[::1]:8001", "::1", 8001},
      {"[::]:80", "::", 80},
      {"[fe80::1%eth0]:80", "fe80::1%eth0", 80},
      {"[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    struct lc_address address;
    struct lc_err err = {0};
    char text[LC_HOST_SIZE + 9];
    if (lc_parse_address(rows[i].word, &address, &err) != LC_OK)
      fail_msg("%s", err.msg);
    assert_string_equal(address.host, rows[i].host);
    assert_int_equal(address.port, rows[i].port);
    lc_format_address(&address, text, sizeof text);
    assert_string_equal(text, rows[i].word);
  }
}

static void test_sizes_are_written_in_the_largest_unit_that_fits(void **state) {
  (void)state;
  static const struct {
    uint64_t bytes;
    const char *text;
  } rows[] = {{0, "0"},
              {1000, "1000"},
              {1024, "1KB"},
              {1536, "1536"},
              {64u << 20, "64MB"},
              {UINT64_C(3) << 30, "3GB"},
              {UINT64_C(1) << 50, "1048576GB"},
              {UINT64_MAX, "18446744073709551615"}};
  for (size_t i = 0; i < COUNT(rows); i++) {
    char text[LC_SIZE_TEXT];
    assert_string_equal(lc_format_size(rows[i].bytes, text), rows[i].text);
    uint64_t bytes;
    assert_int_equal(lc_parse_size(text, &bytes, NULL), 0);
    assert_true(bytes == rows[i].bytes);
  }
}

static void test_words_that_are_no_addresses(void **state) {
  (void)state;
  static const struct bad rows[] = {
      {"", "\"\": not an address (no port), use 127.0.0.1:8001"},
      {"localhost", "localhost: not an address (no port), use 127.0.0.1:8001"},
      {"[::1]", "[::1]: not an address (no port), use 127.0.0.1:8001"},
      {"8080", "8080: not an address (no host), use 127.0.0.1:8080"},
      {":9000", ":9000: not an address (no host), use 127.0.0.1:9000"},
      {":", ":: not an address (no host), use 127.0.0.1:8001"},
      {"70000", "70000: not an address (no port), use 127.0.0.1:8001"},
      {"localhost:", "localhost:: not an address (port not from 0 to 65535), use 127.0.0.1:8001"},
      {"localhost:70000", "localhost:70000: not an address (port not from 0 to 65535), use 127.0.0.1:8001"},
      {"localhost:http", "localhost:http: not an address (port not from 0 to 65535), use 127.0.0.1:8001"},
      {"localhost:-1", "localhost:-1: not an address (port not from 0 to 65535), use 127.0.0.1:8001"},
      {"::1:8001", "::1:8001: not an address (IPv6 hosts go in brackets), use [::1]:8001"},
      {"a b:80", "a b:80: not an address (bad host name), use 127.0.0.1:8001"},
      {"http://x:80", "http://x:80: not an address (bad host name), use 127.0.0.1:8001"},
      {"[]:80", "[]:80: not an address (not IPv6 in the brackets), use [::1]:8001"},
      {"[localhost]:80", "[localhost]:80: not an address (not IPv6 in the brackets), use [::1]:8001"},
      {"[::1%]:80", "[::1%]:80: not an address (not IPv6 in the brackets), use [::1]:8001"},
      {"[::1:80", "[::1:80: not an address (brackets don't match), use [::1]:8001"},
      {"[::1]x:80", "[::1]x:80: not an address (brackets don't match), use [::1]:8001"},
      {"::1]:80", "::1]:80: not an address (bad host name), use 127.0.0.1:8001"},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    struct lc_address address;
    struct lc_err err = {0};
    assert_int_equal(lc_parse_address(rows[i].word, &address, &err), LC_EINVAL);
    assert_string_equal(err.msg, rows[i].message);
  }
}

static void test_the_longest_host_fits_and_one_more_is_refused(void **state) {
  (void)state;
  static const char port[] = ":65535";
  char word[LC_HOST_SIZE + 10], text[LC_HOST_SIZE + 9];
  struct lc_address address;
  struct lc_err err;
  memset(word, 'h', sizeof word);
  memcpy(word + LC_HOST_SIZE - 1, port, sizeof port);
  assert_int_equal(lc_parse_address(word, &address, &err), LC_OK);
  lc_format_address(&address, text, sizeof text);
  assert_string_equal(text, word);
  memset(word, 'h', sizeof word);
  memcpy(word + LC_HOST_SIZE, port, sizeof port);
  assert_int_equal(lc_parse_address(word, &address, &err), LC_EINVAL);
  assert_non_null(strstr(err.msg, "(host name too long)"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_words_that_are_no_sizes),
      cmocka_unit_test(test_durations),
      cmocka_unit_test(test_words_that_are_no_durations),
      cmocka_unit_test(test_numbers_within_bounds),
      cmocka_unit_test(test_words_that_are_no_numbers_within_bounds),
      cmocka_unit_test(test_an_err_may_be_left_out),
      cmocka_unit_test(test_a_long_word_is_cut_but_the_advice_is_not),
      cmocka_unit_test(test_addresses),
      cmocka_unit_test(test_words_that_are_no_addresses),
      cmocka_unit_test(test_sizes_are_written_in_the_largest_unit_that_fits),
      cmocka_unit_test(test_the_longest_host_fits_and_one_more_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
