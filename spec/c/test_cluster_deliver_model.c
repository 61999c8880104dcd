/* Delivery against random losses, and by several threads. */
#include "test_cluster_deliver_util.h"

#define THREADS 4u
#define THREAD_WRITES 2000u

/* ---- a model: one peer, and a network that loses requests and replies, breaks and restarts ---- */

struct model {
  uint64_t random;
  uint64_t applied;   /* by the peer's process */
  uint64_t covered;   /* highest write the peer has dropped its copies for */
  uint64_t acked_max; /* highest write that was acknowledged */
  bool down, connected;
};

static unsigned chance(struct model *model, unsigned of) {
  model->random = model->random * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(model->random >> 33) % of;
}

/* The receiver by the rule: apply if prev fits, say how far. */
static void receive(struct model *model, const struct lc_msg_invalidate_request *request, bool *mismatch) {
  *mismatch = false;
  if (request->drop_all)
    model->applied = request->prev;
  else if (request->prev == model->applied)
    model->applied += request->entry_count;
  else
    *mismatch = true;
  if (model->covered < model->applied)
    model->covered = model->applied;
}

static void deliver_some(struct model *model) {
  struct fake_call *call = fake_call_to(0);
  bool mismatch;
  if (!call)
    return;
  switch (chance(model, 6)) {
  case 0: /* lost on the way there */
    fake_fail(call, LC_GRPC_UNAVAILABLE);
    break;
  case 1: { /* lost on the way back */
    struct lc_msg_invalidate_request request = sent(0);
    receive(model, &request, &mismatch);
    fake_fail(call, LC_GRPC_UNAVAILABLE);
    break;
  }
  default: {
    struct lc_msg_invalidate_request request = sent(0);
    receive(model, &request, &mismatch);
    fake_applied(call, model->applied, mismatch);
  }
  }
}

static void change_contact(struct model *model) {
  switch (chance(model, 3)) {
  case 0:
    fake_down(0);
    model->connected = false;
    model->down = true;
    break;
  case 1: /* another process, with nothing stored */
    if (model->connected)
      fake_hang_up(0);
    fake_restart(0);
    model->applied = 0;
    model->covered = UINT64_MAX; /* until it stores something, which it does now */
    model->covered = lc_write_log_head(fake.cluster.log);
    model->connected = false;
    break;
  default:
    fake_greet(0);
    model->connected = true;
    model->down = false;
  }
}

struct pending {
  struct waiter waiter;
  bool used;
};

/* A write that was acknowledged while the peer counts as up has been heard of there. */
static void check_done(struct model *model, struct pending *pending, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!pending[i].used || !pending[i].waiter.done)
      continue;
    pending[i].used = false;
    if (atomic_load(&fake.peer[0].waited))
      assert_true(pending[i].waiter.wait.seq <= model->covered);
    if (model->acked_max < pending[i].waiter.wait.seq)
      model->acked_max = pending[i].waiter.wait.seq;
  }
}

static void write_some(struct model *model, struct pending *pending, size_t count) {
  unsigned burst = chance(model, 200) == 0 ? LC_LOG_ENTRIES + 5 : 1 + chance(model, 20);
  for (unsigned i = 0; i < burst; i++) {
    uint64_t seq = fake_write("key");
    struct pending *slot = &pending[chance(model, (unsigned)count)];
    if (slot->used || i > 100)
      continue;
    if (start(&slot->waiter, seq) == LC_PENDING)
      slot->used = true;
    else if (atomic_load(&fake.peer[0].waited))
      assert_true(seq <= model->covered);
  }
}

static void test_no_loss_makes_a_write_final_too_early(void **state) {
  (void)state;
  static struct pending pending[64];
  struct model model = {.random = 42};
  memset(pending, 0, sizeof pending);
  for (unsigned step = 0; step < 20000; step++) {
    if (chance(&model, 3) == 0)
      write_some(&model, pending, 64);
    else if (chance(&model, 25) == 0)
      change_contact(&model);
    else
      deliver_some(&model);
    if (chance(&model, 10) == 0)
      fake_advance(100);
    fake_run();
    check_done(&model, pending, 64);
  }
  fake_greet(0); /* and in the end everything is told */
  for (unsigned i = 0; i < 2000 && fake.peer[0].cursor < lc_write_log_head(fake.cluster.log); i++) {
    deliver_some(&model);
    fake_advance(100);
  }
  fake_run();
  check_done(&model, pending, 64);
  for (unsigned i = 0; i < 64; i++)
    assert_false(pending[i].used);
  assert_int_equal(model.applied, lc_write_log_head(fake.cluster.log));
}

/* ---- threads ---- */

struct writer {
  pthread_t thread;
  struct waiter waiters[THREAD_WRITES];
  atomic_uint left;
};

static void *write_all(void *arg) {
  struct writer *writer = arg;
  for (unsigned i = 0; i < THREAD_WRITES; i++) {
    struct waiter *waiter = &writer->waiters[i];
    if (start(waiter, fake_write("key")) == LC_OK) /* others' writes took it along */
      waiter->done = 1;
    else if (i % 7 == 0 && lc_deliver_cancel_wait(&fake.cluster, &waiter->wait))
      waiter->done = 1;
  }
  atomic_store(&writer->left, 1);
  return NULL;
}

static void test_writes_of_several_threads_all_end_once(void **state) {
  (void)state;
  static struct writer writers[THREADS];
  memset(writers, 0, sizeof writers);
  fake_greet(0);
  fake_greet(1);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_create(&writers[i].thread, NULL, write_all, &writers[i]);
  unsigned left = 0;
  while (left < THREADS || fake_call_to(0) || fake_call_to(1)) {
    fake_run();
    for (unsigned peer = 0; peer < 2; peer++) {
      if (fake_call_to(peer))
        fake_applied(fake_call_to(peer), sent(peer).prev + sent(peer).entry_count, false);
    }
    left = 0;
    for (unsigned i = 0; i < THREADS; i++)
      left += atomic_load(&writers[i].left);
  }
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join(writers[i].thread, NULL);
  fake_advance(200);
  fake_run();
  for (unsigned peer = 0; peer < 2; peer++) {
    while (fake_call_to(peer))
      fake_applied(fake_call_to(peer), sent(peer).prev + sent(peer).entry_count, false);
  }
  fake_run();
  for (unsigned i = 0; i < THREADS; i++) {
    for (unsigned k = 0; k < THREAD_WRITES; k++)
      assert_int_equal(writers[i].waiters[k].done, 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_no_loss_makes_a_write_final_too_early),
      TEST(test_writes_of_several_threads_all_end_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
