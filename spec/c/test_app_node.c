#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/node.h"
#include "base/alloc.h"
#include "base/clock.h"

struct fixture {
  char folder[64], script[96];
};

static const char GOOD_SCRIPT[] = "local lcache = require 'lcache'\n"
                                  "if io.open(FOLDER .. '/broken') then error 'broken now' end\n"
                                  "lcache.configure{ workers = 2 }\n"
                                  "lcache.group('echo', { getter = function(key) return key end, bytes = '1MB' })\n";

static void write_script(struct fixture *f, const char *text) {
  FILE *file = fopen(f->script, "w");
  assert_non_null(file);
  fprintf(file, "local FOLDER = '%s'\n%s", f->folder, text);
  fclose(file);
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  strcpy(f->folder, "/tmp/test_app_node.XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  snprintf(f->script, sizeof f->script, "%s/app.lua", f->folder);
  write_script(f, GOOD_SCRIPT);
  *state = f;
  return 0;
}

static void path_in(const struct fixture *f, const char *name, char *out, size_t len) {
  snprintf(out, len, "%s/%s", f->folder, name);
}

static int teardown(void **state) {
  struct fixture *f = *state;
  char broken[96];
  path_in(f, "broken", broken, sizeof broken);
  unlink(broken);
  unlink(f->script);
  rmdir(f->folder);
  free(f);
  return 0;
}

/* What `lcache --script … --listen 127.0.0.1:PORT` makes its node from. */
static void load(struct fixture *f, struct lc_setup *made, const char *listen_address) {
  char *argv[] = {"lcache", "--script", f->script, "--listen", (char *)(uintptr_t)listen_address, NULL};
  char *no_environment[] = {NULL};
  struct lc_buf mistakes;
  lc_buf_init(&mistakes);
  lc_setup_init(made);
  int code = lc_setup_load(made, 5, argv, no_environment, &mistakes);
  if (code)
    print_error("%.*s", (int)mistakes.len, (char *)mistakes.data);
  assert_int_equal(code, 0);
  lc_buf_fini(&mistakes);
}

static int connect_to(uint16_t port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
    return fd;
  close(fd);
  return -1;
}

static uint16_t port_of(const struct lc_node *node) {
  struct lc_address address;
  lc_node_address(node, &address);
  return address.port;
}

static struct lc_node *create(const struct lc_setup *made) {
  struct lc_node *node = NULL;
  struct lc_err err = {0};
  int code = lc_node_create(made, NULL, &node, &err);
  if (code)
    print_error("%s\n", err.msg);
  assert_int_equal(code, 0);
  return node;
}

static void a_node_listens_and_says_so(void **state) {
  struct fixture *f = *state;
  struct lc_setup made;
  load(f, &made, "127.0.0.1:0");
  struct lc_node *node = create(&made);
  char line[LC_READY_LINE_SIZE], expected[LC_READY_LINE_SIZE];
  lc_node_ready_line(node, line);
  assert_true(port_of(node) != 0);
  snprintf(expected, sizeof expected, "ready grpc=127.0.0.1:%u http=off workers=2 groups=1", port_of(node));
  assert_string_equal(line, expected);
  int fd = connect_to(port_of(node));
  assert_true(fd >= 0);
  close(fd);
  lc_node_stop(node);
  assert_int_equal(lc_node_run(node), 0);
  lc_node_destroy(node);
  lc_setup_fini(&made);
}

static void a_stopped_node_listens_no_more_and_its_port_is_free(void **state) {
  struct fixture *f = *state;
  char again[32];
  struct lc_setup made, second;
  load(f, &made, "127.0.0.1:0");
  struct lc_node *node = create(&made);
  uint16_t port = port_of(node);
  lc_node_stop(node);
  lc_node_stop(node);
  assert_int_equal(lc_node_run(node), 0);
  lc_node_destroy(node);
  assert_int_equal(connect_to(port), -1);
  snprintf(again, sizeof again, "127.0.0.1:%u", port);
  load(f, &second, again);
  node = create(&second);
  assert_int_equal(port_of(node), port);
  lc_node_destroy(node);
  lc_setup_fini(&second);
  lc_setup_fini(&made);
}

static void two_nodes_live_in_one_process(void **state) {
  struct fixture *f = *state;
  struct lc_setup made;
  load(f, &made, "127.0.0.1:0");
  struct lc_node *one = create(&made), *two = create(&made);
  assert_int_not_equal(port_of(one), port_of(two));
  lc_node_destroy(one);
  int fd = connect_to(port_of(two));
  assert_true(fd >= 0);
  close(fd);
  lc_node_destroy(two);
  lc_setup_fini(&made);
}

static void a_node_that_never_ran_can_be_destroyed(void **state) {
  struct fixture *f = *state;
  struct lc_setup made;
  load(f, &made, "127.0.0.1:0");
  lc_node_destroy(create(&made));
  lc_setup_fini(&made);
}

static void *run(void *node) {
  return (void *)(intptr_t)lc_node_run(node);
}

/* Until the server has closed the connection; false if it took longer than ten seconds. */
static bool wait_closed(int fd) {
  uint64_t deadline = lc_clock_ms() + 10000;
  char bytes[256];
  while (lc_clock_ms() < deadline) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    if (poll(&poll_fd, 1, 100) > 0 && read(fd, bytes, sizeof bytes) <= 0)
      return true;
  }
  return false;
}

static void a_stop_closes_connections_that_have_no_request(void **state) {
  struct fixture *f = *state;
  struct lc_setup made;
  load(f, &made, "127.0.0.1:0");
  struct lc_node *node = create(&made);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, run, node), 0);
  int fd = connect_to(port_of(node));
  assert_true(fd >= 0);
  static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
  assert_int_equal(write(fd, hello, sizeof hello - 1), sizeof hello - 1);
  char first[1];
  assert_int_equal(read(fd, first, 1), 1); /* the server's SETTINGS: a worker has it */
  lc_node_stop(node);
  assert_true(wait_closed(fd));
  void *result;
  pthread_join(thread, &result);
  assert_int_equal((intptr_t)result, 0);
  close(fd);
  lc_node_destroy(node);
  lc_setup_fini(&made);
}

static void expect_failure(const struct lc_setup *made, int code, const char *words) {
  struct lc_node *node = NULL;
  struct lc_err err = {0};
  assert_int_equal(lc_node_create(made, NULL, &node, &err), code);
  assert_null(node);
  if (!strstr(err.msg, words))
    fail_msg("expected \"%s\" in \"%s\"", words, err.msg);
}

static void a_port_in_use_is_told_and_nothing_is_left(void **state) {
  struct fixture *f = *state;
  char taken[32];
  struct lc_setup made, second;
  load(f, &made, "127.0.0.1:0");
  struct lc_node *node = create(&made);
  snprintf(taken, sizeof taken, "127.0.0.1:%u", port_of(node));
  load(f, &second, taken);
  expect_failure(&second, LC_EBUSY, taken);
  expect_failure(&second, LC_EBUSY, "--listen");
  lc_node_destroy(node);
  lc_setup_fini(&second);
  lc_setup_fini(&made);
}

static void an_address_of_another_machine_is_a_failure_at_run_time(void **state) {
  struct fixture *f = *state;
  struct lc_setup made;
  load(f, &made, "192.0.2.1:8001");
  expect_failure(&made, LC_EIO, "192.0.2.1:8001");
  lc_setup_fini(&made);
}

static void a_script_that_fails_in_a_worker_ends_the_start(void **state) {
  struct fixture *f = *state;
  struct lc_setup made;
  char broken[96];
  load(f, &made, "127.0.0.1:0");
  path_in(f, "broken", broken, sizeof broken);
  FILE *file = fopen(broken, "w");
  assert_non_null(file);
  fclose(file);
  expect_failure(&made, LC_EINVAL, "broken now");
  unlink(broken);
  lc_node_destroy(create(&made));
  lc_setup_fini(&made);
}

static void groups_over_the_memory_name_file_and_line(void **state) {
  struct fixture *f = *state;
  struct lc_setup made;
  write_script(f, "local lcache = require 'lcache'\n"
                  "lcache.configure{ memory = '2MB' }\n"
                  "lcache.group('big', { getter = function(key) return key end, bytes = '3MB' })\n");
  load(f, &made, "127.0.0.1:0");
  expect_failure(&made, LC_EINVAL, "app.lua:4: group \"big\"");
  struct lc_buf out;
  lc_buf_init(&out);
  assert_int_equal(lc_setup_check(&made, &out), LC_EINVAL);
  lc_buf_char(&out, '\0');
  assert_non_null(strstr((char *)out.data, "app.lua:4: group \"big\""));
  lc_buf_fini(&out);
  lc_setup_fini(&made);
}

static void check_lists_the_groups(void **state) {
  struct fixture *f = *state;
  struct lc_setup made;
  write_script(f, "local lcache = require 'lcache'\n"
                  "local getter = function(key) return key end\n"
                  "lcache.group('a', { getter = getter, bytes = '64MB', ttl = '90s' })\n"
                  "lcache.group('b', { getter = getter, policy = 'lru', timeout = '250ms' })\n");
  load(f, &made, "127.0.0.1:0");
  struct lc_buf out;
  lc_buf_init(&out);
  assert_int_equal(lc_setup_check(&made, &out), 0);
  lc_buf_char(&out, '\0');
  const char *text = (const char *)out.data;
  assert_ptr_equal(strstr(text, "ok: 2 groups\n"), text);
  assert_non_null(strstr(text, "app.lua:4: group a bytes=64MB ttl=90s timeout=5s policy=lru2\n"));
  assert_non_null(strstr(text, "app.lua:5: group b bytes=shared ttl=none timeout=250ms policy=lru\n"));
  lc_buf_fini(&out);
  lc_setup_fini(&made);
}

static void all_mistakes_are_told_at_once(void **state) {
  struct fixture *f = *state;
  write_script(f, "local lcache = require 'lcache'\n"
                  "lcache.configure{ memory = '12XB', lisen = 'x' }\n"
                  "lcache.group('a', { getter = function() end })\n");
  char *argv[] = {"lcache", "--script", f->script, "--workers", "0", NULL};
  char *environment[] = {"LCACHE_JIT=perhaps", NULL};
  struct lc_setup made;
  struct lc_buf mistakes;
  lc_buf_init(&mistakes);
  lc_setup_init(&made);
  assert_int_equal(lc_setup_load(&made, 5, argv, environment, &mistakes), LC_EINVAL);
  lc_buf_char(&mistakes, '\0');
  const char *text = (const char *)mistakes.data;
  assert_non_null(strstr(text, "--workers 0: not a number from 1 to 256\n"));
  assert_non_null(strstr(text, "LCACHE_JIT=perhaps: neither on nor off\n"));
  assert_non_null(strstr(text, "app.lua:3: configure: memory \"12XB\": not a size, use 256MB\n"));
  assert_non_null(strstr(text, "app.lua:3: configure: unknown field \"lisen\", did you mean \"listen\"?\n"));
  lc_buf_fini(&mistakes);
  lc_setup_fini(&made);
}

/* Allocations of this thread; those of the workers are their own modules' tests. */
static void a_start_without_memory_fails_cleanly_at_every_allocation(void **state) {
  struct fixture *f = *state;
  if (!lc_alloc_faults_built())
    skip();
  struct lc_setup made;
  load(f, &made, "127.0.0.1:0");
  int code = LC_ENOMEM;
  size_t failed = 0;
  for (size_t n = 1; code == LC_ENOMEM; n++, failed++) {
    struct lc_node *node = NULL;
    struct lc_err err = {0};
    lc_alloc_fail_at(n);
    code = lc_node_create(&made, NULL, &node, &err);
    lc_alloc_fail_at(0);
    if (code == LC_ENOMEM)
      assert_null(node);
    lc_node_destroy(node);
    assert_true(n < 2000);
  }
  assert_int_equal(code, 0);
  assert_true(failed > 10);
  lc_setup_fini(&made);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_node_listens_and_says_so),
      TEST(a_stopped_node_listens_no_more_and_its_port_is_free),
      TEST(two_nodes_live_in_one_process),
      TEST(a_node_that_never_ran_can_be_destroyed),
      TEST(a_stop_closes_connections_that_have_no_request),
      TEST(a_port_in_use_is_told_and_nothing_is_left),
      TEST(an_address_of_another_machine_is_a_failure_at_run_time),
      TEST(a_script_that_fails_in_a_worker_ends_the_start),
      TEST(groups_over_the_memory_name_file_and_line),
      TEST(check_lists_the_groups),
      TEST(all_mistakes_are_told_at_once),
      TEST(a_start_without_memory_fails_cleanly_at_every_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
