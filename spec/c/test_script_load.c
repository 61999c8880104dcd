#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "test_script_util.h"

#define HEAD "local lcache = require 'lcache'\n"
#define GROUP(name, body) "lcache.group('" name "', { getter = function(key, ctx) " body " end })\n"

static void a_value_a_ttl_and_nothing_reach_the_caller(void **state) {
  (void)state;
  struct script_node *node =
      node_start_source(HEAD GROUP("echo", "return key .. '!'") GROUP("seconds", "return 'v', nil, 2.5")
                            GROUP("text", "return 'v', nil, '1h'") GROUP("forever", "return 'v', nil, math.huge")
                                GROUP("none", "return nil") GROUP("empty", "return") GROUP("blank", "return ''"));
  struct node_result result;
  assert_value(node, "echo", "k", "k!");
  assert_value(node, "blank", "k", "");
  node_get(node, "seconds", "k", &result);
  assert_in_range(result.ttl_ms, 2000, 2500);
  assert_int_equal(result.from, LC_FROM_SOURCE);
  node_get(node, "seconds", "k", &result);
  assert_int_equal(result.from, LC_FROM_STORE);
  node_get(node, "text", "k", &result);
  assert_in_range(result.ttl_ms, 3590000, 3600000);
  node_get(node, "forever", "k", &result);
  assert_int_equal(result.ttl_ms, 0);
  assert_error(node, "none", "k", LC_ENOTFOUND, "not found");
  assert_error(node, "empty", "k", LC_ENOTFOUND, "not found");
  node_stop(node);
}

static void keys_and_values_may_hold_any_byte(void **state) {
  (void)state;
  struct script_node *node =
      node_start_source(HEAD GROUP("g", "return '\\0' .. key .. '\\255', nil") GROUP("len", "return tostring(#key)"));
  struct node_result result;
  node_get(node, "g", "\x01\xff", &result);
  assert_int_equal(result.value_len, 4);
  assert_memory_equal(result.value, "\0\x01\xff\xff", 4);
  node_stop(node);
}

static void a_failed_source_is_unavailable_with_its_message(void **state) {
  (void)state;
  struct script_node *node = node_start_source(HEAD GROUP("g", "return nil, 'source is down'"));
  assert_error(node, "g", "k", LC_EUNAVAILABLE, "source is down");
  node_stop(node);
}

static void a_getter_that_fails_is_internal_and_logged_with_its_line(void **state) {
  (void)state;
  struct script_node *node = node_start_source(
      HEAD GROUP("raise", "error('boom')") GROUP("index", "local x = nil\nreturn x.y") GROUP("number", "return 5")
          GROUP("tab", "error({})") GROUP("both", "return 'v', 'w'") GROUP("ttl", "return 'v', nil, 'soon'")
              GROUP("ttl0", "return 'v', nil, 0") GROUP("msg", "return nil, {}") GROUP("false", "return false"));
  static const struct {
    const char *group, *log;
  } cases[] = {
      {"raise", "app.lua:2: boom"},
      {"index", "app.lua:4: attempt to index local 'x' (a nil value)"},
      {"number", "the getter returned a number; a value is a string"},
      {"tab", "error(a table)"},
      {"both", "the getter returned a second result beside its value"},
      {"ttl", "the getter's third result must be a TTL"},
      {"ttl0", "the getter's third result must be a TTL"},
      {"msg", "the getter returned nil and a table"},
      {"false", "the getter returned a boolean"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_error(node, cases[i].group, "k", LC_EINTERNAL, "getter failed");
    node_wait_log(node, cases[i].log);
  }
  node_wait_log(node, "a value is a string\" getter=app.lua:5");
  node_wait_log(node, "stack traceback:");
  node_wait_log(node, "in function <app.lua:2>");
  node_stop(node);
}

static void a_getter_that_fails_in_a_tail_call_is_named(void **state) {
  (void)state;
  struct script_node *node = node_start_source(HEAD GROUP("tail", "return lcache.json.encode({ f = print })")
                                                   GROUP("name", "return string.rep()"));
  assert_error(node, "tail", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "lcache.json.encode: a function has no form in JSON, in the getter at app.lua:2\"");
  assert_error(node, "name", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "string expected, got no value), in the getter at ");
  char *log = node_log(node);
  assert_null(strstr(log, "0x"));
  free(log);
  node_stop(node);
}

static void an_endless_loop_ends_at_the_budget_and_hurts_nobody(void **state) {
  (void)state;
  struct node_config config = {
      .source = HEAD GROUP("loop", "while true do end")
          GROUP("pcall", "while true do pcall(function() while true do end end) end")
              GROUP("tail", "return pcall(function() while true do end end)")
                  GROUP("wrap", "return coroutine.wrap(function() while true do end end)()")
                      GROUP("sort", "table.sort({3, 2, 1}, function(a, b) while true do end end)")
                          GROUP("long", "local n = 0 for i = 1, 300000 do n = n + i % 3 end return tostring(n)")
                              GROUP("ok", "return 'fine'"),
      .opts.cpu_budget_ms = 50};
  struct script_node *node = node_start(&config);
  struct lc_script_stats stats;
  static const char *const groups[] = {"loop", "pcall", "tail", "wrap", "sort"};
  for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
    uint64_t begun = lc_clock_ms();
    assert_error(node, groups[i], "k", LC_EINTERNAL, "getter passed its CPU budget of 50ms");
    assert_true(lc_clock_ms() - begun < 5000);
    assert_value(node, "ok", groups[i], "fine");
  }
  node_wait_log(node, "app.lua:2: the getter passed its CPU budget of 50ms");
  assert_value(node, "long", "k", "300000");
  node_stats(node, &stats);
  assert_int_equal(stats.budget_hits, 5);
  assert_int_equal(stats.tasks, 0);
  node_stop(node);
}

static void a_runaway_allocation_ends_at_the_cap_and_the_state_serves_on(void **state) {
  (void)state;
  struct node_config config = {.source = HEAD GROUP("rep", "return ('x'):rep(1e9)")
                                   GROUP("grow", "local t = {} while true do t[#t + 1] = key .. #t end")
                                       GROUP("keep", "local t = {} pcall(function() while true do t[#t + 1] = {} end "
                                                     "end) t = nil return 'recovered'")
                                           GROUP("ok", "return ('y'):rep(300000)"),
                               .opts.memory_bytes = 4 << 20,
                               .opts.cpu_budget_ms = 20000};
  struct script_node *node = node_start(&config);
  struct lc_script_stats stats;
  struct node_result result;
  for (int i = 0; i < 3; i++) {
    char key[16];
    snprintf(key, sizeof key, "%d", i);
    assert_error(node, "rep", key, LC_EINTERNAL, "getter passed its memory cap");
    assert_error(node, "grow", key, LC_EINTERNAL, "getter passed its memory cap");
    node_get(node, "ok", key, &result);
    assert_string_equal(result.message, "");
    assert_int_equal(result.value_len, 300000);
  }
  node_get(node, "keep", "k", &result);
  node_get(node, "ok", "after", &result);
  assert_int_equal(result.code, LC_OK);
  node_stats(node, &stats);
  assert_true(stats.cap_hits >= 6);
  assert_true(stats.bytes < 1 << 20);
  node_stop(node);
}

static void garbage_alone_never_reaches_the_cap(void **state) {
  (void)state;
  struct node_config config = {
      .source = HEAD "local kept = {} for i = 1, 20000 do kept[i] = 'live ' .. i end\n" GROUP(
          "g", "local t = {} for i = 1, 50 do t[i] = key .. ('z'):rep(4000) .. i end return 'v'"),
      .opts.memory_bytes = 4 << 20};
  struct script_node *node = node_start(&config);
  struct lc_script_stats stats;
  for (int i = 0; i < 500; i++) {
    char key[16];
    snprintf(key, sizeof key, "%d", i);
    assert_value(node, "g", key, "v");
  }
  node_stats(node, &stats);
  assert_int_equal(stats.cap_hits, 0);
  node_stop(node);
}

static void a_getter_that_yields_for_nobody_fails_at_once(void **state) {
  (void)state;
  struct script_node *node = node_start_source(HEAD GROUP("g", "coroutine.yield(1) return 'v'"));
  assert_error(node, "g", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "the getter called coroutine.yield");
  node_wait_idle(node);
  node_stop(node);
}

static void waiting_where_lua_cannot_gets_a_hint(void **state) {
  (void)state;
  struct script_node *node = node_start_source(
      HEAD GROUP("gsub", "return (('a'):gsub('a', function() lcache.sleep(0) return 'b' end))")
          GROUP("sort", "table.sort({ 2, 1 }, function(a, b) lcache.sleep(0) return a < b end) return 'v'")
              GROUP("wrap", "return coroutine.wrap(function() lcache.sleep(0) return 'v' end)()")
                  GROUP("pcall", "local ok, v = pcall(function() lcache.sleep(0) return key end) return v")
                      GROUP("iter", "for v in function(_, c) lcache.sleep(0) if not c then return 'i' end end do key = "
                                    "key .. v end return key"));
  assert_error(node, "gsub", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "app.lua:2: lcache.sleep has to wait, and can't inside a function that table.sort, string.gsub");
  assert_error(node, "sort", "k", LC_EINTERNAL, "getter failed");
  assert_error(node, "wrap", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "app.lua:4: lcache.sleep was called in a coroutine that the script made");
  assert_value(node, "pcall", "k", "k");
  assert_value(node, "iter", "k", "ki");
  node_stop(node);
}

static void ctx_tells_group_key_and_time_left(void **state) {
  (void)state;
  struct script_node *node = node_start_source(
      HEAD "local kept\n"
           "lcache.group('g', { timeout = '3s', getter = function(key, ctx) kept = ctx\n"
           "assert(ctx.other == nil and not pcall(function() ctx.x = 1 end) and getmetatable(ctx) == false)\n"
           "assert(not pcall(ctx.remaining, io.open('/dev/null')))\n"
           "local left = ctx:remaining() assert(left > 2 and left <= 3, left)\n"
           "return ctx.group .. '/' .. ctx.key end })\n" GROUP("late", "return kept.key"));
  assert_value(node, "g", "k", "g/k");
  assert_error(node, "late", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "the load of this ctx is over");
  node_stop(node);
}

static void a_sleeping_getter_wakes_up(void **state) {
  (void)state;
  struct script_node *node =
      node_start_source(HEAD GROUP("g", "for i = 1, 3 do lcache.sleep(0.001) end lcache.sleep('1ms') return 'awake'")
                            GROUP("bad", "lcache.sleep(-1)") GROUP("nan", "lcache.sleep(0/0)"));
  assert_value(node, "g", "k", "awake");
  assert_error(node, "bad", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "app.lua:3: lcache.sleep: the time must be seconds");
  assert_error(node, "nan", "k", LC_EINTERNAL, "getter failed");
  node_stop(node);
}

static void a_load_past_its_time_is_dropped(void **state) {
  (void)state;
  struct script_node *node = node_start_source(
      HEAD "lcache.group('g', { timeout = '30ms', getter = function() lcache.sleep(1000) end })\n" GROUP("ok",
                                                                                                         "return 'v'"));
  struct node_result result;
  node_get(node, "g", "k", &result);
  assert_int_equal(result.code, LC_EDEADLINE);
  node_wait_idle(node);
  assert_value(node, "ok", "k", "v");
  node_stop(node);
}

static void abandoned_loads_give_their_memory_back(void **state) {
  (void)state;
  struct script_node *node =
      node_start_source(HEAD GROUP("slow", "local held = key .. ('x'):rep(500) lcache.sleep(1000) "
                                           "return held") GROUP("gc", "collectgarbage() "
                                                                      "collectgarbage() return 'v'"));
  struct lc_script_stats before, after;
  assert_int_equal(node_abandon(node, "slow", 100), 100);
  node_wait_idle(node);
  assert_value(node, "gc", "1", "v");
  node_stats(node, &before);
  assert_int_equal(node_abandon(node, "slow", 10000), 10000);
  node_wait_idle(node);
  assert_value(node, "gc", "2", "v");
  node_stats(node, &after);
  assert_true(after.bytes < before.bytes + 300000);
  node_stop(node);
}

static void a_script_ends_with_loads_in_progress(void **state) {
  (void)state;
  struct script_node *node =
      node_start_source(HEAD GROUP("slow", "lcache.sleep(1000)") GROUP("outer", "return lcache.get('slow', key)"));
  struct lc_get *gets[3] = {node_begin(node, "outer", "1"), node_begin(node, "outer", "2"),
                            node_begin(node, "slow", "1")};
  assert_int_equal(node_abandon(node, "outer", 100), 100);
  node_end_script(node);
  for (int i = 0; i < 3; i++)
    node_give_up(node, gets[i]);
  node_stop(node);
}

static void get_asks_another_group(void **state) {
  (void)state;
  struct script_node *node = node_start_source(
      HEAD GROUP("base", "if key == 'no' then return nil end if key == 'bad' then return nil, 'down' end "
                         "if key == 'boom' then error('x') end if key == 'slow' then lcache.sleep(0.001) end "
                         "return 'base ' .. key")
          GROUP("top", "local v, why = lcache.get('base', key) return tostring(v) .. '|' .. tostring(why)")
              GROUP("typo", "return lcache.get('bsae', key)") GROUP("a", "return lcache.get('b', key)")
                  GROUP("b", "return lcache.get('a', key)"));
  assert_value(node, "top", "x", "base x|nil");
  assert_value(node, "base", "hit", "base hit");
  assert_value(node, "top", "hit", "base hit|nil");
  assert_value(node, "top", "slow", "base slow|nil");
  assert_value(node, "top", "no", "nil|nil");
  assert_value(node, "top", "bad", "nil|down");
  assert_value(node, "top", "boom", "nil|getter failed");
  assert_error(node, "typo", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "there is no group \\\"bsae\\\", in the getter at app.lua:4\" getter=");
  struct node_result result;
  node_get(node, "a", "k", &result);
  assert_int_equal(result.code, LC_EUNAVAILABLE);
  assert_true(strlen(result.message) > 0);
  node_stop(node);
}

static void a_getter_pays_only_for_its_own_cpu_time(void **state) {
  (void)state;
  struct node_config config = {
      .source = HEAD "local function burn(n) local x = 0 for i = 1, n do x = x + i % 7 end return x end\n" GROUP(
          "inner", "while true do end")
          GROUP("outer", "burn(50000) local v, why = lcache.get('inner', key) burn(50000) return why"),
      .opts.cpu_budget_ms = 60};
  struct script_node *node = node_start(&config);
  assert_value(node, "outer", "k", "getter passed its CPU budget of 60ms");
  node_stop(node);
}

static void on_evict_hears_of_deletes_and_its_errors_are_logged(void **state) {
  (void)state;
  struct node_config config = {
      .source = HEAD "lcache.group('g', { getter = function(key) return key end, on_evict = function(key, reason)\n"
                     "if key == 'raise' then error('evict boom') end\nif key == 'loop' then while true do end end\n"
                     "if key == 'wait' then lcache.sleep(1) end\n"
                     "lcache.log.info('gone', { what = key, why = reason }) end })\n",
      .opts.cpu_budget_ms = 50};
  struct script_node *node = node_start(&config);
  static const char *const keys[] = {"raise", "loop", "wait", "plain"};
  for (size_t i = 0; i < 4; i++) {
    struct lc_write write = {.group = lc_slice_str("g"), .key = lc_slice_str(keys[i])};
    assert_value(node, "g", keys[i], keys[i]);
    assert_int_equal(lc_group_delete(node_groups(node), &write), LC_OK);
    assert_true(write.deleted);
  }
  node_wait_log(node, "evict boom");
  node_wait_log(node, "on_evict passed its CPU budget of 50ms");
  node_wait_log(node, "lcache.sleep can be called only by a getter");
  node_wait_log(node, "what=plain");
  node_wait_log(node, "why=deleted");
  node_stop(node);
}

static void what_scripts_log_is_bounded_and_checked(void **state) {
  (void)state;
  struct script_node *node = node_start_source(
      HEAD "print('while', 'loading', 1)\n" GROUP("flood", "for i = 1, 1000 do lcache.log.warn('flood') end return 'v'")
          GROUP("fields", "lcache.log.error('event', { n = 3, x = 0.5, ok = true, s = 'text' }) return 'v'")
              GROUP("name", "lcache.log.info('x', { ['a b'] = 1 })") GROUP("value", "lcache.log.info('x', { a = {} })")
                  GROUP("own", "lcache.log.info('x', { level = 1 })"));
  node_wait_log(node, "while loading 1");
  assert_value(node, "fields", "k", "v");
  node_wait_log(node, "x=0.5");
  node_wait_log(node, "ok=true");
  assert_error(node, "own", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "lcache.log: a field can't be named level: the line has one of its own");
  assert_error(node, "name", "k", LC_EINTERNAL, "getter failed");
  assert_error(node, "value", "k", LC_EINTERNAL, "getter failed");
  assert_value(node, "flood", "k", "v");
  node_wait_log(node, "flood");
  char *log = node_log(node);
  int lines = 0;
  for (const char *at = log; (at = strstr(at, "message=flood")); at++)
    lines++;
  free(log);
  assert_in_range(lines, 1, 200);
  node_stop(node);
}

static void workers_agree_or_the_difference_is_named(void **state) {
  (void)state;
  struct script_dir dir;
  struct lc_err err = {0};
  struct lc_script_description *description;
  struct lc_script *script = NULL;
  static const struct {
    const char *source, *what;
  } cases[] = {
      {"lcache.group('g', { getter = print, ttl = n })", "app.lua:3: group \"g\": ttl differs"},
      {"lcache.group('g' .. n, { getter = print })", "whether it is declared differs"},
      {"lcache.group('g', { getter = print }) if n == 2 then lcache.group('h', { getter = print }) end",
       "group \"h\": whether it is declared differs"},
      {"lcache.group('g', { getter = print }) if n == 1 then lcache.group('h', { getter = print }) end",
       "group \"h\": whether it is declared differs"},
  };
  char source[512];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    snprintf(source, sizeof source, HEAD "local n = tonumber(os.getenv('LC_TEST_RUN'))\n%s", cases[i].source);
    script_write(&dir, source);
    struct lc_script_options options = {.path = dir.script};
    setenv("LC_TEST_RUN", "1", 1);
    assert_int_equal(lc_script_describe(&options, &description, &err), LC_OK);
    struct lc_script_config config = {.options = options, .description = description};
    assert_int_equal(lc_script_create(&config, &script, &err), LC_OK);
    lc_script_destroy(script);
    setenv("LC_TEST_RUN", "2", 1);
    assert_int_equal(lc_script_create(&config, &script, &err), LC_EINVAL);
    if (!strstr(err.msg, cases[i].what))
      fail_msg("%s", err.msg);
    lc_script_description_destroy(description);
    script_remove(&dir);
  }
}

static void groups_declared_in_any_order_agree(void **state) {
  (void)state;
  struct node_config config = {
      .source =
          HEAD "local names = {} for i = 1, 40 do names['g' .. i] = true end\n"
               "for name in pairs(names) do lcache.group(name, { getter = function(key, ctx) return name .. ctx.group "
               "end }) end",
      .workers = 2};
  struct script_node *node = node_start(&config);
  assert_value(node, "g1", "k", "g1g1");
  assert_value(node, "g17", "k", "g17g17");
  assert_value(node, "g40", "k", "g40g40");
  node_stop(node);
}

static void jit_is_an_option(void **state) {
  (void)state;
  struct node_config config = {
      .source = HEAD GROUP("g", "local n = 0 for i = 1, 1e6 do n = n + i % 2 end return tostring(n)"),
      .opts.jit = true};
  struct script_node *node = node_start(&config);
  assert_value(node, "g", "k", "500000");
  node_stop(node);
}

static void a_load_without_a_script_is_unavailable(void **state) {
  (void)state;
  struct script_node *node = node_start_source(HEAD GROUP("g", "return 'v'"));
  assert_value(node, "g", "k", "v");
  node_end_script(node);
  assert_value(node, "g", "k", "v");
  assert_error(node, "g", "other", LC_EUNAVAILABLE, "the script is not running");
  node_stop(node);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_value_a_ttl_and_nothing_reach_the_caller),
      cmocka_unit_test(keys_and_values_may_hold_any_byte),
      cmocka_unit_test(a_failed_source_is_unavailable_with_its_message),
      cmocka_unit_test(a_getter_that_fails_is_internal_and_logged_with_its_line),
      cmocka_unit_test(a_getter_that_fails_in_a_tail_call_is_named),
      cmocka_unit_test(an_endless_loop_ends_at_the_budget_and_hurts_nobody),
      cmocka_unit_test(a_runaway_allocation_ends_at_the_cap_and_the_state_serves_on),
      cmocka_unit_test(garbage_alone_never_reaches_the_cap),
      cmocka_unit_test(a_getter_that_yields_for_nobody_fails_at_once),
      cmocka_unit_test(waiting_where_lua_cannot_gets_a_hint),
      cmocka_unit_test(ctx_tells_group_key_and_time_left),
      cmocka_unit_test(a_sleeping_getter_wakes_up),
      cmocka_unit_test(a_load_past_its_time_is_dropped),
      cmocka_unit_test(abandoned_loads_give_their_memory_back),
      cmocka_unit_test(a_script_ends_with_loads_in_progress),
      cmocka_unit_test(get_asks_another_group),
      cmocka_unit_test(a_getter_pays_only_for_its_own_cpu_time),
      cmocka_unit_test(on_evict_hears_of_deletes_and_its_errors_are_logged),
      cmocka_unit_test(what_scripts_log_is_bounded_and_checked),
      cmocka_unit_test(workers_agree_or_the_difference_is_named),
      cmocka_unit_test(groups_declared_in_any_order_agree),
      cmocka_unit_test(jit_is_an_option),
      cmocka_unit_test(a_load_without_a_script_is_unavailable),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
