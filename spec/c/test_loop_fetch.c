#include "test_loop_http.h"

#include "base/buf.h"
#include "loop/fetch.h"

#define LIMIT (4u << 20)

struct world {
  struct lc_worker *worker;
  struct lc_fetcher *fetcher;
  struct lc_fetcher_config config;
  struct http_source source;
  struct gate closed;
};

/* One request and what became of it. */
struct call {
  struct world *world;
  struct lc_fetch_request request;
  char url[256];
  int rc;
  struct lc_err err;
  struct lc_fetch *fetch;
  bool started; /* lc_fetch_start has returned */

  int code;
  long status;
  char message[256], body[256], header[64], head_names[256];
  size_t body_len;
  unsigned calls;
  struct call *cancels, *starts; /* inside done */
  struct gate done;
};

static void start_call(void *arg);

static void cancel_call(void *arg) {
  lc_fetch_cancel(((struct call *)arg)->fetch);
}

static void note_headers(struct call *call, const struct lc_fetch_response *response) {
  for (size_t i = 0; i < response->header_count; i++) {
    const struct lc_fetch_header *header = &response->headers[i];
    if (strcmp(header->name, "x-mixed-case") == 0)
      snprintf(call->header, sizeof call->header, "%s", header->value);
    size_t used = strlen(call->head_names);
    snprintf(call->head_names + used, sizeof call->head_names - used, "%s ", header->name);
  }
}

static void on_done(void *arg, const struct lc_fetch_response *response) {
  struct call *call = arg;
  call->calls++;
  call->code = call->started ? response->code : 77; /* never before start returns */
  call->status = response->status;
  snprintf(call->message, sizeof call->message, "%s", response->message);
  snprintf(call->body, sizeof call->body, "%.*s", (int)(response->body.len < 200 ? response->body.len : 200),
           response->body.ptr != NULL ? (const char *)response->body.ptr : "");
  call->body_len = response->body.len;
  note_headers(call, response);
  if (call->cancels != NULL)
    cancel_call(call->cancels);
  if (call->starts != NULL)
    start_call(call->starts);
  gate_raise(&call->done);
}

static void start_call(void *arg) {
  struct call *call = arg;
  call->rc = lc_fetch_start(call->world->fetcher, &call->request, on_done, call, &call->fetch, &call->err);
  call->started = true;
}

static struct call *new_call(struct world *world, const char *path) {
  struct call *call = calloc(1, sizeof *call);
  call->world = world;
  call->done = (struct gate)GATE_INIT;
  call->request = (struct lc_fetch_request){.method = "GET", .url = call->url, .timeout_ms = 20000};
  if (path[0] == '/') {
    snprintf(call->url, sizeof call->url, "http://127.0.0.1:%u%s", world->source.port, path);
  } else {
    snprintf(call->url, sizeof call->url, "%s", path);
  }
  return call;
}

static void run_call(struct call *call) {
  on_worker(call->world->worker, start_call, call);
  assert_int_equal(call->rc, 0);
  gate_wait(&call->done, 1);
}

static struct call *get(struct world *world, const char *path) {
  struct call *call = new_call(world, path);
  run_call(call);
  return call;
}

/* Its message, with the source's address cut off. */
static const char *after_host(const struct call *call) {
  char host[64];
  int len = snprintf(host, sizeof host, "127.0.0.1:%u: ", call->world->source.port);
  assert_memory_equal(call->message, host, (size_t)len);
  return call->message + len;
}

static void create_fetcher(void *arg) {
  struct world *world = arg;
  struct lc_err err = {0};
  world->config.worker = world->worker;
  int rc = lc_fetcher_create(&world->config, &world->fetcher, &err);
  if (rc != 0)
    world->fetcher = NULL;
}

static void on_fetcher_closed(void *arg) {
  gate_raise(&((struct world *)arg)->closed);
}

static void destroy_fetcher(void *arg) {
  struct world *world = arg;
  lc_fetcher_destroy(world->fetcher, on_fetcher_closed, world);
}

static int setup(void **state) {
  struct world *world = calloc(1, sizeof *world);
  world->closed = (struct gate)GATE_INIT;
  world->config = (struct lc_fetcher_config){.max_host_connections = 4, .max_response_bytes = LIMIT};
  http_source_start(&world->source);
  world->worker = start_worker(0);
  on_worker(world->worker, create_fetcher, world);
  *state = world;
  return world->fetcher != NULL ? 0 : -1;
}

static int teardown(void **state) {
  struct world *world = *state;
  on_worker(world->worker, destroy_fetcher, world);
  gate_wait(&world->closed, 1);
  end_worker(world->worker);
  http_source_stop(&world->source);
  free(world);
  return 0;
}

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

/* ---- connections ---- */

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

/* ---- failures ---- */

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

static void cancelling_during_the_look_up_does_not_wait_for_it(void **state) {
  struct world *world = *state;
  struct call *call = new_call(world, "");
  snprintf(call->url, sizeof call->url, "http://localhost:%u/hello", world->source.port);
  on_worker(world->worker, start_call, call);
  on_worker(world->worker, cancel_call, call);
  free(call);
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

static void escaping_leaves_only_what_needs_none(void **state) {
  (void)state;
  struct lc_buf out;
  lc_buf_init(&out);
  assert_int_equal(lc_fetch_escape(lc_slice_of("aZ0-._~ /?%\0\xff", 13), &out), 0);
  assert_int_equal(lc_buf_char(&out, '\0'), 0);
  assert_string_equal((char *)out.data, "aZ0-._~%20%2F%3F%25%00%FF");
  lc_buf_fini(&out);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WORLD_TEST(a_get_brings_status_headers_and_body),
      WORLD_TEST(a_status_of_any_kind_is_an_answer),
      WORLD_TEST(methods_headers_and_bodies_are_sent_as_asked),
      WORLD_TEST(gzip_is_decoded),
      WORLD_TEST(redirects_are_not_followed_unless_asked),
      WORLD_TEST(redirects_have_a_limit_and_stay_in_http),
      WORLD_TEST(connections_are_kept_and_used_again),
      WORLD_TEST(a_connection_that_the_source_closed_is_replaced),
      WORLD_TEST(requests_over_the_hosts_bound_wait_for_a_place),
      WORLD_TEST(a_host_that_hangs_does_not_hold_up_another),
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
      WORLD_TEST(cancelling_at_once_calls_nothing),
      WORLD_TEST(cancelling_while_the_source_hangs_closes_the_connection),
      WORLD_TEST(cancelling_during_the_look_up_does_not_wait_for_it),
      WORLD_TEST(done_may_cancel_another_and_start_one),
      WORLD_TEST(destroying_the_fetcher_cancels_all),
      WORLD_TEST(the_fetcher_can_be_destroyed_inside_done),
      WORLD_TEST(each_failed_allocation_is_an_error_not_a_crash),
      WORLD_TEST(creating_survives_each_failed_allocation),
      cmocka_unit_test(escaping_leaves_only_what_needs_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
