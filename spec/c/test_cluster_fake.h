#ifndef LC_TEST_CLUSTER_FAKE_H
#define LC_TEST_CLUSTER_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cluster/log.h"
#include "store/store.h"

/*
 * A cluster without threads, sockets and clocks: what log, deliver, apply, touched, fence and handover call elsewhere
 * is recorded here, and answered when the test says so. Time moves by fake_advance.
 */
#define FAKE_WORKERS 2u
#define FAKE_PEERS 3u
#define FAKE_START_MS 1000000u

struct lc_worker {
  struct lc_timers timers;
  pthread_mutex_t lock;
  struct lc_task *head, **tail;
  bool stopped; /* its loop stands still */
};

/* A call on a peer's control connection. */
struct fake_call {
  struct lc_peer *peer; /* NULL: free */
  char path[64];
  uint8_t *bytes; /* the message */
  size_t len;
  lc_rpc_client_done done;
  void *arg;
};

#define FAKE_CALLS 8u
#define FAKE_GROUPS 2u

struct lc_group {
  const char *name;
  struct lc_store *store;
};

struct lc_groups {
  struct lc_group at[FAKE_GROUPS];
  size_t count;
  unsigned drops;
  void (*on_drop)(void *arg);
  void *on_drop_arg;
  unsigned invalidated, added, refused;
  char last_key[64];
  void (*on_invalidate)(void *arg);
  void *on_invalidate_arg;
};

struct fake {
  struct lc_cluster cluster;
  struct lc_exec exec;
  struct lc_worker worker[FAKE_WORKERS + 1];
  struct lc_cluster_worker cluster_worker[FAKE_WORKERS + 1];
  struct lc_peer peer[FAKE_PEERS];
  struct lc_peer *peers[FAKE_PEERS];
  struct lc_view view;
  struct lc_members members;
  struct lc_groups groups;
  struct lc_mempool *pool;
  struct fake_call calls[FAKE_CALLS];
  unsigned hellos[FAKE_PEERS], looks[FAKE_PEERS], synced[FAKE_PEERS], cancelled;
  bool refuse_calls;
  struct lc_peer *(*owner)(uint64_t hash);
};

extern struct fake fake;

void fake_open(void);
void fake_close(void);
int fake_setup(void **state);
int fake_teardown(void **state);

struct lc_peer *fake_greet(unsigned index); /* Hello: a process of its own, connected, SYNCING */
void fake_hang_up(unsigned index);          /* the connection ends, without a word to the calls */
void fake_down(unsigned index);             /* and the peer counts as down */
void fake_restart(unsigned index);          /* another process speaks at its address; not connected yet */

void fake_run(void);            /* all tasks of all workers that aren't stopped */
void fake_advance(uint64_t ms); /* timers, tasks and the control thread's ticks, every 10 ms */
void fake_jump(uint64_t ms);    /* the process is stopped for so long: nothing runs */

struct fake_call *fake_call_to(unsigned index); /* NULL: none */
void fake_fail(struct fake_call *call, int status);
void fake_answer(struct fake_call *call, struct lc_buf *reply);

/* What an Invalidate holds, and the answer. `arena` lives as long as the caller. */
void fake_decode(const struct fake_call *call, struct lc_arena *arena, struct lc_msg_invalidate_request *out);
void fake_applied(struct fake_call *call, uint64_t applied, bool mismatch);
void fake_outcome(struct fake_call *call, int outcome);

uint64_t fake_write(const char *key); /* as the owner of g/key */

#endif
