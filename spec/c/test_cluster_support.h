#ifndef LC_TEST_CLUSTER_SUPPORT_H
#define LC_TEST_CLUSTER_SUPPORT_H

/* What the tests of views and members share: a cluster without its thread, so that nothing is dialled, and the calls
 * by which the registry and other nodes reach it. */
#include "test_loop_support.h"

#include "cluster/control.h"

struct alone {
  struct lc_exec exec;
  struct lc_cluster *cluster;
};

#define SELF "127.0.0.1:7000"

__attribute__((unused)) static void alone_start(struct alone *alone, bool etcd) {
  static const char *const endpoints[] = {"http://127.0.0.1:1"};
  alone->exec = (struct lc_exec){.workers = 2};
  struct lc_cluster_config config = {.exec = &alone->exec, .weight = 1, .lease_ms = 10000, .join_timeout_ms = 1000};
  if (etcd) {
    config.etcd = endpoints;
    config.etcd_count = 1;
    config.service = "test";
  }
  assert_int_equal(lc_parse_address(SELF, &config.advertise, NULL), 0);
  assert_int_equal(lc_cluster_create(&config, &alone->cluster, NULL), 0);
}

__attribute__((unused)) static void alone_end(struct alone *alone) {
  lc_cluster_destroy(alone->cluster);
}

/* The ring has all members from now on, as after joining. */
__attribute__((unused)) static void alone_enter(struct alone *alone) {
  pthread_mutex_lock(&alone->cluster->lock);
  alone->cluster->entered = true;
  assert_int_equal(lc_view_publish(alone->cluster), 0);
  pthread_mutex_unlock(&alone->cluster->lock);
}

__attribute__((unused)) static void alone_publish(struct alone *alone) {
  pthread_mutex_lock(&alone->cluster->lock);
  assert_int_equal(lc_view_publish(alone->cluster), 0);
  pthread_mutex_unlock(&alone->cluster->lock);
}

/* There is no control thread that would. */
__attribute__((unused)) static void run_publish(struct alone *alone) {
  if (alone->cluster->publish_posted)
    lc_members_publish(&alone->cluster->publish_task);
}

__attribute__((unused)) static void put(struct alone *alone, const char *address, unsigned weight) {
  lc_members_handler.on_put(alone->cluster, &(struct lc_registry_member){address, weight});
  run_publish(alone);
}

__attribute__((unused)) static void erase(struct alone *alone, const char *address) {
  lc_members_handler.on_delete(alone->cluster, address);
  run_publish(alone);
}

__attribute__((unused)) static struct lc_peer *find(struct alone *alone, const char *address) {
  pthread_mutex_lock(&alone->cluster->lock);
  struct lc_peer *peer = lc_peer_find(alone->cluster, address);
  pthread_mutex_unlock(&alone->cluster->lock);
  return peer;
}

__attribute__((unused)) static struct lc_view *view_of(struct alone *alone) {
  return lc_cluster_view(alone->cluster, 0);
}

__attribute__((unused)) static bool on_ring(struct alone *alone, const char *address) {
  return lc_ring_find(view_of(alone)->now->ring, address) != LC_RING_NONE;
}

__attribute__((unused)) static size_t ring_size(struct alone *alone) {
  return lc_ring_count(view_of(alone)->now->ring);
}

__attribute__((unused)) static struct lc_msg_hello_request hello_of(uint64_t process, const char *address) {
  return (struct lc_msg_hello_request){.from = process,
                                       .address = lc_slice_str(address),
                                       .weight = 1,
                                       .protocol = LC_PROTOCOL,
                                       .ring_version = LC_RING_VERSION};
}

/* Somebody says Hello; what lc_members_greeted returns. */
__attribute__((unused)) static int hello(struct alone *alone, uint64_t process, const char *address) {
  struct lc_msg_hello_request request = hello_of(process, address);
  struct lc_msg_hello_response reply;
  return lc_members_greeted(alone->cluster, &request, &reply, NULL);
}

/* Somebody answers our Hello to `listed`. */
__attribute__((unused)) static enum lc_greeted answer(struct alone *alone, const char *listed, uint64_t process,
                                                      const char *address) {
  const struct lc_msg_hello_response reply = {.process = process,
                                              .address = lc_slice_str(address),
                                              .weight = 1,
                                              .protocol = LC_PROTOCOL,
                                              .ring_version = LC_RING_VERSION};
  struct lc_err err;
  return lc_greet_answered(find(alone, listed), &reply, &err);
}

__attribute__((unused)) static void set_state(struct alone *alone, const char *address, enum lc_peer_state state) {
  atomic_store(&find(alone, address)->state, state);
}

#endif
