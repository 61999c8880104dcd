#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rpc/client.h"
#include "wire/msg.h"

/*
 * Gets of one key through rpc/client.h, as a node forwards them: `client HOST:PORT VALUE-BYTES CALLS OUTSTANDING`. Sets
 * the key first (group "bench"). Prints the time on the wall and of the client's thread. `run` counts instructions.
 */
struct load {
  struct lc_worker *worker;
  struct lc_rpc_client *client;
  struct lc_address address;
  struct lc_buf get; /* the request with its prefix: what is measured is the call */
  size_t value_bytes;
  unsigned long calls, outstanding, begun, ended;
  struct timespec start, start_cpu;
  int status;
};

static double seconds_since(clockid_t clock, const struct timespec *start) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void end(struct load *load, int status, const char *message) {
  if (status != LC_GRPC_OK)
    fprintf(stderr, "%s: %s\n", lc_grpc_status_name(status), message);
  load->status = status;
  lc_worker_stop(load->worker);
}

static void on_get(void *arg, const struct lc_rpc_result *result);

static int get(struct load *load) {
  struct lc_outq q;
  lc_outq_init(&q, lc_worker_pool(load->worker));
  int rc = lc_outq_append(&q, load->get.data, load->get.len);
  if (rc == 0)
    rc = lc_rpc_client_call(load->client, "/lcache.v1.Cache/Get", &q, 5000, on_get, load, NULL);
  lc_outq_fini(&q);
  load->begun++;
  if (rc != 0)
    end(load, LC_GRPC_UNKNOWN, lc_code_name(rc));
  return rc;
}

static void on_get(void *arg, const struct lc_rpc_result *result) {
  struct load *load = arg;
  if (result->status != LC_GRPC_OK || result->reply.len < load->value_bytes) {
    end(load, result->status ? result->status : LC_GRPC_INTERNAL, result->message);
    return;
  }
  load->ended++;
  if (load->begun < load->calls)
    get(load);
  else if (load->ended == load->calls)
    end(load, LC_GRPC_OK, "");
}

static void on_set(void *arg, const struct lc_rpc_result *result) {
  struct load *load = arg;
  if (result->status != LC_GRPC_OK) {
    end(load, result->status, result->message);
    return;
  }
  clock_gettime(CLOCK_MONOTONIC, &load->start);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &load->start_cpu);
  for (unsigned long i = 0; i < load->outstanding && load->begun < load->calls; i++) {
    if (get(load) != 0)
      return;
  }
}

static int set(struct load *load) {
  uint8_t *value = calloc(1, load->value_bytes + 1);
  struct lc_msg_set_request request = {.group = lc_slice_str("bench"), .key = lc_slice_str("client")};
  request.value = lc_slice_of(value, load->value_bytes);
  struct lc_outq q;
  lc_outq_init(&q, lc_worker_pool(load->worker));
  int rc = lc_msg_set_request_frame(&request, NULL, NULL, &q);
  if (rc == 0)
    rc = lc_rpc_client_call(load->client, "/lcache.v1.Cache/Set", &q, 5000, on_set, load, NULL);
  lc_outq_fini(&q);
  free(value);
  return rc;
}

static int make_get(struct load *load) {
  const struct lc_msg_get_request request = {.group = lc_slice_str("bench"), .key = lc_slice_str("client")};
  uint8_t prefix[LC_GRPC_PREFIX] = {0};
  lc_buf_append(&load->get, prefix, sizeof(prefix));
  int rc = lc_msg_get_request_encode(&request, &load->get);
  if (rc == 0)
    lc_grpc_write_prefix(load->get.data, (uint32_t)(load->get.len - LC_GRPC_PREFIX));
  return rc;
}

static int start(void *arg) {
  struct load *load = arg;
  struct lc_rpc_client_config config;
  lc_rpc_client_config_init(&config);
  config.worker = load->worker;
  config.address = load->address;
  struct lc_err err;
  int rc = lc_rpc_client_create(&config, &load->client, &err);
  if (rc == 0)
    rc = make_get(load);
  return rc == 0 ? set(load) : rc;
}

static void stop(void *arg) {
  struct load *load = arg;
  double wall = seconds_since(CLOCK_MONOTONIC, &load->start), bytes = (double)load->value_bytes * (double)load->ended;
  double cpu = seconds_since(CLOCK_THREAD_CPUTIME_ID, &load->start_cpu);
  printf("%lu calls in %.3f s, %.3f s of CPU (%.2f us a call), %.0f MB/s\n", load->ended, wall, cpu,
         1e6 * cpu / (double)load->ended, bytes / wall / 1e6);
  lc_rpc_client_destroy(load->client);
}

int main(int argc, char **argv) {
  struct load load = {0};
  struct lc_err err;
  const struct lc_worker_config config = {.buffer_limit_bytes = 64 << 20};
  if (argc != 5 || lc_parse_address(argv[1], &load.address, &err) != 0) {
    fprintf(stderr, "usage: %s HOST:PORT VALUE-BYTES CALLS OUTSTANDING\n", argv[0]);
    return 2;
  }
  load.value_bytes = strtoul(argv[2], NULL, 10);
  load.calls = strtoul(argv[3], NULL, 10);
  load.outstanding = strtoul(argv[4], NULL, 10);
  int rc = lc_worker_create(&config, &load.worker, &err);
  if (rc == 0)
    rc = lc_worker_run(load.worker, start, stop, &load);
  if (rc == 0)
    rc = lc_worker_join(load.worker);
  lc_worker_destroy(load.worker);
  lc_buf_fini(&load.get);
  return rc == 0 && load.status == LC_GRPC_OK ? 0 : 2;
}
