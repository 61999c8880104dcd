#ifndef LC_LOOP_LISTENER_H
#define LC_LOOP_LISTENER_H

#include "base/parse.h"
#include "loop/worker.h"

/*
 * A listening socket, on the main thread's loop, that hands each accepted connection to the worker with the fewest
 * (then the next in turn). Out of file descriptors accepting pauses 100 ms at a time, at max_connections 10 ms, with
 * one log line until nobody waits any more, and recovers. All on the loop's thread, but where it says any thread.
 */
struct lc_listener;

struct lc_listener_config {
  uv_loop_t *loop;            /* borrowed: accepts here */
  struct lc_worker **workers; /* borrowed; workers[i] has index i */
  unsigned worker_count;
  struct lc_log *log;     /* borrowed, may be NULL */
  size_t max_connections; /* more wait in the backlog */
  const char *option;     /* the flag that the address came by, for messages: "--listen"; may be NULL */

  /* On the worker: a connection is there; the callee owns fd (non-blocking). When it ends, or could not be taken, the
   * callee calls lc_listener_ended. */
  void (*on_accept)(void *arg, struct lc_worker *worker, int fd);
  void *arg;
};

/*
 * Binds and listens. Looks names up at once (blocking); of several addresses the first IPv4 one is taken. An error's
 * message says what is wrong and with which address:
 * LC_EBUSY: `127.0.0.1:8001 is in use (by another lcache? choose another with --listen)`;
 * LC_EINVAL: not an address of this machine, no permission, cannot resolve. LC_EIO, LC_ENOMEM.
 */
int lc_listener_create(const struct lc_listener_config *config, const struct lc_address *address,
                       struct lc_listener **out, struct lc_err *err);

/* The bound address, with the port that was given for port 0. */
void lc_listener_address(const struct lc_listener *listener, struct lc_address *address);

/* No more accepts; closes the socket. What was accepted before still reaches its worker. A second call does nothing. */
void lc_listener_stop(struct lc_listener *listener);

/* Any thread. */
void lc_listener_ended(struct lc_listener *listener, unsigned worker); /* a connection of that worker ended */
unsigned lc_listener_connections(const struct lc_listener *listener, unsigned worker);

/* After stop, when the loop has run its closing (a turn) and the workers have been joined. NULL is fine. */
void lc_listener_destroy(struct lc_listener *listener);

#endif
