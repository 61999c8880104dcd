#ifndef LC_GROUP_PEER_H
#define LC_GROUP_PEER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "base/task.h"
#include "flight/flight.h"
#include "store/item.h"

/*
 * The other nodes, as the domain sees them: who owns a key, and getting, setting, deleting and invalidating there.
 * Implemented by cluster/; a node alone has none (lc_groups_config.peers is NULL) and pays nothing for it. What takes a
 * worker is called on that worker's thread.
 */
enum lc_node_state { LC_NODE_UP, LC_NODE_DOWN, LC_NODE_LEAVING };

#define LC_NODE_ADDRESS_SIZE 272u /* HOST:PORT and a NUL */
#define LC_RING_ID_SIZE 17u       /* hexadecimal and a NUL */

struct lc_node_info {
  char address[LC_NODE_ADDRESS_SIZE];
  enum lc_node_state state;
  double share; /* of the ring, 0 to 1 */
};

enum lc_peer_outcome {
  LC_PEER_VALUE,      /* value, ttl_ms, keep */
  LC_PEER_NOT_FOUND,  /* the source has no such key */
  LC_PEER_FAILED,     /* an answer all the same: code and message are for the waiters */
  LC_PEER_NOT_CACHED, /* a peek found nothing */
  LC_PEER_UNREACHED,  /* no answer, or a node that can't: it is draining, has no such group, was restarted */
  LC_PEER_OK,         /* a write was applied */
  LC_PEER_NOT_OWNER,  /* a write came to the wrong node, or to one that has to be greeted first: nothing was done */
};

/* A Get at another node. Lives in the caller's object until it is over: done may free it. */
struct lc_peer_get {
  struct lc_slice group, key; /* valid until it is over */
  unsigned worker;
  bool peek;                            /* ask the key's previous owner, only if it has a copy; 100 ms at most in all */
  bool refresh;                         /* the owner is to load anew */
  uint64_t deadline_ms;                 /* monotonic */
  const struct lc_flight_name *lineage; /* who waits for it; read before the call returns */
  size_t lineage_count;
  void (*done)(struct lc_peer_get *get);

  /* The answer; slices are valid during done. */
  enum lc_peer_outcome outcome;
  int code;                /* LC_PEER_FAILED: LC_E… */
  struct lc_slice message; /* LC_PEER_FAILED, LC_PEER_UNREACHED */
  struct lc_slice value;
  int64_t ttl_ms; /* what is left; 0: no expiry */
  bool keep;      /* may be stored: the node that answered tells us of writes */

  void *impl[4]; /* the implementer's */
};

/* A Set (item) or a Delete (no item) at the key's owner. Lives in the caller's object until it is over: done may free
 * it. */
struct lc_peer_write {
  struct lc_slice group, key; /* valid until it is over */
  unsigned worker;
  struct lc_item *item; /* NULL: delete. Borrowed until it is over; the value goes out by reference */
  int64_t ttl_ms;       /* as lc_write has it */
  uint64_t deadline_ms;
  void (*done)(struct lc_peer_write *write);

  enum lc_peer_outcome outcome; /* OK, NOT_OWNER, FAILED, UNREACHED */
  int code;                     /* LC_PEER_FAILED */
  struct lc_slice message;      /* valid during done */
  bool deleted;
  char owner[LC_NODE_ADDRESS_SIZE]; /* who was asked, for messages; set also where the start fails, if known */

  void *impl[4];
};

/* Waiting until all nodes that are up have dropped their copies of what was written. */
struct lc_peer_wait {
  struct lc_list link; /* the implementer's */
  uint64_t seq;        /* what `written` returned */
  unsigned worker;
  void (*done)(struct lc_peer_wait *wait); /* on that worker */
  struct lc_task task;
};

/* Waiting until stored copies may be served again. */
struct lc_peer_fresh {
  struct lc_list link; /* the implementer's; removing it cancels */
  void (*done)(struct lc_peer_fresh *fresh);
};

struct lc_peers {
  void *ctx;

  /* For people and admin; any thread. */
  const char *(*self)(void *ctx); /* this node's advertised HOST:PORT */
  void (*ring_id)(void *ctx, char out[LC_RING_ID_SIZE]);
  void (*owner)(void *ctx, struct lc_slice group, struct lc_slice key, char out[LC_NODE_ADDRESS_SIZE]);
  size_t (*nodes)(void *ctx, struct lc_node_info *nodes,
                  size_t max); /* fills at most max; returns how many there are */

  /* The number of the view in force on this worker (lc_item_view): it changes between calls only. */
  unsigned (*view)(void *ctx, unsigned worker);

  /* Whether this node owns the key by the worker's view. */
  bool (*owns)(void *ctx, unsigned worker, struct lc_slice group, struct lc_slice key);

  /*
   * Whether stored copies may be served at this moment: reads the clock anew, so that a process that was stopped knows.
   * If not: wait_fresh queues `fresh` on that worker; done comes later, once, on the worker. It may free `fresh`, and
   * may wait again with it, for a later turn.
   */
  bool (*fresh)(void *ctx, unsigned worker);
  void (*wait_fresh)(void *ctx, unsigned worker, struct lc_peer_fresh *fresh);

  /*
   * Starts a Get. LC_PENDING, then done once later, unless cancelled; or at once, and done never: LC_EUNAVAILABLE (the
   * owner is down; for a peek: nobody to ask), LC_ENOMEM, LC_EEXHAUSTED (too much waits for the connection). Not for
   * keys that we own, but for peeks.
   */
  int (*get)(void *ctx, struct lc_peer_get *get);
  void (*cancel_get)(void *ctx, struct lc_peer_get *get);

  /* Gets that are started on this worker between the two are sent together, one call an owner. */
  void (*cork)(void *ctx, unsigned worker);
  void (*uncork)(void *ctx, unsigned worker);

  /* Starts a write at the owner. LC_PENDING, then done once, later; or LC_EUNAVAILABLE, LC_ENOTOWNER (we own it by
   * now, or the owner is just being greeted), LC_ENOMEM, LC_EEXHAUSTED. */
  int (*write)(void *ctx, struct lc_peer_write *write);
  void (*cancel_write)(void *ctx, struct lc_peer_write *write); /* it may take effect all the same */

  /* Rings seem to differ: look at the registry soon. Any worker; cheap to call often. */
  void (*refresh)(void *ctx);

  /* Under the lock of the key's flight, after the store was changed: this node, the owner, has written the key. Returns
   * the write's number. */
  uint64_t (*written)(void *ctx, struct lc_slice group, struct lc_slice key);

  /* LC_OK: all nodes that are up know. LC_PENDING: done comes once, later, unless cancelled. */
  int (*wait)(void *ctx, struct lc_peer_wait *wait);
  bool (*cancel_wait)(void *ctx, struct lc_peer_wait *wait); /* false: done is on its way */
};

#endif
