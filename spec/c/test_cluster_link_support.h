#ifndef LC_TEST_CLUSTER_LINK_SUPPORT_H
#define LC_TEST_CLUSTER_LINK_SUPPORT_H

/*
 * The asking side: a cluster without its control thread, with real workers and connections, and other nodes that answer
 * as the key says. A key is "WORD:number"; the number makes it the owner's that the test wants. WORD of a Get:
 *
 *   value     its key, with 1234 ms left, to keep    negative  the same with -5 ms left, not to keep
 *   nil       NOT_FOUND                              fail      FAILED, UNAVAILABLE "the source is away"
 *   badcode   FAILED, with a code that is none       cached    NOT_CACHED to a peek
 *   draining  DRAINING                               nogroup   UNKNOWN_GROUP
 *   stranger  STRANGER                               odd       an outcome from the future
 *   broken    bytes that are no message              full      gRPC status RESOURCE_EXHAUSTED
 *   internal  gRPC status INTERNAL                   hang      no answer
 *   room      in a batch no room, alone the value    first     NOT_CACHED from the node named "first", else the value
 *
 * A batch is answered key by key; WORDs of its first key for the whole: allstranger, alldraining, allvalue (VALUE
 * without results), few (a result less), and broken, full, internal, hang. Of a write: ok, notowner, stranger, fail,
 * draining, odd, broken, full, hang.
 */
#include "test_rpc_support.h"

#include "cluster/control.h"
#include "cluster/data.h"

#define NODES_MAX 3u
#define SELF "127.0.0.1:7000"

/* Another node. */
struct node {
  struct net net;
  struct lc_rpc_table *table;
  struct lc_peer *peer; /* as the cluster knows it */
  struct lc_cluster *cluster;
  uint64_t process;
  bool first;
  uint8_t applied[LC_APPLIED_SIZE];    /* that a value's answer says, of one log; zeros */
  struct gate calls, cancels, batches; /* calls that came; that were cancelled; of the calls, batches */
  atomic_size_t keys;                  /* of the last batch */
  _Atomic uint64_t to;                 /* of the last call, as are: */
  atomic_bool peek, refresh;
  atomic_size_t lineage, value_len;
  atomic_llong ttl_ms;
  char lineage_key[64];
};

struct asker {
  struct lc_exec exec;
  struct lc_cluster *cluster;
  struct lc_worker *workers[2];
  struct node nodes[NODES_MAX];
  unsigned count;
};

/* With so many other nodes, all of them UP, on the ring. */
void asker_start(struct asker *asker, unsigned nodes);
void asker_stop(struct asker *asker);

/* Each may be called any number of times. */
void asker_publish(struct asker *asker);
void node_state(struct node *node, enum lc_peer_state state);  /* and the workers look at their links */
void node_cut(struct node *node);                              /* its connections */
void node_stop(struct node *node);                             /* refuses connections from now on */
bool node_looked_at(const struct node *node);                  /* lc_control_look; forgets it */
struct lc_link *node_link(struct node *node, unsigned worker); /* NULL: none */
void asker_close(struct asker *asker, unsigned worker);        /* lc_links_close on it; not to be used any more */

/* A key of that word whose owner is the node; NULL: this one. `n` tells keys apart. */
void key_of(struct asker *asker, struct node *owner, const char *word, unsigned n, char out[64]);

/* A key of this node with these previous owners, most likely first. */
void key_to_peek(struct asker *asker, const char *word, struct node *first, struct node *second, char out[64]);

/* ---- a Get ---- */

struct asked {
  struct lc_peer_get get;
  struct asker *asker;
  char key[64];
  bool started; /* lc_calls_get has returned */
  int rc;
  unsigned done;
  char message[128];
  char value[64];
  size_t value_len;
  void (*on_done)(struct asked *asked);
  struct asked *other; /* on_done's */
  size_t fail_at;      /* the allocation of the worker that fails, from the start on */
  struct gate over;
};

void asked_init(struct asked *asked, struct asker *asker, const char *key);
void asked_start(struct asked *asked);
void asked_start_here(struct asked *asked); /* on the worker */
void asked_cancel(struct asked *asked);
void asked_cancel_here(struct asked *asked);
void asked_wait(struct asked *asked);

/* A whole one, of a key that the node owns. */
void ask_node(struct asked *asked, struct asker *asker, struct node *node, const char *word);
void expect_asked(const struct asked *asked, enum lc_peer_outcome outcome, const char *message);

/* ---- a write ---- */

struct written {
  struct lc_peer_write write;
  struct asker *asker;
  char key[64];
  bool started;
  int rc;
  unsigned done;
  char message[128];
  size_t fail_at;
  struct gate over;
};

void written_init(struct written *written, struct asker *asker, const char *key, const char *value); /* NULL: Delete */
void written_start(struct written *written);
void written_cancel(struct written *written);
void written_wait(struct written *written);
void written_fini(struct written *written);

#endif
