/* Nodes that meet over real connections: up, down by silence and by a close, another process, leaving, names. */
#define _GNU_SOURCE
#include "test_cluster_support.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "rpc/server.h"
#include "server/server.h"

#define FDS_MAX 64u

struct node {
  struct lc_exec exec;
  struct lc_worker *worker;
  struct lc_rpc_table *table;
  struct lc_rpc_server *rpc;
  struct lc_server *server;
  struct lc_groups *groups;
  struct lc_cluster *cluster;
  struct lc_log *log;
  struct gate opened, drained, ready, left;
  int listener, log_fd;
  uint16_t port;
  char name[32];
  pthread_t acceptor;
  atomic_uint accepted;
  int fds[FDS_MAX]; /* duplicates of the connections accepted, for cutting them */
};

/* ---- a node ---- */

static void exec_post(void *ctx, unsigned worker, struct lc_task *task) {
  (void)worker;
  lc_worker_post(((struct node *)ctx)->worker, task);
}

static struct lc_timers *exec_timers(void *ctx, unsigned worker) {
  (void)worker;
  return lc_worker_timers(((struct node *)ctx)->worker);
}

static uint64_t exec_now(void *ctx, unsigned worker) {
  (void)worker;
  return lc_worker_now_ms(((struct node *)ctx)->worker);
}

static int on_start(void *arg) {
  struct node *node = arg;
  const struct lc_rpc_server_config rpc_config = {.table = node->table, .max_message = 1 << 20};
  struct lc_server_config config;
  assert_int_equal(lc_rpc_server_create(&rpc_config, &node->rpc), 0);
  lc_server_config_init(&config);
  config.worker = node->worker;
  config.face = lc_rpc_server_face(node->rpc);
  config.face_arg = node->rpc;
  assert_int_equal(lc_server_create(&config, &node->server), 0);
  assert_int_equal(lc_cluster_worker_open(node->cluster, 0, node->worker), 0);
  gate_raise(&node->opened);
  return 0;
}

static void on_stop(void *arg) {
  struct node *node = arg;
  lc_cluster_worker_close(node->cluster, 0);
  lc_server_destroy(node->server);
  lc_rpc_server_destroy(node->rpc);
}

struct arrival {
  struct lc_task task;
  struct node *node;
  int fd;
};

static void run_arrival(struct lc_task *task) {
  struct arrival *arrival = lc_container_of(task, struct arrival, task);
  struct node *node = arrival->node;
  unsigned at = atomic_load(&node->accepted);
  if (at < FDS_MAX)
    node->fds[at] = (int)syscall(SYS_dup, arrival->fd); /* ThreadSanitizer doesn't see libuv close such numbers */
  lc_server_accept(node->server, arrival->fd);
  atomic_store(&node->accepted, at + 1);
  free(arrival);
}

static void *accept_all(void *arg) {
  struct node *node = arg;
  for (;;) {
    int fd = accept4(node->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
      return NULL;
    struct arrival *arrival = malloc(sizeof *arrival);
    *arrival = (struct arrival){.task.run = run_arrival, .node = node, .fd = fd};
    lc_worker_post(node->worker, &arrival->task);
  }
}

static void on_ready(void *arg) {
  gate_raise(&((struct node *)arg)->ready);
}

static void on_left(void *arg) {
  gate_raise(&((struct node *)arg)->left);
}

/* Connections of a node that has ended may linger on its port: SO_REUSEADDR, on their listener too, lets its successor
 * have it. */
static int listen_at(uint16_t *port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  struct sockaddr_in addr = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};
  socklen_t len = sizeof addr;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
  assert_int_equal(listen(fd, 64), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
  *port = ntohs(addr.sin_port);
  return fd;
}

/* Its port, and so its name, are known before it starts, for the others' lists. Port 0: any. */
static void node_reserve(struct node *node, uint16_t port) {
  memset(node, 0, sizeof *node);
  node->port = port;
  node->listener = listen_at(&node->port);
  snprintf(node->name, sizeof node->name, "127.0.0.1:%u", node->port);
  node->opened = node->drained = node->ready = node->left = (struct gate)GATE_INIT;
}

static void make_groups(struct node *node) {
  static const struct lc_loader loader = {0};
  struct lc_group_options options;
  lc_group_options_init(&options);
  options.name = "g";
  const struct lc_groups_config config = {.options = &options,
                                          .count = 1,
                                          .memory_bytes = 1 << 20,
                                          .max_message_bytes = 1 << 20,
                                          .exec = &node->exec,
                                          .loader = &loader,
                                          .peers = lc_cluster_peers(node->cluster)};
  assert_int_equal(lc_groups_create(&config, &node->groups, NULL), 0);
}

static void make_cluster(struct node *node, const char *const *peers, size_t count) {
  struct lc_address list[8];
  struct lc_cluster_config config = {.exec = &node->exec,
                                     .log = node->log,
                                     .weight = 1,
                                     .max_message = 1 << 20,
                                     .lease_ms = 10000,
                                     .join_timeout_ms = 10000,
                                     .peers = list,
                                     .peer_count = count};
  for (size_t i = 0; i < count; i++)
    assert_int_equal(lc_parse_address(peers[i], &list[i], NULL), 0);
  assert_int_equal(lc_parse_address(node->name, &config.advertise, NULL), 0);
  assert_int_equal(lc_cluster_create(&config, &node->cluster, NULL), 0);
}

static void node_start(struct node *node, const char *const *peers, size_t count) {
  const struct lc_worker_config config = {.index = 0, .buffer_limit_bytes = 16 << 20};
  node->log_fd = memfd_create("log", MFD_CLOEXEC);
  assert_int_equal(lc_log_create(node->log_fd, LC_LOG_INFO, LC_LOG_TEXT, &node->log), 0);
  node->exec = (struct lc_exec){node, 1, exec_post, exec_timers, exec_now};
  make_cluster(node, peers, count);
  make_groups(node);
  lc_cluster_bind(node->cluster, node->groups);
  assert_int_equal(lc_rpc_table_create(lc_cluster_service(node->cluster), 1, &node->table), 0);
  assert_int_equal(lc_worker_create(&config, &node->worker, NULL), 0);
  assert_int_equal(lc_worker_run(node->worker, on_start, on_stop, node), 0);
  gate_wait(&node->opened, 1);
  assert_int_equal(pthread_create(&node->acceptor, NULL, accept_all, node), 0);
  assert_int_equal(lc_cluster_start(node->cluster, on_ready, node, NULL), 0);
}

static void drained(void *arg) {
  gate_raise(&((struct node *)arg)->drained);
}

static void abort_here(void *arg) {
  struct node *node = arg;
  lc_server_drain(node->server, drained, node);
  lc_server_abort(node->server);
}

static void cut_connections(struct node *node) {
  unsigned count = atomic_load(&node->accepted);
  for (unsigned i = 0; i < count && i < FDS_MAX; i++)
    shutdown(node->fds[i], SHUT_RDWR);
}

/* As if it were killed: nobody is told. */
static void node_stop(struct node *node) {
  shutdown(node->listener, SHUT_RDWR);
  pthread_join(node->acceptor, NULL);
  close(node->listener);
  on_worker(node->worker, abort_here, node);
  gate_wait(&node->drained, 1);
  cut_connections(node);
  for (unsigned i = 0; i < atomic_load(&node->accepted) && i < FDS_MAX; i++)
    syscall(SYS_close, node->fds[i]);
  lc_cluster_stop(node->cluster);
  lc_worker_stop(node->worker);
  assert_int_equal(lc_worker_join(node->worker), 0);
  lc_groups_destroy(node->groups);
  lc_cluster_destroy(node->cluster);
  lc_worker_destroy(node->worker);
  lc_rpc_table_destroy(node->table);
  lc_log_destroy(node->log);
  close(node->log_fd);
}

/* How often the text stands in the node's log. */
static unsigned logged(struct node *node, const char *text) {
  char bytes[65536];
  ssize_t len = pread(node->log_fd, bytes, sizeof bytes - 1, 0);
  unsigned count = 0;
  bytes[len > 0 ? len : 0] = '\0';
  for (const char *at = bytes; (at = strstr(at, text)) != NULL; at++)
    count++;
  return count;
}

/* ---- what a node thinks of another ---- */

static struct lc_peer *peer_of(struct node *node, const char *name) {
  pthread_mutex_lock(&node->cluster->lock);
  struct lc_peer *peer = lc_peer_find(node->cluster, name);
  pthread_mutex_unlock(&node->cluster->lock);
  return peer;
}

static bool is(struct node *node, const char *name, enum lc_peer_state state) {
  struct lc_peer *peer = peer_of(node, name);
  return peer && lc_peer_state(peer) == state;
}

static size_t ring_members(struct node *node) {
  struct lc_view *view = lc_view_acquire(node->cluster);
  size_t count = lc_ring_count(view->now->ring);
  lc_view_unref(view);
  return count;
}

static bool rings(struct node *node, const char *name) {
  struct lc_view *view = lc_view_acquire(node->cluster);
  bool there = lc_ring_find(view->now->ring, name) != LC_RING_NONE;
  lc_view_unref(view);
  return there;
}

#define UNTIL(condition_)                                                                                              \
  do {                                                                                                                 \
    uint64_t until_ = lc_clock_ms() + PATIENCE_S * 1000u;                                                              \
    while (!(condition_)) {                                                                                            \
      if (lc_clock_ms() > until_)                                                                                      \
        fail_msg("waited %d s for %s", PATIENCE_S, #condition_);                                                       \
      poll(NULL, 0, 2);                                                                                                \
    }                                                                                                                  \
  } while (0)

static struct node a, b, c;

static void start_two(void) {
  node_reserve(&a, 0);
  node_reserve(&b, 0);
  const char *const list[] = {a.name, b.name};
  node_start(&a, list, 2);
  node_start(&b, list, 2);
  UNTIL(is(&a, b.name, LC_PEER_UP) && is(&b, a.name, LC_PEER_UP));
}

static void stop_two(void) {
  node_stop(&b);
  node_stop(&a);
}

/* ---- the tests ---- */

static void nodes_of_a_list_find_one_another_and_build_one_ring(void **state) {
  (void)state;
  char ring_a[LC_RING_ID_SIZE], ring_b[LC_RING_ID_SIZE];
  start_two();
  gate_wait(&a.ready, 1);
  gate_wait(&b.ready, 1);
  assert_int_equal(ring_members(&a), 2);
  a.cluster->peers.ring_id(a.cluster, ring_a);
  b.cluster->peers.ring_id(b.cluster, ring_b);
  assert_string_equal(ring_a, ring_b);
  UNTIL(logged(&a, "peer up") == 1);
  stop_two();
}

static void a_node_without_others_is_ready_at_once(void **state) {
  (void)state;
  node_reserve(&a, 0);
  const char *const list[] = {a.name};
  node_start(&a, list, 1);
  gate_wait(&a.ready, 1);
  assert_int_equal(ring_members(&a), 1);
  node_stop(&a);
}

static void listed_names_become_the_advertised_ones(void **state) {
  (void)state;
  char name_a[32], name_b[32];
  node_reserve(&a, 0);
  node_reserve(&b, 0);
  snprintf(name_a, sizeof name_a, "localhost:%u", a.port);
  snprintf(name_b, sizeof name_b, "localhost:%u", b.port);
  const char *const list[] = {name_a, name_b, a.name};
  node_start(&a, list, 3);
  node_start(&b, list, 3);
  UNTIL(is(&a, b.name, LC_PEER_UP) && is(&b, a.name, LC_PEER_UP));
  UNTIL(ring_members(&a) == 2 && ring_members(&b) == 2);
  assert_true(rings(&a, a.name) && rings(&a, b.name) && rings(&b, a.name) && rings(&b, b.name));
  gate_wait(&a.ready, 1);
  gate_wait(&b.ready, 1);
  stop_two();
}

static void wait_for_gate(void *arg) {
  gate_wait(arg, 1);
}

static void a_node_that_falls_silent_is_down_in_a_second_and_up_when_it_is_back(void **state) {
  (void)state;
  struct gate go_on = GATE_INIT;
  struct remote_call stuck = {.task.run = run_remote_call, .fn = wait_for_gate, .arg = &go_on, .done = GATE_INIT};
  start_two();
  struct lc_peer *peer = peer_of(&a, b.name);
  lc_worker_post(b.worker, &stuck.task); /* b reads nothing any more */
  uint64_t began = lc_clock_ms();
  UNTIL(lc_peer_state(peer) == LC_PEER_DOWN);
  uint64_t took = lc_clock_ms() - began;
  print_message("down after %u ms of silence\n", (unsigned)took);
  assert_in_range(took, 400, 1200);
  assert_false(atomic_load(&peer->waited));
  assert_int_equal(ring_members(&a), 2); /* silent members of a list stay */
  gate_raise(&go_on);
  UNTIL(lc_peer_state(peer) == LC_PEER_UP);
  assert_true(atomic_load(&peer->waited));
  gate_wait(&stuck.done, 1);
  stop_two();
}

static void a_node_that_is_gone_is_down_at_once_and_its_successor_is_another_process(void **state) {
  (void)state;
  start_two();
  struct lc_peer *peer = peer_of(&a, b.name);
  uint64_t before = atomic_load(&peer->process), began = lc_clock_ms();
  uint16_t port = b.port;
  node_stop(&b);
  UNTIL(lc_peer_state(peer) == LC_PEER_DOWN);
  print_message("down %u ms after its end\n", (unsigned)(lc_clock_ms() - began));
  const char *const list[] = {a.name};
  node_reserve(&b, port);
  node_start(&b, list, 1);
  UNTIL(lc_peer_state(peer) == LC_PEER_UP && is(&b, a.name, LC_PEER_UP));
  assert_true(atomic_load(&peer->process) == b.cluster->process && before != b.cluster->process);
  struct lc_view *view = lc_view_acquire(a.cluster);
  assert_null(lc_view_peer_of(view, before));
  assert_ptr_equal(lc_view_peer_of(view, b.cluster->process), peer);
  lc_view_unref(view);
  UNTIL(logged(&a, "peer down") == 1 && logged(&a, "peer up") == 2);
  stop_two();
}

static void a_connection_that_breaks_is_made_anew_without_the_peer_going_down(void **state) {
  (void)state;
  start_two();
  struct lc_peer *peer = peer_of(&a, b.name);
  uint64_t settled = lc_clock_ms() + LC_HELLO_GAP_MS * 2;
  UNTIL(lc_clock_ms() > settled); /* one that breaks at once is no good connection */
  unsigned before = atomic_load(&b.accepted);
  cut_connections(&b);
  UNTIL(atomic_load(&b.accepted) > before);
  for (uint64_t until = lc_clock_ms() + LC_SILENCE_MS; lc_clock_ms() < until; poll(NULL, 0, 5)) {
    assert_int_equal(lc_peer_state(peer), LC_PEER_UP);
    assert_true(atomic_load(&peer->waited));
  }
  assert_int_equal(logged(&a, "peer down"), 0);
  stop_two();
}

static void a_node_that_leaves_is_off_all_rings_and_still_answers(void **state) {
  (void)state;
  struct lc_node_info nodes[4];
  start_two();
  gate_wait(&b.ready, 1);
  lc_cluster_leave(b.cluster, 5000, on_left, &b);
  gate_wait(&b.left, 1);
  assert_int_equal(ring_members(&a), 1);
  assert_true(rings(&a, a.name));
  assert_int_equal(ring_members(&b), 1);
  assert_true(rings(&b, a.name));
  assert_true(is(&a, b.name, LC_PEER_UP));
  assert_int_equal(a.cluster->peers.nodes(a.cluster, nodes, 4), 2);
  assert_string_equal(nodes[1].address, b.name);
  assert_int_equal(nodes[1].state, LC_NODE_LEAVING);
  assert_true(nodes[1].share == 0);
  uint16_t port = b.port;
  node_stop(&b);
  UNTIL(is(&a, b.name, LC_PEER_DOWN));
  const char *const list[] = {a.name};
  node_reserve(&b, port); /* its successor is a member again */
  node_start(&b, list, 1);
  UNTIL(ring_members(&a) == 2);
  stop_two();
}

static void a_node_that_nobody_listed_is_told_of_writes_but_owns_nothing(void **state) {
  (void)state;
  start_two();
  node_reserve(&c, 0);
  const char *const list[] = {a.name, b.name, c.name};
  node_start(&c, list, 3);
  UNTIL(is(&a, c.name, LC_PEER_UP) && is(&b, c.name, LC_PEER_UP));
  UNTIL(is(&c, a.name, LC_PEER_UP) && is(&c, b.name, LC_PEER_UP));
  assert_int_equal(ring_members(&a), 2);
  assert_int_equal(ring_members(&c), 3);
  assert_true(atomic_load(&peer_of(&a, c.name)->waited));
  node_stop(&c);
  stop_two();
}

/* A node of another version: says Hello in its own way. */
static void foreign_hello(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  (void)message;
  const struct lc_msg_hello_response reply = {.process = 1,
                                              .address = lc_slice_str(((struct node *)ctx)->name),
                                              .weight = 1,
                                              .protocol = LC_PROTOCOL,
                                              .ring_version = LC_RING_VERSION + 1};
  struct lc_buf buf;
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_hello_response_encode(&reply, &buf), 0);
  assert_int_equal(lc_grpc_frame(lc_rpc_out(call), lc_buf_slice(&buf)), 0);
  lc_buf_fini(&buf);
  lc_rpc_finish(call, LC_GRPC_OK, NULL);
  gate_raise(&((struct node *)ctx)->ready);
}

static const struct lc_rpc_method foreign_methods[] = {{.path = "/lcache.v1.Peer/Hello", .on_message = foreign_hello}};

/* Only what answers; no cluster behind it. */
static int foreign_start(void *arg) {
  struct node *node = arg;
  const struct lc_rpc_server_config rpc_config = {.table = node->table, .max_message = 1 << 20};
  struct lc_server_config config;
  assert_int_equal(lc_rpc_server_create(&rpc_config, &node->rpc), 0);
  lc_server_config_init(&config);
  config.worker = node->worker;
  config.face = lc_rpc_server_face(node->rpc);
  config.face_arg = node->rpc;
  assert_int_equal(lc_server_create(&config, &node->server), 0);
  gate_raise(&node->opened);
  return 0;
}

static void foreign_stop(void *arg) {
  struct node *node = arg;
  lc_server_destroy(node->server);
  lc_rpc_server_destroy(node->rpc);
}

static void run_foreign(struct node *node) {
  const struct lc_worker_config config = {.index = 0, .buffer_limit_bytes = 16 << 20};
  const struct lc_rpc_service service = {foreign_methods, 1, node};
  node_reserve(node, 0);
  assert_int_equal(lc_rpc_table_create(&service, 1, &node->table), 0);
  assert_int_equal(lc_worker_create(&config, &node->worker, NULL), 0);
  assert_int_equal(lc_worker_run(node->worker, foreign_start, foreign_stop, node), 0);
  gate_wait(&node->opened, 1);
  assert_int_equal(pthread_create(&node->acceptor, NULL, accept_all, node), 0);
}

static void end_foreign(struct node *node) {
  shutdown(node->listener, SHUT_RDWR);
  pthread_join(node->acceptor, NULL);
  close(node->listener);
  on_worker(node->worker, abort_here, node);
  gate_wait(&node->drained, 1);
  for (unsigned i = 0; i < atomic_load(&node->accepted) && i < FDS_MAX; i++)
    syscall(SYS_close, node->fds[i]);
  lc_worker_stop(node->worker);
  assert_int_equal(lc_worker_join(node->worker), 0);
  lc_worker_destroy(node->worker);
  lc_rpc_table_destroy(node->table);
}

static void a_node_with_another_ring_version_stays_down_with_one_line_that_says_why(void **state) {
  (void)state;
  run_foreign(&b);
  node_reserve(&a, 0);
  const char *const list[] = {a.name, b.name};
  node_start(&a, list, 2);
  gate_wait(&a.ready, 1); /* it was tried */
  gate_wait(&b.ready, 4); /* and is tried again and again */
  assert_true(is(&a, b.name, LC_PEER_DOWN));
  UNTIL(logged(&a, "ring version 2 and 1") == 1);
  assert_false(atomic_load(&peer_of(&a, b.name)->waited));
  node_stop(&a);
  end_foreign(&b);
}

static void a_cluster_ends_while_it_dials_nodes_that_are_not_there(void **state) {
  (void)state;
  uint16_t port;
  int silent = listen_socket(8, &port); /* connects, never answers */
  char name[32];
  snprintf(name, sizeof name, "127.0.0.1:%u", port);
  node_reserve(&a, 0);
  const char *const list[] = {a.name, name, "127.0.0.1:1"};
  node_start(&a, list, 3);
  node_stop(&a);
  node_reserve(&a, 0);
  node_start(&a, list, 3);
  gate_wait(&a.ready, 1);
  assert_int_equal(ring_members(&a), 3);
  UNTIL(logged(&a, "peer can't be reached") == 2);
  lc_cluster_leave(a.cluster, 1000, on_left, &a);
  gate_wait(&a.left, 1);
  node_stop(&a);
  close(silent);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nodes_of_a_list_find_one_another_and_build_one_ring),
      cmocka_unit_test(a_node_without_others_is_ready_at_once),
      cmocka_unit_test(listed_names_become_the_advertised_ones),
      cmocka_unit_test(a_node_that_falls_silent_is_down_in_a_second_and_up_when_it_is_back),
      cmocka_unit_test(a_node_that_is_gone_is_down_at_once_and_its_successor_is_another_process),
      cmocka_unit_test(a_connection_that_breaks_is_made_anew_without_the_peer_going_down),
      cmocka_unit_test(a_node_that_leaves_is_off_all_rings_and_still_answers),
      cmocka_unit_test(a_node_that_nobody_listed_is_told_of_writes_but_owns_nothing),
      cmocka_unit_test(a_node_with_another_ring_version_stays_down_with_one_line_that_says_why),
      cmocka_unit_test(a_cluster_ends_while_it_dials_nodes_that_are_not_there),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
