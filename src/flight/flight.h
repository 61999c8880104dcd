#ifndef LC_FLIGHT_FLIGHT_H
#define LC_FLIGHT_FLIGHT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

/*
 * Singleflight: a table of loads in progress and of everyone who waits for them. It knows nothing of stores, getters or
 * threads of execution: the caller acts under a shard's lock by the callbacks it hands in. At most one flight that
 * isn't detached exists for a key, so two loads of one key can't run, unless a write came between.
 *
 * Lock order: a flight shard's lock, then anything of the store. No callback here runs with two shards' locks held.
 */
struct lc_flight_table;
struct lc_flight;

/* Who waits. Embedded in the waiter's own object; owned by the waiter, linked into the flight while it waits. */
struct lc_flight_waiter {
  struct lc_list link;
  struct lc_flight *flight; /* NULL when not waiting; written under the shard's lock */
  struct lc_flight *parent; /* the flight whose load waits here, or NULL; holds a reference */
};

int lc_flight_table_create(unsigned shards,
                           struct lc_flight_table **table);  /* a power of two; 0, LC_ENOMEM, LC_EINVAL */
void lc_flight_table_destroy(struct lc_flight_table *table); /* no flight may be left; NULL is fine */

/* Runs under the shard's lock before a flight is joined or begun: non-zero ends the join with that result. */
typedef int (*lc_flight_recheck_fn)(void *arg);

enum lc_flight_role { LC_FLIGHT_JOINED = 1, LC_FLIGHT_LEADER = 2 };

/* A group and key, of a chain of loads that wait for one another. */
struct lc_flight_name {
  struct lc_slice group, key;
};

struct lc_flight_join {
  struct lc_slice group, key;   /* copied into a new flight; lengths count, so ("a","bc") is not ("ab","c") */
  uint64_t hash;                /* any hash of (group, key) that all callers compute alike */
  lc_flight_recheck_fn recheck; /* may be NULL */
  void *arg;
  struct lc_flight *parent;             /* the flight whose load asks, or NULL: refuses what would wait for itself */
  const struct lc_flight_name *lineage; /* loads on other nodes that wait for this, outermost first; copied into a new
                                         * flight. A key among them, or a flight that waits for one of them, is refused
                                         * as a cycle; they count in the depth. Not together with a parent. */
  size_t lineage_count;                 /* at most LC_FLIGHT_MAX_DEPTH */
  size_t owner_size;               /* zeroed bytes that a new flight carries for the leader's use: lc_flight_owner */
  void (*owner_fini)(void *owner); /* called once when the last reference of the flight goes; may be NULL */
  bool alone;  /* begin a new flight even if there is one, detaching the old (a refresh: no value loaded before it) */
  bool remote; /* the load of a new flight will ask another node for the key */
  bool here;   /* don't join a flight begun with `remote`, begin a new one: who asks may be the node that it asks */
};

/*
 * Joins the key's flight or begins one. Returns LC_FLIGHT_JOINED or LC_FLIGHT_LEADER and links `waiter`; or what
 * recheck returned; or, with nothing linked, LC_ENOMEM, LC_EINVAL (a cycle: this key waits for its parent; loads that
 * wait for one another more than LC_FLIGHT_MAX_DEPTH deep; a parent that waits for something already), both with a
 * message. The leader must start the load and, whatever happens, call lc_flight_complete once. *flight has a reference
 * for the LEADER only.
 */
#define LC_FLIGHT_MAX_DEPTH 8
int lc_flight_join(struct lc_flight_table *table, const struct lc_flight_join *join, struct lc_flight_waiter *waiter,
                   struct lc_flight **flight, struct lc_err *err);

/*
 * Ends the flight: under the lock it runs store(arg, detached) (may be NULL), takes the flight out of the table and
 * moves its waiters to `waiters`, which it initialises (their `flight` set to NULL). From then on a join begins a new
 * flight. Drops the leader's reference. A second call is an error of the program.
 */
typedef void (*lc_flight_store_fn)(void *arg, bool detached);
void lc_flight_complete(struct lc_flight *flight, lc_flight_store_fn store, void *arg, struct lc_list *waiters);

/*
 * Takes a waiter out. Returns LC_FLIGHT_LEFT if others still wait, LC_FLIGHT_ABANDONED if it was the last (the flight
 * is then out of the table and the caller must have its load cancelled; *flight gets a reference to do so with), or
 * LC_FLIGHT_GONE if the flight completed before: the completion is on its way to the waiter.
 */
enum lc_flight_leave { LC_FLIGHT_GONE = 0, LC_FLIGHT_LEFT = 1, LC_FLIGHT_ABANDONED = 2 };
enum lc_flight_leave lc_flight_leave(struct lc_flight_table *table, struct lc_flight_waiter *waiter, uint64_t hash,
                                     struct lc_flight **flight);

/*
 * For Set, Delete, invalidation: under the lock of the key's shard detaches its flight, if any (its waiters still get
 * its value, it won't be stored, a later join begins a new one), then runs write(arg).
 */
typedef void (*lc_flight_write_fn)(void *arg);
void lc_flight_detach(struct lc_flight_table *table, struct lc_slice group, struct lc_slice key, uint64_t hash,
                      lc_flight_write_fn write, void *arg);

/* The same for every flight of a group (clear). Detaches them all; holds one shard's lock at a time. */
void lc_flight_detach_group(struct lc_flight_table *table, struct lc_slice group);

/* Runs fn(arg) under the lock of the key's shard (any key of that hash); the key's flight, if any, is left alone. */
void lc_flight_locked(struct lc_flight_table *table, uint64_t hash, lc_flight_write_fn fn, void *arg);

/*
 * The chain of loads that wait for this flight's load, outermost first, itself last: the lineage that it was begun
 * with, its ancestors at that time on this node, itself. Fills at most LC_FLIGHT_MAX_DEPTH + 1 names and returns how
 * many; valid as long as the flight. Any thread. When the flight's own key is asked for elsewhere (a forwarded Get),
 * leave out the last name, or it is refused there as a cycle. Loads that joined later are not in it: a cycle over three
 * nodes of which each link was joined, not begun, is ended by the loads' timeouts only.
 */
size_t lc_flight_lineage(const struct lc_flight *flight, struct lc_flight_name names[LC_FLIGHT_MAX_DEPTH + 1]);

/* The leader's bytes, aligned to 16; they live as long as the flight. */
void *lc_flight_owner(struct lc_flight *flight);
struct lc_slice lc_flight_key(const struct lc_flight *flight);
struct lc_slice lc_flight_group(const struct lc_flight *flight);
struct lc_flight *lc_flight_ref(struct lc_flight *flight);
void lc_flight_unref(struct lc_flight *flight);

/* Flights in progress now (detached ones too) and waiters: for statistics. */
void lc_flight_count(struct lc_flight_table *table, size_t *flights, size_t *waiters);

#endif
