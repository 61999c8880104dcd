#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/config.h"
#include "base/alloc.h"

struct fixture {
  struct lc_config config;
  struct lc_buf mistakes;
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  lc_config_init(&f->config);
  lc_buf_init(&f->mistakes);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  lc_config_fini(&f->config);
  lc_buf_fini(&f->mistakes);
  free(f);
  return 0;
}

#define ARGS_MAX 10

/* The words of a line as a command line. */
static int flags(struct fixture *f, const char *line) {
  char words[512], *argv[ARGS_MAX + 1] = {"lcache"}, *rest = NULL;
  int argc = 1;
  assert_true((size_t)snprintf(words, sizeof words, "%s", line) < sizeof words);
  for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
    assert_true(argc < ARGS_MAX);
    argv[argc++] = word;
  }
  return lc_config_flags(&f->config, argc, argv, &f->mistakes);
}

static int environment(struct fixture *f, const char *entry) {
  char copy[256], *list[] = {"HOME=/root", copy, NULL};
  assert_true((size_t)snprintf(copy, sizeof copy, "%s", entry) < sizeof copy);
  return lc_config_environment(&f->config, list, &f->mistakes);
}

static int setting(struct fixture *f, const char *name, const char *value) {
  return lc_config_setting(&f->config, "app.lua:3", name, value, &f->mistakes);
}

static const char *text(struct fixture *f) {
  assert_int_equal(lc_buf_char(&f->mistakes, '\0'), 0);
  return (const char *)f->mistakes.data;
}

static void expect_mistake(struct fixture *f, int code, const char *line) {
  assert_int_equal(code, LC_EINVAL);
  assert_string_equal(text(f), line);
}

static void defaults_are_the_documented_ones(void **state) {
  struct fixture *f = *state;
  const struct lc_config *c = &f->config;
  assert_string_equal(c->listen.address.host, "127.0.0.1");
  assert_int_equal(c->listen.address.port, 8001);
  assert_true(c->http.on);
  assert_int_equal(c->http.address.port, 8080);
  assert_false(c->advertise.on);
  assert_true(c->workers >= 1);
  assert_int_equal(c->memory_bytes, 256 << 20);
  assert_int_equal(c->lua_memory_bytes, 32 << 20);
  assert_int_equal(c->buffer_memory_bytes, 64 << 20);
  assert_int_equal(c->cpu_budget_ms, 100);
  assert_int_equal(c->drain_timeout_ms, 10000);
  assert_int_equal(c->max_message_bytes, 4 << 20);
  assert_int_equal(c->log_level, LC_LOG_INFO);
  assert_int_equal(c->log_format, LC_LOG_TEXT);
  assert_false(c->jit || c->check || c->version || c->help);
  assert_int_equal(c->weight, 1);
  assert_int_equal(c->lease_ms, 10000);
  assert_int_equal(c->join_timeout_ms, 5000);
  assert_true(c->peer_count == 0 && c->etcd_count == 0);
  assert_null(c->etcd_user);
  assert_null(c->etcd_password);
}

static void flags_take_their_value_after_a_space_or_an_equals_sign(void **state) {
  struct fixture *f = *state;
  assert_int_equal(flags(f, "--script app.lua --listen=[::1]:0 --memory 1GB --log-format=json --jit"), 0);
  assert_string_equal(f->config.script, "app.lua");
  assert_string_equal(f->config.listen.address.host, "::1");
  assert_int_equal(f->config.listen.address.port, 0);
  assert_int_equal(f->config.memory_bytes, 1 << 30);
  assert_int_equal(f->config.log_format, LC_LOG_JSON);
  assert_true(f->config.jit);
  assert_int_equal(lc_config_from(&f->config, "memory"), LC_FROM_FLAG);
  assert_int_equal(lc_config_from(&f->config, "workers"), LC_FROM_DEFAULT);
}

static void the_last_of_a_flag_given_twice_counts(void **state) {
  struct fixture *f = *state;
  assert_int_equal(flags(f, "--script a.lua --script b.lua --jit --jit=off"), 0);
  assert_string_equal(f->config.script, "b.lua");
  assert_false(f->config.jit);
}

static void peers_are_a_list_of_addresses(void **state) {
  struct fixture *f = *state;
  assert_int_equal(flags(f, "--script a.lua --peers a:1,[::1]:2"), 0);
  assert_int_equal(setting(f, "weight", "100"), 0);
  assert_int_equal(lc_config_finish(&f->config, &f->mistakes), 0);
  assert_string_equal(f->config.service, "lcache");
  assert_int_equal(f->config.peer_count, 2);
  assert_string_equal(f->config.peers[0].host, "a");
  assert_string_equal(f->config.peers[1].host, "::1");
  assert_int_equal(f->config.peers[1].port, 2);
  assert_int_equal(f->config.weight, 100);
}

static void etcd_is_a_list_of_urls_whose_last_slash_does_not_count(void **state) {
  struct fixture *f = *state;
  assert_int_equal(setting(f, "etcd", "http://a:1/, https://[::1]:2379 ,HTTP://b:3"), 0);
  assert_int_equal(f->config.etcd_count, 3);
  assert_string_equal(f->config.etcd[0], "http://a:1");
  assert_string_equal(f->config.etcd[1], "https://[::1]:2379");
  assert_string_equal(f->config.etcd[2], "HTTP://b:3");
}

static void a_stronger_list_replaces_a_weaker_one(void **state) {
  struct fixture *f = *state;
  assert_int_equal(environment(f, "LCACHE_PEERS=a:1,b:1,c:1"), 0);
  assert_int_equal(setting(f, "peers", "d:1"), 0);
  assert_int_equal(f->config.peer_count, 3);
  assert_int_equal(flags(f, "--peers e:1,f:1"), 0);
  assert_int_equal(f->config.peer_count, 2);
  assert_string_equal(f->config.peers[1].host, "f");
}

static void a_list_that_is_too_long_is_refused(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 1025 };
  char *list = calloc(COUNT, 4);
  assert_non_null(list);
  for (size_t i = 0; i < COUNT; i++)
    memcpy(list + 4 * i, "a:1,", 4);
  list[4 * COUNT - 1] = '\0';
  assert_int_equal(setting(f, "peers", list), LC_EINVAL);
  assert_non_null(strstr(text(f), "...\": a list of 1025, use at most 1024\n"));
  list[4 * COUNT - 5] = '\0';
  assert_int_equal(setting(f, "peers", list), 0);
  free(list);
}

static void settings_that_do_not_go_together_are_named_with_their_places(void **state) {
  (void)state;
  static const struct {
    const char *flags, *variable, *field, *value, *lines;
  } cases[] = {
      {"--peers a:1 --etcd http://a:1", NULL, NULL, NULL,
       "--peers and --etcd are both given, use one of them: a fixed list of nodes, or membership by etcd\n"},
      {"--jit", "LCACHE_PEERS=a:1", "etcd", "http://a:1",
       "LCACHE_PEERS and configure: etcd are both given, use one of them: a fixed list of nodes, or membership by "
       "etcd\n"},
      {"--listen 0.0.0.0:8001", NULL, NULL, NULL, NULL},
      {"--listen 0.0.0.0:8001 --peers a:1", NULL, NULL, NULL,
       "--listen 0.0.0.0:8001: no address that other nodes can reach, add --advertise HOST:PORT with one\n"},
      {"--etcd http://a:1", "LCACHE_LISTEN=[::]:8001", NULL, NULL,
       "LCACHE_LISTEN [::]:8001: no address that other nodes can reach, add --advertise HOST:PORT with one\n"},
      {"--listen [::]:8001 --peers a:1 --advertise a:1", NULL, NULL, NULL, NULL},
      {"--listen 127.0.0.1:0 --peers a:1", NULL, NULL, NULL, NULL},
      {"--peers a:1 --advertise 0.0.0.0:1", NULL, NULL, NULL,
       "--advertise 0.0.0.0:1: no address that other nodes can reach, use this node's own HOST:PORT\n"},
      {"--peers a:1 --advertise a:0", NULL, NULL, NULL,
       "--advertise a:0: no address that other nodes can reach, use this node's own HOST:PORT\n"},
      {"--etcd-cert /dev/null", NULL, NULL, NULL, "--etcd-cert: not without its key, add --etcd-key FILE\n"},
      {"--jit", "LCACHE_ETCD_KEY=/dev/null", NULL, NULL,
       "LCACHE_ETCD_KEY: not without its certificate, add --etcd-cert FILE\n"},
      {"--etcd-cert /dev/null --etcd-key /dev/null", NULL, NULL, NULL, NULL},
      {"--etcd-user root", NULL, NULL, NULL, "--etcd-user: not without a password, set LCACHE_ETCD_PASSWORD\n"},
      {"--etcd-user root", "LCACHE_ETCD_PASSWORD=x", NULL, NULL, NULL},
      {"--jit", NULL, "etcd_password", "x", "configure: etcd_password: not without a user, add --etcd-user NAME\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    void *fresh = NULL;
    setup(&fresh);
    struct fixture *f = fresh;
    assert_int_equal(flags(f, "--script a.lua"), 0);
    assert_int_equal(flags(f, cases[i].flags), 0);
    if (cases[i].variable)
      assert_int_equal(environment(f, cases[i].variable), 0);
    if (cases[i].field)
      assert_int_equal(setting(f, cases[i].field, cases[i].value), 0);
    assert_int_equal(lc_config_finish(&f->config, &f->mistakes), cases[i].lines ? LC_EINVAL : LC_OK);
    assert_string_equal(text(f), cases[i].lines ? cases[i].lines : "");
    teardown(&fresh);
  }
}

static void http_can_be_off(void **state) {
  struct fixture *f = *state;
  assert_int_equal(flags(f, "--http off"), 0);
  assert_false(f->config.http.on);
}

static void the_environment_sets_what_no_flag_sets(void **state) {
  struct fixture *f = *state;
  assert_int_equal(flags(f, "--workers 3"), 0);
  assert_int_equal(environment(f, "LCACHE_WORKERS=5"), 0);
  assert_int_equal(environment(f, "LCACHE_LUA_MEMORY=8MB"), 0);
  assert_int_equal(f->config.workers, 3);
  assert_int_equal(f->config.lua_memory_bytes, 8 << 20);
}

static void the_script_sets_what_neither_flag_nor_environment_sets(void **state) {
  struct fixture *f = *state;
  assert_int_equal(setting(f, "drain_timeout", "0.5"), 0);
  assert_int_equal(setting(f, "workers", "9"), 0);
  assert_int_equal(setting(f, "memory", "2MB"), 0);
  assert_int_equal(environment(f, "LCACHE_WORKERS=5"), 0);
  assert_int_equal(flags(f, "--memory 3MB"), 0);
  assert_int_equal(setting(f, "workers", "9"), 0);
  assert_int_equal(setting(f, "memory", "2MB"), 0);
  assert_int_equal(f->config.drain_timeout_ms, 500);
  assert_int_equal(f->config.workers, 5);
  assert_int_equal(f->config.memory_bytes, 3 << 20);
}

static void an_empty_variable_counts_as_none(void **state) {
  struct fixture *f = *state;
  assert_int_equal(environment(f, "LCACHE_LISTEN="), 0);
  assert_int_equal(f->config.listen.address.port, 8001);
}

static void other_variables_are_left_alone(void **state) {
  struct fixture *f = *state;
  assert_int_equal(environment(f, "LCACHE_SECRET_API=x"), 0);
  assert_int_equal(environment(f, "LCACHE_CHECK=1"), 0);
  assert_false(f->config.check);
}

/* Each line: what is given, and what is said of it. */
static void wrong_flags_are_named_in_full(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"--memory 12XB", "--memory 12XB: not a size, use 256MB\n"},
      {"--memory=12XB", "--memory 12XB: not a size, use 256MB\n"},
      {"--memory=", "--memory \"\": not a size, use 256MB\n"},
      {"--memory 1KB", "--memory 1KB: too little, use at least 1MB\n"},
      {"--max-message 2GB", "--max-message 2GB: too much, use at most 1GB\n"},
      {"--workers 0", "--workers 0: not a number from 1 to 256\n"},
      {"--workers 257", "--workers 257: not a number from 1 to 256\n"},
      {"--cpu-budget soon", "--cpu-budget soon: not a duration, use 60s\n"},
      {"--cpu-budget 0", "--cpu-budget 0: too little, use at least 1ms\n"},
      {"--log-level loud", "--log-level loud: not a level, use debug, info, warn or error\n"},
      {"--log-format xml", "--log-format xml: not a format, use text or json\n"},
      {"--jit=maybe", "--jit maybe: neither on nor off\n"},
      {"--script=", "--script \"\": is empty\n"},
      {"--listen", "--listen: needs a value, HOST:PORT\n"},
      {"--listen --jit", "--listen: needs a value, HOST:PORT\n"},
      {"--lisen 1:2", "--lisen: unknown option, did you mean --listen?\n"},
      {"--lisen --jit=x", "--lisen: unknown option, did you mean --listen?\n--jit x: neither on nor off\n"},
      {"--lisen=1:2 x", "--lisen: unknown option, did you mean --listen?\nx: not an option, see lcache --help\n"},
      {"--http 8080", "--http 8080: not an address (no host), use 127.0.0.1:8080, or off\n"},
      {"--http none", "--http none: not an address (no port), use 127.0.0.1:8001, or off\n"},
      {"--listen 9000", "--listen 9000: not an address (no host), use 127.0.0.1:9000\n"},
      {"--worker=2", "--worker: unknown option, did you mean --workers?\n"},
      {"--mem", "--mem: unknown option, did you mean --memory?\n"},
      {"--log_levle=info", "--log_levle: unknown option, did you mean --log-level?\n"},
      {"--frobnicate", "--frobnicate: unknown option, see lcache --help\n"},
      {"app.lua", "app.lua: not an option, use --script app.lua\n"},
      {"-x", "-x: not an option, see lcache --help\n"},
      {"--", "--: not an option, see lcache --help\n"},
      {"--peers a:1,b", "--peers a:1,b: b: not an address (no port), use 127.0.0.1:8001\n"},
      {"--peers b", "--peers b: not an address (no port), use 127.0.0.1:8001\n"},
      {"--peers a:1,,b:1", "--peers a:1,,b:1: \"\": not an address (no port), use 127.0.0.1:8001\n"},
      {"--peers a:1,", "--peers a:1,: \"\": not an address (no port), use 127.0.0.1:8001\n"},
      {"--peers=", "--peers \"\": is empty\n"},
      {"--peers", "--peers: needs a value, HOST:PORT,...\n"},
      {"--peers a:0,b:1", "--peers a:0,b:1: a:0: port 0 is no node's, use the port that it listens on\n"},
      {"--peers [::]:1", "--peers [::]:1: a wildcard is no node's address, use the one that others reach it by\n"},
      {"--etcd", "--etcd: needs a value, URL,...\n"},
      {"--etcd=", "--etcd \"\": is empty\n"},
      {"--etcd 127.0.0.1:2379", "--etcd 127.0.0.1:2379: not a URL of etcd, use http://127.0.0.1:2379\n"},
      {"--etcd http://", "--etcd http://: not a URL of etcd, use http://127.0.0.1:2379\n"},
      {"--etcd http://a", "--etcd http://a: not a URL of etcd, use http://127.0.0.1:2379\n"},
      {"--etcd ftp://a:1", "--etcd ftp://a:1: not a URL of etcd, use http://127.0.0.1:2379\n"},
      {"--etcd http://a:1/v3", "--etcd http://a:1/v3: not a URL of etcd, use http://127.0.0.1:2379\n"},
      {"--etcd http://a:1,b:1", "--etcd http://a:1,b:1: b:1: not a URL of etcd, use http://127.0.0.1:2379\n"},
      {"--etcd http://u:pw@a:1", "--etcd ...: a URL with a user in it, use etcd-user and etcd-password\n"},
      {"--etcd http://a:1,http://u:pw@a:1",
       "--etcd ...: ...: a URL with a user in it, use etcd-user and etcd-password\n"},
      {"--service a/b", "--service a/b: not a name (a slash, a space or a control character), use lcache\n"},
      {"--service=", "--service \"\": is empty\n"},
      {"--weight 0", "--weight 0: not a number from 1 to 100\n"},
      {"--weight 101", "--weight 101: not a number from 1 to 100\n"},
      {"--lease 1s", "--lease 1s: too little, use at least 2s\n"},
      {"--lease 11m", "--lease 11m: too much, use at most 10m\n"},
      {"--join-timeout 1h", "--join-timeout 1h: too much, use at most 10m\n"},
      {"--etcd-ca /no/ca.pem", "--etcd-ca /no/ca.pem: no such file\n"},
      {"--etcd-cert /tmp", "--etcd-cert /tmp: is a folder\n"},
      {"--tls-cert x.pem", "--tls-cert x.pem: TLS is not built yet\n"},
      {"--workers 0 --memory x", "--workers 0: not a number from 1 to 256\n--memory x: not a size, use 256MB\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    void *fresh = NULL;
    setup(&fresh);
    int code = flags(fresh, cases[i][0]);
    expect_mistake(fresh, code, cases[i][1]);
    teardown(&fresh);
  }
}

static void a_wrong_address_says_why(void **state) {
  struct fixture *f = *state;
  assert_int_equal(flags(f, "--listen 8001"), LC_EINVAL);
  assert_non_null(strstr(text(f), "--listen 8001: not an address"));
}

static void a_wrong_variable_is_named_in_full(void **state) {
  struct fixture *f = *state;
  expect_mistake(f, environment(f, "LCACHE_WORKERS=zero"), "LCACHE_WORKERS=zero: not a number from 1 to 256\n");
}

static void a_variable_of_an_unbuilt_feature_is_refused(void **state) {
  struct fixture *f = *state;
  expect_mistake(f, environment(f, "LCACHE_TLS_CA=ca.pem"), "LCACHE_TLS_CA=ca.pem: TLS is not built yet\n");
}

static void a_wrong_variable_is_told_even_where_a_flag_wins(void **state) {
  struct fixture *f = *state;
  assert_int_equal(flags(f, "--workers 2"), 0);
  expect_mistake(f, environment(f, "LCACHE_WORKERS=zero"), "LCACHE_WORKERS=zero: not a number from 1 to 256\n");
}

static void a_wrong_field_names_file_and_line(void **state) {
  struct fixture *f = *state;
  expect_mistake(f, setting(f, "memory", "12XB"), "app.lua:3: configure: memory \"12XB\": not a size, use 256MB\n");
}

static void an_unknown_field_gets_the_nearest_name(void **state) {
  struct fixture *f = *state;
  expect_mistake(f, setting(f, "lua_memroy", "1MB"),
                 "app.lua:3: configure: unknown field \"lua_memroy\", did you mean \"lua_memory\"?\n");
}

static void a_field_spelled_like_a_flag_is_unknown(void **state) {
  struct fixture *f = *state;
  expect_mistake(f, setting(f, "lua-memory", "1MB"),
                 "app.lua:3: configure: unknown field \"lua-memory\", did you mean \"lua_memory\"?\n");
}

static void the_script_cannot_set_its_own_path_nor_check(void **state) {
  struct fixture *f = *state;
  assert_int_equal(setting(f, "script", "b.lua"), LC_EINVAL);
  assert_int_equal(setting(f, "check", "true"), LC_EINVAL);
  assert_string_equal(text(f), "app.lua:3: configure: script can't be set in the script\n"
                               "app.lua:3: configure: check can't be set in the script\n");
}

static void control_bytes_and_long_words_do_not_break_the_line(void **state) {
  struct fixture *f = *state;
  char word[1200];
  memset(word, 'x', sizeof word);
  word[sizeof word - 1] = '\0';
  word[1] = '\n';
  assert_int_equal(setting(f, "memory", word), LC_EINVAL);
  const char *line = text(f);
  assert_true(strlen(line) < 400);
  assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
  assert_non_null(strstr(line, "\"x?xxx"));
  assert_non_null(strstr(line, "...\": not a size"));
}

static void a_node_needs_a_script(void **state) {
  struct fixture *f = *state;
  expect_mistake(f, lc_config_finish(&f->config, &f->mistakes),
                 "--script is missing: lcache --script app.lua (see lcache --help)\n");
}

static void a_word_that_is_no_option_may_have_been_the_script(void **state) {
  struct fixture *f = *state;
  expect_mistake(f, flags(f, "--scirpt app.lua"), "--scirpt: unknown option, did you mean --script?\n");
  assert_int_equal(lc_config_finish(&f->config, &f->mistakes), 0);
}

static void a_script_that_is_not_there_is_named_with_its_place(void **state) {
  struct fixture *f = *state;
  assert_int_equal(environment(f, "LCACHE_SCRIPT=/no/such.lua"), 0);
  assert_int_equal(lc_config_check_script(&f->config, &f->mistakes), LC_EINVAL);
  assert_int_equal(flags(f, "--script /tmp"), 0);
  assert_int_equal(lc_config_check_script(&f->config, &f->mistakes), LC_EINVAL);
  assert_string_equal(text(f), "LCACHE_SCRIPT=/no/such.lua: no such file\n--script /tmp: is a folder\n");
  assert_int_equal(flags(f, "--script /dev/null"), 0);
  assert_int_equal(lc_config_check_script(&f->config, &f->mistakes), 0);
}

static void a_variable_that_is_nobodys_is_named(void **state) {
  struct fixture *f = *state;
  char *list[] = {"LCACHE_WOKERS=4", "LCACHE_CHECK=1",          "LCACHE_FROBNICATE=x",
                  "LCACHE_",         "LCACHE_X=LCACHE_WORKERS", NULL};
  assert_int_equal(lc_config_strange_variables(list, &f->mistakes), 0);
  assert_string_equal(text(f), "LCACHE_WOKERS is not an option, did you mean LCACHE_WORKERS?\n"
                               "LCACHE_CHECK is not an option, did you mean the flag --check?\n"
                               "LCACHE_FROBNICATE is not an option\n"
                               "LCACHE_X is not an option\n");
}

static void variables_of_options_and_of_others_are_known(void **state) {
  struct fixture *f = *state;
  char *list[] = {"LCACHE_WORKERS=4",
                  "LCACHE_SECRET_TOKEN=x",
                  "LCACHE_SECRETS_DIR=/run",
                  "LCACHE_SERVER=a:1",
                  "LCACHE_BIN_DIR=/tmp",
                  "LCACHE_PRESET=asan",
                  "LCACHE_SERVICE_HOST=x",
                  "LCACHE_PORT=tcp://x",
                  "LCACHE_PORT_8001_TCP=x",
                  "LCACHE_SERVICE=x",
                  "HOME=/root",
                  "LCACHE_WROKERS=",
                  "LCACHE_WOKERS",
                  NULL};
  assert_int_equal(lc_config_strange_variables(list, &f->mistakes), 0);
  assert_int_equal(f->mistakes.len, 0);
}

static void buffer_memory_grows_with_the_workers_unless_it_is_given(void **state) {
  struct fixture *f = *state;
  assert_int_equal(flags(f, "--script a.lua --workers 64"), 0);
  assert_int_equal(lc_config_finish(&f->config, &f->mistakes), 0);
  assert_int_equal(f->config.buffer_memory_bytes, (uint64_t)64 * 2 * (4 << 20));
}

static void buffer_memory_that_cannot_hold_a_message_a_worker_is_refused(void **state) {
  struct fixture *f = *state;
  assert_int_equal(flags(f, "--script a.lua --workers 2 --buffer-memory 7MB"), 0);
  assert_int_equal(lc_config_finish(&f->config, &f->mistakes), LC_EINVAL);
  assert_string_equal(text(f), "buffer-memory: 7MB is too little for one message (max-message, 4MB) on each of 2 "
                               "workers, use at least 9MB\n");
}

static void help_shows_every_option_that_is_built(void **state) {
  struct fixture *f = *state;
  assert_int_equal(lc_options_help(&f->mistakes), 0);
  const char *help = text(f);
  for (size_t i = 0; i < lc_options_count; i++) {
    char flag[64];
    snprintf(flag, sizeof flag, "\n  --%s ", lc_options[i].name);
    if (lc_options[i].kind == LC_OPTION_UNBUILT)
      assert_null(strstr(help, flag));
    else
      assert_non_null(strstr(help, flag));
  }
}

static void no_memory_is_an_error_at_every_allocation(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  int code = LC_ENOMEM;
  for (size_t n = 1; code == LC_ENOMEM; n++) {
    void *fresh = NULL;
    setup(&fresh);
    lc_alloc_fail_at(n);
    code = flags(fresh, "--script app.lua --peers a:1,b:1 --etcd http://a:1 --memory x --lisen");
    lc_alloc_fail_at(0);
    teardown(&fresh);
    assert_true(n < 50);
  }
  assert_int_equal(code, LC_EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(defaults_are_the_documented_ones),
      TEST(flags_take_their_value_after_a_space_or_an_equals_sign),
      TEST(the_last_of_a_flag_given_twice_counts),
      TEST(peers_are_a_list_of_addresses),
      TEST(etcd_is_a_list_of_urls_whose_last_slash_does_not_count),
      TEST(a_stronger_list_replaces_a_weaker_one),
      TEST(a_list_that_is_too_long_is_refused),
      TEST(settings_that_do_not_go_together_are_named_with_their_places),
      TEST(http_can_be_off),
      TEST(the_environment_sets_what_no_flag_sets),
      TEST(the_script_sets_what_neither_flag_nor_environment_sets),
      TEST(an_empty_variable_counts_as_none),
      TEST(other_variables_are_left_alone),
      TEST(wrong_flags_are_named_in_full),
      TEST(a_wrong_address_says_why),
      TEST(a_wrong_variable_is_named_in_full),
      TEST(a_variable_of_an_unbuilt_feature_is_refused),
      TEST(a_wrong_variable_is_told_even_where_a_flag_wins),
      TEST(a_wrong_field_names_file_and_line),
      TEST(an_unknown_field_gets_the_nearest_name),
      TEST(a_field_spelled_like_a_flag_is_unknown),
      TEST(the_script_cannot_set_its_own_path_nor_check),
      TEST(control_bytes_and_long_words_do_not_break_the_line),
      TEST(a_node_needs_a_script),
      TEST(a_word_that_is_no_option_may_have_been_the_script),
      TEST(a_script_that_is_not_there_is_named_with_its_place),
      TEST(a_variable_that_is_nobodys_is_named),
      TEST(variables_of_options_and_of_others_are_known),
      TEST(buffer_memory_grows_with_the_workers_unless_it_is_given),
      TEST(buffer_memory_that_cannot_hold_a_message_a_worker_is_refused),
      TEST(help_shows_every_option_that_is_built),
      TEST(no_memory_is_an_error_at_every_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
