#include "base/outq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"

/* Bytes that references point into, with a count of holders. */
struct owner {
  uint8_t bytes[65536];
  int held;
};

static void hold(void *arg) {
  ((struct owner *)arg)->held++;
}

static void drop(void *arg) {
  ((struct owner *)arg)->held--;
}

static const struct lc_hold_ops ops = {hold, drop};

struct fixture {
  struct lc_mempool *pool;
  struct lc_outq q, other;
  struct owner *owner;
  uint8_t model[1 << 20], model_other[1 << 20];
  size_t len, len_other;
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  f->pool = lc_mempool_create(64 * 1024);
  f->owner = calloc(1, sizeof *f->owner);
  for (size_t i = 0; i < sizeof f->owner->bytes; i++)
    f->owner->bytes[i] = (uint8_t)(i * 31 + (i >> 8));
  lc_outq_init(&f->q, f->pool);
  lc_outq_init(&f->other, f->pool);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  lc_outq_fini(&f->q);
  lc_outq_fini(&f->other);
  assert_int_equal(f->owner->held, 0);
  lc_mempool_destroy(f->pool);
  free(f->owner);
  free(f);
  return 0;
}

static void assert_holds(const struct lc_outq *q, const uint8_t *model, size_t len) {
  struct lc_slice runs[4096];
  unsigned count = lc_outq_peek(q, runs, 4096);
  size_t at = 0;
  assert_int_equal(q->bytes, len);
  for (unsigned i = 0; i < count; i++) {
    assert_true(runs[i].len > 0 && at + runs[i].len <= len);
    assert_memory_equal(runs[i].ptr, model + at, runs[i].len);
    at += runs[i].len;
  }
  assert_int_equal(at, len);
}

static void copies_and_references_come_out_in_order(void **state) {
  struct fixture *f = *state;
  assert_int_equal(lc_outq_append(&f->q, "head", 4), 0);
  assert_int_equal(lc_outq_append_ref(&f->q, lc_slice_of(f->owner->bytes, 5000), f->owner, &ops), 0);
  memcpy(lc_outq_reserve(&f->q, 4), "tail", 4);
  assert_int_equal(f->owner->held, 1);
  struct lc_slice runs[4];
  assert_int_equal(lc_outq_peek(&f->q, runs, 4), 3);
  assert_ptr_equal(runs[1].ptr, f->owner->bytes);
  lc_outq_consume(&f->q, 5003);
  assert_int_equal(f->owner->held, 1);
  uint8_t rest[5];
  lc_outq_read(&f->q, rest, 5);
  assert_int_equal(rest[0], f->owner->bytes[4999]);
  assert_memory_equal(rest + 1, "tail", 4);
  assert_int_equal(f->owner->held, 0);
  assert_int_equal(lc_outq_peek(&f->q, runs, 4), 0);
}

static void a_short_reference_is_copied_and_holds_nobody(void **state) {
  struct fixture *f = *state;
  assert_int_equal(lc_outq_append_ref(&f->q, lc_slice_of(f->owner->bytes, 255), f->owner, &ops), 0);
  assert_int_equal(f->owner->held, 0);
  assert_holds(&f->q, f->owner->bytes, 255);
}

static void moved_references_are_shared_not_copied(void **state) {
  struct fixture *f = *state;
  lc_outq_append(&f->q, "head", 4);
  lc_outq_append_ref(&f->q, lc_slice_of(f->owner->bytes, 40000), f->owner, &ops);
  assert_int_equal(lc_outq_move(&f->other, &f->q, 16384), 0);
  struct lc_slice runs[4];
  assert_int_equal(lc_outq_peek(&f->other, runs, 4), 2);
  assert_ptr_equal(runs[1].ptr, f->owner->bytes);
  assert_int_equal(runs[1].len, 16380);
  assert_int_equal(f->owner->held, 2);
  assert_int_equal(lc_outq_move(&f->other, &f->q, 40004 - 16384), 0);
  assert_int_equal(f->q.bytes, 0);
  lc_outq_consume(&f->other, f->other.bytes);
  assert_int_equal(f->owner->held, 0);
}

/* One random step on the queues and on plain arrays. */
static void step(struct fixture *f) {
  size_t n = (size_t)rand() % (rand() % 4 ? 300 : 20000);
  size_t from = (size_t)rand() % (sizeof f->owner->bytes - n);
  const uint8_t *bytes = f->owner->bytes + from;
  size_t some = f->len ? (size_t)rand() % (f->len + 1) : 0;
  uint8_t out[1 << 15];
  switch (rand() % 7) {
  case 0:
    assert_int_equal(lc_outq_append(&f->q, bytes, n), 0);
    break;
  case 1:
    if (n > 0)
      memcpy(lc_outq_reserve(&f->q, n), bytes, n);
    break;
  case 2:
    assert_int_equal(lc_outq_append_ref(&f->q, lc_slice_of(bytes, n), f->owner, &ops), 0);
    break;
  case 3:
    lc_outq_truncate(&f->q, f->len - some);
    f->len -= some;
    return;
  case 4:
    assert_int_equal(lc_outq_move(&f->other, &f->q, some), 0);
    memcpy(f->model_other + f->len_other, f->model, some);
    f->len_other += some;
    memmove(f->model, f->model + some, f->len - some);
    f->len -= some;
    return;
  case 5:
    some = some < sizeof out ? some : sizeof out;
    lc_outq_read(&f->q, out, some);
    assert_memory_equal(out, f->model, some);
    memmove(f->model, f->model + some, f->len - some);
    f->len -= some;
    return;
  default:
    some = f->len_other ? (size_t)rand() % (f->len_other + 1) : 0;
    lc_outq_consume(&f->other, some);
    memmove(f->model_other, f->model_other + some, f->len_other - some);
    f->len_other -= some;
    return;
  }
  memcpy(f->model + f->len, bytes, n);
  f->len += n;
}

static void random_operations_agree_with_a_model(void **state) {
  struct fixture *f = *state;
  srand(7);
  for (int i = 0; i < 20000; i++) {
    step(f);
    if (f->len > 200000)
      lc_outq_truncate(&f->q, f->len = 1000);
    if (f->len_other > 200000)
      lc_outq_truncate(&f->other, f->len_other = 0);
    if (i % 8 == 0) {
      assert_holds(&f->q, f->model, f->len);
      assert_holds(&f->other, f->model_other, f->len_other);
    }
  }
}

static void a_failed_call_leaves_the_queues_as_they_were(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct fixture *f = *state;
  int failed = 0;
  for (size_t n = 1; n < 40; n++) {
    struct lc_mempool *bare = lc_mempool_create(0); /* every block comes from the heap */
    struct lc_outq to, from;
    lc_outq_init(&to, bare);
    lc_outq_init(&from, bare);
    lc_outq_append(&to, "abc", 3);
    for (int i = 0; i < 4; i++) {
      lc_outq_append(&from, f->owner->bytes, 5000);
      lc_outq_append_ref(&from, lc_slice_of(f->owner->bytes, 6000), f->owner, &ops);
    }
    size_t before = from.bytes;
    lc_alloc_fail_at(n);
    int rc = lc_outq_move(&to, &from, before - 100);
    lc_alloc_fail_at(0);
    failed += rc != 0;
    assert_int_equal(rc == 0 ? 3 + before - 100 : 3, to.bytes);
    assert_int_equal(rc == 0 ? 100 : before, from.bytes);
    lc_alloc_fail_at(1);
    size_t len = to.bytes;
    int big = lc_outq_append(&to, f->owner->bytes, 60000);
    lc_alloc_fail_at(0);
    assert_int_equal(big, LC_ENOMEM);
    assert_int_equal(to.bytes, len);
    lc_outq_fini(&to);
    lc_outq_fini(&from);
    lc_mempool_destroy(bare);
  }
  assert_in_range(failed, 4, 30);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(copies_and_references_come_out_in_order, setup, teardown),
      cmocka_unit_test_setup_teardown(a_short_reference_is_copied_and_holds_nobody, setup, teardown),
      cmocka_unit_test_setup_teardown(moved_references_are_shared_not_copied, setup, teardown),
      cmocka_unit_test_setup_teardown(random_operations_agree_with_a_model, setup, teardown),
      cmocka_unit_test_setup_teardown(a_failed_call_leaves_the_queues_as_they_were, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
