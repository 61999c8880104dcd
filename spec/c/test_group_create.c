#include <string.h>

#include "base/alloc.h"
#include "group/internal.h"
#include "test_group_fake.h"

#define MB (1u << 20)

/* `change` describes group 0 and 1 of the fake's 64 MiB. */
static void refuse(void (*change)(struct lc_group_options options[2]), const char *message) {
  struct fake fake = {0};
  struct lc_err err = {0};
  assert_int_equal(fake_create(&fake, change, &err), LC_EINVAL);
  assert_string_equal(err.msg, message);
}

static void same_name(struct lc_group_options o[2]) {
  o[1].name = "g";
}
static void no_name(struct lc_group_options o[2]) {
  o[0].name = "";
}
static void long_name(struct lc_group_options o[2]) {
  static char name[300];
  memset(name, 'n', sizeof name - 1);
  o[0].name = name;
}
static void too_much(struct lc_group_options o[2]) {
  o[0].limit_bytes = 60 * MB;
  o[1].limit_bytes = 5 * MB;
}
static void overflowing(struct lc_group_options o[2]) {
  o[0].limit_bytes = UINT64_MAX;
  o[1].limit_bytes = UINT64_MAX;
}
static void nothing_left(struct lc_group_options o[2]) {
  o[0].limit_bytes = 64 * MB - 1000;
}
static void too_small(struct lc_group_options o[2]) {
  o[0].limit_bytes = 100;
}
static void big_value(struct lc_group_options o[2]) {
  o[0].limit_bytes = 1 * MB;
  o[0].max_value = MB / 4 + 1;
}
static void over_message(struct lc_group_options o[2]) {
  o[0].max_value = 5 * MB;
}
static void no_key(struct lc_group_options o[2]) {
  o[0].max_key = 0;
}
static void no_timeout(struct lc_group_options o[2]) {
  o[0].timeout_ms = 0;
}
static void no_loads(struct lc_group_options o[2]) {
  o[0].max_loads = 0;
}

static void test_bad_declarations_are_refused_with_a_message(void **state) {
  (void)state;
  refuse(same_name, "group \"g\" is declared twice");
  refuse(no_name, "a group's name is empty");
  refuse(long_name, "group \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...\": a name of 299 bytes, use at most 255");
  refuse(too_much, "group \"h\": the groups' bytes add up to 65MB, more than --memory 64MB: lower them or raise it");
  refuse(
      overflowing,
      "group \"g\": the groups' bytes add up to 18446744073709551615, more than --memory 64MB: lower them or raise it");
  refuse(nothing_left, "the groups with bytes leave 1000 of --memory 64MB to those without, which need 1MB: lower "
                       "them or raise it");
  refuse(too_small, "group \"g\": 100 bytes is too little, use at least 4096");
  refuse(big_value, "group \"g\": max_value 262145 is over a quarter of the group's bytes, use at most 256KB");
  refuse(over_message, "group \"g\": max_value 5MB is over the limit of a message, --max-message 4MB");
  refuse(no_key, "group \"g\": max_key of 0 bytes, use 1 to 65535");
  refuse(no_timeout, "group \"g\": the timeout is 0");
  refuse(no_loads, "group \"g\": max_loads is 0");
}

static void cap_first(struct lc_group_options o[2]) {
  o[0].limit_bytes = 8 * MB;
}

static void test_groups_without_a_cap_share_what_is_left(void **state) {
  (void)state;
  struct fake fake;
  fake_init(&fake, cap_first);
  assert_int_equal(fake_stats(&fake, 0).limit_bytes, 8 * MB);
  assert_int_equal(fake_stats(&fake, 1).limit_bytes, 56 * MB);
  assert_int_equal(lc_groups_at(fake.groups, 0)->options.max_value, 2 * MB);
  assert_int_equal(lc_groups_at(fake.groups, 1)->options.max_value, 4 * MB);
  fake_fini(&fake);
}

static void test_uncapped_groups_are_charged_to_one_pool(void **state) {
  (void)state;
  struct fake fake;
  fake_init(&fake, NULL);
  uint64_t before = fake_stats(&fake, 1).pool_used_bytes;
  assert_int_equal(set_value(&fake, "k", "v"), LC_OK);
  assert_true(fake_stats(&fake, 1).pool_used_bytes > before);
  assert_int_equal(fake_stats(&fake, 0).pool_used_bytes, fake_stats(&fake, 1).pool_used_bytes);
  fake_fini(&fake);
}

static void test_groups_are_found_by_name_and_place(void **state) {
  (void)state;
  struct fake fake;
  fake_init(&fake, NULL);
  assert_int_equal(lc_groups_count(fake.groups), 2);
  assert_ptr_equal(lc_groups_find(fake.groups, lc_slice_str("h")), lc_groups_at(fake.groups, 1));
  assert_null(lc_groups_find(fake.groups, lc_slice_str("hh")));
  assert_null(lc_groups_find(fake.groups, lc_slice_str("")));
  assert_string_equal(lc_group_name(lc_groups_at(fake.groups, 0)), "g");
  assert_int_equal(lc_groups_at(fake.groups, 0)->options.max_key, 4096);
  fake_fini(&fake);
}

static void test_two_hundred_groups_are_all_found(void **state) {
  (void)state;
  enum { COUNT = 200 };
  struct fake fake;
  struct lc_group_options options[COUNT];
  static char names[COUNT][32];
  fake_init(&fake, NULL);
  for (int i = 0; i < COUNT; i++) {
    lc_group_options_init(&options[i]);
    snprintf(names[i], sizeof names[i], "group%d", i);
    options[i].name = names[i];
  }
  struct lc_groups *groups;
  const struct lc_groups_config config = {
      .options = options, .count = COUNT, .memory_bytes = 64 * MB, .exec = &fake.exec, .loader = &fake.loader};
  assert_int_equal(lc_groups_create(&config, &groups, NULL), LC_OK);
  for (size_t i = 0; i < COUNT; i++) {
    assert_ptr_equal(lc_groups_find(groups, lc_slice_str(names[i])), lc_groups_at(groups, i));
  }
  lc_groups_sweep(groups, 0);
  lc_groups_sweep(groups, 1);
  lc_groups_destroy(groups);
  fake_fini(&fake);
}

static void test_no_group_at_all_is_allowed(void **state) {
  (void)state;
  struct fake fake;
  struct lc_groups *groups;
  fake_init(&fake, NULL);
  const struct lc_groups_config config = {.memory_bytes = MB, .exec = &fake.exec, .loader = &fake.loader};
  assert_int_equal(lc_groups_create(&config, &groups, NULL), LC_OK);
  assert_null(lc_groups_find(groups, lc_slice_str("g")));
  lc_groups_sweep(groups, 1);
  lc_groups_destroy(groups);
  lc_groups_destroy(NULL);
  fake_fini(&fake);
}

static void everything(struct lc_group_options o[2]) {
  o[0].limit_bytes = MB;
  o[0].wants_evict = true;
}

static void test_creation_fails_cleanly_at_each_allocation(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct fake fake = {0};
  int rc = LC_ENOMEM;
  size_t n = 0;
  while (rc == LC_ENOMEM) {
    struct lc_err err = {0};
    lc_alloc_fail_at(++n);
    rc = fake_create(&fake, everything, &err);
    lc_alloc_fail_at(0);
    if (rc != LC_OK)
      assert_string_equal(err.msg, "out of memory");
  }
  assert_int_equal(rc, LC_OK);
  assert_true(n > 10);
  fake_fini(&fake);
}

/* One life of a key, in which any allocation may fail: what fails says ENOMEM, and the key works after. */
static void live(struct fake *fake) {
  struct call first, second, failing, bad;
  struct lc_write write = {.group = lc_slice_str("g"), .key = lc_slice_str("set"), .value = lc_slice_str("v")};
  size_t begun = fake->started;
  bool pending = call_get(fake, &first, 0, "g", "k") == LC_PENDING;
  bool joined = call_get(fake, &second, 1, "g", "k") == LC_PENDING;
  if (pending || joined)
    fake_finish(fake, begun, "v");
  assert_true(first.get.code == LC_OK || first.get.code == LC_ENOMEM);
  assert_true(second.get.code == LC_OK || second.get.code == LC_ENOMEM);
  begun = fake->started;
  if (call_get(fake, &failing, 0, "g", "fails") == LC_PENDING)
    fake_fail(fake, begun, LC_EUNAVAILABLE, "no");
  assert_true(failing.get.code == LC_EUNAVAILABLE || failing.get.code == LC_ENOMEM);
  int rc = call_get(fake, &bad, 0, "nope", "k");
  assert_true(rc == LC_ENOTFOUND || rc == LC_ENOMEM);
  rc = lc_group_set(fake->groups, &write);
  assert_true(rc == LC_OK || rc == LC_ENOMEM);
  assert_int_equal(lc_group_delete(fake->groups, &write), LC_OK);
  fake_run(fake);
  call_fini(&first);
  call_fini(&second);
  call_fini(&failing);
  call_fini(&bad);
}

static void test_each_failed_allocation_leaves_no_leak_and_no_stuck_key(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  size_t n = 1, made = 1;
  for (; n <= made; n++) {
    struct fake fake;
    struct call call;
    fake_init(&fake, everything);
    lc_alloc_fail_at(n);
    live(&fake);
    made = lc_alloc_fail_at(0);
    assert_int_equal(lc_groups_flights(fake.groups), 0);
    fake.on_start = fake_answer_now;
    assert_int_equal(call_get(&fake, &call, 0, "g", "k"), LC_OK);
    call_fini(&call);
    fake_fini(&fake);
  }
  assert_true(n > 8);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bad_declarations_are_refused_with_a_message),
      cmocka_unit_test(test_groups_without_a_cap_share_what_is_left),
      cmocka_unit_test(test_uncapped_groups_are_charged_to_one_pool),
      cmocka_unit_test(test_groups_are_found_by_name_and_place),
      cmocka_unit_test(test_two_hundred_groups_are_all_found),
      cmocka_unit_test(test_no_group_at_all_is_allowed),
      cmocka_unit_test(test_creation_fails_cleanly_at_each_allocation),
      cmocka_unit_test(test_each_failed_allocation_leaves_no_leak_and_no_stuck_key),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
