#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test_script_util.h"

#define HEAD "local lcache = require 'lcache'\n"
#define TAIL "\nlcache.group('g', { getter = function() end })"

static void a_script_that_is_not_there_is_named(void **state) {
  (void)state;
  struct lc_script_description *description;
  struct lc_err err = {0};
  struct lc_script_options options = {.path = "/nowhere/app.lua"};
  assert_int_equal(lc_script_describe(&options, &description, &err), LC_EINVAL);
  assert_string_equal(err.msg, "/nowhere/app.lua: No such file or directory");
}

static void a_syntax_error_names_file_and_line(void **state) {
  (void)state;
  assert_string_equal(describe_error("local x = 1\nlocal = 2"), "app.lua:2: '<name>' expected near '='");
}

static void misuse_of_group_names_line_group_and_value(void **state) {
  (void)state;
  static const struct {
    const char *call, *message;
  } cases[] = {
      {"lcache.group('scores', { getter = print, ttl = 'soon' })",
       "app.lua:2: group \"scores\": ttl must be a duration, got \"soon\""},
      {"lcache.group('scores', { getter = print, ttl = 0 })",
       "app.lua:2: group \"scores\": ttl must be more than 0, got 0"},
      {"lcache.group('scores', { getter = print, timeout = {} })",
       "app.lua:2: group \"scores\": timeout must be a duration, got a table"},
      {"lcache.group('scores', { getter = print, bytes = '12XB' })",
       "app.lua:2: group \"scores\": bytes must be a size (like \"64MB\"), got \"12XB\""},
      {"lcache.group('scores', { getter = print, max_key = '1MB' })",
       "app.lua:2: group \"scores\": max_key must be at most 65535, got \"1MB\""},
      {"lcache.group('scores', { getter = print, max_value = -1 })",
       "app.lua:2: group \"scores\": max_value must be more than 0, got -1"},
      {"lcache.group('scores', { getter = print, max_value = 1.5 })",
       "app.lua:2: group \"scores\": max_value must be a size (like \"64MB\"), got 1.5"},
      {"lcache.group('scores', { getter = print, mirror_ttl = 'soon' })",
       "app.lua:2: group \"scores\": mirror_ttl must be a duration, or 0 for no mirrors, got \"soon\""},
      {"lcache.group('scores', { getter = print, mirror_ttl = -1 })",
       "app.lua:2: group \"scores\": mirror_ttl must be a duration, or 0 for no mirrors, got -1"},
      {"lcache.group('scores', { getter = print, ttl = -5 })",
       "app.lua:2: group \"scores\": ttl must be more than 0, got -5"},
      {"lcache.group('scores', { getter = { new = print } })",
       "app.lua:2: group \"scores\": getter must be a function, got a table (a module's .new{...} makes one)"},
      {"lcache:group('scores', { getter = print })",
       "app.lua:2: lcache.group: the group's name must be a string, got a table (call lcache.group with a dot)"},
      {"lcache.group('scores', { getter = print, policy = 'fifo' })",
       "app.lua:2: group \"scores\": policy must be \"lru2\" or \"lru\", got \"fifo\""},
      {"lcache.group('scores', { getter = print, on_evict = true })",
       "app.lua:2: group \"scores\": on_evict must be a function, got true"},
      {"lcache.group('scores', { ttl = '1s' })",
       "app.lua:2: group \"scores\": getter is missing, add getter = function(key, ctx) ... end"},
      {"lcache.group('scores', { getter = {} })",
       "app.lua:2: group \"scores\": getter must be a function, got a table"},
      {"lcache.group('scores', { getter = print, tll = 1 })",
       "app.lua:2: group \"scores\": unknown option \"tll\", there are getter, bytes, ttl, timeout, policy, max_key, "
       "max_value, mirror_ttl, on_evict"},
      {"lcache.group('scores')", "app.lua:2: group \"scores\": the second argument must be a table of options such as "
                                 "{ getter = ... }, got nil"},
      {"lcache.group(nil, {})", "app.lua:2: lcache.group: the group's name must be a string, got nil"},
      {"lcache.group('', {})", "app.lua:2: lcache.group: the group's name must not be empty"},
      {"lcache.group('g', { getter = print })\nlcache.group('g', { getter = print })",
       "app.lua:3: group \"g\" is declared twice, first at app.lua:2"},
  };
  char source[512];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    snprintf(source, sizeof source, "%s%s", HEAD, cases[i].call);
    assert_string_equal(describe_error(source), cases[i].message);
  }
}

static void a_script_without_groups_is_told_what_to_add(void **state) {
  (void)state;
  assert_string_equal(describe_error(HEAD), "app.lua: no group declared, add one: lcache.group(\"scores\", { getter = "
                                            "function(key, ctx) return key end })");
}

static void settings_come_as_text_with_their_line(void **state) {
  (void)state;
  struct script_dir dir;
  struct lc_err err;
  struct lc_script_description *description;
  const struct lc_script_setting *settings;
  char where[128];
  script_write(&dir, HEAD "lcache.configure{ workers = 2 }\nlcache.configure{ memory = '1GB' }\n"
                          "lcache.configure{ peers = { 'a:1', 'b:2' } }\nlcache.configure{ jit = false }" TAIL);
  struct lc_script_options options = {.path = dir.script};
  assert_int_equal(lc_script_describe(&options, &description, &err), LC_OK);
  assert_int_equal(lc_script_settings(description, &settings), 4);
  assert_string_equal(settings[0].name, "workers");
  assert_string_equal(settings[0].value, "2");
  snprintf(where, sizeof where, "%s:2", dir.script);
  assert_string_equal(settings[0].where, where);
  assert_string_equal(settings[1].value, "1GB");
  assert_string_equal(settings[2].value, "a:1,b:2");
  assert_string_equal(settings[3].value, "false");
  lc_script_description_destroy(description);
  script_remove(&dir);
}

static void misuse_of_configure_is_refused(void **state) {
  (void)state;
  assert_string_equal(
      describe_error(HEAD "lcache.configure('x')" TAIL),
      "app.lua:2: lcache.configure: the argument must be a table such as { memory = \"1GB\" }, got \"x\"");
  assert_string_equal(describe_error(HEAD "lcache.configure{ memory = print }" TAIL),
                      "app.lua:2: lcache.configure: memory must be a string, a number, true, false or a list of "
                      "strings, got a function");
  assert_string_equal(describe_error(HEAD "lcache.configure{ memory = 1 }\nlcache.configure{ memory = 2 }" TAIL),
                      "app.lua:3: lcache.configure: memory is set twice, first at app.lua:2");
}

static void options_of_groups_are_read(void **state) {
  (void)state;
  struct script_dir dir;
  struct lc_err err;
  struct lc_script_description *description;
  const struct lc_group_options *groups;
  script_write(&dir,
               HEAD "lcache.group('a', { getter = print })\n"
                    "lcache.group('b', { getter = print, bytes = '64MB', ttl = '250ms', timeout = 2.5,\n"
                    "policy = 'lru', max_key = 100, max_value = '1KB', mirror_ttl = '250ms', on_evict = print })\n"
                    "lcache.group('c', { getter = print, mirror_ttl = 0 })");
  struct lc_script_options options = {.path = dir.script};
  assert_int_equal(lc_script_describe(&options, &description, &err), LC_OK);
  assert_int_equal(lc_script_groups(description, &groups), 3);
  assert_int_equal(groups[0].mirror_ttl_ms, 5000);
  assert_int_equal(groups[1].mirror_ttl_ms, 250);
  assert_int_equal(groups[2].mirror_ttl_ms, 0);
  assert_string_equal(groups[0].name, "a");
  assert_int_equal(groups[0].limit_bytes, 0);
  assert_int_equal(groups[0].ttl_ms, 0);
  assert_int_equal(groups[0].timeout_ms, 5000);
  assert_int_equal(groups[0].policy, LC_POLICY_LRU2);
  assert_false(groups[0].wants_evict);
  assert_string_equal(groups[1].name, "b");
  assert_int_equal(groups[1].limit_bytes, 64 << 20);
  assert_int_equal(groups[1].ttl_ms, 250);
  assert_int_equal(groups[1].timeout_ms, 2500);
  assert_int_equal(groups[1].policy, LC_POLICY_LRU);
  assert_int_equal(groups[1].max_key, 100);
  assert_int_equal(groups[1].max_value, 1024);
  assert_true(groups[1].wants_evict);
  assert_non_null(strstr(lc_script_group_where(description, 1), "app.lua:"));
  lc_script_description_destroy(description);
  script_remove(&dir);
}

static void what_ends_or_blocks_the_process_is_gone(void **state) {
  (void)state;
  assert_describes(HEAD "assert(not os.exit and not os.remove and not os.rename and not os.tmpname)\n"
                        "assert(not os.setlocale and not io.read and not io.stdout)\n"
                        "assert(not debug and not ffi and not jit and not newproxy and not package.loadlib)\n"
                        "assert(not pcall(require, 'ffi') and not pcall(require, 'string.buffer'))\n"
                        "assert(not pcall(require, 'jit') and not pcall(require, 'debug') and package.cpath == '')\n"
                        "assert(os.time and os.getenv and io.open and coroutine.wrap and bit.band)" TAIL);
}

static void what_blocks_says_so(void **state) {
  (void)state;
  assert_string_equal(describe_error("\nos.execute('true')"),
                      "app.lua:2: os.execute is not available in lcache: it blocks the worker");
  assert_string_equal(describe_error("return io.popen('true')"),
                      "io.popen is not available in lcache: it blocks the worker");
}

static void a_name_that_lcache_lacks_gets_the_nearest(void **state) {
  (void)state;
  assert_string_equal(describe_error(HEAD "lcache.gruop('g', {})"),
                      "app.lua:2: lcache has no \"gruop\", did you mean \"group\"?");
  assert_string_equal(describe_error(HEAD "lcache.htpp.get('u')"),
                      "app.lua:2: lcache has no \"htpp\", did you mean \"http\"?");
  assert_string_equal(describe_error(HEAD "lcache.http.post('u')"),
                      "app.lua:2: lcache.http has no \"post\", there are escape, get, request");
  assert_string_equal(describe_error(HEAD "lcache.log.wran('u')"),
                      "app.lua:2: lcache.log has no \"wran\", did you mean \"warn\"?");
  assert_string_equal(describe_error(HEAD "lcache.json.stringify({})"),
                      "app.lua:2: lcache.json has no \"stringify\", there are array, array_mt, decode, encode, null");
  assert_describes(HEAD "assert(rawget(lcache, 'gruop') == nil and lcache[1] == nil)" TAIL);
}

static void an_error_that_is_no_text_names_the_file(void **state) {
  (void)state;
  assert_string_equal(describe_error("error({})"), "app.lua: it raised a table, not a text: error(a table)");
  assert_string_equal(describe_error("error()"), "app.lua: it raised a nil, not a text: error(a nil)");
}

static void misuse_in_a_tail_call_keeps_its_name(void **state) {
  (void)state;
  assert_string_equal(describe_error(HEAD "return lcache.http.escape({})"),
                      "lcache.http.escape: the text must be a string, got a table");
  assert_string_equal(describe_error(HEAD "lcache.http.escape()"),
                      "app.lua:2: lcache.http.escape: the text must be a string, got nil");
  assert_string_equal(describe_error(HEAD "lcache.json.decode(nil)"),
                      "app.lua:2: lcache.json.decode: the text must be a string, got nil");
  assert_string_equal(describe_error(HEAD "lcache.log.info({})"),
                      "app.lua:2: lcache.log: the message must be a string, got a table");
}

static void a_missing_module_is_told_in_one_line_and_getters_with_where_ours_are(void **state) {
  (void)state;
  const char *message = describe_error("\nrequire 'no.such'");
  assert_ptr_equal(strstr(message, "app.lua:2: module 'no.such' not found:\n\tno no/such.lua or no/such/init.lua in "),
                   message);
  assert_null(strstr(message, "own getters"));
  assert_null(strstr(message, "no file"));
  assert_non_null(strstr(message, ", lua/, ./lua/, "));
  message = describe_error("\nrequire 'getters.nosuch'");
  assert_non_null(strstr(message, "\n\tlcache's own getters are "));
  assert_int_equal(message[strlen(message) - 1], '/');
  message = describe_error("package.path = '/x/?.lua'\nrequire 'getters.nosuch'");
  assert_string_equal(message, "app.lua:2: module 'getters.nosuch' not found:\n\tno file '/x/getters/nosuch.lua'");
}

static void bytecode_is_refused_however_it_comes(void **state) {
  (void)state;
  assert_describes(HEAD "local bytecode = '\\27LJ\\2\\10\\0'\n"
                        "local f, why = load(bytecode)\nassert(not f and why:find('wrong mode'), why)\n"
                        "f, why = load(bytecode, 'x', 'b')\nassert(not f and why:find('wrong mode'), why)\n"
                        "f, why = loadstring(bytecode)\nassert(not f and why:find('wrong mode'), why)\n"
                        "assert(load('return 5')() == 5 and load('return x', 'n', 't', { x = 7 })() == 7)\n"
                        "assert(string.dump == nil)" TAIL);
  assert_non_null(strstr(describe_error("\033LJ\2"), "wrong mode"));
}

static void modules_are_found_beside_the_script(void **state) {
  (void)state;
  struct script_dir dir;
  struct lc_err err = {0};
  struct lc_script_description *description = NULL;
  script_write(&dir, HEAD "assert(require('mine').n == 3)\nlocal ok, why = pcall(require, 'broken')\n"
                          "assert(not ok and why:find('broken.lua:2:'), why)\n"
                          "ok, why = pcall(require, 'byte')\nassert(not ok and why:find('wrong mode'), why)" TAIL);
  script_add_file(&dir, "mine.lua", "return { n = 3 }");
  script_add_file(&dir, "broken.lua", "\nreturn return");
  script_add_file(&dir, "byte.lua", "\033LJ\2");
  struct lc_script_options options = {.path = dir.script};
  int code = lc_script_describe(&options, &description, &err);
  assert_string_equal(err.msg, "");
  assert_int_equal(code, LC_OK);
  lc_script_description_destroy(description);
  script_remove(&dir);
}

static void a_script_that_loops_while_loading_is_stopped(void **state) {
  (void)state;
  assert_string_equal(describe_error("\nwhile true do end"), "app.lua:2: the script passed its CPU budget of 300ms");
  assert_non_null(strstr(describe_error("while true do pcall(function() while true do end end) end"),
                         "the script passed its CPU budget of 300ms"));
  assert_string_equal(describe_error(HEAD TAIL "\nreturn pcall(function() while true do end end)"),
                      "app.lua: the script passed its CPU budget");
}

static void a_script_that_fills_memory_while_loading_is_stopped(void **state) {
  (void)state;
  assert_string_equal(describe_error("local t = {}\nwhile true do t[#t + 1] = ('x'):rep(1000) .. #t end"),
                      "app.lua: no memory, or over its cap");
  assert_string_equal(describe_error("string.rep('x', 1e9)"), "app.lua: no memory, or over its cap");
}

static void waiting_calls_are_refused_while_loading(void **state) {
  (void)state;
  assert_string_equal(describe_error(HEAD "lcache.sleep(1)" TAIL),
                      "app.lua:2: lcache.sleep can be called only by a getter, not while the script loads");
  assert_string_equal(describe_error(HEAD "lcache.get('g', 'k')" TAIL),
                      "app.lua:2: lcache.get can be called only by a getter, not while the script loads");
  assert_string_equal(describe_error(HEAD "local x = lcache.http.get('http://x/')" TAIL),
                      "app.lua:2: lcache.http can be called only by a getter, not while the script loads");
  assert_string_equal(describe_error(HEAD "lcache.http.get(5)" TAIL),
                      "app.lua:2: lcache.http.get: the URL must be a string, got 5");
  assert_string_equal(describe_error(HEAD "lcache.http.get('http://x/', { tiemout = 1 })" TAIL),
                      "app.lua:2: lcache.http.get: unknown option \"tiemout\", there are headers, timeout, "
                      "connect_timeout, max_bytes, redirects");
  assert_string_equal(describe_error(HEAD "lcache.http.request{ url = 'http://x/', timeout = 'soon' }" TAIL),
                      "app.lua:2: lcache.http.request: timeout must be a duration, got \"soon\"");
}

static void secrets_come_from_the_environment_then_from_files(void **state) {
  (void)state;
  struct script_dir dir;
  struct lc_err err = {0};
  struct lc_script_description *description = NULL;
  script_write(&dir, HEAD "assert(lcache.secret('TOKEN') == 'from env')\nassert(lcache.secret('FILE') == 'from file')\n"
                          "assert(lcache.secret('NONE') == nil)\n"
                          "local ok, why = pcall(lcache.secret, '../app')\n"
                          "assert(not ok and why:find('letters, digits'), why)" TAIL);
  script_add_file(&dir, "FILE", "from file\n");
  script_add_file(&dir, "TOKEN", "from file");
  setenv("LCACHE_SECRET_TOKEN", "from env", 1);
  struct lc_script_options options = {.path = dir.script, .secrets_dir = dir.path};
  int code = lc_script_describe(&options, &description, &err);
  unsetenv("LCACHE_SECRET_TOKEN");
  assert_string_equal(err.msg, "");
  assert_int_equal(code, LC_OK);
  lc_script_description_destroy(description);
  script_remove(&dir);
}

static void finalizers_cannot_be_set_by_a_script(void **state) {
  (void)state;
  assert_describes(HEAD "assert(getmetatable(io.open('/dev/null')) == false)\n"
                        "assert(not pcall(collectgarbage, 'stop') and collectgarbage('count') > 0)" TAIL);
}

static void escape_encodes_all_but_unreserved(void **state) {
  (void)state;
  assert_describes(HEAD "assert(lcache.http.escape('a b/ü~') == 'a%20b%2F%C3%BC~')\n"
                        "assert(lcache.http.escape('') == '')\n"
                        "assert(lcache.http.escape('...') == '...' and lcache.http.escape('a.b') == 'a.b')" TAIL);
}

static void escape_makes_no_step_to_another_folder(void **state) {
  (void)state;
  assert_describes(HEAD "assert(lcache.http.escape('.') == '%2E')\n"
                        "assert(lcache.http.escape('..') == '%2E%2E' and lcache.http.escape('.\\0') == '.%00')" TAIL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_script_that_is_not_there_is_named),
      cmocka_unit_test(a_syntax_error_names_file_and_line),
      cmocka_unit_test(misuse_of_group_names_line_group_and_value),
      cmocka_unit_test(a_script_without_groups_is_told_what_to_add),
      cmocka_unit_test(settings_come_as_text_with_their_line),
      cmocka_unit_test(misuse_of_configure_is_refused),
      cmocka_unit_test(options_of_groups_are_read),
      cmocka_unit_test(what_ends_or_blocks_the_process_is_gone),
      cmocka_unit_test(what_blocks_says_so),
      cmocka_unit_test(a_name_that_lcache_lacks_gets_the_nearest),
      cmocka_unit_test(an_error_that_is_no_text_names_the_file),
      cmocka_unit_test(misuse_in_a_tail_call_keeps_its_name),
      cmocka_unit_test(a_missing_module_is_told_in_one_line_and_getters_with_where_ours_are),
      cmocka_unit_test(bytecode_is_refused_however_it_comes),
      cmocka_unit_test(modules_are_found_beside_the_script),
      cmocka_unit_test(a_script_that_loops_while_loading_is_stopped),
      cmocka_unit_test(a_script_that_fills_memory_while_loading_is_stopped),
      cmocka_unit_test(waiting_calls_are_refused_while_loading),
      cmocka_unit_test(secrets_come_from_the_environment_then_from_files),
      cmocka_unit_test(finalizers_cannot_be_set_by_a_script),
      cmocka_unit_test(escape_encodes_all_but_unreserved),
      cmocka_unit_test(escape_makes_no_step_to_another_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
