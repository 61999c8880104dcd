#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "test_script_source.h"
#include "test_script_util.h"

/* Every allocation fails in turn: an error that says so, no crash, and what comes after works. */
#define HEAD "local lcache = require 'lcache'\n"

static void describing_survives_every_failed_allocation(void **state) {
  (void)state;
  struct script_dir dir;
  if (!lc_alloc_faults_built())
    skip();
  script_write(&dir,
               HEAD "lcache.configure{ workers = 2, peers = { 'a', 'b' } }\n"
                    "local t = lcache.json.decode(lcache.json.encode({ 1, { a = 'b' } }))\n"
                    "for i = 1, 3 do lcache.group('g' .. i, { getter = print, ttl = t[1], on_evict = print }) end");
  struct lc_script_options options = {.path = dir.script, .secrets_dir = dir.path};
  size_t failures = 0;
  for (size_t n = 1;; n++) {
    struct lc_script_description *description = NULL;
    struct lc_err err = {0};
    lc_alloc_fail_at(n);
    int code = lc_script_describe(&options, &description, &err);
    size_t made = lc_alloc_fail_at(0);
    if (code != LC_OK) {
      failures++;
      assert_true(strlen(err.msg) > 0);
      assert_null(description);
    }
    lc_script_description_destroy(description);
    if (made < n) {
      assert_int_equal(code, LC_OK);
      break;
    }
  }
  assert_true(failures > 50);
  script_remove(&dir);
}

struct round {
  struct lc_get get;
  struct script_node *node;
  size_t fail_at, made;
  bool over;
};

static void got(struct lc_get *get) {
  struct round *round = (struct round *)get;
  round->made = lc_alloc_fail_at(0);
  node_finish(round->node, &round->over);
}

static void start_failing(struct script_node *node, void *arg) {
  struct round *round = arg;
  lc_alloc_fail_at(round->fail_at);
  if (lc_group_get(node_groups(node), &round->get) != LC_PENDING)
    got(&round->get);
}

/* Loads keys with the n-th allocation failing, n = 1, 2, 3…, until none fails; after each, another key loads. */
static size_t fail_each(struct script_node *node, const char *suffix) {
  size_t failures = 0;
  for (size_t n = 1;; n++) {
    char key[32], value[64];
    struct round round = {.fail_at = n, .node = node};
    round.get.group = lc_slice_str("g");
    round.get.key = lc_slice_of(key, (size_t)snprintf(key, sizeof key, "%zu", n));
    round.get.done = got;
    node_run(node, start_failing, &round);
    node_await(node, &round.over);
    node_wait_idle(node);
    failures += round.get.code != LC_OK;
    lc_get_fini(&round.get);
    snprintf(key, sizeof key, "after %zu", n);
    snprintf(value, sizeof value, "%s%s", key, suffix);
    assert_value(node, "g", key, value);
    if (round.made < n)
      return failures;
  }
}

static void a_load_survives_every_failed_allocation(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct script_node *node = node_start_source(
      HEAD "lcache.group('inner', { getter = function(key) if key ~= 'g' then lcache.sleep(0) end return key end })\n"
           "lcache.group('g', { getter = function(key, ctx)\n"
           "local t = lcache.json.decode('{\"a\":[1,2,3]}') lcache.sleep(0)\n"
           "local v = assert(lcache.get('inner', key)) local w = assert(lcache.get('inner', ctx.group))\n"
           "return v .. lcache.json.encode(t) .. #w, nil, '1h' end })");
  assert_true(fail_each(node, "{\"a\":[1,2,3]}1") > 10);
  node_stop(node);
}

static void a_request_survives_every_failed_allocation(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  char script[1024];
  struct source *source = source_start();
  snprintf(script, sizeof script,
           HEAD
           "lcache.group('g', { getter = function(key)\n"
           "local r, why = lcache.http.request{ url = 'http://127.0.0.1:%u/json', headers = { a = 'b' }, body = key }\n"
           "if not r then return nil, why end\n"
           "return key .. lcache.json.decode(r.body).score end })",
           source_port(source));
  struct script_node *node = node_start_source(script);
  assert_true(fail_each(node, "42") > 10);
  node_stop(node);
  source_stop(source);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(describing_survives_every_failed_allocation),
      cmocka_unit_test(a_load_survives_every_failed_allocation),
      cmocka_unit_test(a_request_survives_every_failed_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
