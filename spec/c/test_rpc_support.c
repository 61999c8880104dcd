#include "test_rpc_support.h"

#include <string.h>

void copy_text(char *out, size_t size, struct lc_slice text) {
  size_t len = text.len < size - 1 ? text.len : size - 1;
  memcpy(out, text.ptr, len);
  out[len] = '\0';
}

/* ---- a server ---- */

static void connection_ended(void *arg) {
  gate_raise(&((struct net *)arg)->ended);
}

static int server_start(void *arg) {
  struct net_worker *at = arg;
  struct net *net = at->net;
  const struct lc_rpc_server_config rpc_config = {.table = net->table, .max_message = net->max_message};
  int rc = lc_rpc_server_create(&rpc_config, &at->rpc);
  struct lc_server_config config = net->config;
  config.worker = at->worker;
  config.face = lc_rpc_server_face(at->rpc);
  config.face_arg = at->rpc;
  config.on_ended = connection_ended;
  config.on_ended_arg = net;
  return rc != 0 ? rc : lc_server_create(&config, &at->server);
}

static void server_stop(void *arg) {
  struct net_worker *at = arg;
  lc_server_destroy(at->server);
  lc_rpc_server_destroy(at->rpc);
  if (at->net->on_stop)
    at->net->on_stop(at);
}

struct arrival {
  struct lc_task task;
  struct lc_server *server;
  int fd;
};

static void run_arrival(struct lc_task *task) {
  struct arrival *arrival = lc_container_of(task, struct arrival, task);
  lc_server_accept(arrival->server, arrival->fd);
  free(arrival);
}

static void *accept_all(void *arg) {
  struct net *net = arg;
  for (unsigned next = 0;; next = (next + 1) % net->count) {
    int fd = accept4(net->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
      return NULL;
    struct arrival *arrival = malloc(sizeof *arrival);
    *arrival = (struct arrival){.task.run = run_arrival, .server = net->workers[next].server, .fd = fd};
    lc_worker_post(net->workers[next].worker, &arrival->task);
  }
}

void net_init(struct net *net, const struct lc_rpc_table *table) {
  memset(net, 0, sizeof *net);
  net->count = 1;
  net->table = table;
  net->max_message = 1 << 20;
  net->buffer_bytes = 64u << 20;
  net->ended = (struct gate)GATE_INIT;
  lc_server_config_init(&net->config);
}

static void nothing(void *arg) {
  (void)arg;
}

void net_start(struct net *net) {
  for (unsigned i = 0; i < net->count; i++) {
    struct net_worker *at = &net->workers[i];
    struct lc_worker_config config = {.index = i, .buffer_limit_bytes = net->buffer_bytes};
    at->net = net;
    at->drained = (struct gate)GATE_INIT;
    assert_int_equal(lc_worker_create(&config, &at->worker, NULL), 0);
    assert_int_equal(lc_worker_run(at->worker, server_start, server_stop, at), 0);
    on_worker(at->worker, nothing, NULL);
  }
  net->listener = listen_socket(1024, &net->port);
  assert_int_equal(pthread_create(&net->acceptor, NULL, accept_all, net), 0);
}

static void drained(void *arg) {
  gate_raise(&((struct net_worker *)arg)->drained);
}

static void drain_here(void *arg) {
  struct net_worker *at = arg;
  lc_server_drain(at->server, drained, at);
}

static void abort_here(void *arg) {
  struct net_worker *at = arg;
  if (at->drained.count == 0)
    lc_server_drain(at->server, drained, at);
  lc_server_abort(at->server);
}

void net_drain(struct net *net, unsigned worker) {
  on_worker(net->workers[worker].worker, drain_here, &net->workers[worker]);
}

static void expect_nothing_held(void *arg) {
  struct net_worker *at = arg;
  assert_int_equal(lc_server_connections(at->server), 0);
  assert_int_equal(lc_server_streams(at->server), 0);
}

void net_stop(struct net *net) {
  shutdown(net->listener, SHUT_RDWR);
  pthread_join(net->acceptor, NULL);
  close(net->listener);
  for (unsigned i = 0; i < net->count; i++) {
    struct net_worker *at = &net->workers[i];
    on_worker(at->worker, abort_here, at);
    gate_wait(&at->drained, 1);
    on_worker(at->worker, expect_nothing_held, at);
  }
  for (unsigned i = 0; i < net->count; i++) {
    struct lc_worker *worker = net->workers[i].worker;
    lc_worker_stop(worker);
    assert_int_equal(lc_worker_join(worker), 0);
    assert_int_equal(lc_worker_charged(worker), 0);
    lc_worker_destroy(worker);
  }
}

struct look {
  struct net_worker *at;
  unsigned connections;
  size_t charged, streams;
};

static void look_here(void *arg) {
  struct look *look = arg;
  look->connections = lc_server_connections(look->at->server);
  look->charged = lc_worker_charged(look->at->worker);
  look->streams = lc_server_streams(look->at->server);
}

static struct look look_at(struct net *net, unsigned worker) {
  struct look look = {.at = &net->workers[worker]};
  on_worker(look.at->worker, look_here, &look);
  return look;
}

unsigned net_connections(struct net *net, unsigned worker) {
  return look_at(net, worker).connections;
}

size_t net_charged(struct net *net, unsigned worker) {
  return look_at(net, worker).charged;
}

size_t net_streams(struct net *net, unsigned worker) {
  return look_at(net, worker).streams;
}

struct condition {
  bool (*ok)(void *arg);
  void *arg;
  bool met;
};

static void check_condition(void *arg) {
  struct condition *condition = arg;
  condition->met = condition->ok(condition->arg);
}

void net_until(struct net *net, unsigned worker, bool (*ok)(void *arg), void *arg) {
  struct condition condition = {.ok = ok, .arg = arg};
  uint64_t until = lc_clock_ms() + PATIENCE_S * 1000u;
  while (!condition.met) {
    if (lc_clock_ms() > until)
      fail_msg("waited %d s for a condition", PATIENCE_S);
    on_worker(net->workers[worker].worker, check_condition, &condition);
    if (!condition.met)
      poll(NULL, 0, 1);
  }
}

/* ---- methods to call ---- */

static void saw(struct seen *seen, struct lc_slice message) {
  atomic_fetch_add(&seen->bytes, message.len);
  gate_raise(&seen->messages);
}

static void echo(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  saw(ctx, message);
  int rc = lc_grpc_frame(lc_rpc_out(call), message);
  lc_rpc_finish(call, rc == 0 ? LC_GRPC_OK : LC_GRPC_RESOURCE_EXHAUSTED, "no memory to echo");
}

static void fail_call(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  char text[256];
  saw(ctx, message);
  copy_text(text, sizeof text, message);
  assert_int_equal(lc_grpc_frame(lc_rpc_out(call), message), 0); /* to be dropped */
  lc_rpc_finish(call, LC_GRPC_INVALID_ARGUMENT, text);
  lc_rpc_finish(call, LC_GRPC_OK, NULL); /* harmless */
}

uint8_t big_byte(size_t at) {
  return (uint8_t)(at * 31 + (at >> 8) + (at >> 16));
}

static void big(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  char text[32];
  copy_text(text, sizeof text, message);
  size_t len = strtoul(text, NULL, 10);
  saw(ctx, message);
  uint8_t prefix[LC_GRPC_PREFIX];
  lc_grpc_write_prefix(prefix, (uint32_t)len);
  assert_int_equal(lc_outq_append(lc_rpc_out(call), prefix, sizeof prefix), 0);
  uint8_t *bytes = lc_outq_reserve(lc_rpc_out(call), len);
  for (size_t i = 0; i < len; i++)
    bytes[i] = big_byte(i);
  lc_rpc_finish(call, LC_GRPC_OK, NULL);
}

static void hang(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  (void)call;
  saw(ctx, message);
}

static void hold_call(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct seen *seen = ctx;
  seen->held = call;
  lc_rpc_hold(call);
  saw(ctx, message);
}

void finish_held(void *arg) {
  struct seen *seen = arg;
  struct lc_rpc_call *call = seen->held;
  seen->held = NULL;
  assert_int_equal(lc_grpc_frame(lc_rpc_out(call), lc_slice_str("finished")), 0);
  lc_rpc_finish(call, LC_GRPC_OK, NULL);
  lc_rpc_release(call);
}

static void late(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  assert_int_equal(lc_grpc_frame(lc_rpc_out(call), message), 0);
  lc_rpc_send(call);
  hold_call(call, ctx, message);
}

void finish_late(void *arg) {
  struct seen *seen = arg;
  struct lc_rpc_call *call = seen->held;
  seen->held = NULL;
  lc_rpc_finish(call, LC_GRPC_OK, NULL);
  lc_rpc_release(call);
}

static void cancelled(struct lc_rpc_call *call, void *ctx) {
  struct seen *seen = ctx;
  seen->over_when_cancelled = lc_rpc_over(call);
  gate_raise(&seen->cancels);
}

static void no_message(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  saw(ctx, message);
  lc_rpc_finish(call, LC_GRPC_OK, NULL);
}

static void two_messages(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  saw(ctx, message);
  for (int i = 0; i < 2; i++)
    assert_int_equal(lc_grpc_frame(lc_rpc_out(call), message), 0);
  lc_rpc_finish(call, LC_GRPC_OK, NULL);
}

static void stream_message(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  saw(ctx, message);
  if (lc_grpc_frame(lc_rpc_out(call), message) != 0)
    lc_rpc_finish(call, LC_GRPC_RESOURCE_EXHAUSTED, "no memory to echo");
  else
    lc_rpc_send(call);
}

static void stream_half_close(struct lc_rpc_call *call, void *ctx) {
  gate_raise(&((struct seen *)ctx)->half_closes);
  lc_rpc_finish(call, LC_GRPC_OK, NULL);
}

static const struct lc_rpc_method METHODS[] = {
    {.path = "/t.T/Echo", .on_message = echo},
    {.path = "/t.T/Longer", .on_message = echo, .extra_message = LONGER_BY},
    {.path = "/t.T/Fail", .on_message = fail_call},
    {.path = "/t.T/Big", .on_message = big},
    {.path = "/t.T/Hang", .on_message = hang, .on_cancel = cancelled},
    {.path = "/t.T/Held", .on_message = hold_call, .on_cancel = cancelled},
    {.path = "/t.T/Late", .on_message = late, .on_cancel = cancelled},
    {.path = "/t.T/None", .on_message = no_message},
    {.path = "/t.T/Two", .on_message = two_messages},
    {.path = "/t.T/Stream",
     .streaming = true,
     .on_message = stream_message,
     .on_half_close = stream_half_close,
     .on_cancel = cancelled},
};

void seen_init(struct seen *seen) {
  memset(seen, 0, sizeof *seen);
  seen->messages = seen->cancels = seen->half_closes = (struct gate)GATE_INIT;
  const struct lc_rpc_service service = {METHODS, sizeof METHODS / sizeof *METHODS, seen};
  assert_int_equal(lc_rpc_table_create(&service, 1, &seen->table), 0);
}

void seen_fini(struct seen *seen) {
  lc_rpc_table_destroy(seen->table);
}

/* ---- a client on a worker of its own ---- */

static void on_down(void *arg, const struct lc_err *err) {
  struct peer *peer = arg;
  peer->down_err = *err;
  gate_raise(&peer->down);
}

static void on_up(void *arg) {
  struct peer *peer = arg;
  if (peer->on_up)
    peer->on_up(peer);
  gate_raise(&peer->up);
}

void peer_worker(struct peer *peer) {
  memset(peer, 0, sizeof *peer);
  peer->up = peer->down = (struct gate)GATE_INIT;
  const struct lc_worker_config config = {.index = 77, .buffer_limit_bytes = PEER_BUFFER_BYTES};
  assert_int_equal(lc_worker_create(&config, &peer->worker, NULL), 0);
  assert_int_equal(lc_worker_run(peer->worker, NULL, NULL, NULL), 0);
  lc_rpc_client_config_init(&peer->config);
  peer->config.worker = peer->worker;
  peer->config.on_up = on_up;
  peer->config.on_down = on_down;
  peer->config.arg = peer;
  snprintf(peer->config.address.host, sizeof peer->config.address.host, "127.0.0.1");
}

static void open_here(void *arg) {
  struct peer *peer = arg;
  peer->rc = lc_rpc_client_create(&peer->config, &peer->client, &peer->err);
}

void peer_open(struct peer *peer) {
  on_worker(peer->worker, open_here, peer);
}

void peer_start(struct peer *peer, uint16_t port) {
  peer_worker(peer);
  peer->config.address.port = port;
  peer_open(peer);
  assert_int_equal(peer->rc, 0);
}

static void close_here(void *arg) {
  struct peer *peer = arg;
  lc_rpc_client_destroy(peer->client);
  peer->client = NULL;
}

void peer_close(struct peer *peer) {
  on_worker(peer->worker, close_here, peer);
}

void peer_stop(struct peer *peer) {
  peer_close(peer);
  lc_worker_stop(peer->worker);
  assert_int_equal(lc_worker_join(peer->worker), 0);
  assert_int_equal(lc_worker_charged(peer->worker), 0);
  lc_worker_destroy(peer->worker);
}

void answer_init(struct answer *answer, struct peer *peer, const char *path, struct lc_slice message) {
  memset(answer, 0, sizeof *answer);
  answer->peer = peer;
  answer->path = path;
  answer->status = -1;
  answer->over = (struct gate)GATE_INIT;
  lc_buf_init(&answer->request);
  lc_buf_init(&answer->reply);
  assert_int_equal(lc_buf_append(&answer->request, message.ptr, message.len), 0);
}

static void on_done(void *arg, const struct lc_rpc_result *result) {
  struct answer *answer = arg;
  answer->done++;
  answer->status = result->status;
  answer->transport = result->transport;
  answer->call = NULL;
  snprintf(answer->message, sizeof answer->message, "%s", result->message);
  uint8_t *copy = malloc(result->reply.len + 1); /* not by lc_malloc: it may be failing */
  if (result->reply.len > 0)
    memcpy(copy, result->reply.ptr, result->reply.len);
  answer->reply = (struct lc_buf){.data = copy, .len = result->reply.len};
  if (answer->on_done)
    answer->on_done(answer);
  gate_raise(&answer->over);
}

void answer_start_here(struct answer *answer) {
  struct lc_outq request;
  struct lc_slice message = lc_buf_slice(&answer->request);
  lc_outq_init(&request, lc_worker_pool(answer->peer->worker));
  answer->rc = lc_grpc_frame(&request, message);
  if (answer->rc == 0) {
    answer->rc = lc_rpc_client_call(answer->peer->client, answer->path, &request, answer->timeout_ms, on_done, answer,
                                    &answer->call);
  }
  lc_outq_fini(&request);
}

static void start_here(void *arg) {
  answer_start_here(arg);
}

void answer_start(struct answer *answer) {
  on_worker(answer->peer->worker, start_here, answer);
}

void answer_wait(struct answer *answer) {
  gate_wait(&answer->over, 1);
  assert_int_equal(answer->done, 1);
}

void answer_fini(struct answer *answer) {
  lc_buf_fini(&answer->request);
  free(answer->reply.data);
}

void ask(struct answer *answer, struct peer *peer, const char *path, struct lc_slice message) {
  answer_init(answer, peer, path, message);
  answer_start(answer);
  assert_int_equal(answer->rc, 0);
  answer_wait(answer);
}

void expect_status(const struct answer *answer, int status, const char *message) {
  if (answer->status != status || strcmp(answer->message, message) != 0)
    fail_msg("%s: got %s \"%s\", not %s \"%s\"", answer->path, lc_grpc_status_name(answer->status), answer->message,
             lc_grpc_status_name(status), message);
}
