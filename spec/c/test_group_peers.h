#ifndef TEST_GROUP_PEERS_H
#define TEST_GROUP_PEERS_H

#include "test_group_fake.h"

/*
 * The other nodes, for the domain's tests: answers come when told, the view and who owns what are set by hand. Keys
 * that begin with "far" are always another node's; of the others `ours` decides.
 */
#define PEERS_CALLS 64u

struct peers {
  struct lc_peers peers;
  struct fake fake; /* runs with these peers */
  unsigned view;
  bool ours;  /* we own the keys */
  bool stale; /* stored copies may not be served */
  struct lc_list parked;
  size_t parked_times;

  int get_rc, peek_rc; /* of a start: LC_PENDING and, for a peek, LC_EUNAVAILABLE */
  struct lc_peer_get *gets[PEERS_CALLS];
  size_t got, get_cancels; /* started; cancelled */
  char lineage[128];       /* of the last: "g/a g/b" */

  int write_rc;
  struct lc_peer_write *writes[PEERS_CALLS];
  size_t wrote, write_cancels, refreshes;

  uint64_t seq; /* of the last write in the log */
  char last_written[64];
  bool must_wait; /* writes wait until peers_known */
  bool too_late;  /* to cancel a wait */
  struct lc_peer_wait *wait;
  size_t wait_cancels;
  int corked, corks;
};

void peers_init(struct peers *peers, void (*change)(struct lc_group_options options[2]));
int peers_create(struct peers *peers, void (*change)(struct lc_group_options options[2]), struct lc_err *err);
void peers_fini(struct peers *peers);

int peers_setup(void **state);
int peers_teardown(void **state);
#define PEERS_TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

/* The n-th Get that went out ends so. */
void peers_value(struct peers *peers, size_t n, const char *value, int64_t ttl_ms, bool keep);
void peers_outcome(struct peers *peers, size_t n, enum lc_peer_outcome outcome, int code, const char *message);

/* The n-th write that went out. */
void peers_written(struct peers *peers, size_t n, enum lc_peer_outcome outcome, int code, const char *message);

void peers_known(struct peers *peers); /* the write that waits is known everywhere */
void peers_fresh(struct peers *peers); /* copies may be served again */

/* One Get of "g" on worker 0 that must not be pending. */
void expect_from(struct peers *peers, const char *key, enum lc_from from, const char *value);
void expect_none(struct peers *peers, const char *key); /* no copy that answers */

struct writing {
  struct lc_write write;
  struct peers *peers;
  int done;
};
int writing_set(struct peers *peers, struct writing *writing, const char *key, const char *value);
int writing_delete(struct peers *peers, struct writing *writing, const char *key);

/* ---- what several of these tests begin with ---- */

void begin(struct peers *peers, struct call *call, const char *key);
struct lc_group_stats stats_of(struct peers *peers);
void own_copy(struct peers *peers, const char *key, const char *value);
/* What is loaded while the owner is down: "now". */
void mirror_copy(struct peers *peers, const char *key);
void forwarded(struct peers *peers, struct call *call, const char *key, const struct lc_flight_name *lineage,
               size_t count);
/* Forwards the key so often, with `keep`; returns how many went out before a mirror answered. */
size_t forward_often(struct peers *peers, const char *key, size_t times, bool keep);

#endif
