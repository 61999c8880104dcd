#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
  int number;
  struct lc_list node;
};

static void assert_numbers(struct lc_list *head, const char *digits) {
  struct lc_list *node = head->next;
  for (; *digits; digits++, node = node->next) {
    assert_ptr_not_equal(node, head);
    assert_int_equal(lc_container_of(node, struct item, node)->number, *digits - '0');
    assert_ptr_equal(node->next->prev, node);
  }
  assert_ptr_equal(node, head);
}

static int make(void **state) {
  static struct item items[5];
  for (int i = 0; i < 5; i++) {
    items[i].number = i;
    lc_list_init(&items[i].node);
  }
  *state = items;
  return 0;
}

static void test_push_puts_nodes_at_either_end(void **state) {
  struct item *items = *state;
  struct lc_list head;
  lc_list_init(&head);
  assert_true(lc_list_empty(&head));
  lc_list_push_back(&head, &items[1].node);
  lc_list_push_back(&head, &items[2].node);
  lc_list_push_front(&head, &items[0].node);
  assert_numbers(&head, "012");
}

static void test_removing_twice_is_harmless(void **state) {
  struct item *items = *state;
  struct lc_list head;
  lc_list_init(&head);
  for (int i = 0; i < 3; i++)
    lc_list_push_back(&head, &items[i].node);
  lc_list_remove(&items[1].node);
  lc_list_remove(&items[1].node);
  assert_numbers(&head, "02");
}

static void test_pop_front_takes_in_order_and_ends_with_null(void **state) {
  struct item *items = *state;
  struct lc_list head;
  lc_list_init(&head);
  lc_list_push_back(&head, &items[0].node);
  lc_list_push_back(&head, &items[1].node);
  assert_ptr_equal(lc_list_pop_front(&head), &items[0].node);
  assert_ptr_equal(lc_list_pop_front(&head), &items[1].node);
  assert_null(lc_list_pop_front(&head));
}

static void test_splice_moves_all_and_empties_the_source(void **state) {
  struct item *items = *state;
  struct lc_list to, from;
  lc_list_init(&to);
  lc_list_init(&from);
  lc_list_push_back(&to, &items[0].node);
  for (int i = 1; i < 4; i++)
    lc_list_push_back(&from, &items[i].node);
  lc_list_splice_back(&to, &from);
  assert_numbers(&to, "0123");
  assert_true(lc_list_empty(&from));
  lc_list_splice_back(&to, &from);
  assert_numbers(&to, "0123");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_push_puts_nodes_at_either_end, make),
      cmocka_unit_test_setup(test_removing_twice_is_harmless, make),
      cmocka_unit_test_setup(test_pop_front_takes_in_order_and_ends_with_null, make),
      cmocka_unit_test_setup(test_splice_moves_all_and_empties_the_source, make),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
