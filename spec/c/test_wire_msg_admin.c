#include "wire/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"

/* The messages that go through protobuf-c, and hostile input to all that have repeated fields. */

struct fixture {
  struct lc_arena arena;
  struct lc_buf buf;
  struct lc_err err;
  uint8_t value[20000];
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  lc_arena_init(&f->arena, NULL, 0, 32 << 20);
  lc_buf_init(&f->buf);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  lc_arena_fini(&f->arena);
  lc_buf_fini(&f->buf);
  free(f);
  return 0;
}

static struct lc_msg_stats_response make_stats(struct lc_msg_worker_stats *workers, struct lc_msg_group_stats *groups) {
  for (uint32_t i = 0; i < 3; i++)
    workers[i] = (struct lc_msg_worker_stats){i, 10 + i, 20, 30, UINT64_MAX, 50};
  for (size_t i = 0; i < 2; i++) {
    /* The numbers lie behind the name, one after the other. */
    uint64_t *numbers = &groups[i].items;
    size_t count = (sizeof *groups - offsetof(struct lc_msg_group_stats, items)) / sizeof *numbers;
    for (size_t k = 0; k < count; k++)
      numbers[k] = (k + 1) << (i * 20);
    groups[i].name = i ? lc_slice_str("scores") : lc_slice_str("a");
  }
  return (struct lc_msg_stats_response){
      lc_slice_str("127.0.0.1:8001"), lc_slice_str("0.1.0"), 12345, workers, 3, 1u << 30, UINT64_MAX, groups, 2};
}

static void stats_survive(void **state) {
  struct fixture *f = *state;
  struct lc_msg_worker_stats workers[3];
  struct lc_msg_group_stats groups[2];
  struct lc_msg_stats_response in = make_stats(workers, groups), out;
  assert_int_equal(lc_msg_stats_response_encode(&in, &f->buf), 0);
  assert_int_equal(lc_msg_stats_response_decode(&f->arena, lc_buf_slice(&f->buf), &out, &f->err), 0);
  assert_true(lc_slice_eq(in.node, out.node) && lc_slice_eq(in.version, out.version));
  assert_int_equal(out.uptime_ms, 12345);
  assert_int_equal(out.memory_used_bytes, 1u << 30);
  assert_true(out.memory_limit_bytes == UINT64_MAX);
  assert_int_equal(out.worker_count, 3);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(out.workers[i].index, i);
    assert_int_equal(out.workers[i].connections, 10 + i);
    assert_true(out.workers[i].buffer_bytes == UINT64_MAX && out.workers[i].lua_bytes == 50);
  }
  assert_int_equal(out.group_count, 2);
  for (size_t i = 0; i < 2; i++) {
    assert_true(lc_slice_eq(out.groups[i].name, groups[i].name));
    assert_memory_equal(&out.groups[i].items, &groups[i].items,
                        sizeof *groups - offsetof(struct lc_msg_group_stats, items));
  }
}

static void nodes_owner_and_health_survive(void **state) {
  struct fixture *f = *state;
  struct lc_msg_node nodes[] = {{lc_slice_str("a:1"), lc_slice_str("up"), 0.25}, {lc_slice_str("b:2"), {0}, 0.75}};
  struct lc_msg_nodes_response in = {lc_slice_str("a:1"), lc_slice_str("00ff"), nodes, 2}, out;
  assert_int_equal(lc_msg_nodes_response_encode(&in, &f->buf), 0);
  assert_int_equal(lc_msg_nodes_response_decode(&f->arena, lc_buf_slice(&f->buf), &out, &f->err), 0);
  assert_true(lc_slice_eq(out.self, in.self) && lc_slice_eq(out.ring, in.ring));
  assert_int_equal(out.node_count, 2);
  assert_true(out.nodes[0].share == 0.25 && lc_slice_eq(out.nodes[0].state, nodes[0].state));
  assert_true(lc_slice_eq(out.nodes[1].address, nodes[1].address));
  f->buf.len = 0;
  struct lc_msg_owner_request ask = {lc_slice_str("g"), lc_slice_of("k\0\xff", 3)}, asked;
  assert_int_equal(lc_msg_owner_request_encode(&ask, &f->buf), 0);
  assert_int_equal(lc_msg_owner_request_decode(&f->arena, lc_buf_slice(&f->buf), &asked, &f->err), 0);
  assert_true(lc_slice_eq(ask.group, asked.group) && lc_slice_eq(ask.key, asked.key));
  f->buf.len = 0;
  struct lc_msg_owner_response owner = {lc_slice_str("a:1"), true}, owned;
  assert_int_equal(lc_msg_owner_response_encode(&owner, &f->buf), 0);
  assert_int_equal(lc_msg_owner_response_decode(&f->arena, lc_buf_slice(&f->buf), &owned, &f->err), 0);
  assert_true(owned.self && lc_slice_eq(owned.address, owner.address));
  f->buf.len = 0;
  struct lc_msg_health_request check = {lc_slice_str("lcache.v1.Cache")}, checked;
  assert_int_equal(lc_msg_health_request_encode(&check, &f->buf), 0);
  assert_int_equal(lc_msg_health_request_decode(&f->arena, lc_buf_slice(&f->buf), &checked, &f->err), 0);
  assert_true(lc_slice_eq(check.service, checked.service));
  f->buf.len = 0;
  struct lc_msg_health_response health = {LC_MSG_NOT_SERVING}, healthy;
  assert_int_equal(lc_msg_health_response_encode(&health, &f->buf), 0);
  assert_int_equal(lc_msg_health_response_decode(&f->arena, lc_buf_slice(&f->buf), &healthy, &f->err), 0);
  assert_int_equal(healthy.status, LC_MSG_NOT_SERVING);
  f->buf.len = 0;
  struct lc_msg_stats_request stats = {lc_slice_str("g")}, stats_out;
  assert_int_equal(lc_msg_stats_request_encode(&stats, &f->buf), 0);
  assert_int_equal(lc_msg_stats_request_decode(&f->arena, lc_buf_slice(&f->buf), &stats_out, &f->err), 0);
  assert_true(lc_slice_eq(stats.group, stats_out.group));
}

static void reflection_survives(void **state) {
  struct fixture *f = *state;
  for (int kind = 0; kind <= LC_MSG_REFLECTION_LIST; kind++) {
    struct lc_msg_reflection_request in = {lc_slice_str("h"), (enum lc_msg_reflection_kind)kind, {0}, 0}, out;
    if (kind != LC_MSG_REFLECTION_NONE)
      in.text = lc_slice_str("lcache.v1.Cache");
    in.number = kind == LC_MSG_REFLECTION_EXTENSION ? 7 : 0;
    f->buf.len = 0;
    assert_int_equal(lc_msg_reflection_request_encode(&in, &f->buf), 0);
    assert_int_equal(lc_msg_reflection_request_decode(&f->arena, lc_buf_slice(&f->buf), &out, &f->err), 0);
    assert_int_equal(out.kind, kind);
    assert_int_equal(out.number, in.number);
    assert_true(lc_slice_eq(in.text, out.text) && lc_slice_eq(in.host, out.host));
  }
  struct lc_slice files[] = {lc_slice_of(f->value, 9000), lc_slice_str("x")}, services[] = {lc_slice_str("s.A")};
  struct lc_msg_reflection_response answers[] = {{.files = files, .file_count = 2},
                                                 {.services = services, .service_count = 1},
                                                 {.error_code = 5, .error_message = lc_slice_str("no such file")}};
  for (int i = 0; i < 3; i++) {
    struct lc_msg_reflection_response out;
    answers[i].original.kind = LC_MSG_REFLECTION_LIST;
    f->buf.len = 0;
    assert_int_equal(lc_msg_reflection_response_encode(&answers[i], &f->buf), 0);
    assert_int_equal(lc_msg_reflection_response_decode(&f->arena, lc_buf_slice(&f->buf), &out, &f->err), 0);
    assert_int_equal(out.original.kind, LC_MSG_REFLECTION_LIST);
    assert_int_equal(out.file_count, answers[i].file_count);
    assert_int_equal(out.service_count, answers[i].service_count);
    assert_int_equal(out.error_code, answers[i].error_code);
    assert_true(lc_slice_eq(out.error_message, answers[i].error_message));
    if (i == 0)
      assert_true(lc_slice_eq(out.files[0], files[0]) && lc_slice_eq(out.files[1], files[1]));
    if (i == 1)
      assert_true(lc_slice_eq(out.services[0], services[0]));
  }
}

static void names_that_are_not_utf8_are_sent_with_question_marks(void **state) {
  struct fixture *f = *state;
  struct lc_msg_stats_request in = {lc_slice_str("\xff"
                                                 "a\xe2\x82")},
                              out;
  assert_int_equal(lc_msg_stats_request_encode(&in, &f->buf), 0);
  assert_int_equal(lc_msg_stats_request_decode(&f->arena, lc_buf_slice(&f->buf), &out, &f->err), 0);
  assert_true(lc_slice_eq(out.group, lc_slice_str("?a??")));
}

static void names_with_a_nul_or_not_utf8_are_refused(void **state) {
  struct fixture *f = *state;
  struct lc_msg_stats_request out;
  assert_int_equal(lc_msg_stats_request_decode(&f->arena,
                                               lc_slice_of("\x0a\x03"
                                                           "a\0b",
                                                           5),
                                               &out, &f->err),
                   LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed message: group holds a NUL");
  assert_int_equal(lc_msg_stats_request_decode(&f->arena, lc_slice_of("\x0a\x01\xff", 3), &out, &f->err), LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed message: group is not UTF-8");
  assert_int_equal(lc_msg_stats_request_decode(&f->arena, lc_slice_of("\x08\x01", 2), &out, &f->err), LC_EPROTO);
  assert_string_equal(f->err.msg, "malformed message: group has a wrong wire type");
}

static int any_decode(int kind, struct lc_arena *arena, struct lc_slice bytes) {
  union {
    struct lc_msg_stats_response stats;
    struct lc_msg_nodes_response nodes;
    struct lc_msg_reflection_request reflection;
    struct lc_msg_reflection_response reflected;
    struct lc_msg_batch_get_request batch;
    struct lc_msg_batch_get_response got;
  } out;
  switch (kind) {
  case 0:
    return lc_msg_stats_response_decode(arena, bytes, &out.stats, NULL);
  case 1:
    return lc_msg_nodes_response_decode(arena, bytes, &out.nodes, NULL);
  case 2:
    return lc_msg_reflection_request_decode(arena, bytes, &out.reflection, NULL);
  case 3:
    return lc_msg_reflection_response_decode(arena, bytes, &out.reflected, NULL);
  case 4:
    return lc_msg_batch_get_request_decode(arena, bytes, &out.batch, NULL);
  default:
    return lc_msg_batch_get_response_decode(arena, bytes, &out.got, NULL);
  }
}

static void hostile_messages_cost_a_small_multiple_of_their_size(void **state) {
  (void)state;
  for (int kind = 0; kind < 6; kind++) {
    for (unsigned field = 1; field <= 15; field++) {
      uint8_t bytes[40000]; /* 20,000 empty fields of one number */
      for (size_t i = 0; i < sizeof bytes; i += 2) {
        bytes[i] = (uint8_t)(field << 3 | 2);
        bytes[i + 1] = 0;
      }
      struct lc_arena arena;
      lc_arena_init(&arena, NULL, 0, SIZE_MAX / 2);
      any_decode(kind, &arena, lc_slice_of(bytes, sizeof bytes));
      assert_true(arena.used_bytes <= 8192 + 130 * sizeof bytes);
      lc_arena_fini(&arena);
    }
  }
}

static void mutated_messages_never_crash_a_decoder(void **state) {
  struct fixture *f = *state;
  struct lc_msg_worker_stats workers[3];
  struct lc_msg_group_stats groups[2];
  struct lc_msg_stats_response stats = make_stats(workers, groups);
  struct lc_msg_reflection_request reflection = {lc_slice_str("h"), LC_MSG_REFLECTION_EXTENSION, lc_slice_str("t"), 3};
  struct lc_slice services[] = {lc_slice_str("a.B"), lc_slice_str("c.D")};
  struct lc_msg_reflection_response reflected = {.original = reflection, .services = services, .service_count = 2};
  struct lc_msg_node nodes[] = {{lc_slice_str("a:1"), lc_slice_str("up"), 1}};
  struct lc_msg_nodes_response ring = {lc_slice_str("a:1"), lc_slice_str("00"), nodes, 1};
  struct lc_msg_batch_get_request batch = {lc_slice_str("g"), services, 2};
  struct lc_msg_batch_result result = {lc_slice_str("k"), lc_slice_str("v"), 0, {0}, 1, NULL};
  struct lc_msg_batch_get_response got = {&result, 1};
  srand(31);
  for (int kind = 0; kind < 6; kind++) {
    f->buf.len = 0;
    assert_int_equal(kind == 0   ? lc_msg_stats_response_encode(&stats, &f->buf)
                     : kind == 1 ? lc_msg_nodes_response_encode(&ring, &f->buf)
                     : kind == 2 ? lc_msg_reflection_request_encode(&reflection, &f->buf)
                     : kind == 3 ? lc_msg_reflection_response_encode(&reflected, &f->buf)
                     : kind == 4 ? lc_msg_batch_get_request_encode(&batch, &f->buf)
                                 : lc_msg_batch_get_response_encode(&got, &f->buf),
                     0);
    size_t whole = f->buf.len;
    assert_true(whole > 0);
    for (size_t i = 0; whole > 0 && i < 8000; i++) {
      size_t len = i < whole ? i : 1 + (size_t)rand() % whole;
      uint8_t *bytes = malloc(len + 1);
      memcpy(bytes, f->buf.data, len);
      for (int k = rand() % 4; k > 0 && len > 0; k--)
        bytes[(size_t)rand() % len] = (uint8_t)rand();
      bytes = realloc(bytes, len ? len : 1);
      struct lc_arena arena;
      lc_arena_init(&arena, NULL, 0, 1 << 20);
      int rc = any_decode(kind, &arena, lc_slice_of(bytes, len));
      assert_true(rc == 0 || rc == LC_EPROTO || rc == LC_ENOMEM);
      lc_arena_fini(&arena);
      free(bytes);
    }
  }
}

static void every_failed_allocation_is_an_error(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct fixture *f = *state;
  struct lc_msg_worker_stats workers[3];
  struct lc_msg_group_stats groups[2];
  struct lc_msg_stats_response stats = make_stats(workers, groups);
  size_t made = 1;
  for (size_t n = 1; made >= n; n++) {
    lc_buf_fini(&f->buf);
    lc_buf_init(&f->buf);
    lc_alloc_fail_at(n);
    int rc = lc_msg_stats_response_encode(&stats, &f->buf);
    made = lc_alloc_fail_at(0);
    assert_int_equal(rc, made >= n ? LC_ENOMEM : 0);
  }
  made = 1;
  for (size_t n = 1; made >= n; n++) {
    struct lc_arena arena;
    lc_arena_init(&arena, NULL, 0, 1 << 20);
    lc_alloc_fail_at(n);
    int rc = any_decode(0, &arena, lc_buf_slice(&f->buf));
    made = lc_alloc_fail_at(0);
    assert_int_equal(rc, made >= n ? LC_ENOMEM : 0);
    lc_arena_fini(&arena);
  }
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(stats_survive),
      TEST(nodes_owner_and_health_survive),
      TEST(reflection_survives),
      TEST(names_that_are_not_utf8_are_sent_with_question_marks),
      TEST(names_with_a_nul_or_not_utf8_are_refused),
      TEST(hostile_messages_cost_a_small_multiple_of_their_size),
      TEST(mutated_messages_never_crash_a_decoder),
      TEST(every_failed_allocation_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
