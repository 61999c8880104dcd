#ifndef LC_TEST_REGISTRY_FAKE_H
#define LC_TEST_REGISTRY_FAKE_H

#include "test_loop_support.h"

/*
 * An etcd of the tests' own: keys, leases, revisions, watches; a thread a connection. A watch is written in pieces that
 * don't align with its lines. Addresses are those of members of the service `lcache`.
 */
#define FAKE_KEYS 64
#define FAKE_EVENTS 256

struct fake_key {
  char key[128], value[128];
  int64_t lease, revision;
};

struct fake_event {
  struct fake_key key;
  bool is_delete;
};

struct fake_answer {
  char path[32];
  int status;
  const char *body; /* NULL: none ever comes */
  unsigned times;
};

struct fake_etcd {
  uint16_t port;
  char url[64];
  int reserve, listener; /* reserve: keeps the port while nobody listens */
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool up;
  int fds[64];
  unsigned open, connections;

  int64_t revision, compacted, next_lease;
  int64_t leases[FAKE_KEYS];
  struct fake_key keys[FAKE_KEYS];
  struct fake_event events[FAKE_EVENTS];
  unsigned event_count;

  struct fake_answer answers[8]; /* given in place of its own, while `times` lasts */
  unsigned counts[8];            /* requests, by path: see fake_count */
  char bodies[8][512];           /* the last of each */
  char last_head[2048];
  bool mute; /* watches are created, and that's all */
  char token[32];
  unsigned token_count;
  unsigned watches; /* open */
};

void fake_start(struct fake_etcd *fake);
void fake_stop(struct fake_etcd *fake); /* close what is connected first */
void fake_down(struct fake_etcd *fake); /* connections break, new ones are refused */
void fake_up(struct fake_etcd *fake);

void fake_put(struct fake_etcd *fake, const char *address, const char *value, int64_t lease);
void fake_delete(struct fake_etcd *fake, const char *address);
void fake_forget_leases(struct fake_etcd *fake, bool with_keys);
void fake_wipe(struct fake_etcd *fake);
void fake_compact(struct fake_etcd *fake); /* all up to now; watches break */
void fake_break_watches(struct fake_etcd *fake);
void fake_answer(struct fake_etcd *fake, const char *path, int status, const char *body, unsigned times);
void fake_mute(struct fake_etcd *fake, bool mute);
void fake_require_token(struct fake_etcd *fake); /* each call makes the one before it invalid */

/* Paths: "range", "grant", "put", "keepalive", "revoke", "watch", "authenticate". */
unsigned fake_count(struct fake_etcd *fake, const char *path);
bool fake_value(struct fake_etcd *fake, const char *address, char out[128], int64_t *lease); /* false: no such key */
void fake_last_body(struct fake_etcd *fake, const char *path, char out[512]);
unsigned fake_watches(struct fake_etcd *fake);

#endif
