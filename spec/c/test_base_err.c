#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void test_set_formats_and_returns_the_code(void **state) {
  (void)state;
  struct lc_err err = {0};
  assert_int_equal(lc_err_set(&err, LC_EINVAL, "%s: not a %s", "12XB", "size"), LC_EINVAL);
  assert_int_equal(err.code, LC_EINVAL);
  assert_string_equal(err.msg, "12XB: not a size");
}

static void test_set_without_an_err_only_returns_the_code(void **state) {
  (void)state;
  assert_int_equal(lc_err_set(NULL, LC_EIO, "%d", 1), LC_EIO);
}

static void test_a_long_message_is_cut_at_the_size_of_msg(void **state) {
  (void)state;
  char text[2 * LC_ERR_MSG_SIZE];
  memset(text, 'x', sizeof text);
  text[sizeof text - 1] = '\0';
  struct lc_err err;
  lc_err_set(&err, LC_EIO, "%s", text);
  assert_int_equal(strlen(err.msg), LC_ERR_MSG_SIZE - 1);
}

static void test_every_code_has_a_name_of_its_own(void **state) {
  (void)state;
  for (int a = LC_EUNSUPPORTED; a <= LC_PENDING; a++) {
    assert_string_not_equal(lc_code_name(a), "UNKNOWN");
    for (int b = a + 1; b <= LC_PENDING; b++)
      assert_string_not_equal(lc_code_name(a), lc_code_name(b));
  }
  assert_string_equal(lc_code_name(LC_ENOTFOUND), "NOT_FOUND");
  assert_string_equal(lc_code_name(LC_EDEADLINE), "DEADLINE_EXCEEDED");
}

static void test_an_unknown_code_has_a_name_too(void **state) {
  (void)state;
  assert_string_equal(lc_code_name(-999), "UNKNOWN");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_set_formats_and_returns_the_code),
      cmocka_unit_test(test_set_without_an_err_only_returns_the_code),
      cmocka_unit_test(test_a_long_message_is_cut_at_the_size_of_msg),
      cmocka_unit_test(test_every_code_has_a_name_of_its_own),
      cmocka_unit_test(test_an_unknown_code_has_a_name_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
