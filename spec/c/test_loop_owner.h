#ifndef LC_TEST_LOOP_OWNER_H
#define LC_TEST_LOOP_OWNER_H

#include "loop/conn.h"
#include "test_loop_support.h"

/* The owner of a connection on the worker; the test's thread is the other side, or looks at it by on_worker. */
struct owner {
  struct lc_worker *worker;
  struct lc_conn *conn;
  int fd; /* to accept */
  int rc;
  struct lc_address address;
  uint64_t timeout_ms;
  bool echo, abort_on_read, abort_on_connect, abort_on_drain;
  uint64_t close_on_read_ms; /* non-zero: linger */
  const char *greeting;      /* queued before the connection stands */
  const uint8_t *supply;     /* given out by on_drain, in pieces */
  size_t supply_len, piece;

  int connect_code, reason;
  char error[64];
  size_t bytes_read;
  unsigned drains;
  struct gate connected, read, drained, closed;
};

struct owner owner_new(struct lc_worker *worker);

/* On the worker, `arg` is the owner. Accepts `fd`; connects to `address`; gives out a piece of `supply`; aborts. */
void owner_accept(void *arg);
void owner_connect(void *arg);
void owner_supply_now(void *arg);
void owner_abort(void *arg);

/* Returns our end of a connection whose other end the owner has. */
int owner_join(struct owner *owner);

/* Closes our end, if it is not negative, and waits for the owner's on_close. */
void owner_leave(struct owner *owner, int fd);

/* A start during which the n-th allocation fails. */
struct starved {
  struct owner owner;
  size_t n;
  void (*start)(void *arg);
};

void owner_start_starved(void *arg); /* on the worker, with a struct starved */

/* A test's state is its worker. */
int owner_setup(void **state);
int owner_teardown(void **state);

#endif
