/*
 * Makes a node fetch values from a peer, and no more: `bench_fetch HOST:PORT GROUP CALLS OUTSTANDING KEY...` asks for
 * one key at a time by BatchGet of a node whose --max-message has no room for the value in a BatchGet's reply. The node
 * fetches the value for each (Peer/Get) and then answers that the reply is full. Prints seconds. `run` has the keys.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "rpc/client.h"
#include "wire/msg.h"

#define TIMEOUT_MS 30000u
#define ARENA_LIMIT ((size_t)1 << 20)

struct fetch {
  struct lc_worker *worker;
  struct lc_rpc_client *client;
  struct lc_address address;
  const char *group;
  char **keys;
  size_t key_count, calls, outstanding, begun, ended;
  double start;
  int status;
};

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void end(struct fetch *fetch, int status, const char *message) {
  if (status != LC_GRPC_OK)
    fprintf(stderr, "bench_fetch: %s: %s\n", lc_grpc_status_name(status), message);
  fetch->status = status;
  lc_worker_stop(fetch->worker);
}

/* What was to come: one key, and no room for its value. */
static bool is_full(struct lc_slice reply) {
  struct lc_msg_batch_get_response response;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, ARENA_LIMIT);
  bool full = lc_msg_batch_get_response_decode(&arena, reply, &response, NULL) == 0 && response.result_count == 1 &&
              response.results[0].code == LC_GRPC_RESOURCE_EXHAUSTED;
  lc_arena_fini(&arena);
  return full;
}

static void ask(struct fetch *fetch);

static void on_reply(void *arg, const struct lc_rpc_result *result) {
  struct fetch *fetch = arg;
  if (result->status != LC_GRPC_OK || !is_full(result->reply)) {
    end(fetch, result->status ? result->status : LC_GRPC_INTERNAL, result->status ? result->message : "not so refused");
    return;
  }
  fetch->ended++;
  if (fetch->begun < fetch->calls)
    ask(fetch);
  else if (fetch->ended == fetch->calls)
    end(fetch, LC_GRPC_OK, "");
}

static void ask(struct fetch *fetch) {
  struct lc_slice key = lc_slice_str(fetch->keys[fetch->begun % fetch->key_count]);
  const struct lc_msg_batch_get_request request = {.group = lc_slice_str(fetch->group), .keys = &key, .key_count = 1};
  struct lc_buf message;
  struct lc_outq q;
  lc_buf_init(&message);
  lc_outq_init(&q, lc_worker_pool(fetch->worker));
  int rc = lc_msg_batch_get_request_encode(&request, &message);
  if (rc == 0)
    rc = lc_grpc_frame(&q, lc_buf_slice(&message));
  if (rc == 0)
    rc = lc_rpc_client_call(fetch->client, "/lcache.v1.Cache/BatchGet", &q, TIMEOUT_MS, on_reply, fetch, NULL);
  lc_outq_fini(&q);
  lc_buf_fini(&message);
  fetch->begun++;
  if (rc != 0)
    end(fetch, LC_GRPC_UNKNOWN, lc_code_name(rc));
}

/* The first keys go out with the connection's own first bytes, so connecting counts: a millisecond or less. */
static int start(void *arg) {
  struct fetch *fetch = arg;
  struct lc_rpc_client_config config;
  lc_rpc_client_config_init(&config);
  config.worker = fetch->worker;
  config.address = fetch->address;
  struct lc_err err;
  int rc = lc_rpc_client_create(&config, &fetch->client, &err);
  fetch->start = now();
  for (size_t i = 0; rc == 0 && i < fetch->outstanding && fetch->begun < fetch->calls; i++)
    ask(fetch);
  return rc;
}

static void stop(void *arg) {
  struct fetch *fetch = arg;
  printf("%.6f\n", now() - fetch->start);
  lc_rpc_client_destroy(fetch->client);
}

int main(int argc, char **argv) {
  struct fetch fetch = {0};
  struct lc_err err;
  const struct lc_worker_config config = {.buffer_limit_bytes = 64 << 20};
  if (argc < 6 || lc_parse_address(argv[1], &fetch.address, &err) != 0) {
    fprintf(stderr, "usage: %s HOST:PORT GROUP CALLS OUTSTANDING KEY...\n", argv[0]);
    return 2;
  }
  fetch.group = argv[2];
  fetch.calls = strtoul(argv[3], NULL, 10);
  fetch.outstanding = strtoul(argv[4], NULL, 10);
  fetch.keys = argv + 5;
  fetch.key_count = (size_t)argc - 5;
  int rc = lc_worker_create(&config, &fetch.worker, &err);
  if (rc == 0)
    rc = lc_worker_run(fetch.worker, start, stop, &fetch);
  if (rc == 0)
    rc = lc_worker_join(fetch.worker);
  lc_worker_destroy(fetch.worker);
  return rc == 0 && fetch.status == LC_GRPC_OK ? 0 : 2;
}
