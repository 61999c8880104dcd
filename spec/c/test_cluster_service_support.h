#ifndef LC_TEST_CLUSTER_SERVICE_SUPPORT_H
#define LC_TEST_CLUSTER_SERVICE_SUPPORT_H

/*
 * The answering side: real groups and the service lcache.v1.Peer of a cluster without its control thread, on two
 * workers behind a socket; a client that says it is another node. A key makes the loader do:
 *
 *   nil…    there is no such key         fail…   the source is away      held…   ends with the key when let_go is
 * called big:N   N bytes of 'b'               others  their own bytes
 */
#include "test_rpc_support.h"

#include "cluster/control.h"

#define SELF "127.0.0.1:7000"
#define OTHER "127.0.0.1:9"
#define OTHER_PROCESS 77u
#define HELD_MAX 64u

struct served {
  struct net net;
  struct lc_exec exec;
  struct lc_loader loader;
  struct lc_peers peers;
  struct lc_cluster *cluster;
  struct lc_groups *groups; /* "g"; "ttl", a minute; "small", values of at most 100 bytes */
  struct lc_rpc_table *table;
  struct lc_peer *other; /* who the client says it is: known, on the ring, waited for */
  struct peer client;    /* its connection is worker 0's */

  pthread_mutex_t lock;
  struct {
    struct lc_load *load;
    unsigned worker;
  } held[HELD_MAX];
  struct gate loads, cancelled; /* started; cancelled */
  atomic_bool stale;            /* stored copies may not be served */
  struct lc_list parked[2];     /* struct lc_peer_fresh */
  atomic_bool hold_writes;      /* they wait, */
  struct lc_peer_wait *wait;    /* the last one here, */
  struct gate waits;
  atomic_bool wait_on_its_way; /* and can't be cancelled */
};

void served_start(struct served *served);
void served_stop(struct served *served);

void let_go(struct served *served, unsigned worker); /* the loads that are held there */
/* On worker 0, arg the served: lets go of worker 1's, whose results for worker 0 are in its mailbox then, and cuts
 * worker 0's connections. */
void let_go_and_cut(void *arg);
void set_stale(struct served *served, bool stale); /* false: who is parked goes on */
void let_write_go(struct served *served);

/* A key of that word that this node owns, or the other. */
void key_of(struct served *served, bool own, const char *word, unsigned n, char out[64]);

/* ---- calls as the other node. An answer is to be given to answer_fini; what is decoded points into it ---- */

struct lc_msg_peer_get_request get_request(struct served *served, const char *group, const char *key);
void start_get(struct answer *answer, struct peer *client, const struct lc_msg_peer_get_request *request);
void ask_get(struct answer *answer, struct served *served, const struct lc_msg_peer_get_request *request);
struct lc_msg_peer_get_response got(const struct answer *answer); /* of one that must be OK */
void expect_get(struct served *served, const char *group, const char *key, int outcome, const char *value);
void expect_peek(struct served *served, const char *group, const char *key, int outcome, const char *value);

/* A call that a method's own encoder makes: NAME as in lc_msg_NAME_encode. */
#define START_CALL(answer_, client_, path_, name_, request_)                                                           \
  do {                                                                                                                 \
    struct lc_buf buf_;                                                                                                \
    lc_buf_init(&buf_);                                                                                                \
    assert_int_equal(lc_msg_##name_##_encode((request_), &buf_), 0);                                                   \
    answer_init((answer_), (client_), "/lcache.v1.Peer/" path_, lc_buf_slice(&buf_));                                  \
    lc_buf_fini(&buf_);                                                                                                \
    answer_start(answer_);                                                                                             \
    assert_int_equal((answer_)->rc, 0);                                                                                \
  } while (0)

void cancel_answer(struct answer *answer); /* it is not told */

/* Begins the load of "held" on worker 1, for a client of its own. */
void lead_on_the_other_worker(struct served *served, struct peer *client, struct answer *answer);

/* Each allocation of worker 0 fails in turn: the call is answered, or its connection ends; the next is answered well.
 */
void expect_answers(struct served *served, void (*start_call)(struct answer *answer));

#endif
