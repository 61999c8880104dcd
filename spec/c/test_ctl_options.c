#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/version.h"
#include "ctl/commands.h"

/* A command line, split at its blanks. */
struct line {
  char text[256];
  char *argv[32];
  int argc;
  struct lc_ctl_options options;
  struct lc_err err;
};

static int parse_env(struct line *line, const char *text, const char *server_env) {
  memset(line, 0, sizeof *line);
  snprintf(line->text, sizeof line->text, "lcachectl %s", text);
  char *rest = NULL;
  for (char *word = strtok_r(line->text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
    line->argv[line->argc++] = word;
  int rc = lc_ctl_parse(line->argc, line->argv, server_env, &line->options, &line->err);
  lc_ctl_options_fini(&line->options);
  return rc;
}

static int parse(struct line *line, const char *text) {
  return parse_env(line, text, NULL);
}

static void expect_refused(const char *text, const char *message) {
  struct line line;
  if (parse(&line, text) != LC_EINVAL)
    fail_msg("lcachectl %s: taken", text);
  assert_string_equal(line.err.msg, message);
}

static void a_command_comes_with_its_words_and_the_defaults(void **state) {
  (void)state;
  struct line line;
  assert_int_equal(parse(&line, "get scores alice"), 0);
  assert_string_equal(line.options.command->name, "get");
  assert_int_equal(line.options.arg_count, 2);
  assert_string_equal(line.options.args[0], "scores");
  assert_string_equal(line.options.args[1], "alice");
  assert_string_equal(line.options.server_text, "127.0.0.1:8001");
  assert_int_equal(line.options.timeout_ms, 10000);
  assert_int_equal(line.options.ttl_ms, 0);
  assert_false(line.options.json || line.options.only_if_cached || line.options.refresh);
  assert_null(line.options.text);
}

static void every_command_is_known(void **state) {
  (void)state;
  static const char *const lines[] = {"get g k", "set g k v", "delete g k", "batch g k", "batch g k l m",
                                      "stats",   "stats g",   "nodes",      "owner g k"};
  struct line line;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    assert_int_equal(parse(&line, lines[i]), 0);
}

static void options_may_stand_anywhere(void **state) {
  (void)state;
  struct line line;
  assert_int_equal(parse(&line, "--json set --server [::1]:9 g k --ttl=60s v --timeout 250ms"), 0);
  assert_true(line.options.json);
  assert_string_equal(line.options.server_text, "[::1]:9");
  assert_string_equal(line.options.server.host, "::1");
  assert_int_equal(line.options.ttl_ms, 60000);
  assert_int_equal(line.options.timeout_ms, 250);
  assert_int_equal(line.options.arg_count, 3);
  assert_string_equal(line.options.args[2], "v");
  assert_int_equal(parse(&line, "get g k --only-if-cached"), 0);
  assert_true(line.options.only_if_cached);
  assert_int_equal(parse(&line, "get g k --refresh"), 0);
  assert_true(line.options.refresh);
  assert_int_equal(parse(&line, "set g k v --ttl never"), 0);
  assert_int_equal(line.options.ttl_ms, -1);
}

static void after_two_dashes_all_is_words(void **state) {
  (void)state;
  struct line line;
  assert_int_equal(parse(&line, "get g -- --json"), 0);
  assert_false(line.options.json);
  assert_string_equal(line.options.args[1], "--json");
  assert_int_equal(parse(&line, "--json -- set g -- -"), 0);
  assert_true(line.options.json);
  assert_string_equal(line.options.args[1], "--");
  assert_string_equal(line.options.args[2], "-");
}

static void the_flag_wins_over_the_variable_and_that_over_the_default(void **state) {
  (void)state;
  struct line line;
  assert_int_equal(parse_env(&line, "nodes", "10.0.0.1:7"), 0);
  assert_string_equal(line.options.server_text, "10.0.0.1:7");
  assert_int_equal(parse_env(&line, "nodes", ""), 0);
  assert_string_equal(line.options.server_text, "127.0.0.1:8001");
  assert_int_equal(parse_env(&line, "nodes --server 10.0.0.2:8", "nonsense"), 0);
  assert_string_equal(line.options.server_text, "10.0.0.2:8");
  assert_int_equal(parse_env(&line, "nodes", "nonsense"), LC_EINVAL);
  assert_string_equal(line.err.msg, "LCACHE_SERVER=nonsense: not an address (no port), use 127.0.0.1:8001");
}

static void help_and_version_are_texts(void **state) {
  (void)state;
  struct line line;
  assert_int_equal(parse(&line, "--version"), 0);
  assert_string_equal(line.options.text, "lcachectl " LC_VERSION "\n");
  assert_int_equal(parse_env(&line, "get --help", "nonsense"), 0);
  for (size_t i = 0; i < lc_ctl_command_count; i++) {
    char usage[64];
    snprintf(usage, sizeof usage, "  %s ", lc_ctl_commands[i].usage);
    if (!strstr(line.options.text, usage))
      fail_msg("--help does not name %s", lc_ctl_commands[i].usage);
    if (!strstr(line.options.text, lc_ctl_commands[i].about))
      fail_msg("--help: %s", lc_ctl_commands[i].about);
  }
  static const char *const ways[] = {"-h", "help", "help set"};
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    assert_int_equal(parse(&line, ways[i]), 0);
    assert_non_null(line.options.text);
    assert_non_null(strstr(line.options.text, "Commands:"));
  }
  assert_non_null(strstr(line.options.text, "value_base64"));
}

static void each_mistake_is_named(void **state) {
  (void)state;
  expect_refused("", "no command (lcachectl --help)");
  expect_refused("--json", "no command (lcachectl --help)");
  expect_refused("frob", "frob: unknown command, use get, set, delete, batch, stats, nodes or owner");
  expect_refused("get g", "usage: lcachectl get GROUP KEY");
  expect_refused("get g k l", "usage: lcachectl get GROUP KEY");
  expect_refused("set g k", "usage: lcachectl set GROUP KEY VALUE");
  expect_refused("delete g", "usage: lcachectl delete GROUP KEY");
  expect_refused("batch g", "usage: lcachectl batch GROUP KEY...");
  expect_refused("stats g h", "usage: lcachectl stats [GROUP]");
  expect_refused("nodes g", "usage: lcachectl nodes");
  expect_refused("owner g", "usage: lcachectl owner GROUP KEY");
  expect_refused("get g -k", "-k: unknown option (lcachectl --help lists them; -- before a word that begins with -)");
  expect_refused("get g k --json=1",
                 "--json=1: unknown option (lcachectl --help lists them; -- before a word that begins with -)");
  expect_refused("get g k --serverx y",
                 "--serverx: unknown option (lcachectl --help lists them; -- before a word that begins with -)");
  expect_refused("nodes --server", "--server needs a value");
  expect_refused("nodes --server here", "--server here: not an address (no port), use 127.0.0.1:8001");
  expect_refused("nodes --server=:8001", "--server :8001: not an address (no host), use 127.0.0.1:8001");
  expect_refused("nodes --timeout 0", "--timeout 0: not a timeout, use 5s");
  expect_refused("nodes --timeout 5x", "--timeout 5x: not a duration, use 60s");
  expect_refused("set g k v --ttl forever", "--ttl forever: not a time to live, use 60s or never");
  expect_refused("set g k v --ttl -1", "--ttl -1: not a time to live, use 60s or never");
  expect_refused("set g k v --ttl 0", "--ttl 0: not a time to live, use 60s or never");
  expect_refused("get g k --ttl 5s", "--ttl goes with set");
  expect_refused("nodes --cluster", "--cluster goes with stats");
  expect_refused("batch g k --refresh", "--only-if-cached and --refresh go with get");
  expect_refused("set g k v --only-if-cached", "--only-if-cached and --refresh go with get");
}

static void a_batch_takes_ten_thousand_keys(void **state) {
  (void)state;
  struct lc_ctl_options options;
  struct lc_err err;
  int argc = 10004;
  char **argv = malloc((size_t)argc * sizeof *argv);
  char program[] = "lcachectl", command[] = "batch", word[] = "g";
  for (int excess = 0; excess < 2; excess++) {
    for (int i = 0; i < argc; i++)
      argv[i] = word;
    argv[0] = program;
    argv[1] = command;
    int rc = lc_ctl_parse(argc - 1 + excess, argv, NULL, &options, &err);
    assert_int_equal(rc, excess ? LC_EINVAL : LC_OK);
    lc_ctl_options_fini(&options);
  }
  assert_string_equal(err.msg, "10001 keys are too many for one batch: at most 10000");
  free(argv);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_command_comes_with_its_words_and_the_defaults),
      cmocka_unit_test(every_command_is_known),
      cmocka_unit_test(options_may_stand_anywhere),
      cmocka_unit_test(after_two_dashes_all_is_words),
      cmocka_unit_test(the_flag_wins_over_the_variable_and_that_over_the_default),
      cmocka_unit_test(help_and_version_are_texts),
      cmocka_unit_test(each_mistake_is_named),
      cmocka_unit_test(a_batch_takes_ten_thousand_keys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
