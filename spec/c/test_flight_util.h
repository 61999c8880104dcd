#ifndef LC_TEST_FLIGHT_UTIL_H
#define LC_TEST_FLIGHT_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "flight/flight.h"
#include "flight/name.h"

/* What the tests of flights share: asking in one line. */

#define S lc_slice_str

static int fini_calls;
static inline void count_fini(void *owner) {
  (void)owner;
  fini_calls++;
}

static inline int setup(void **state) {
  struct lc_flight_table *table;
  fini_calls = 0;
  assert_int_equal(lc_flight_table_create(4, &table), LC_OK);
  *state = table;
  return 0;
}

static inline int teardown(void **state) {
  size_t flights, waiters;
  lc_flight_count(*state, &flights, &waiters);
  assert_int_equal(flights, 0);
  assert_int_equal(waiters, 0);
  lc_flight_table_destroy(*state);
  return 0;
}

/* All keys of a test share a hash on purpose, unless it says otherwise. */
static inline struct lc_flight_join ask(const char *group, const char *key, struct lc_flight *parent) {
  return (struct lc_flight_join){
      .group = S(group), .key = S(key), .hash = 7, .parent = parent, .owner_size = 24, .owner_fini = count_fini};
}

static inline struct lc_flight *lead(struct lc_flight_table *table, const char *group, const char *key,
                                     struct lc_flight *parent, struct lc_flight_waiter *waiter) {
  struct lc_flight_join join = ask(group, key, parent);
  struct lc_flight *flight = NULL;
  struct lc_err err;
  assert_int_equal(lc_flight_join(table, &join, waiter, &flight, &err), LC_FLIGHT_LEADER);
  return flight;
}

static inline void follow(struct lc_flight_table *table, const char *group, const char *key, struct lc_flight *parent,
                          struct lc_flight_waiter *waiter) {
  struct lc_flight_join join = ask(group, key, parent);
  struct lc_flight *flight = NULL;
  struct lc_err err;
  assert_int_equal(lc_flight_join(table, &join, waiter, &flight, &err), LC_FLIGHT_JOINED);
  assert_null(flight);
}

static inline void refuse(struct lc_flight_table *table, const char *group, const char *key, struct lc_flight *parent,
                          const char *message) {
  struct lc_flight_join join = ask(group, key, parent);
  struct lc_flight_waiter waiter = {0};
  struct lc_flight *flight = NULL;
  struct lc_err err = {0};
  assert_int_equal(lc_flight_join(table, &join, &waiter, &flight, &err), LC_EINVAL);
  assert_null(waiter.flight);
  assert_string_equal(err.msg, message);
}

static inline size_t finish(struct lc_flight *flight) {
  struct lc_list waiters;
  size_t count = 0;
  lc_flight_complete(flight, NULL, NULL, &waiters);
  for (struct lc_list *node; (node = lc_list_pop_front(&waiters)) != NULL; count++) {
    assert_null(lc_container_of(node, struct lc_flight_waiter, link)->flight);
    assert_null(lc_container_of(node, struct lc_flight_waiter, link)->parent);
  }
  return count;
}

#endif
