#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/commands.h"
#include "wire/grpc.h"

/* What lcachectl prints for an answer, and with which status it ends. */
struct printed {
  struct lc_ctl_options options;
  struct lc_ctl_answer answer;
  char *out, *errors;
  size_t out_len, errors_len;
  int exit_code;
};

static void printed_init(struct printed *printed, const char *command, bool json) {
  memset(printed, 0, sizeof *printed);
  for (size_t i = 0; i < lc_ctl_command_count; i++) {
    if (strcmp(lc_ctl_commands[i].name, command) == 0)
      printed->options.command = &lc_ctl_commands[i];
  }
  assert_non_null(printed->options.command);
  printed->options.json = json;
  printed->answer.time_ms = 1.25;
  lc_buf_init(&printed->answer.reply);
}

static void print(struct printed *printed) {
  FILE *out = open_memstream(&printed->out, &printed->out_len);
  FILE *errors = open_memstream(&printed->errors, &printed->errors_len);
  printed->exit_code = lc_ctl_print(&printed->options, &printed->answer, out, errors);
  fclose(out);
  fclose(errors);
}

static void expect_printed(struct printed *printed, int exit_code, const char *out, const char *errors) {
  print(printed);
  assert_string_equal(printed->out, out);
  assert_string_equal(printed->errors, errors);
  assert_int_equal(printed->exit_code, exit_code);
  free(printed->out);
  free(printed->errors);
  lc_buf_fini(&printed->answer.reply);
}

static void expect_reply(const char *command, bool json, const struct lc_buf *reply, int exit_code, const char *out) {
  struct printed printed;
  printed_init(&printed, command, json);
  assert_int_equal(lc_buf_append(&printed.answer.reply, reply->data, reply->len), 0);
  expect_printed(&printed, exit_code, out, "");
}

/* ---- get, set, delete ---- */

static struct lc_buf get_reply(struct lc_slice value) {
  struct lc_buf buf;
  const struct lc_msg_get_response response = {.value = value, .ttl_ms = 5000, .served_from = LC_MSG_FROM_SOURCE};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_get_response_encode(&response, &buf), 0);
  return buf;
}

static void a_value_goes_out_as_it_is(void **state) {
  (void)state;
  struct printed printed;
  struct lc_buf reply = get_reply(lc_slice_of("a\0\xff\n", 4));
  printed_init(&printed, "get", false);
  lc_buf_append(&printed.answer.reply, reply.data, reply.len);
  print(&printed);
  assert_int_equal(printed.out_len, 4);
  assert_memory_equal(printed.out, "a\0\xff\n", 4);
  assert_int_equal(printed.exit_code, LC_CTL_OK);
  free(printed.out);
  free(printed.errors);
  lc_buf_fini(&printed.answer.reply);
  lc_buf_fini(&reply);
}

static void an_empty_value_prints_nothing(void **state) {
  (void)state;
  struct lc_buf reply = get_reply(lc_slice_str(""));
  expect_reply("get", false, &reply, LC_CTL_OK, "");
  lc_buf_fini(&reply);
}

static void json_has_the_value_where_it_came_from_and_the_time(void **state) {
  (void)state;
  struct lc_buf reply = get_reply(lc_slice_str("{\"a\": \"\xc3\xa9\"}\n"));
  expect_reply("get", true, &reply, LC_CTL_OK,
               "{\"value\":\"{\\\"a\\\": \\\"\xc3\xa9\\\"}\\n\",\"served_from\":\"SOURCE\",\"ttl_ms\":5000,"
               "\"time_ms\":1.250}\n");
  lc_buf_fini(&reply);
}

static void json_has_other_bytes_as_base64(void **state) {
  (void)state;
  static const char *const expected[] = {"/w==", "/wA=", "/wAB", "/wABAg=="};
  for (size_t len = 1; len <= 4; len++) {
    char out[128];
    struct lc_buf reply = get_reply(lc_slice_of("\xff\0\1\2", len));
    snprintf(out, sizeof out,
             "{\"value_base64\":\"%s\",\"served_from\":\"SOURCE\",\"ttl_ms\":5000,\"time_ms\":1.250}\n",
             expected[len - 1]);
    expect_reply("get", true, &reply, LC_CTL_OK, out);
    lc_buf_fini(&reply);
  }
}

static void a_set_prints_nothing_but_json(void **state) {
  (void)state;
  struct lc_buf none;
  lc_buf_init(&none);
  expect_reply("set", false, &none, LC_CTL_OK, "");
  expect_reply("set", true, &none, LC_CTL_OK, "{\"time_ms\":1.250}\n");
}

static void a_delete_tells_whether_the_key_was_there(void **state) {
  (void)state;
  struct lc_buf none, yes;
  lc_buf_init(&none);
  lc_buf_init(&yes);
  assert_int_equal(lc_msg_delete_response_encode(&(struct lc_msg_delete_response){.deleted = true}, &yes), 0);
  expect_reply("delete", false, &yes, LC_CTL_OK, "deleted\n");
  expect_reply("delete", false, &none, LC_CTL_OK, "was not there\n");
  expect_reply("delete", true, &yes, LC_CTL_OK, "{\"deleted\":true,\"time_ms\":1.250}\n");
  expect_reply("delete", true, &none, LC_CTL_OK, "{\"deleted\":false,\"time_ms\":1.250}\n");
  lc_buf_fini(&yes);
}

/* ---- batch ---- */

static struct lc_buf batch_reply(struct lc_msg_batch_result *results, size_t count) {
  struct lc_buf buf;
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_batch_get_response_encode(
                       &(struct lc_msg_batch_get_response){.results = results, .result_count = count}, &buf),
                   0);
  return buf;
}

static struct lc_msg_batch_result ok_result(struct lc_slice key, struct lc_slice value) {
  return (struct lc_msg_batch_result){.key = key, .value = value, .served_from = LC_MSG_FROM_STORE};
}

static struct lc_msg_batch_result failed_result(const char *key, int code, const char *message) {
  return (struct lc_msg_batch_result){.key = lc_slice_str(key), .code = code, .message = lc_slice_str(message)};
}

static void a_batch_is_a_table_in_which_nothing_breaks_a_line(void **state) {
  (void)state;
  struct lc_msg_batch_result results[] = {
      ok_result(lc_slice_str("alice"), lc_slice_str("{\"score\": 1}\n")),
      ok_result(lc_slice_of("b\0\xff", 3), lc_slice_str("\x1b[31m\xc2\x9b\xc3\xa9\x7f")),
      failed_result("nobody", LC_GRPC_NOT_FOUND, "not found")};
  struct lc_buf reply = batch_reply(results, 3);
  expect_reply("batch", false, &reply, LC_CTL_NOT_FOUND,
               "KEY        FROM                VALUE\n"
               "alice      STORE               {\"score\": 1}\\x0a\n"
               "b\\x00\\xff  STORE               \\x1b[31m\\xc2\\x9b\xc3\xa9\\x7f\n"
               "nobody     NOT_FOUND           not found\n");
  lc_buf_fini(&reply);
}

static void a_batch_as_json_has_each_result(void **state) {
  (void)state;
  struct lc_msg_batch_result results[] = {ok_result(lc_slice_str("alice"), lc_slice_str("1")),
                                          ok_result(lc_slice_of("\xfe", 1), lc_slice_of("\xff", 1)),
                                          failed_result("bob", LC_GRPC_UNAVAILABLE, "the source is away")};
  struct lc_buf reply = batch_reply(results, 3);
  expect_reply("batch", true, &reply, LC_CTL_FAILED,
               "{\"results\":[{\"key\":\"alice\",\"code\":\"OK\",\"value\":\"1\",\"served_from\":\"STORE\"},"
               "{\"key_base64\":\"/g==\",\"code\":\"OK\",\"value_base64\":\"/w==\",\"served_from\":\"STORE\"},"
               "{\"key\":\"bob\",\"code\":\"UNAVAILABLE\",\"message\":\"the source is away\"}],\"time_ms\":1.250}\n");
  lc_buf_fini(&reply);
}

static void a_batch_ends_with_its_worst_result(void **state) {
  (void)state;
  struct lc_msg_batch_result results[] = {
      ok_result(lc_slice_str("a"), lc_slice_str("1")), failed_result("b", LC_GRPC_NOT_FOUND, "not found"),
      failed_result("c", LC_GRPC_INTERNAL, "getter failed"), failed_result("d", LC_GRPC_NOT_FOUND, "not found")};
  static const int expected[] = {LC_CTL_OK, LC_CTL_OK, LC_CTL_NOT_FOUND, LC_CTL_FAILED, LC_CTL_FAILED};
  for (size_t count = 0; count <= 4; count++) {
    const struct lc_msg_batch_get_response response = {.results = results, .result_count = count};
    assert_int_equal(lc_ctl_batch_exit(&response), expected[count]);
  }
}

/* ---- stats, nodes, owner ---- */

static struct lc_buf stats_reply(void) {
  struct lc_buf buf;
  struct lc_msg_worker_stats workers[] = {
      {.index = 0, .connections = 1, .requests = 20, .loads = 3, .buffer_bytes = 4, .lua_bytes = 50000}, {.index = 1}};
  struct lc_msg_group_stats groups[] = {{.name = lc_slice_str("scores"),
                                         .items = 7,
                                         .gets = 11,
                                         .hits = 6,
                                         .misses = 5,
                                         .forwards = 4, /* three of them answered elsewhere: 8 answered here */
                                         .forward_fails = 1},
                                        {.name = lc_slice_str("other")}};
  const struct lc_msg_stats_response response = {.node = lc_slice_str("127.0.0.1:8001"),
                                                 .version = lc_slice_str("1.2.3"),
                                                 .uptime_ms = 61500,
                                                 .workers = workers,
                                                 .worker_count = 2,
                                                 .memory_used_bytes = 1000,
                                                 .memory_limit_bytes = 2000,
                                                 .groups = groups,
                                                 .group_count = 2};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_stats_response_encode(&response, &buf), 0);
  return buf;
}

static void stats_are_a_page(void **state) {
  (void)state;
  struct printed printed;
  struct lc_buf reply = stats_reply();
  printed_init(&printed, "stats", false);
  lc_buf_append(&printed.answer.reply, reply.data, reply.len);
  print(&printed);
  assert_int_equal(printed.exit_code, LC_CTL_OK);
  assert_ptr_equal(strstr(printed.out, "node    127.0.0.1:8001\nversion 1.2.3\nuptime  61.5 s\n"
                                       "memory  1000 of 2000 bytes\n\nWORKER "),
                   printed.out);
  assert_non_null(strstr(printed.out, "\ngroup scores\n  items                         7\n"));
  assert_non_null(strstr(printed.out, "  hit_rate                  75.0%\n\ngroup other\n"));
  assert_null(strstr(strstr(printed.out, "group other"), "hit_rate")); /* nobody asked: no rate */
  free(printed.out);
  free(printed.errors);
  lc_buf_fini(&printed.answer.reply);
  lc_buf_fini(&reply);
}

static void stats_as_json_have_every_counter(void **state) {
  (void)state;
  struct printed printed;
  struct lc_buf reply = stats_reply();
  printed_init(&printed, "stats", true);
  lc_buf_append(&printed.answer.reply, reply.data, reply.len);
  print(&printed);
  const char *head =
      "{\"node\":\"127.0.0.1:8001\",\"version\":\"1.2.3\",\"uptime_ms\":61500,\"memory_used_bytes\":1000,"
      "\"memory_limit_bytes\":2000,\"workers\":[{\"index\":0,\"connections\":1,\"requests\":20,\"loads\":3,"
      "\"buffer_bytes\":4,\"lua_bytes\":50000},{\"index\":1,\"connections\":0,\"requests\":0,\"loads\":0,"
      "\"buffer_bytes\":0,\"lua_bytes\":0}],\"groups\":[{\"name\":\"scores\",\"items\":7,\"bytes\":0,";
  assert_ptr_equal(strstr(printed.out, head), printed.out);
  assert_non_null(strstr(printed.out, "\"gets\":11,\"hits\":6,\"misses\":5,"));
  assert_non_null(strstr(printed.out, "},{\"name\":\"other\","));
  /* a counter in the message that is missing here would be 8 bytes of the struct without a name */
  assert_int_equal(lc_ctl_group_field_count * sizeof(uint64_t) + sizeof(struct lc_slice),
                   sizeof(struct lc_msg_group_stats));
  free(printed.out);
  free(printed.errors);
  lc_buf_fini(&printed.answer.reply);
  lc_buf_fini(&reply);
}

static void nodes_are_listed_with_the_one_that_was_asked(void **state) {
  (void)state;
  struct lc_buf reply;
  struct lc_msg_node nodes[] = {{lc_slice_str("127.0.0.1:8001"), lc_slice_str("up"), 0.3333},
                                {lc_slice_str("127.0.0.1:8002"), lc_slice_str("leaving"), 0.6667}};
  const struct lc_msg_nodes_response response = {
      .self = lc_slice_str("127.0.0.1:8001"), .ring = lc_slice_str("00ff"), .nodes = nodes, .node_count = 2};
  lc_buf_init(&reply);
  assert_int_equal(lc_msg_nodes_response_encode(&response, &reply), 0);
  expect_reply("nodes", false, &reply, LC_CTL_OK,
               "ring 00ff\n"
               "NODE                     STATE     SHARE\n"
               "127.0.0.1:8001           up        33.3%  (asked)\n"
               "127.0.0.1:8002           leaving   66.7%\n");
  expect_reply("nodes", true, &reply, LC_CTL_OK,
               "{\"self\":\"127.0.0.1:8001\",\"ring\":\"00ff\",\"nodes\":["
               "{\"address\":\"127.0.0.1:8001\",\"state\":\"up\",\"share\":0.3333},"
               "{\"address\":\"127.0.0.1:8002\",\"state\":\"leaving\",\"share\":0.6667}]}\n");
  lc_buf_fini(&reply);
}

static void the_owner_is_an_address(void **state) {
  (void)state;
  struct lc_buf reply;
  const struct lc_msg_owner_response response = {.address = lc_slice_str("127.0.0.1:8001"), .self = true};
  lc_buf_init(&reply);
  assert_int_equal(lc_msg_owner_response_encode(&response, &reply), 0);
  expect_reply("owner", false, &reply, LC_CTL_OK, "127.0.0.1:8001\n");
  expect_reply("owner", true, &reply, LC_CTL_OK, "{\"address\":\"127.0.0.1:8001\",\"self\":true}\n");
  lc_buf_fini(&reply);
}

/* ---- errors ---- */

static void expect_error(bool json, int status, const char *message, int exit_code, const char *out,
                         const char *errors) {
  struct printed printed;
  printed_init(&printed, "get", json);
  printed.answer.status = status;
  snprintf(printed.answer.message, sizeof printed.answer.message, "%s", message);
  expect_printed(&printed, exit_code, out, errors);
}

static void an_error_is_one_line_and_a_status(void **state) {
  (void)state;
  expect_error(false, LC_GRPC_NOT_FOUND, "not found", LC_CTL_NOT_FOUND, "", "lcachectl: NOT_FOUND: not found\n");
  expect_error(false, LC_GRPC_UNAVAILABLE, "two\nlines\x1b[0m", LC_CTL_FAILED, "",
               "lcachectl: UNAVAILABLE: two\\x0alines\\x1b[0m\n");
  expect_error(false, LC_GRPC_INTERNAL, "", LC_CTL_FAILED, "", "lcachectl: INTERNAL\n");
  expect_error(true, LC_GRPC_NOT_FOUND, "not \"found\"", LC_CTL_NOT_FOUND,
               "{\"code\":\"NOT_FOUND\",\"message\":\"not \\\"found\\\"\"}\n", "lcachectl: NOT_FOUND: not \"found\"\n");
}

static void an_answer_that_cannot_be_read_is_internal(void **state) {
  (void)state;
  struct printed printed;
  printed_init(&printed, "get", false);
  lc_buf_append(&printed.answer.reply, "\x0a\x7fx", 3);
  print(&printed);
  assert_int_equal(printed.exit_code, LC_CTL_FAILED);
  assert_string_equal(printed.out, "");
  assert_ptr_equal(strstr(printed.errors, "lcachectl: INTERNAL: "), printed.errors);
  free(printed.out);
  free(printed.errors);
  lc_buf_fini(&printed.answer.reply);
}

static void an_output_that_cannot_be_written_is_an_error(void **state) {
  (void)state;
  struct printed printed;
  struct lc_buf reply = get_reply(lc_slice_str("value"));
  printed_init(&printed, "get", false);
  lc_buf_append(&printed.answer.reply, reply.data, reply.len);
  FILE *full = fopen("/dev/full", "w");
  FILE *errors = open_memstream(&printed.errors, &printed.errors_len);
  assert_non_null(full);
  assert_int_equal(lc_ctl_print(&printed.options, &printed.answer, full, errors), LC_CTL_FAILED);
  fclose(full);
  fclose(errors);
  assert_string_equal(printed.errors, "lcachectl: can't write the answer\n");
  free(printed.errors);
  lc_buf_fini(&printed.answer.reply);
  lc_buf_fini(&reply);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_value_goes_out_as_it_is),
      cmocka_unit_test(an_empty_value_prints_nothing),
      cmocka_unit_test(json_has_the_value_where_it_came_from_and_the_time),
      cmocka_unit_test(json_has_other_bytes_as_base64),
      cmocka_unit_test(a_set_prints_nothing_but_json),
      cmocka_unit_test(a_delete_tells_whether_the_key_was_there),
      cmocka_unit_test(a_batch_is_a_table_in_which_nothing_breaks_a_line),
      cmocka_unit_test(a_batch_as_json_has_each_result),
      cmocka_unit_test(a_batch_ends_with_its_worst_result),
      cmocka_unit_test(stats_are_a_page),
      cmocka_unit_test(stats_as_json_have_every_counter),
      cmocka_unit_test(nodes_are_listed_with_the_one_that_was_asked),
      cmocka_unit_test(the_owner_is_an_address),
      cmocka_unit_test(an_error_is_one_line_and_a_status),
      cmocka_unit_test(an_answer_that_cannot_be_read_is_internal),
      cmocka_unit_test(an_output_that_cannot_be_written_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
