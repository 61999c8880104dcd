#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/cluster.h"
#include "wire/grpc.h"

/* `lcachectl stats --cluster` against servers that answer here: by address, from this table. */
struct server {
  const char *address, *state;
  int status;          /* of its Stats; a negative code: the call can't be made */
  uint64_t gets, hits; /* of group g */
  const char *other;   /* a group that it alone has */
};

static const struct server *servers;
static size_t server_count;
static int nodes_status;

static int answer_nodes(struct lc_buf *buf) {
  struct lc_msg_node nodes[8];
  for (size_t i = 0; i < server_count; i++)
    nodes[i] = (struct lc_msg_node){lc_slice_str(servers[i].address), lc_slice_str(servers[i].state), 0.5};
  return lc_msg_nodes_response_encode(&(struct lc_msg_nodes_response){.self = lc_slice_str(servers[0].address),
                                                                      .ring = lc_slice_str("00ff"),
                                                                      .nodes = nodes,
                                                                      .node_count = server_count},
                                      buf);
}

static int answer_stats(const struct server *server, struct lc_buf *buf) {
  struct lc_msg_group_stats groups[] = {
      {.name = lc_slice_str("g"), .items = 2, .bytes = 300, .gets = server->gets, .hits = server->hits, .loads = 5},
      {.name = lc_slice_str(server->other ? server->other : "")}};
  return lc_msg_stats_response_encode(&(struct lc_msg_stats_response){.node = lc_slice_str(server->address),
                                                                      .version = lc_slice_str("1.2.3"),
                                                                      .uptime_ms = 61500,
                                                                      .memory_used_bytes = 1000,
                                                                      .memory_limit_bytes = 2000,
                                                                      .groups = groups,
                                                                      .group_count = server->other ? 2 : 1},
                                      buf);
}

static int call(const struct lc_ctl_options *options, struct lc_ctl_answer *answer, struct lc_err *err) {
  memset(answer, 0, sizeof *answer);
  lc_buf_init(&answer->reply);
  if (strcmp(options->command->name, "nodes") == 0) {
    answer->status = nodes_status;
    snprintf(answer->message, sizeof answer->message, "%s", nodes_status == LC_GRPC_OK ? "" : "no connection");
    return nodes_status == LC_GRPC_OK ? answer_nodes(&answer->reply) : LC_OK;
  }
  for (size_t i = 0; i < server_count; i++) {
    char text[LC_HOST_SIZE + 9];
    lc_format_address(&options->server, text, sizeof text);
    assert_string_equal(text, options->server_text);
    if (strcmp(servers[i].address, text) != 0)
      continue;
    assert_string_not_equal(servers[i].state, "down");
    if (servers[i].status < 0)
      return lc_err_set(err, servers[i].status, "can't make the call");
    answer->status = servers[i].status;
    snprintf(answer->message, sizeof answer->message, "%s", answer->status == LC_GRPC_OK ? "" : "gone\naway");
    return answer->status == LC_GRPC_OK ? answer_stats(&servers[i], &answer->reply) : LC_OK;
  }
  fail_msg("asked %s, which is no node", options->server_text);
  return LC_EINVAL;
}

static void expect(bool json, int exit_code, const char *out, const char *errors) {
  char *argv[] = {"lcachectl", "stats", "--cluster", json ? "--json" : NULL};
  struct lc_ctl_options options;
  struct lc_err err = {0};
  char *printed, *complained;
  size_t printed_len, complained_len;
  assert_int_equal(lc_ctl_parse(json ? 4 : 3, argv, NULL, &options, &err), LC_OK);
  FILE *out_file = open_memstream(&printed, &printed_len);
  FILE *errors_file = open_memstream(&complained, &complained_len);
  int ended = lc_ctl_cluster_stats(&options, call, out_file, errors_file);
  fclose(out_file);
  fclose(errors_file);
  assert_string_equal(printed, out);
  assert_string_equal(complained, errors);
  assert_int_equal(ended, exit_code);
  free(printed);
  free(complained);
  lc_ctl_options_fini(&options);
}

static int two_nodes(void **state) {
  (void)state;
  static const struct server two[] = {
      {.address = "127.0.0.1:8001", .state = "up", .gets = 10, .hits = 4},
      {.address = "[::1]:8002", .state = "leaving", .gets = 30, .hits = 26, .other = "h"},
  };
  servers = two;
  server_count = 2;
  nodes_status = LC_GRPC_OK;
  return 0;
}

static void every_node_is_a_line_and_every_group_a_table_with_its_sums(void **state) {
  (void)state;
  expect(false, LC_CTL_OK,
         "ring 00ff\n"
         "NODE                     STATE          UPTIME   MEMORY BYTES\n"
         "127.0.0.1:8001           up             61.5 s           1000 of 2000\n"
         "[::1]:8002               leaving        61.5 s           1000 of 2000\n"
         "\n"
         "group g\n"
         "NODE                            ITEMS          BYTES         GETS         HITS        LOADS  HIT RATE\n"
         "127.0.0.1:8001                      2            300           10            4            5     40.0%\n"
         "[::1]:8002                          2            300           30           26            5     86.7%\n"
         "all                                 4            600           40           30           10     75.0%\n"
         "\n"
         "group h\n"
         "NODE                            ITEMS          BYTES         GETS         HITS        LOADS  HIT RATE\n"
         "[::1]:8002                          0              0            0            0            0         -\n"
         "all                                 0              0            0            0            0         -\n",
         "");
}

static int one_up_of_four(void **state) {
  (void)state;
  static const struct server four[] = {
      {.address = "127.0.0.1:8001", .state = "up", .gets = 10, .hits = 4},
      {.address = "127.0.0.1:8002", .state = "down"},
      {.address = "127.0.0.1:8003", .state = "up", .status = LC_GRPC_UNAVAILABLE},
      {.address = "127.0.0.1:8004", .state = "up", .status = LC_ENOMEM},
  };
  servers = four;
  server_count = 4;
  nodes_status = LC_GRPC_OK;
  return 0;
}

static void a_node_that_does_not_answer_is_a_line_and_no_error(void **state) {
  (void)state;
  expect(false, LC_CTL_OK,
         "ring 00ff\n"
         "NODE                     STATE          UPTIME   MEMORY BYTES\n"
         "127.0.0.1:8001           up             61.5 s           1000 of 2000\n"
         "127.0.0.1:8002           down     (not asked)\n"
         "127.0.0.1:8003           up       UNAVAILABLE: gone\\x0aaway\n"
         "127.0.0.1:8004           up       RESOURCE_EXHAUSTED: can't make the call\n"
         "\n"
         "group g\n"
         "NODE                            ITEMS          BYTES         GETS         HITS        LOADS  HIT RATE\n"
         "127.0.0.1:8001                      2            300           10            4            5     40.0%\n"
         "all                                 2            300           10            4            5     40.0%\n",
         "");
}

/* The JSON of a group, with the counters that are 0 here put in by the same list as the program's. */
static void put_group(FILE *out, const char *name, uint64_t nodes, uint64_t gets, uint64_t hits) {
  fprintf(out, "{\"name\":\"%s\"", name);
  for (size_t i = 0; i < lc_ctl_group_field_count; i++) {
    const char *field = lc_ctl_group_fields[i].name;
    uint64_t value = 0;
    value = strcmp(field, "items") == 0 ? 2 * nodes : strcmp(field, "bytes") == 0 ? 300 * nodes : value;
    value = strcmp(field, "gets") == 0 ? gets : strcmp(field, "hits") == 0 ? hits : value;
    value = strcmp(field, "loads") == 0 ? 5 * nodes : value;
    fprintf(out, ",\"%s\":%llu", field, (unsigned long long)value);
  }
  fputc('}', out);
}

static void put_stats(FILE *out, const struct server *server) {
  fprintf(out,
          "{\"address\":\"%s\",\"state\":\"%s\",\"stats\":{\"node\":\"%s\",\"version\":\"1.2.3\",\"uptime_ms\":61500,"
          "\"memory_used_bytes\":1000,\"memory_limit_bytes\":2000,\"workers\":[],\"groups\":[",
          server->address, server->state, server->address);
  put_group(out, "g", 1, server->gets, server->hits);
  if (server->other) {
    fputc(',', out);
    put_group(out, server->other, 0, 0, 0);
  }
  fputs("]}}", out);
}

static void expect_json(const char *tail, uint64_t stats_count, uint64_t gets, uint64_t hits, const char *other) {
  char *wanted;
  size_t len;
  FILE *out = open_memstream(&wanted, &len);
  fputs("{\"ring\":\"00ff\",\"nodes\":[", out);
  for (size_t i = 0; i < stats_count; i++) {
    fputs(i > 0 ? "," : "", out);
    put_stats(out, &servers[i]);
  }
  fprintf(out, "%s],\"groups\":[", tail);
  put_group(out, "g", stats_count, gets, hits);
  if (other) {
    fputc(',', out);
    put_group(out, other, 0, 0, 0);
  }
  fputs("]}\n", out);
  fclose(out);
  expect(true, LC_CTL_OK, wanted, "");
  free(wanted);
}

static void json_has_each_node_and_the_sums(void **state) {
  (void)state;
  expect_json("", 2, 40, 30, "h");
}

static void json_has_the_failure_of_a_node(void **state) {
  (void)state;
  expect_json(",{\"address\":\"127.0.0.1:8002\",\"state\":\"down\"},"
              "{\"address\":\"127.0.0.1:8003\",\"state\":\"up\",\"code\":\"UNAVAILABLE\",\"message\":\"gone\\naway\"},"
              "{\"address\":\"127.0.0.1:8004\",\"state\":\"up\",\"code\":\"RESOURCE_EXHAUSTED\","
              "\"message\":\"can't make the call\"}",
              1, 10, 4, NULL);
}

static void an_address_that_is_none_is_a_line(void **state) {
  (void)state;
  static const struct server odd[] = {{.address = "nowhere", .state = "up"}};
  servers = odd;
  server_count = 1;
  nodes_status = LC_GRPC_OK;
  struct lc_address address;
  struct lc_err err = {0};
  char wanted[LC_ERR_MSG_SIZE + 256];
  assert_int_equal(lc_parse_address("nowhere", &address, &err), LC_EINVAL);
  snprintf(wanted, sizeof wanted,
           "ring 00ff\nNODE                     STATE          UPTIME   MEMORY BYTES\n"
           "nowhere                  up       INTERNAL: %s\n",
           err.msg);
  expect(false, LC_CTL_OK, wanted, "");
}

static void a_server_that_does_not_answer_is_an_error(void **state) {
  (void)state;
  nodes_status = LC_GRPC_UNAVAILABLE;
  expect(false, LC_CTL_FAILED, "", "lcachectl: UNAVAILABLE: no connection\n");
  expect(true, LC_CTL_FAILED, "{\"code\":\"UNAVAILABLE\",\"message\":\"no connection\"}\n",
         "lcachectl: UNAVAILABLE: no connection\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(every_node_is_a_line_and_every_group_a_table_with_its_sums, two_nodes),
      cmocka_unit_test_setup(a_node_that_does_not_answer_is_a_line_and_no_error, one_up_of_four),
      cmocka_unit_test_setup(json_has_each_node_and_the_sums, two_nodes),
      cmocka_unit_test_setup(json_has_the_failure_of_a_node, one_up_of_four),
      cmocka_unit_test(an_address_that_is_none_is_a_line),
      cmocka_unit_test_setup(a_server_that_does_not_answer_is_an_error, two_nodes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
