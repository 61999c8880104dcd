#include "bench/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Options as one line; words are parted by single spaces. */
static int parse(const char *line, struct lc_bench_options *options, struct lc_err *err) {
  static char words[512]; /* options point into it */
  char *argv[32] = {"lcache-bench"};
  int argc = 1;
  assert_true(strlen(line) < sizeof(words));
  snprintf(words, sizeof(words), "%s", line);
  for (char *at = words; at && *line;) {
    char *space = strchr(at, ' ');
    argv[argc++] = at;
    if (space)
      *space++ = '\0';
    at = space;
  }
  return lc_bench_parse(argc, argv, options, err);
}

static struct lc_bench_options parsed(const char *line) {
  struct lc_bench_options options;
  struct lc_err err = {0};
  int rc = parse(line, &options, &err);
  assert_string_equal(err.msg, "");
  assert_int_equal(rc, LC_OK);
  return options;
}

static void assert_refused(const char *line, const char *message) {
  struct lc_bench_options options;
  struct lc_err err = {0};
  assert_int_equal(parse(line, &options, &err), LC_EINVAL);
  assert_string_equal(err.msg, message);
}

static void without_options_a_local_lcache_is_loaded_for_ten_seconds(void **state) {
  (void)state;
  struct lc_bench_options options = parsed("");
  assert_string_equal(options.server.host, "127.0.0.1");
  assert_int_equal(options.server.port, 8001);
  assert_ptr_equal(options.driver, &lc_bench_grpc);
  assert_string_equal(options.group, "bench");
  assert_int_equal(options.connections, 8);
  assert_int_equal(options.outstanding, 32);
  assert_int_equal(options.duration_ms, 10000);
  assert_int_equal(options.warmup_ms, 1000);
  assert_int_equal(options.get_percent, 100);
  assert_int_equal(options.requests, 0);
  assert_true(options.rate <= 0);
  assert_null(options.text);
}

static void every_option_is_taken_with_a_space_or_an_equals_sign(void **state) {
  (void)state;
  struct lc_bench_options options =
      parsed("--server=[::1]:7000 --protocol redis --group=g --keys 5 --key-prefix=p --distribution zipf:0.5 --fill "
             "--value-size=2KB --mix get:90,set:10 --connections=3 --outstanding 4 --rate=2.5 --duration 250ms "
             "--requests=7 --warmup 2s --json");
  assert_string_equal(options.server.host, "::1");
  assert_int_equal(options.server.port, 7000);
  assert_ptr_equal(options.driver, &lc_bench_redis);
  assert_string_equal(options.group, "g");
  assert_string_equal(options.key_prefix, "p");
  assert_int_equal(options.keys, 5);
  assert_int_equal(options.distribution, LC_BENCH_ZIPF);
  assert_true(options.theta > 0.499 && options.theta < 0.501);
  assert_true(options.fill && options.json);
  assert_int_equal(options.value_size, 2048);
  assert_int_equal(options.get_percent, 90);
  assert_int_equal(options.connections, 3);
  assert_int_equal(options.outstanding, 4);
  assert_true(options.rate > 2.49 && options.rate < 2.51);
  assert_int_equal(options.duration_ms, 250);
  assert_int_equal(options.requests, 7);
  assert_int_equal(options.warmup_ms, 2000);
}

static void a_number_of_requests_has_no_warm_up_unless_it_is_asked_for(void **state) {
  (void)state;
  assert_int_equal(parsed("--requests 10").warmup_ms, 0);
  assert_int_equal(parsed("--requests 10 --warmup 1s").warmup_ms, 1000);
}

static void a_mix_adds_up_to_a_hundred(void **state) {
  (void)state;
  assert_int_equal(parsed("--mix set:100").get_percent, 0);
  assert_int_equal(parsed("--mix get:100").get_percent, 100);
  assert_int_equal(parsed("--mix get:0,set:100").get_percent, 0);
  static const char *const wrong[] = {"get:90",         "get:90,set:11",         "get:90,set:10,", "get:90;set:10",
                                      "set:10,get:90",  "get:-156,set:256",      "get:",           "",
                                      "get:+50,set:50", "get:4294967200,set:196"};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
    char line[64], message[128];
    snprintf(line, sizeof(line), "--mix=%s", wrong[i]);
    snprintf(message, sizeof(message), "--mix %s: not a mix, use get:90,set:10 (together 100)", wrong[i]);
    assert_refused(line, message);
  }
}

static void a_mistake_is_named_with_option_and_value(void **state) {
  (void)state;
  assert_refused("--wat", "--wat: unknown option (lcache-bench --help lists them)");
  assert_refused("--keysx 3", "--keysx: unknown option (lcache-bench --help lists them)");
  assert_refused("--keys", "--keys needs a value");
  assert_refused("--keys 0", "--keys 0: not a number from 1 to 1000000000");
  assert_refused("--connections=", "--connections \"\": not a number from 1 to 10000");
  assert_refused("--outstanding 1000001", "--outstanding 1000001: not a number from 1 to 1000000");
  assert_refused("--protocol http", "--protocol http: not a protocol, use grpc, redis, memcached or http2");
  assert_refused("--distribution zipf:1", "--distribution zipf:1: zipf's exponent lies between 0 and 1, use zipf:0.99");
  assert_refused("--distribution zipfel",
                 "--distribution zipfel: not a distribution, use uniform, zipf:0.99, sequential or single");
  assert_refused("--rate 0", "--rate 0: not a rate, use 10000");
  assert_refused("--rate nan", "--rate nan: not a rate, use 10000");
  assert_refused("--rate=", "--rate \"\": not a rate, use 10000");
  assert_refused("--group=", "--group \"\": not a text of 1 to 120 bytes");
  assert_refused("--duration 0s", "--duration 0s: more than 0, use 10s");
  assert_refused("--value-size 65MB", "--value-size 65MB: at most 64MB");
  assert_refused("--value-size 12XB", "--value-size 12XB: not a size, use 256MB");
  assert_refused("--protocol http2 --fill", "--protocol http2 only gets: no --fill, no set in --mix");
  assert_refused("--protocol http2 --mix set:100", "--protocol http2 only gets: no --fill, no set in --mix");
}

/* Longer words would overflow the buffer that keys are formatted into. */
static void a_key_always_fits_its_buffer(void **state) {
  (void)state;
  char line[256] = "--key-prefix=", key[LC_BENCH_KEY_MAX];
  size_t start = strlen(line);
  memset(line + start, 'k', LC_BENCH_KEY_MAX - 12);
  struct lc_bench_options options = parsed(line);
  assert_int_equal(lc_bench_key_format(options.key_prefix, 999999999999u, key), LC_BENCH_KEY_MAX);
  line[start + LC_BENCH_KEY_MAX - 12] = 'k';
  struct lc_err err = {0};
  assert_int_equal(parse(line, &options, &err), LC_EINVAL);
}

static void help_names_every_option(void **state) {
  (void)state;
  static const char *const names[] = {"--server",     "--protocol", "--group",       "--keys",        "--key-prefix",
                                      "--fill",       "--mix",      "--connections", "--outstanding", "--distribution",
                                      "--value-size", "--rate",     "--duration",    "--requests",    "--warmup",
                                      "--json",       "--help",     "--version"};
  const char *help = parsed("--help").text;
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
    assert_non_null(strstr(help, names[i]));
  assert_int_equal(strncmp(parsed("--version").text, "lcache-bench ", 13), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_options_a_local_lcache_is_loaded_for_ten_seconds),
      cmocka_unit_test(every_option_is_taken_with_a_space_or_an_equals_sign),
      cmocka_unit_test(a_number_of_requests_has_no_warm_up_unless_it_is_asked_for),
      cmocka_unit_test(a_mix_adds_up_to_a_hundred),
      cmocka_unit_test(a_mistake_is_named_with_option_and_value),
      cmocka_unit_test(a_key_always_fits_its_buffer),
      cmocka_unit_test(help_names_every_option),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
