#include "test_group_peers.h"

#include <stdlib.h>
#include <string.h>

static bool is_far(struct lc_slice key) {
  return key.len >= 3 && memcmp(key.ptr, "far", 3) == 0;
}

static const char *self(void *ctx) {
  (void)ctx;
  return "here:1";
}

static void owner(void *ctx, struct lc_slice group, struct lc_slice key, char out[LC_NODE_ADDRESS_SIZE]) {
  (void)ctx, (void)group, (void)key;
  snprintf(out, LC_NODE_ADDRESS_SIZE, "there:1");
}

static unsigned view(void *ctx, unsigned worker) {
  (void)worker;
  return ((struct peers *)ctx)->view;
}

static bool owns(void *ctx, unsigned worker, struct lc_slice group, struct lc_slice key) {
  (void)worker, (void)group;
  return ((struct peers *)ctx)->ours && !is_far(key);
}

static bool fresh(void *ctx, unsigned worker) {
  (void)worker;
  return !((struct peers *)ctx)->stale;
}

static void wait_fresh(void *ctx, unsigned worker, struct lc_peer_fresh *waiting) {
  struct peers *peers = ctx;
  (void)worker;
  peers->parked_times++;
  lc_list_push_back(&peers->parked, &waiting->link);
}

static void note_lineage(struct peers *peers, const struct lc_peer_get *get) {
  size_t len = 0;
  peers->lineage[0] = '\0';
  for (size_t i = 0; i < get->lineage_count; i++) {
    const struct lc_flight_name *name = &get->lineage[i];
    len += (size_t)snprintf(peers->lineage + len, sizeof peers->lineage - len, "%s%.*s/%.*s", i ? " " : "",
                            (int)name->group.len, (const char *)name->group.ptr, (int)name->key.len,
                            (const char *)name->key.ptr);
  }
}

static int get(void *ctx, struct lc_peer_get *asked) {
  struct peers *peers = ctx;
  int rc = asked->peek ? peers->peek_rc : peers->get_rc;
  note_lineage(peers, asked);
  if (rc == LC_PENDING)
    peers->gets[peers->got++ % PEERS_CALLS] = asked;
  return rc;
}

static void cancel_get(void *ctx, struct lc_peer_get *asked) {
  struct peers *peers = ctx;
  assert_int_equal(peers->fake.running, asked->worker);
  peers->get_cancels++;
  for (size_t i = 0; i < PEERS_CALLS; i++) {
    if (peers->gets[i] == asked)
      peers->gets[i] = NULL;
  }
}

static void cork(void *ctx, unsigned worker) {
  struct peers *peers = ctx;
  (void)worker;
  assert_int_equal(peers->corked++, 0);
  peers->corks++;
}

static void uncork(void *ctx, unsigned worker) {
  (void)worker;
  assert_int_equal(--((struct peers *)ctx)->corked, 0);
}

static int write_there(void *ctx, struct lc_peer_write *write) {
  struct peers *peers = ctx;
  snprintf(write->owner, sizeof write->owner, "there:1");
  if (peers->write_rc == LC_PENDING)
    peers->writes[peers->wrote++ % PEERS_CALLS] = write;
  return peers->write_rc;
}

static void cancel_write(void *ctx, struct lc_peer_write *write) {
  struct peers *peers = ctx;
  peers->write_cancels++;
  for (size_t i = 0; i < PEERS_CALLS; i++) {
    if (peers->writes[i] == write)
      peers->writes[i] = NULL;
  }
}

static void refresh(void *ctx) {
  ((struct peers *)ctx)->refreshes++;
}

static uint64_t written(void *ctx, struct lc_slice group, struct lc_slice key) {
  struct peers *peers = ctx;
  snprintf(peers->last_written, sizeof peers->last_written, "%.*s/%.*s", (int)group.len, (const char *)group.ptr,
           (int)key.len, (const char *)key.ptr);
  return ++peers->seq;
}

static int wait_known(void *ctx, struct lc_peer_wait *wait) {
  struct peers *peers = ctx;
  assert_int_equal(wait->seq, peers->seq);
  if (!peers->must_wait)
    return LC_OK;
  assert_null(peers->wait);
  peers->wait = wait;
  return LC_PENDING;
}

static bool cancel_wait(void *ctx, struct lc_peer_wait *wait) {
  struct peers *peers = ctx;
  assert_ptr_equal(peers->wait, wait);
  if (peers->too_late)
    return false;
  peers->wait = NULL;
  peers->wait_cancels++;
  return true;
}

int peers_create(struct peers *peers, void (*change)(struct lc_group_options options[2]), struct lc_err *err) {
  memset(peers, 0, sizeof *peers);
  peers->view = 1;
  peers->ours = true;
  peers->get_rc = peers->write_rc = LC_PENDING;
  peers->peek_rc = LC_EUNAVAILABLE;
  lc_list_init(&peers->parked);
  peers->peers = (struct lc_peers){.ctx = peers,
                                   .self = self,
                                   .owner = owner,
                                   .view = view,
                                   .owns = owns,
                                   .fresh = fresh,
                                   .wait_fresh = wait_fresh,
                                   .get = get,
                                   .cancel_get = cancel_get,
                                   .cork = cork,
                                   .uncork = uncork,
                                   .write = write_there,
                                   .cancel_write = cancel_write,
                                   .refresh = refresh,
                                   .written = written,
                                   .wait = wait_known,
                                   .cancel_wait = cancel_wait};
  peers->fake.peers = &peers->peers;
  return fake_create(&peers->fake, change, err);
}

void peers_init(struct peers *peers, void (*change)(struct lc_group_options options[2])) {
  struct lc_err err = {0};
  if (peers_create(peers, change, &err) != LC_OK)
    fail_msg("%s", err.msg);
}

void peers_fini(struct peers *peers) {
  assert_true(lc_list_empty(&peers->parked));
  assert_int_equal(peers->corked, 0);
  fake_fini(&peers->fake);
}

int peers_setup(void **state) {
  struct peers *peers = malloc(sizeof *peers);
  peers_init(peers, NULL);
  *state = peers;
  return 0;
}

int peers_teardown(void **state) {
  peers_fini(*state);
  free(*state);
  return 0;
}

static void end_get(struct peers *peers, size_t n, const struct lc_peer_get *answer) {
  struct lc_peer_get *asked = peers->gets[n % PEERS_CALLS];
  assert_true(n < peers->got);
  assert_non_null(asked);
  peers->gets[n % PEERS_CALLS] = NULL;
  asked->outcome = answer->outcome;
  asked->code = answer->code;
  asked->message = answer->message;
  asked->value = answer->value;
  asked->ttl_ms = answer->ttl_ms;
  asked->keep = answer->keep;
  peers->fake.running = (int)asked->worker;
  asked->done(asked);
  peers->fake.running = -1;
  fake_run(&peers->fake);
}

void peers_value(struct peers *peers, size_t n, const char *value, int64_t ttl_ms, bool keep) {
  end_get(
      peers, n,
      &(struct lc_peer_get){.outcome = LC_PEER_VALUE, .value = lc_slice_str(value), .ttl_ms = ttl_ms, .keep = keep});
}

void peers_outcome(struct peers *peers, size_t n, enum lc_peer_outcome outcome, int code, const char *message) {
  end_get(peers, n, &(struct lc_peer_get){.outcome = outcome, .code = code, .message = lc_slice_str(message)});
}

void peers_written(struct peers *peers, size_t n, enum lc_peer_outcome outcome, int code, const char *message) {
  struct lc_peer_write *write = peers->writes[n % PEERS_CALLS];
  assert_true(n < peers->wrote);
  assert_non_null(write);
  peers->writes[n % PEERS_CALLS] = NULL;
  write->outcome = outcome;
  write->code = code;
  write->message = lc_slice_str(message);
  write->deleted = outcome == LC_PEER_OK && !write->item;
  peers->fake.running = (int)write->worker;
  write->done(write);
  peers->fake.running = -1;
  fake_run(&peers->fake);
}

void peers_known(struct peers *peers) {
  struct lc_peer_wait *wait = peers->wait;
  assert_non_null(wait);
  peers->wait = NULL;
  peers->fake.running = (int)wait->worker;
  wait->done(wait);
  peers->fake.running = -1;
}

void peers_fresh(struct peers *peers) {
  struct lc_list ready;
  peers->stale = false;
  lc_list_init(&ready);
  lc_list_splice_back(&ready, &peers->parked);
  for (struct lc_list *node; (node = lc_list_pop_front(&ready)) != NULL;) {
    struct lc_peer_fresh *waiting = lc_container_of(node, struct lc_peer_fresh, link);
    peers->fake.running = 0;
    waiting->done(waiting);
    peers->fake.running = -1;
  }
  fake_run(&peers->fake);
}

void expect_from(struct peers *peers, const char *key, enum lc_from from, const char *value) {
  struct call call;
  assert_int_equal(call_get(&peers->fake, &call, 0, "g", key), LC_OK);
  assert_value(&call, from, value);
  call_fini(&call);
}

void expect_none(struct peers *peers, const char *key) {
  expect_absent(&peers->fake, key);
}

static void on_written(struct lc_write *write) {
  struct writing *writing = lc_container_of(write, struct writing, write);
  assert_int_equal(writing->peers->fake.running, write->worker);
  writing->done++;
}

static void writing_init(struct peers *peers, struct writing *writing, const char *key) {
  bool forwarded = writing->write.forwarded;
  uint64_t deadline_ms = writing->write.deadline_ms;
  int64_t ttl_ms = writing->write.ttl_ms;
  *writing = (struct writing){.peers = peers};
  writing->write.forwarded = forwarded;
  writing->write.deadline_ms = deadline_ms;
  writing->write.ttl_ms = ttl_ms;
  writing->write.group = lc_slice_str("g");
  writing->write.key = lc_slice_str(key);
  writing->write.done = on_written;
}

int writing_set(struct peers *peers, struct writing *writing, const char *key, const char *value) {
  writing_init(peers, writing, key);
  writing->write.value = lc_slice_str(value);
  return lc_group_set(peers->fake.groups, &writing->write);
}

int writing_delete(struct peers *peers, struct writing *writing, const char *key) {
  writing_init(peers, writing, key);
  return lc_group_delete(peers->fake.groups, &writing->write);
}

void begin(struct peers *peers, struct call *call, const char *key) {
  assert_int_equal(call_get(&peers->fake, call, 0, "g", key), LC_PENDING);
}

struct lc_group_stats stats_of(struct peers *peers) {
  return fake_stats(&peers->fake, 0);
}

void own_copy(struct peers *peers, const char *key, const char *value) {
  struct writing writing = {0};
  bool ours = peers->ours;
  peers->ours = true;
  assert_int_equal(writing_set(peers, &writing, key, value), LC_OK);
  peers->ours = ours;
}

void mirror_copy(struct peers *peers, const char *key) {
  bool ours = peers->ours;
  peers->ours = false;
  peers->get_rc = LC_EUNAVAILABLE;
  peers->fake.on_start = fake_answer_now;
  expect_from(peers, key, LC_FROM_SOURCE, "now");
  peers->get_rc = LC_PENDING;
  peers->fake.on_start = NULL;
  peers->ours = ours;
}

void forwarded(struct peers *peers, struct call *call, const char *key, const struct lc_flight_name *lineage,
               size_t count) {
  call_init(&peers->fake, call, 1, "g", key);
  call->get.forwarded = true;
  call->get.lineage = lineage;
  call->get.lineage_count = count;
}

size_t forward_often(struct peers *peers, const char *key, size_t times, bool keep) {
  for (size_t i = 0; i < times; i++) {
    struct call call;
    if (call_get(&peers->fake, &call, 0, "g", key) == LC_OK) {
      assert_int_equal(call.get.from, LC_FROM_MIRROR);
      call_fini(&call);
      return i;
    }
    peers_value(peers, peers->got - 1, "theirs", 0, keep);
    call_fini(&call);
  }
  return times;
}
