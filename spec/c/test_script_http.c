#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "test_script_source.h"
#include "test_script_util.h"

#define HEAD "local lcache = require 'lcache'\nlocal base = 'http://127.0.0.1:%u'\n"
#define GROUP(name, body) "lcache.group('" name "', { getter = function(key, ctx) " body " end })\n"

/* A node whose script knows the source's address as `base`. */
static struct script_node *node_with(unsigned port, const char *format, size_t memory_bytes) {
  char source[8192];
  snprintf(source, sizeof source, format, port);
  return node_start(&(struct node_config){.source = source, .opts.memory_bytes = memory_bytes});
}

static void a_response_is_status_headers_and_body(void **state) {
  (void)state;
  struct source *source = source_start();
  struct script_node *node = node_with(
      source_port(source),
      HEAD GROUP("get", "local r = assert(lcache.http.get(base .. key)) return r.status .. ' ' .. r.body .. ' ' .. "
                        "r.headers['x-twice'] .. ' ' .. tostring(r.headers['content-type'])")
          GROUP("json", "local r = assert(lcache.http.get(base .. key)) local t, why = lcache.json.decode(r.body) "
                        "if not t then return nil, why end return tostring(t.score)"),
      0);
  assert_value(node, "get", "/status/200", "200 status 200 one, two nil");
  assert_value(node, "get", "/status/500", "500 status 500 one, two nil");
  assert_value(node, "get", "/json", "200 {\"score\":42} one, two application/json");
  assert_value(node, "json", "/json", "42");
  assert_error(node, "json", "/broken", LC_EUNAVAILABLE, "not JSON at byte 10");
  node_stop(node);
  source_stop(source);
}

static void a_request_carries_method_headers_and_body(void **state) {
  (void)state;
  struct source *source = source_start();
  struct script_node *node = node_with(
      source_port(source),
      HEAD GROUP("post", "local r = assert(lcache.http.request{ url = base .. '/echo', body = 'the body', "
                         "headers = { ['X-Mine'] = 'yes' } }) return r.body")
          GROUP("put",
                "local r = assert(lcache.http.request{ method = 'PUT', url = base .. '/echo', body = '' }) "
                "return r.body") GROUP("smuggle", "return lcache.http.get(base, { headers = { a = 'b\\r\\nc: d' } })")
              GROUP("method", "return lcache.http.request{ url = base, method = 'GET / HTTP/1.1\\r\\n' }")
                  GROUP("redirect", "local r = assert(lcache.http.get(base .. '/redirect', { redirects = tonumber(key) "
                                    "})) return tostring(r.status)"),
      0);
  struct node_result result;
  node_get(node, "post", "k", &result);
  assert_int_equal(strncmp(result.value, "POST /echo HTTP/1.1\r\n", 21), 0);
  assert_non_null(strstr(result.value, "X-Mine: yes\r\n"));
  assert_non_null(strstr(result.value, "\r\n\r\nthe body"));
  node_get(node, "put", "k", &result);
  assert_int_equal(strncmp(result.value, "PUT /echo HTTP/1.1\r\n", 20), 0);
  assert_error(node, "smuggle", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "a header holds a line end");
  assert_error(node, "method", "k", LC_EINTERNAL, "getter failed");
  node_wait_log(node, "a method is made of capital letters");
  assert_value(node, "redirect", "0", "302");
  assert_value(node, "redirect", "-1", "302");
  assert_value(node, "redirect", "2", "200");
  node_stop(node);
  source_stop(source);
}

/* A port that nobody listens on: bound, so that nobody else takes it. */
static int refusing_port(unsigned *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
  getsockname(fd, (struct sockaddr *)&address, &len);
  *port = ntohs(address.sin_port);
  return fd;
}

static void a_source_that_refuses_is_nil_and_a_message(void **state) {
  (void)state;
  unsigned port;
  struct node_result result;
  int fd = refusing_port(&port);
  struct script_node *node = node_with(
      port,
      HEAD GROUP("g", "return lcache.http.get(base)") GROUP("url", "return lcache.http.get('nonsense://' .. key)"), 0);
  node_get(node, "g", "k", &result);
  assert_int_equal(result.code, LC_EUNAVAILABLE);
  assert_non_null(strstr(result.message, "refused"));
  node_get(node, "url", "k", &result);
  assert_int_equal(result.code, LC_EUNAVAILABLE);
  assert_true(strlen(result.message) > 0);
  node_stop(node);
  close(fd);
}

static void a_source_that_hangs_is_given_up_in_time(void **state) {
  (void)state;
  struct source *source = source_start();
  struct script_node *node =
      node_with(source_port(source),
                HEAD GROUP("own", "local r, why = lcache.http.get(base .. '/hang', { timeout = '50ms' }) "
                                  "return why") "lcache.group('load', { timeout = '50ms', getter = function() "
                                                "return lcache.http.get(base .. '/hang') end })\n",
                0);
  struct node_result result;
  uint64_t begun = lc_clock_ms();
  node_get(node, "own", "k", &result);
  assert_int_equal(result.code, LC_OK);
  assert_true(result.value_len > 0);
  node_get(node, "load", "k", &result);
  assert_true(result.code == LC_EDEADLINE || result.code == LC_EUNAVAILABLE);
  assert_true(lc_clock_ms() - begun < 5000);
  node_wait_idle(node);
  node_stop(node);
  source_stop(source);
}

static void a_response_over_its_limit_is_refused(void **state) {
  (void)state;
  struct source *source = source_start();
  struct script_node *node =
      node_with(source_port(source),
                HEAD GROUP("own", "local r, why = lcache.http.get(base .. '/big/2000', { max_bytes = '1KB' }) "
                                  "return r and 'taken' or why")
                    GROUP("state", "local r, why = lcache.http.get(base .. '/big/' .. key) return r and "
                                   "tostring(#r.body) or nil, why"),
                4 << 20);
  struct node_result result;
  node_get(node, "own", "k", &result);
  assert_int_equal(result.code, LC_OK);
  assert_string_not_equal(result.value, "taken");
  node_get(node, "state", "100000000", &result);
  assert_int_equal(result.code, LC_EUNAVAILABLE);
  assert_value(node, "state", "1000000", "1000000");
  node_stop(node);
  source_stop(source);
}

static void a_response_that_no_longer_fits_hurts_its_load_only(void **state) {
  (void)state;
  struct source *source = source_start();
  struct script_node *node =
      node_with(source_port(source),
                HEAD "local kept = {} for i = 1, 2500 do kept[i] = ('k'):rep(1000) .. i end\n" GROUP(
                    "g", "local r, why = lcache.http.get(base .. '/big/' .. key) return r and tostring(#r.body), why"),
                4 << 20);
  assert_error(node, "g", "1900000", LC_EINTERNAL, "getter passed its memory cap");
  assert_value(node, "g", "1000", "1000");
  node_stop(node);
  source_stop(source);
}

static void requests_of_a_load_that_is_given_up_are_cancelled(void **state) {
  (void)state;
  struct source *source = source_start();
  struct lc_get *gets[4];
  struct script_node *node = node_with(source_port(source),
                                       HEAD GROUP("hang", "return lcache.http.get(base .. '/hang')")
                                           GROUP("ok", "return (assert(lcache.http.get(base .. '/status/200'))).body"),
                                       0);
  for (int i = 0; i < 4; i++)
    gets[i] = node_begin(node, "hang", (const char *[]){"a", "b", "c", "d"}[i]);
  source_wait_requests(source, 4);
  for (int i = 0; i < 4; i++)
    node_give_up(node, gets[i]);
  node_wait_idle(node);
  source_wait_closed(source, 4);
  assert_value(node, "ok", "k", "status 200");
  assert_int_equal(node_abandon(node, "hang", 8), 8);
  node_wait_idle(node);
  node_stop(node);
  source_stop(source);
}

static void a_script_ends_with_requests_in_progress(void **state) {
  (void)state;
  struct source *source = source_start();
  struct script_node *node = node_with(
      source_port(source),
      HEAD GROUP("hang", "return lcache.http.get(base .. '/hang')") GROUP("top", "return lcache.get('hang', key)"), 0);
  struct lc_get *get = node_begin(node, "top", "k");
  source_wait_requests(source, 1);
  node_end_script(node);
  node_give_up(node, get);
  node_stop(node);
  source_stop(source);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_response_is_status_headers_and_body),
      cmocka_unit_test(a_request_carries_method_headers_and_body),
      cmocka_unit_test(a_source_that_refuses_is_nil_and_a_message),
      cmocka_unit_test(a_source_that_hangs_is_given_up_in_time),
      cmocka_unit_test(a_response_over_its_limit_is_refused),
      cmocka_unit_test(a_response_that_no_longer_fits_hurts_its_load_only),
      cmocka_unit_test(requests_of_a_load_that_is_given_up_are_cancelled),
      cmocka_unit_test(a_script_ends_with_requests_in_progress),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
