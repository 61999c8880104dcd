#ifndef LC_TEST_LOOP_SUPPORT_H
#define LC_TEST_LOOP_SUPPORT_H

/* What the tests of loop/ share: waiting with a deadline, calls on a worker, plain blocking sockets as the other side.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/list.h"
#include "loop/worker.h"

#define PATIENCE_S 20 /* a test that has to wait this long has failed */

/* A count that one thread raises and another waits for. */
struct gate {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  unsigned count;
};

#define GATE_INIT                                                                                                      \
  { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 }

__attribute__((unused)) static void gate_raise(struct gate *gate) {
  pthread_mutex_lock(&gate->lock);
  gate->count++;
  pthread_cond_broadcast(&gate->changed);
  pthread_mutex_unlock(&gate->lock);
}

__attribute__((unused)) static void gate_wait(struct gate *gate, unsigned count) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += PATIENCE_S;
  pthread_mutex_lock(&gate->lock);
  int rc = 0;
  while (gate->count < count && rc == 0)
    rc = pthread_cond_timedwait(&gate->changed, &gate->lock, &until);
  unsigned reached = gate->count;
  pthread_mutex_unlock(&gate->lock);
  if (reached < count)
    fail_msg("waited %d s for %u, got %u", PATIENCE_S, count, reached);
}

/* Runs fn(arg) on the worker and returns when it has. */
struct remote_call {
  struct lc_task task;
  void (*fn)(void *arg);
  void *arg;
  struct gate done;
};

__attribute__((unused)) static void run_remote_call(struct lc_task *task) {
  struct remote_call *call = lc_container_of(task, struct remote_call, task);
  call->fn(call->arg);
  gate_raise(&call->done);
}

__attribute__((unused)) static void on_worker(struct lc_worker *worker, void (*fn)(void *arg), void *arg) {
  struct remote_call call = {.task.run = run_remote_call, .fn = fn, .arg = arg, .done = GATE_INIT};
  lc_worker_post(worker, &call.task);
  gate_wait(&call.done, 1);
}

__attribute__((unused)) static struct lc_worker *start_worker(unsigned index) {
  struct lc_worker_config config = {.index = index, .buffer_limit_bytes = 1 << 20};
  struct lc_worker *worker = NULL;
  assert_int_equal(lc_worker_create(&config, &worker, NULL), 0);
  assert_int_equal(lc_worker_run(worker, NULL, NULL, NULL), 0);
  return worker;
}

__attribute__((unused)) static void end_worker(struct lc_worker *worker) {
  lc_worker_stop(worker);
  assert_int_equal(lc_worker_join(worker), 0);
  lc_worker_destroy(worker);
}

/* A socket that listens on a free port of 127.0.0.1. */
__attribute__((unused)) static int listen_socket(int backlog, uint16_t *port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof addr;
  assert_true(fd >= 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
  assert_int_equal(listen(fd, backlog), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
  *port = ntohs(addr.sin_port);
  return fd;
}

__attribute__((unused)) static int connect_socket(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  struct timeval patience = {.tv_sec = PATIENCE_S};
  assert_true(fd >= 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
  return fd;
}

__attribute__((unused)) static bool send_all(int fd, const void *data, size_t len) {
  for (const char *at = data; len > 0;) {
    ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
    if (n <= 0)
      return false;
    at += n;
    len -= (size_t)n;
  }
  return true;
}

/* Reads until `len` bytes, the end or an error; returns how many came. */
__attribute__((unused)) static size_t recv_all(int fd, void *data, size_t len) {
  size_t have = 0;
  while (have < len) {
    ssize_t n = recv(fd, (char *)data + have, len - have, 0);
    if (n <= 0)
      break;
    have += (size_t)n;
  }
  return have;
}

#endif
