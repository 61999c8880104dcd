#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "test_script_util.h"

/* Getters that once stopped their worker for good, or ended the process: each fails alone, and soon. */
#define HEAD "local lcache = require 'lcache'\nlocal function spin() while true do end end\n"
#define GROUP(name, body) "lcache.group('" name "', { getter = function(key, ctx)\n" body "\nend })\n"
#define SOON_MS 5000

static void get_soon(struct script_node *node, const char *group, struct node_result *result) {
  uint64_t begun = lc_clock_ms();
  node_get(node, group, "k", result);
  assert_true(lc_clock_ms() - begun < SOON_MS);
}

static void an_endless_error_handler_ends_at_the_budget(void **state) {
  (void)state;
  struct node_config config = {
      .source = HEAD GROUP("handler", "xpcall(spin, spin) return 'x'")
          GROUP("again", "local function handler() return xpcall(spin, handler) end xpcall(spin, handler) return 'x'")
              GROUP("ok", "return 'fine'"),
      .opts.cpu_budget_ms = 50};
  struct script_node *node = node_start(&config);
  struct node_result result;
  static const char *const groups[] = {"handler", "again"};
  for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
    get_soon(node, groups[i], &result);
    assert_int_equal(result.code, LC_EINTERNAL);
    assert_string_equal(result.message, "getter passed its CPU budget of 50ms");
    assert_value(node, "ok", groups[i], "fine");
  }
  node_stop(node);
}

static void xpcall_is_as_lua_has_it(void **state) {
  (void)state;
  struct script_node *node = node_start_source(
      HEAD GROUP("values", "local ok, a, b, c = xpcall(function(...) return 'r', ... end, spin, 1, nil)\n"
                           "return tostring(ok) .. a .. tostring(b) .. tostring(c)")
          GROUP("error", "local ok, e, more = xpcall(error, function(e) return e .. '!', 2 end, 'bad', 0)\n"
                         "return tostring(ok) .. e .. tostring(more)")
              GROUP("handler", "return tostring(xpcall(error, function(e) error(e) end, 'bad'))")
                  GROUP("wait", "local ok, v = xpcall(function() lcache.sleep(0.001) return 'slept' end, spin)\n"
                                "return v"));
  assert_value(node, "values", "k", "truer1nil");
  assert_value(node, "error", "k", "falsebad!nil");
  assert_value(node, "handler", "k", "false");
  assert_value(node, "wait", "k", "slept");
  node_stop(node);
}

static void our_own_slow_functions_end_at_the_budget(void **state) {
  (void)state;
  struct node_config config = {.source =
                                   HEAD "local live = {} for i = 1, 50000 do live[i] = {} end\n"
                                        "local text = lcache.json.encode{ ('x'):rep(1000000) }\n" GROUP(
                                            "collect", "for i = 1, 1e6 do collectgarbage() end return 'x'")
                                            GROUP("decode", "for i = 1, 1e6 do lcache.json.decode(text) end return 'x'")
                                                GROUP("ok", "return 'fine'"),
                               .opts.cpu_budget_ms = 50};
  struct script_node *node = node_start(&config);
  struct node_result result;
  static const char *const groups[] = {"collect", "decode"};
  for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
    get_soon(node, groups[i], &result);
    assert_string_equal(result.message, "getter passed its CPU budget of 50ms");
    assert_value(node, "ok", groups[i], "fine");
  }
  node_stop(node);
}

static void recursion_through_c_is_an_error_of_the_getter(void **state) {
  (void)state;
  struct node_config config = {
      .source = HEAD GROUP("gsub", "local function f() return (string.gsub('x', 'x', f)) end return f()")
          GROUP("method", "local function f() return (('x'):gsub('x', f)) end return f()")
              GROUP("print",
                    "local t = setmetatable({}, { __tostring = function(t) print(t) return 'x' end })\n"
                    "print(t) return 'x'") GROUP("wrap", "local function f() return coroutine.wrap(f)() end return f()")
                  GROUP("both", "local function f() return (string.gsub('x', 'x', coroutine.wrap(f))) end return f()")
                      GROUP("some", "local n = 0\nlocal function f() n = n + 1\n"
                                    "return n < 50 and (string.gsub('x', 'x', f)) or nil end\n"
                                    "return f() .. n") GROUP("ok", "return 'fine'"),
      .opts.memory_bytes = 256 << 20,
      .opts.cpu_budget_ms = 20000};
  struct script_node *node = node_start(&config);
  struct node_result result;
  static const char *const groups[] = {"gsub", "method", "print", "wrap", "both"};
  for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
    node_get(node, groups[i], "k", &result);
    assert_int_equal(result.code, LC_EINTERNAL);
    assert_string_equal(result.message, "getter failed");
    assert_value(node, "ok", groups[i], "fine");
  }
  node_wait_log(node, "app.lua:4: stack overflow");
  assert_value(node, "some", "k", "x50");
  node_stop(node);
}

static void printing_much_costs_no_more_than_a_line(void **state) {
  (void)state;
  struct node_config config = {.source =
                                   HEAD GROUP("print", "local t = {} for i = 1, 3000 do t[i] = ('x'):rep(500000) end\n"
                                                       "print('much', unpack(t)) return 'x'"),
                               .opts.cpu_budget_ms = 20000};
  struct script_node *node = node_start(&config);
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  assert_value(node, "print", "k", "x");
  getrusage(RUSAGE_SELF, &after);
  assert_true(after.ru_maxrss - before.ru_maxrss < 100 << 10);
  node_wait_log(node, "much xxx");
  node_stop(node);
}

static void files_that_wait_for_a_writer_are_refused(void **state) {
  (void)state;
  struct script_dir dir;
  char pipe[128];
  script_write(&dir, HEAD "local file, message, code = io.open(os.getenv('TEST_PIPE'))\n"
                          "assert(file == nil and message:find('named pipe') and code == 22, message)\n"
                          "assert(not pcall(io.lines) and not pcall(io.lines, nil))\n"
                          "local ok, why = pcall(io.lines, os.getenv('TEST_PIPE'))\n"
                          "assert(not ok and why:find('named pipe'), why)\n"
                          "local ok, why = pcall(function() for line in io.lines('/nowhere/x') do end end)\n"
                          "assert(why:find('app.lua:%d+: ') and why:find('No such file'), why)\n"
                          "for line in io.lines('/etc/passwd') do assert(#line > 0) break end\n"
                          "assert(io.open('/etc/passwd', 'rb'):read('*l'))\n"
                          "lcache.group('g', { getter = print })");
  snprintf(pipe, sizeof pipe, "%spipe", dir.path);
  assert_int_equal(mkfifo(pipe, 0600), 0);
  setenv("TEST_PIPE", pipe, 1);
  struct lc_script_description *description = NULL;
  struct lc_err err = {0};
  struct lc_script_options options = {.path = dir.script};
  int code = lc_script_describe(&options, &description, &err);
  unsetenv("TEST_PIPE");
  unlink(pipe);
  assert_string_equal(err.msg, "");
  assert_int_equal(code, LC_OK);
  lc_script_description_destroy(description);
  script_remove(&dir);
}

static void a_files_metatable_is_out_of_reach(void **state) {
  (void)state;
  assert_describes(HEAD "local file = io.open('/dev/null')\n"
                        "assert(getmetatable(file) == false and file.__gc == nil and file.__index == nil)\n"
                        "assert(file:read('*l') == nil and file:seek() == 0 and io.type(file) == 'file')\n"
                        "assert(tostring(file):find('^file %(') and file:close())\n"
                        "lcache.group('g', { getter = print })");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_endless_error_handler_ends_at_the_budget),
      cmocka_unit_test(xpcall_is_as_lua_has_it),
      cmocka_unit_test(our_own_slow_functions_end_at_the_budget),
      cmocka_unit_test(recursion_through_c_is_an_error_of_the_getter),
      cmocka_unit_test(printing_much_costs_no_more_than_a_line),
      cmocka_unit_test(files_that_wait_for_a_writer_are_refused),
      cmocka_unit_test(a_files_metatable_is_out_of_reach),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
