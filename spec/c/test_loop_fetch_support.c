#include "test_loop_fetch_support.h"

void cancel_call(void *arg) {
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

static bool on_body(void *arg, struct lc_slice bytes) {
  struct call *call = arg;
  size_t used = strlen(call->streamed);
  snprintf(call->streamed + used, sizeof call->streamed - used, "%.*s", (int)(bytes.len < 60 ? bytes.len : 60),
           (const char *)bytes.ptr);
  call->streamed_len += bytes.len;
  return call->streamed_len < call->stream_limit;
}

void stream_call(struct call *call, size_t limit) {
  call->request.on_body = on_body;
  call->stream_limit = limit;
}

void start_call(void *arg) {
  struct call *call = arg;
  call->rc = lc_fetch_start(call->world->fetcher, &call->request, on_done, call, &call->fetch, &call->err);
  call->started = true;
}

struct call *new_call(struct world *world, const char *path) {
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

void run_call(struct call *call) {
  on_worker(call->world->worker, start_call, call);
  assert_int_equal(call->rc, 0);
  gate_wait(&call->done, 1);
}

struct call *get(struct world *world, const char *path) {
  struct call *call = new_call(world, path);
  run_call(call);
  return call;
}

const char *after_host(const struct call *call) {
  char host[64];
  int len = snprintf(host, sizeof host, "127.0.0.1:%u: ", call->world->source.port);
  assert_memory_equal(call->message, host, (size_t)len);
  return call->message + len;
}

void create_fetcher(void *arg) {
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

void destroy_fetcher(void *arg) {
  struct world *world = arg;
  lc_fetcher_destroy(world->fetcher, on_fetcher_closed, world);
}

int world_setup(void **state) {
  struct world *world = calloc(1, sizeof *world);
  world->closed = (struct gate)GATE_INIT;
  world->config = (struct lc_fetcher_config){.max_host_connections = 4, .max_response_bytes = LIMIT};
  http_source_start(&world->source);
  world->worker = start_worker(0);
  on_worker(world->worker, create_fetcher, world);
  *state = world;
  return world->fetcher != NULL ? 0 : -1;
}

int world_teardown(void **state) {
  struct world *world = *state;
  on_worker(world->worker, destroy_fetcher, world);
  gate_wait(&world->closed, 1);
  end_worker(world->worker);
  http_source_stop(&world->source);
  free(world);
  return 0;
}
