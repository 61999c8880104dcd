#include "rpc/client.h"

#include <string.h>

#include "base/alloc.h"
#include "rpc/client_internal.h"

#define OUTPUT_LIMIT (256u * 1024)

/* Replies come at the speed of memory; a window is what may be under way meanwhile. Nothing is kept of them here but
 * what the calls in progress gather, each up to max_message. */
#define STREAM_WINDOW (4u << 20)
#define CONN_WINDOW (64u << 20)

void lc_rpc_client_config_init(struct lc_rpc_client_config *config) {
  *config = (struct lc_rpc_client_config){
      .connect_timeout_ms = 3000, .max_message = 64u << 20, .queue_limit_bytes = 16u << 20};
}

#define NOT_HTTP2 "not an HTTP/2 server (is this the server's --listen address?)"

void lc_rpc_client_give_up(struct lc_rpc_client *client, int code, const char *why) {
  client->down = true;
  if (!client->down_err.code)
    lc_err_set(&client->down_err, code, "%s: %s", client->authority, why);
  lc_conn_close(client->conn, 0);
}

/* Makes frames of what is ready, unless the last ones still wait for the kernel: then on_drain will. */
static void pull_frames(struct lc_rpc_client *client) {
  if (client->destroyed || lc_conn_blocked(client->conn))
    return;
  lc_rpc_client_start_waiting(client);
  size_t streams = lc_h2_streams(client->h2);
  if (lc_h2_pull(client->h2, lc_conn_out(client->conn), OUTPUT_LIMIT) != 0)
    lc_rpc_client_give_up(client, LC_ENOMEM, "out of memory");
  else if (!lc_h2_alive(client->h2))
    lc_rpc_client_give_up(client, LC_EPROTO, NOT_HTTP2);
  else if (!lc_list_empty(&client->waiting) && lc_h2_streams(client->h2) < streams)
    lc_conn_flush_later(client->conn); /* streams that were reset made room */
}

/* The first bytes tell a server of the wrong kind. */
static bool is_http1(struct lc_rpc_client *client, const uint8_t *data, size_t len) {
  static const char name[] = "HTTP/";
  bool first = !client->heard;
  client->heard = true;
  return first && len >= sizeof(name) - 1 && memcmp(data, name, sizeof(name) - 1) == 0;
}

/* The first bytes that are HTTP/2's. */
static void say_up(struct lc_rpc_client *client) {
  client->up = true;
  lc_rpc_client_start_waiting(client);
  if (client->config.on_up)
    client->config.on_up(client->config.arg);
}

static void on_read(void *arg, const uint8_t *data, size_t len) {
  struct lc_rpc_client *client = arg;
  if (client->destroyed)
    return;
  if (is_http1(client, data, len)) {
    lc_rpc_client_give_up(client, LC_EPROTO, "answers in HTTP/1, not gRPC (is this the server's --listen address?)");
    return;
  }
  lc_h2_set_now(client->h2, lc_worker_now_ms(client->worker));
  int rc = lc_h2_recv(client->h2, data, len);
  lc_rpc_client_keep_replies(client);
  if (!client->up && rc == 0 && !client->destroyed)
    say_up(client);
  if (client->down)
    lc_rpc_client_end_waiting(client);
  pull_frames(client);
  if (rc != 0 && !client->destroyed)
    lc_rpc_client_give_up(client, rc, rc == LC_ENOMEM ? "out of memory" : NOT_HTTP2);
}

static void on_drain(void *arg) {
  pull_frames(arg);
}

static void on_connect(void *arg, int code) {
  struct lc_rpc_client *client = arg;
  client->connected = code == LC_OK;
  if (code == LC_EDEADLINE)
    lc_err_set(&client->down_err, code, "%s: can't connect (no answer; is lcache running there?)", client->authority);
  else if (code != LC_OK && lc_conn_unresolved(client->conn))
    lc_err_set(&client->down_err, code, "%s: can't resolve the name (%s)", client->authority,
               lc_conn_error(client->conn));
  else if (code != LC_OK)
    lc_err_set(&client->down_err, code, "%s: can't connect (is lcache running there? %s)", client->authority,
               lc_conn_error(client->conn));
}

static void on_conn_close(void *arg, int reason) {
  struct lc_rpc_client *client = arg;
  (void)reason;
  const char *why = lc_conn_error(client->conn);
  if (!client->down_err.code)
    lc_err_set(&client->down_err, LC_EUNAVAILABLE, "%s: the connection was closed%s%s", client->authority,
               why[0] ? ": " : "", why);
  client->down = true;
  client->conn = NULL;
  client->closing = true;
  lc_rpc_client_unwatch(client);
  lc_h2_destroy(client->h2); /* ends the calls in progress */
  lc_rpc_client_end_waiting(client);
  client->h2 = NULL;
  client->closing = false;
  if (client->destroyed)
    lc_free(client);
  else if (client->config.on_down)
    client->config.on_down(client->config.arg, &client->down_err);
}

static const struct lc_conn_handler CONN_HANDLER = {
    .on_connect = on_connect, .on_read = on_read, .on_drain = on_drain, .on_close = on_conn_close};

static int open_h2(struct lc_rpc_client *client) {
  struct lc_h2_config config;
  lc_h2_config_init(&config, false);
  config.pool = lc_worker_pool(client->worker);
  config.handler = &lc_rpc_client_h2_handler;
  config.stream_window = STREAM_WINDOW;
  config.conn_window = CONN_WINDOW;
  config.arg = client;
  return lc_h2_create(&config, &client->h2);
}

int lc_rpc_client_create(const struct lc_rpc_client_config *config, struct lc_rpc_client **out, struct lc_err *err) {
  struct lc_rpc_client *client = lc_calloc(1, sizeof(*client));
  if (!client)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  client->config = *config;
  client->worker = config->worker;
  lc_list_init(&client->calls);
  lc_list_init(&client->borrowed);
  lc_list_init(&client->waiting);
  lc_format_address(&config->address, client->authority, sizeof(client->authority));
  int rc = open_h2(client);
  if (rc != LC_OK)
    goto fail;
  rc = lc_conn_connect(client->worker, &config->address, config->connect_timeout_ms, &CONN_HANDLER, client,
                       &client->conn);
  if (rc != LC_OK)
    goto fail;
  if (config->ping_always)
    lc_rpc_client_watch(client);
  lc_conn_flush_later(client->conn);
  *out = client;
  return LC_OK;

fail:
  lc_h2_destroy(client->h2);
  lc_free(client);
  return lc_err_set(err, rc, "can't begin to connect: %s", lc_code_name(rc));
}

void lc_rpc_client_destroy(struct lc_rpc_client *client) {
  if (!client)
    return;
  lc_rpc_client_forget_calls(client);
  lc_rpc_client_unwatch(client);
  client->destroyed = true;
  if (client->conn)
    lc_conn_abort(client->conn);
  else if (!client->closing)
    lc_free(client);
}
