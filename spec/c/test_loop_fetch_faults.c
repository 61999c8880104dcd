#include "test_loop_fetch_support.h"

static void a_refused_connection_is_told_with_its_address(void **state) {
  uint16_t port;
  close(listen_socket(1, &port));
  struct call *call = new_call(*state, "");
  snprintf(call->url, sizeof call->url, "http://user:secret@127.0.0.1:%u/path?token=secret", port);
  run_call(call);
  char expected[64];
  snprintf(expected, sizeof expected, "127.0.0.1:%u: connection refused", port);
  assert_int_equal(call->code, LC_EUNAVAILABLE);
  assert_string_equal(call->message, expected);
  free(call);
}

static void a_source_that_hangs_times_out(void **state) {
  struct world *world = *state;
  static const char *const paths[] = {"/hang", "/hang-in-body"};
  for (int i = 0; i < 2; i++) {
    struct call *call = new_call(world, paths[i]);
    call->request.timeout_ms = 60;
    run_call(call);
    assert_int_equal(call->code, LC_EDEADLINE);
    assert_string_equal(after_host(call), "timed out after 60ms");
    free(call);
  }
}

static void a_request_that_waits_for_a_place_times_out_too(void **state) {
  struct world *world = *state;
  struct call *hanging[4];
  for (int i = 0; i < 4; i++) {
    hanging[i] = new_call(world, "/hang");
    on_worker(world->worker, start_call, hanging[i]);
  }
  struct call *call = new_call(world, "/hello");
  call->request.timeout_ms = 30;
  run_call(call);
  assert_int_equal(call->code, LC_EDEADLINE);
  assert_string_equal(after_host(call), "timed out after 30ms, waiting for a connection");
  free(call);
  for (int i = 0; i < 4; i++) {
    on_worker(world->worker, cancel_call, hanging[i]);
    free(hanging[i]);
  }
}

static void a_connection_that_does_not_come_about_times_out(void **state) {
  uint16_t port;
  int listener = listen_socket(0, &port), fillers[4];
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  for (int i = 0; i < 4; i++) {
    fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)connect(fillers[i], (struct sockaddr *)&addr, sizeof addr);
  }
  struct call *call = new_call(*state, "");
  snprintf(call->url, sizeof call->url, "http://127.0.0.1:%u/", port);
  call->request.connect_timeout_ms = 1000;
  run_call(call);
  assert_int_equal(call->code, LC_EDEADLINE);
  assert_non_null(strstr(call->message, ": no connection after 1s"));
  free(call);
  for (int i = 0; i < 4; i++)
    close(fillers[i]);
  close(listener);
}

static void an_endless_body_is_cut_at_the_limit(void **state) {
  struct world *world = *state;
  struct call *call = get(world, "/endless");
  assert_int_equal(call->code, LC_ETOOBIG);
  assert_string_equal(after_host(call), "response over 4194304 bytes");
  free(call);
  call = new_call(world, "/endless");
  call->request.max_response_bytes = 1000;
  run_call(call);
  assert_string_equal(after_host(call), "response over 1000 bytes");
  free(call);
  /* Not much more was taken than the limit: what was under way in buffers. */
  assert_true(atomic_load(&world->source.sent) < 32u << 20);
}

static void a_length_over_the_limit_is_refused_at_once(void **state) {
  struct call *call = new_call(*state, "/hello");
  call->request.max_response_bytes = 4;
  run_call(call);
  assert_int_equal(call->code, LC_ETOOBIG);
  assert_string_equal(after_host(call), "response over 4 bytes");
  free(call);
  call = new_call(*state, "/hello");
  call->request.max_response_bytes = 5;
  run_call(call);
  assert_int_equal(call->code, LC_OK);
  free(call);
}

static void the_limit_counts_decoded_bytes(void **state) {
  struct call *call = get(*state, "/bomb"); /* 32 KB that unfold to 5 MB */
  assert_int_equal(call->code, LC_ETOOBIG);
  assert_string_equal(after_host(call), "response over 4194304 bytes");
  free(call);
}

static void check_failure(struct world *world, const char *path, int code, const char *message) {
  struct call *call = get(world, path);
  assert_int_equal(call->code, code);
  assert_string_equal(after_host(call), message);
  free(call);
}

static void broken_answers_are_told_apart(void **state) {
  check_failure(*state, "/endless-head", LC_ETOOBIG, "response headers over 128KB");
  check_failure(*state, "/cut", LC_EUNAVAILABLE, "connection lost");
  check_failure(*state, "/nothing", LC_EUNAVAILABLE, "closed the connection without an answer");
  check_failure(*state, "/garbage", LC_EUNAVAILABLE, "not an HTTP response");
}

static void an_unknown_name_is_told(void **state) {
  struct call *call = get(*state, "http://256.256.256.256.invalid/");
  assert_int_equal(call->code, LC_EUNAVAILABLE);
  assert_string_equal(call->message, "256.256.256.256.invalid: cannot resolve the name");
  free(call);
}

static void check_refused(struct world *world, const char *method, const char *url, struct lc_fetch_header header,
                          const char *message) {
  struct call *call = new_call(world, url);
  call->request.method = method;
  call->request.headers = &header;
  call->request.header_count = header.name != NULL;
  on_worker(world->worker, start_call, call);
  assert_int_equal(call->rc, LC_EINVAL);
  assert_string_equal(call->err.msg, message);
  assert_int_equal(call->calls, 0);
  free(call);
}

static void what_is_no_http_request_is_refused_at_once(void **state) {
  struct lc_fetch_header none = {NULL, NULL};
  check_refused(*state, "GET", "file:///etc/passwd", none, "only http:// and https:// URLs are fetched, not \"file…\"");
  check_refused(*state, "GET", "localhost/x", none, "only http:// and https:// URLs are fetched, not \"localhost…\"");
  check_refused(*state, "GET", "http:///x", none, "the URL names no host");
  check_refused(*state, "GET ", "/x", none, "\"GET \" is not a method");
  check_refused(*state, "GET", "/x", (struct lc_fetch_header){"A b", "x"}, "\"A b\" is not a header name");
  check_refused(*state, "GET", "/x", (struct lc_fetch_header){"A", "x\r\nB: y"},
                "the value of header A has a line break");
}

static void a_malformed_url_is_an_answer_later(void **state) {
  struct call *call = get(*state, "http://127.0.0.1:99999/");
  assert_int_equal(call->code, LC_EINVAL);
  assert_string_equal(call->message, "127.0.0.1:99999: not a valid URL");
  free(call);
}

static void tls_files_that_are_not_there_are_told(void **state) {
  struct world *world = *state;
  struct lc_fetch_tls tls[] = {{.ca_file = "/nonexistent/ca.pem"}, {.cert_file = "/nonexistent/cert.pem"}};
  static const char *const files[] = {"/nonexistent/ca.pem", "/nonexistent/cert.pem"};
  for (int i = 0; i < 2; i++) {
    struct call *call = new_call(world, "");
    snprintf(call->url, sizeof call->url, "https://127.0.0.1:%u/hello", world->source.port);
    call->request.tls = tls[i];
    run_call(call);
    assert_int_equal(call->code, LC_EUNAVAILABLE);
    assert_non_null(strstr(call->message, files[i]));
    free(call);
  }
}

/* ---- no memory ---- */

struct starved {
  struct call *call;
  size_t n;
};

static void start_starved(void *arg) {
  struct starved *starved = arg;
  lc_alloc_fail_at(starved->n);
  start_call(starved->call);
}

static void relieve(void *arg) {
  (void)arg;
  lc_alloc_fail_at(0);
}

/* The n-th allocation of the worker from the start of the request on: some fail the start, some the request. */
static void each_failed_allocation_is_an_error_not_a_crash(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct world *world = *state;
  unsigned refused = 0, failed = 0;
  for (size_t n = 1; n < 20; n++) {
    struct call *call = new_call(world, "/close");
    struct starved starved = {call, n};
    on_worker(world->worker, start_starved, &starved);
    if (call->rc == 0)
      gate_wait(&call->done, 1);
    on_worker(world->worker, relieve, NULL);
    if (call->rc != 0) {
      assert_int_equal(call->rc, LC_ENOMEM);
      refused++;
    } else if (call->code != LC_OK) {
      assert_true(call->code == LC_ENOMEM || call->code == LC_EUNAVAILABLE);
      failed++;
    }
    free(call);
  }
  assert_true(refused > 0);
  assert_true(failed > 0);
}

static void create_starved(void *arg) {
  struct starved *starved = arg;
  lc_alloc_fail_at(starved->n);
  create_fetcher(starved->call->world);
  lc_alloc_fail_at(0);
}

static void creating_survives_each_failed_allocation(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct world *world = *state;
  struct world second = {.worker = world->worker, .config = world->config, .closed = GATE_INIT};
  struct call call = {.world = &second};
  struct starved starved = {&call, 1};
  on_worker(world->worker, create_starved, &starved);
  assert_null(second.fetcher);
  starved.n = 2;
  on_worker(world->worker, create_starved, &starved);
  assert_non_null(second.fetcher);
  on_worker(world->worker, destroy_fetcher, &second);
  gate_wait(&second.closed, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WORLD_TEST(a_refused_connection_is_told_with_its_address),
      WORLD_TEST(a_source_that_hangs_times_out),
      WORLD_TEST(a_request_that_waits_for_a_place_times_out_too),
      WORLD_TEST(a_connection_that_does_not_come_about_times_out),
      WORLD_TEST(an_endless_body_is_cut_at_the_limit),
      WORLD_TEST(a_length_over_the_limit_is_refused_at_once),
      WORLD_TEST(the_limit_counts_decoded_bytes),
      WORLD_TEST(broken_answers_are_told_apart),
      WORLD_TEST(an_unknown_name_is_told),
      WORLD_TEST(what_is_no_http_request_is_refused_at_once),
      WORLD_TEST(a_malformed_url_is_an_answer_later),
      WORLD_TEST(tls_files_that_are_not_there_are_told),
      WORLD_TEST(each_failed_allocation_is_an_error_not_a_crash),
      WORLD_TEST(creating_survives_each_failed_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
