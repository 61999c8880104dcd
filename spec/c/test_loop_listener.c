#include "test_loop_support.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/log.h"
#include "loop/listener.h"

#define WORKERS 2

/* A node in small: a loop for the listener on a thread of its own ("main"), and workers that keep what they get. */
struct node {
  struct lc_worker *main, *workers[WORKERS];
  struct lc_listener *listener;
  struct lc_listener_config config;
  struct lc_address address;
  struct lc_err err;
  int rc;
  atomic_uint taken[WORKERS];
  int fds[WORKERS][64];
  struct gate accepted;
};

static void on_accept(void *arg, struct lc_worker *worker, int fd) {
  struct node *node = arg;
  unsigned index = lc_worker_index(worker);
  node->fds[index][atomic_fetch_add(&node->taken[index], 1)] = fd;
  gate_raise(&node->accepted);
}

static void create_listener(void *arg) {
  struct node *node = arg;
  node->config.loop = lc_worker_loop(node->main);
  node->rc = lc_listener_create(&node->config, &node->address, &node->listener, &node->err);
  if (node->rc == 0)
    lc_listener_address(node->listener, &node->address);
}

static void stop_listener(void *arg) {
  struct node *node = arg;
  lc_listener_stop(node->listener);
  lc_listener_stop(node->listener);
}

/* To make its loop turn. */
static void do_nothing(void *arg) {
  (void)arg;
}

static void start_node(struct node *node, const char *host, uint16_t port) {
  *node = (struct node){.address.port = port, .accepted = GATE_INIT};
  snprintf(node->address.host, sizeof node->address.host, "%s", host);
  node->main = start_worker(99);
  for (unsigned i = 0; i < WORKERS; i++)
    node->workers[i] = start_worker(i);
  node->config = (struct lc_listener_config){.workers = node->workers,
                                             .worker_count = WORKERS,
                                             .max_connections = 1000,
                                             .option = "--listen",
                                             .on_accept = on_accept,
                                             .arg = node};
}

static void listen_node(struct node *node) {
  on_worker(node->main, create_listener, node);
}

static void end_node(struct node *node) {
  if (node->listener != NULL)
    on_worker(node->main, stop_listener, node);
  end_worker(node->main);
  for (unsigned i = 0; i < WORKERS; i++) {
    end_worker(node->workers[i]);
    for (unsigned n = 0; n < node->taken[i]; n++)
      close(node->fds[i][n]);
  }
  lc_listener_destroy(node->listener);
}

static void connections_are_spread_evenly(void **state) {
  (void)state;
  struct node node;
  int fds[8];
  start_node(&node, "127.0.0.1", 0);
  listen_node(&node);
  assert_int_equal(node.rc, 0);
  assert_true(node.address.port != 0);
  for (int i = 0; i < 8; i++)
    fds[i] = connect_socket(node.address.port);
  gate_wait(&node.accepted, 8);
  assert_int_equal(lc_listener_connections(node.listener, 0), 4);
  assert_int_equal(lc_listener_connections(node.listener, 1), 4);
  assert_int_equal(node.taken[0], 4);
  assert_int_equal(node.taken[1], 4);
  for (int i = 0; i < 8; i++)
    close(fds[i]);
  end_node(&node);
}

static void a_new_connection_goes_to_the_worker_with_the_fewest(void **state) {
  (void)state;
  struct node node;
  int fds[7];
  start_node(&node, "127.0.0.1", 0);
  listen_node(&node);
  for (int i = 0; i < 4; i++)
    fds[i] = connect_socket(node.address.port);
  gate_wait(&node.accepted, 4);
  lc_listener_ended(node.listener, 1);
  lc_listener_ended(node.listener, 1);
  for (int i = 4; i < 6; i++)
    fds[i] = connect_socket(node.address.port);
  gate_wait(&node.accepted, 6);
  assert_int_equal(node.taken[0], 2);
  assert_int_equal(node.taken[1], 4);
  for (int i = 0; i < 6; i++)
    close(fds[i]);
  end_node(&node);
}

static void over_the_limit_connections_wait_until_one_ends(void **state) {
  (void)state;
  struct node node;
  int fds[3];
  start_node(&node, "127.0.0.1", 0);
  node.config.max_connections = 2;
  listen_node(&node);
  for (int i = 0; i < 3; i++)
    fds[i] = connect_socket(node.address.port);
  gate_wait(&node.accepted, 2);
  for (int turn = 0; turn < 50; turn++)
    on_worker(node.main, do_nothing, NULL);
  assert_int_equal(node.taken[0] + node.taken[1], 2);
  lc_listener_ended(node.listener, 0);
  gate_wait(&node.accepted, 3);
  for (int i = 0; i < 3; i++)
    close(fds[i]);
  end_node(&node);
}

static void ipv6_works(void **state) {
  (void)state;
  int probe = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  bool there = probe >= 0 && bind(probe, (struct sockaddr *)&addr, sizeof addr) == 0;
  if (probe >= 0)
    close(probe);
  if (!there)
    skip();
  struct node node;
  start_node(&node, "::1", 0);
  listen_node(&node);
  assert_int_equal(node.rc, 0);
  addr.sin6_port = htons(node.address.port);
  int fd = socket(AF_INET6, SOCK_STREAM, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
  gate_wait(&node.accepted, 1);
  close(fd);
  end_node(&node);
}

static void stopping_closes_the_port(void **state) {
  (void)state;
  struct node node;
  start_node(&node, "localhost", 0);
  listen_node(&node);
  on_worker(node.main, stop_listener, &node);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in addr = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(node.address.port)};
  assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), -1);
  assert_int_equal(errno, ECONNREFUSED);
  close(fd);
  end_node(&node);
}

/* ---- what can't be bound ---- */

static void check_refusal(const char *host, uint16_t port, int code, const char *message) {
  struct node node;
  start_node(&node, host, port);
  listen_node(&node);
  assert_int_equal(node.rc, code);
  assert_int_equal(node.err.code, code);
  assert_string_equal(node.err.msg, message);
  assert_null(node.listener);
  end_node(&node);
}

static void a_port_in_use_is_named(void **state) {
  (void)state;
  uint16_t port;
  int taken = listen_socket(1, &port);
  char message[128];
  snprintf(message, sizeof message, "127.0.0.1:%u is in use (by another lcache? choose another with --listen)", port);
  check_refusal("127.0.0.1", port, LC_EBUSY, message);
  close(taken);
}

static void an_address_of_another_machine_is_named(void **state) {
  (void)state;
  check_refusal("192.0.2.1", 8001, LC_EINVAL,
                "192.0.2.1:8001 is not an address of this machine (choose another with --listen)");
}

static void a_name_that_does_not_resolve_is_named(void **state) {
  (void)state;
  struct node node;
  start_node(&node, "256.1.1.1", 8001);
  listen_node(&node);
  assert_int_equal(node.rc, LC_EINVAL);
  assert_memory_equal(node.err.msg, "256.1.1.1:8001: cannot resolve 256.1.1.1: ", 42);
  end_node(&node);
}

static void creating_survives_each_failed_allocation(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct lc_worker *workers[1] = {NULL};
  uv_loop_t loop;
  uv_loop_init(&loop);
  struct lc_listener_config config = {.loop = &loop, .workers = workers, .worker_count = 1};
  struct lc_address address = {.host = "127.0.0.1"};
  struct lc_listener *listener = NULL;
  int rc = LC_ENOMEM;
  size_t n;
  for (n = 1; rc != 0; n++) {
    lc_alloc_fail_at(n);
    rc = lc_listener_create(&config, &address, &listener, NULL);
    lc_alloc_fail_at(0);
    assert_true(rc == 0 || rc == LC_ENOMEM);
  }
  assert_true(n > 3);
  lc_listener_stop(listener);
  uv_run(&loop, UV_RUN_DEFAULT);
  lc_listener_destroy(listener);
  uv_loop_close(&loop);
}

/* ---- out of file descriptors ---- */

/* Counts lines of the log that tell of the pause, and of its end. */
static void count_lines(int log_fd, unsigned *paused, unsigned *again) {
  static char text[65536];
  ssize_t len = pread(log_fd, text, sizeof text - 1, 0);
  text[len > 0 ? len : 0] = '\0';
  for (const char *at = text; (at = strstr(at, "accepting paused")) != NULL; at++)
    ++*paused;
  for (const char *at = text; (at = strstr(at, "accepting again")) != NULL; at++)
    ++*again;
}

/* In a process of its own, whose limit can be lowered. Returns 0 if all is as it should be. */
static int starve_and_recover(int log_fd) {
  struct node node;
  struct lc_log *log;
  if (lc_log_create(log_fd, LC_LOG_INFO, LC_LOG_TEXT, &log) != 0)
    return 1;
  start_node(&node, "127.0.0.1", 0);
  node.config.log = log;
  listen_node(&node);
  int client = connect_socket(node.address.port);
  gate_wait(&node.accepted, 1);
  int late = socket(AF_INET, SOCK_STREAM, 0);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  rlim_t before = limit.rlim_cur;
  limit.rlim_cur = (rlim_t)late + 1; /* the next free number is out of bounds */
  setrlimit(RLIMIT_NOFILE, &limit);
  struct sockaddr_in addr = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(node.address.port)};
  if (connect(late, (struct sockaddr *)&addr, sizeof addr) != 0)
    return 2;
  unsigned paused = 0, again = 0;
  uint64_t give_up = lc_clock_ms() + PATIENCE_S * 1000;
  while (paused == 0 && lc_clock_ms() < give_up)
    count_lines(log_fd, &paused, &again);
  if (node.taken[0] + node.taken[1] != 1)
    return 3;
  /* Two more tries fail without a word. */
  for (uint64_t until = lc_clock_ms() + 250; lc_clock_ms() < until;)
    on_worker(node.main, do_nothing, NULL);
  limit.rlim_cur = before;
  setrlimit(RLIMIT_NOFILE, &limit);
  gate_wait(&node.accepted, 2);
  close(client);
  close(late);
  end_node(&node);
  lc_log_destroy(log);
  paused = again = 0;
  count_lines(log_fd, &paused, &again);
  return paused == 1 && again == 1 ? 0 : 4;
}

static void out_of_descriptors_accepting_pauses_says_so_once_and_recovers(void **state) {
  (void)state;
  char path[] = "/tmp/test_loop_listenerXXXXXX";
  int log_fd = mkostemp(path, O_CLOEXEC | O_APPEND);
  assert_true(log_fd >= 0);
  unlink(path);
  pid_t pid = fork();
  if (pid == 0)
    _exit(starve_and_recover(log_fd));
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  close(log_fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(out_of_descriptors_accepting_pauses_says_so_once_and_recovers),
      cmocka_unit_test(connections_are_spread_evenly),
      cmocka_unit_test(a_new_connection_goes_to_the_worker_with_the_fewest),
      cmocka_unit_test(over_the_limit_connections_wait_until_one_ends),
      cmocka_unit_test(ipv6_works),
      cmocka_unit_test(stopping_closes_the_port),
      cmocka_unit_test(a_port_in_use_is_named),
      cmocka_unit_test(an_address_of_another_machine_is_named),
      cmocka_unit_test(a_name_that_does_not_resolve_is_named),
      cmocka_unit_test(creating_survives_each_failed_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
