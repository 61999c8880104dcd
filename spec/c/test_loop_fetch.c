#include "test_loop_fetch_support.h"

#include "base/buf.h"

/* ---- answers ---- */

static void a_get_brings_status_headers_and_body(void **state) {
  struct call *call = get(*state, "/hello");
  assert_int_equal(call->code, LC_OK);
  assert_int_equal(call->status, 200);
  assert_string_equal(call->body, "hello");
  assert_int_equal(call->body_len, 5);
  assert_string_equal(call->header, "some value");
  assert_string_equal(call->head_names, "content-length x-mixed-case x-empty ");
  assert_string_equal(call->message, "");
  free(call);
}

static void a_status_of_any_kind_is_an_answer(void **state) {
  struct call *call = get(*state, "/missing");
  assert_int_equal(call->code, LC_OK);
  assert_int_equal(call->status, 404);
  assert_string_equal(call->body, "no such thing");
  free(call);
}

static void check_sent(struct world *world, const char *method, const char *body, const char *expected_line,
                       const char *expected_end) {
  static const struct lc_fetch_header headers[] = {{"X-One", "1"}, {"X-None", ""}, {"Accept", "text/plain"}};
  char text[4096];
  struct call *call = new_call(world, "/hello");
  call->request.method = method;
  call->request.headers = headers;
  call->request.header_count = 3;
  call->request.has_body = body != NULL;
  if (body != NULL)
    call->request.body = lc_slice_str(body);
  run_call(call);
  assert_int_equal(call->code, LC_OK);
  http_source_last_request(&world->source, text, sizeof text);
  assert_memory_equal(text, expected_line, strlen(expected_line));
  assert_string_equal(strstr(text, "\r\n\r\n") + 4, expected_end);
  assert_non_null(strstr(text, "\r\nX-One: 1\r\n"));
  assert_non_null(strstr(text, "\r\nX-None:\r\n"));
  assert_non_null(strstr(text, "\r\nAccept: text/plain\r\n"));
  assert_null(strstr(text, "Expect:"));
  assert_null(strstr(text, "Content-Type:"));
  assert_int_equal(strstr(text, "Content-Length: ") != NULL, body != NULL || strcmp(method, "PUT") == 0);
  free(call);
}

static void methods_headers_and_bodies_are_sent_as_asked(void **state) {
  check_sent(*state, "GET", NULL, "GET /hello HTTP/1.1\r\n", "");
  check_sent(*state, "POST", "some body", "POST /hello HTTP/1.1\r\n", "some body");
  check_sent(*state, "PUT", NULL, "PUT /hello HTTP/1.1\r\n", "");
  check_sent(*state, "PUT", "new", "PUT /hello HTTP/1.1\r\n", "new");
  check_sent(*state, "DELETE", NULL, "DELETE /hello HTTP/1.1\r\n", "");
  check_sent(*state, "GET", "query", "GET /hello HTTP/1.1\r\n", "query");
  check_sent(*state, "HEAD", NULL, "HEAD /hello HTTP/1.1\r\n", "");
}

static void gzip_is_decoded(void **state) {
  struct call *call = get(*state, "/gzip");
  assert_int_equal(call->code, LC_OK);
  assert_string_equal(call->body, "hello gzip");
  free(call);
}

static void redirects_are_not_followed_unless_asked(void **state) {
  struct call *call = get(*state, "/redirect");
  assert_int_equal(call->code, LC_OK);
  assert_int_equal(call->status, 302);
  free(call);
  call = new_call(*state, "/redirect");
  call->request.max_redirects = 3;
  run_call(call);
  assert_int_equal(call->status, 200);
  assert_string_equal(call->body, "hello");
  assert_null(strstr(call->head_names, "location"));
  free(call);
}

static void redirects_have_a_limit_and_stay_in_http(void **state) {
  struct call *call = new_call(*state, "/redirect-loop");
  call->request.max_redirects = 3;
  run_call(call);
  assert_int_equal(call->code, LC_EUNAVAILABLE);
  assert_string_equal(after_host(call), "more than 3 redirects");
  free(call);
  call = new_call(*state, "/redirect-file");
  call->request.max_redirects = 3;
  run_call(call);
  assert_int_equal(call->code, LC_EUNAVAILABLE);
  assert_string_equal(after_host(call), "redirects to something that is neither http nor https");
  free(call);
}

/* ---- streaming ---- */

static void a_streamed_body_goes_to_its_reader(void **state) {
  static const char *const paths[] = {"/hello", "/gzip"}, *const bodies[] = {"hello", "hello gzip"};
  for (int i = 0; i < 2; i++) {
    struct call *call = new_call(*state, paths[i]);
    stream_call(call, SIZE_MAX);
    run_call(call);
    assert_int_equal(call->code, LC_OK);
    assert_int_equal(call->status, 200);
    assert_string_equal(call->streamed, bodies[i]);
    assert_int_equal(call->body_len, 0);
    free(call);
  }
}

static void an_errors_body_is_kept_and_not_streamed(void **state) {
  struct call *call = new_call(*state, "/missing");
  stream_call(call, SIZE_MAX);
  run_call(call);
  assert_int_equal(call->status, 404);
  assert_string_equal(call->body, "no such thing");
  assert_int_equal(call->streamed_len, 0);
  free(call);
}

static void a_stream_has_no_limit_but_its_readers(void **state) {
  struct call *call = new_call(*state, "/endless");
  stream_call(call, 3 * (size_t)LIMIT);
  run_call(call);
  assert_int_equal(call->code, LC_ECANCELLED);
  assert_string_equal(after_host(call), "ended by its reader");
  assert_true(call->streamed_len >= 3 * (size_t)LIMIT);
  free(call);
}

/* What comes before the rest is told before the rest comes. */
static void a_stream_is_told_as_it_comes(void **state) {
  struct world *world = *state;
  struct call *call = new_call(world, "/hang-in-body");
  stream_call(call, 4);
  run_call(call);
  assert_string_equal(call->streamed, "half");
  assert_int_equal(call->code, LC_ECANCELLED);
  free(call);
}

/* ---- connections ---- */

static void a_fresh_connection_is_made_where_one_is_asked_for(void **state) {
  struct world *world = *state;
  for (int i = 0; i < 3; i++) {
    struct call *call = new_call(world, "/hello");
    call->request.fresh_connection = i > 0;
    run_call(call);
    assert_int_equal(call->code, LC_OK);
    free(call);
  }
  assert_int_equal(world->source.connections, 3);
  free(get(world, "/hello"));
  assert_int_equal(world->source.connections, 3);
}

static void connections_are_kept_and_used_again(void **state) {
  struct world *world = *state;
  for (int i = 0; i < 20; i++) {
    struct call *call = get(world, "/hello");
    assert_int_equal(call->code, LC_OK);
    free(call);
  }
  assert_int_equal(world->source.connections, 1);
  assert_int_equal(world->source.requests, 20);
}

static void a_connection_that_the_source_closed_is_replaced(void **state) {
  struct world *world = *state;
  for (int i = 0; i < 5; i++) {
    struct call *call = get(world, "/close");
    assert_int_equal(call->code, LC_OK);
    assert_string_equal(call->body, "hello");
    free(call);
  }
  assert_int_equal(world->source.connections, 5);
}

static void requests_over_the_hosts_bound_wait_for_a_place(void **state) {
  struct world *world = *state;
  struct call *calls[40];
  for (int i = 0; i < 40; i++) {
    calls[i] = new_call(world, "/hello");
    on_worker(world->worker, start_call, calls[i]);
  }
  for (int i = 0; i < 40; i++) {
    gate_wait(&calls[i]->done, 1);
    assert_int_equal(calls[i]->code, LC_OK);
    free(calls[i]);
  }
  assert_int_equal(world->source.requests, 40);
  assert_true(world->source.most_open <= 4);
}

static void a_host_that_hangs_does_not_hold_up_another(void **state) {
  struct world *world = *state;
  struct http_source other;
  struct call *hanging[12];
  http_source_start(&other);
  for (int i = 0; i < 12; i++) {
    hanging[i] = new_call(world, "/hang");
    on_worker(world->worker, start_call, hanging[i]);
  }
  gate_wait(&world->source.hanging, 4);
  struct call *call = new_call(world, "/hello");
  snprintf(call->url, sizeof call->url, "http://127.0.0.1:%u/close", other.port);
  run_call(call);
  assert_int_equal(call->code, LC_OK);
  free(call);
  for (int i = 11; i >= 0; i--) {
    on_worker(world->worker, cancel_call, hanging[i]);
    assert_int_equal(hanging[i]->calls, 0);
    free(hanging[i]);
  }
  http_source_stop(&other);
}

/* ---- cancelling ---- */

static void start_and_cancel(void *arg) {
  start_call(arg);
  cancel_call(arg);
}

static void cancelling_at_once_calls_nothing(void **state) {
  struct world *world = *state;
  struct call *call = new_call(world, "/hello");
  on_worker(world->worker, start_and_cancel, call);
  struct call *other = get(world, "/hello");
  assert_int_equal(call->calls, 0);
  free(call);
  free(other);
}

static void cancelling_while_the_source_hangs_closes_the_connection(void **state) {
  struct world *world = *state;
  static const char *const paths[] = {"/hang", "/hang-in-body"};
  for (unsigned i = 0; i < 2; i++) {
    struct call *call = new_call(world, paths[i]);
    on_worker(world->worker, start_call, call);
    gate_wait(&world->source.hanging, i + 1);
    on_worker(world->worker, cancel_call, call);
    struct call *other = get(world, "/close");
    assert_int_equal(other->code, LC_OK);
    assert_int_equal(call->calls, 0);
    free(call);
    free(other);
  }
}

/* After its done a call must not be cancelled, and a look-up may end at any time. */
static void cancel_unless_done(void *arg) {
  struct call *call = arg;
  if (call->calls == 0)
    cancel_call(call);
}

static void cancelling_during_the_look_up_does_not_wait_for_it(void **state) {
  struct world *world = *state;
  for (int i = 0; i < 30; i++) {
    struct call *call = new_call(world, "");
    snprintf(call->url, sizeof call->url, "http://nobody.invalid:%u/hello", world->source.port);
    on_worker(world->worker, start_call, call);
    on_worker(world->worker, cancel_unless_done, call);
    free(call);
  }
}

static void done_may_cancel_another_and_start_one(void **state) {
  struct world *world = *state;
  struct call *hanging = new_call(world, "/hang"), *next = new_call(world, "/gzip"), *call = new_call(world, "/hello");
  on_worker(world->worker, start_call, hanging);
  gate_wait(&world->source.hanging, 1);
  call->cancels = hanging;
  call->starts = next;
  run_call(call);
  gate_wait(&next->done, 1);
  assert_int_equal(next->code, LC_OK);
  assert_string_equal(next->body, "hello gzip");
  assert_int_equal(hanging->calls, 0);
  free(hanging);
  free(next);
  free(call);
}

static void destroying_the_fetcher_cancels_all(void **state) {
  struct world *world = *state;
  struct call *calls[12];
  for (int i = 0; i < 12; i++) {
    calls[i] = new_call(world, i % 2 == 0 ? "/hang" : "/hang-in-body");
    on_worker(world->worker, start_call, calls[i]);
  }
  gate_wait(&world->source.hanging, 4);
  on_worker(world->worker, destroy_fetcher, world);
  gate_wait(&world->closed, 1);
  for (int i = 0; i < 12; i++) {
    assert_int_equal(calls[i]->calls, 0);
    free(calls[i]);
  }
  world->closed.count = 0;
  on_worker(world->worker, create_fetcher, world); /* for the teardown */
}

static void destroy_inside_done(void *arg, const struct lc_fetch_response *response) {
  struct call *call = arg;
  call->code = response->code;
  destroy_fetcher(call->world);
}

static void start_to_destroy(void *arg) {
  struct call *call = arg;
  call->rc = lc_fetch_start(call->world->fetcher, &call->request, destroy_inside_done, call, &call->fetch, &call->err);
}

static void the_fetcher_can_be_destroyed_inside_done(void **state) {
  struct world *world = *state;
  struct call *call = new_call(world, "/hello"), *hanging = new_call(world, "/hang");
  on_worker(world->worker, start_call, hanging);
  on_worker(world->worker, start_to_destroy, call);
  gate_wait(&world->closed, 1);
  assert_int_equal(call->code, LC_OK);
  assert_int_equal(hanging->calls, 0);
  free(call);
  free(hanging);
  world->closed.count = 0;
  on_worker(world->worker, create_fetcher, world);
}

static void escaping_leaves_only_what_needs_none(void **state) {
  (void)state;
  struct lc_buf out;
  lc_buf_init(&out);
  assert_int_equal(lc_fetch_escape(lc_slice_of("aZ0-._~ /?%\0\xff", 13), &out), 0);
  assert_int_equal(lc_buf_char(&out, '\0'), 0);
  assert_string_equal((char *)out.data, "aZ0-._~%20%2F%3F%25%00%FF");
  lc_buf_fini(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WORLD_TEST(a_get_brings_status_headers_and_body),
      WORLD_TEST(a_status_of_any_kind_is_an_answer),
      WORLD_TEST(methods_headers_and_bodies_are_sent_as_asked),
      WORLD_TEST(gzip_is_decoded),
      WORLD_TEST(redirects_are_not_followed_unless_asked),
      WORLD_TEST(redirects_have_a_limit_and_stay_in_http),
      WORLD_TEST(a_streamed_body_goes_to_its_reader),
      WORLD_TEST(an_errors_body_is_kept_and_not_streamed),
      WORLD_TEST(a_stream_has_no_limit_but_its_readers),
      WORLD_TEST(a_stream_is_told_as_it_comes),
      WORLD_TEST(a_fresh_connection_is_made_where_one_is_asked_for),
      WORLD_TEST(connections_are_kept_and_used_again),
      WORLD_TEST(a_connection_that_the_source_closed_is_replaced),
      WORLD_TEST(requests_over_the_hosts_bound_wait_for_a_place),
      WORLD_TEST(a_host_that_hangs_does_not_hold_up_another),
      WORLD_TEST(cancelling_at_once_calls_nothing),
      WORLD_TEST(cancelling_while_the_source_hangs_closes_the_connection),
      WORLD_TEST(cancelling_during_the_look_up_does_not_wait_for_it),
      WORLD_TEST(done_may_cancel_another_and_start_one),
      WORLD_TEST(destroying_the_fetcher_cancels_all),
      WORLD_TEST(the_fetcher_can_be_destroyed_inside_done),
      cmocka_unit_test(escaping_leaves_only_what_needs_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
