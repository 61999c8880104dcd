#include <string.h>

#include "base/clock.h"
#include "ctl/commands.h"
#include "rpc/client.h"

#define CONNECT_TIMEOUT_MS 3000u

struct call {
  const struct lc_ctl_options *options;
  struct lc_ctl_answer *answer;
  struct lc_worker *worker;
  struct lc_rpc_client *client;
  struct lc_err err;
  uint64_t begun_ns;
};

static void on_done(void *arg, const struct lc_rpc_result *result) {
  struct call *call = arg;
  struct lc_ctl_answer *answer = call->answer;
  answer->time_ms = (double)(lc_clock_ns() - call->begun_ns) / 1e6;
  answer->status = result->status;
  size_t len = strnlen(result->message, sizeof(answer->message) - 1);
  memcpy(answer->message, result->message, len);
  answer->message[len] = '\0';
  if (lc_buf_append(&answer->reply, result->reply.ptr, result->reply.len) != LC_OK) {
    answer->status = LC_GRPC_RESOURCE_EXHAUSTED;
    strcpy(answer->message, "out of memory for the reply");
  }
  lc_worker_stop(call->worker);
}

static int begin(struct call *call) {
  struct lc_outq request;
  struct lc_buf message;
  uint8_t prefix[LC_GRPC_PREFIX];
  lc_outq_init(&request, lc_worker_pool(call->worker));
  lc_buf_init(&message);
  int rc = call->options->command->encode(call->options, &message);
  lc_grpc_write_prefix(prefix, (uint32_t)message.len);
  if (rc == LC_OK)
    rc = lc_outq_append(&request, prefix, sizeof(prefix));
  if (rc == LC_OK)
    rc = lc_outq_append(&request, message.data, message.len);
  if (rc == LC_OK)
    rc = lc_rpc_client_call(call->client, call->options->command->path, &request, call->options->timeout_ms, on_done,
                            call, NULL);
  lc_buf_fini(&message);
  lc_outq_fini(&request);
  return rc;
}

static int on_start(void *arg) {
  struct call *call = arg;
  struct lc_rpc_client_config config;
  lc_rpc_client_config_init(&config);
  config.worker = call->worker;
  config.address = call->options->server;
  config.connect_timeout_ms = CONNECT_TIMEOUT_MS;
  call->begun_ns = lc_clock_ns();
  int rc = lc_rpc_client_create(&config, &call->client, &call->err);
  if (rc != LC_OK)
    return rc;
  rc = begin(call);
  if (rc == LC_OK)
    return LC_OK;
  lc_rpc_client_destroy(call->client); /* on_stop isn't called */
  return lc_err_set(&call->err, rc, "can't make the call: %s", lc_code_name(rc));
}

static void on_stop(void *arg) {
  struct call *call = arg;
  lc_rpc_client_destroy(call->client);
}

int lc_ctl_call(const struct lc_ctl_options *options, struct lc_ctl_answer *answer, struct lc_err *err) {
  struct call call = {.options = options, .answer = answer};
  struct lc_worker_config config = {.index = 0, .buffer_limit_bytes = SIZE_MAX};
  memset(answer, 0, sizeof(*answer));
  lc_buf_init(&answer->reply);
  int rc = lc_worker_create(&config, &call.worker, err);
  if (rc != LC_OK)
    return rc;
  rc = lc_worker_run(call.worker, on_start, on_stop, &call);
  if (rc == LC_OK)
    rc = lc_worker_join(call.worker);
  lc_worker_destroy(call.worker);
  if (rc != LC_OK)
    return lc_err_set(err, rc, "%s", call.err.code ? call.err.msg : lc_code_name(rc));
  return LC_OK;
}
