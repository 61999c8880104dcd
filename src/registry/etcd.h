#ifndef LC_REGISTRY_ETCD_H
#define LC_REGISTRY_ETCD_H

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/parse.h"
#include "registry/internal.h"

/*
 * Shared by the etcd_*.c files; README.md has the flow. What is wanted stands in this struct (a list is due, the lease
 * is 0, the key isn't there); whoever changes it wakes the timer; etcd.c's turn looks at all of it and starts what is
 * missing. Replies change the struct, and nothing else.
 */
#define LC_ETCD_MEMBERS_MAX 4096u /* as many as a ring takes; in the order of keys, so that all nodes drop the same */
#define LC_ETCD_REPLY_MAX (2u << 20) /* of a list, or a line of a watch */
#define LC_ETCD_ADDRESS_SIZE (LC_HOST_SIZE + 9)
#define LC_ETCD_WEIGHT_MAX 100u
#define LC_ETCD_KEEPALIVES_MAX 8u /* in flight */
#define LC_ETCD_ONCE 32u
#define LC_ETCD_WHY_SIZE 512

enum lc_etcd_reach { LC_ETCD_UNKNOWN, LC_ETCD_REACHED, LC_ETCD_UNREACHED };

/* A member as a list or an event has it. */
struct lc_etcd_member {
  char *address;
  unsigned weight;
  int64_t mod_revision;
};

/* Sorted by address. */
struct lc_etcd_table {
  struct lc_etcd_member *at;
  size_t count, cap;
};

/* A key and its value. */
struct lc_etcd_kv {
  char address[LC_ETCD_ADDRESS_SIZE];
  unsigned weight;
  int64_t mod_revision, lease;
};

struct lc_etcd {
  struct lc_registry base;
  struct lc_fetcher *fetcher;
  struct lc_log *log;
  struct lc_timer timer;
  bool started, dead;
  unsigned busy; /* callbacks of ours that are running: dead and 0, and it is freed */
  uint64_t random;

  /* What was asked for. */
  char **endpoints, *prefix, *user, *password;
  char *ca_file, *cert_file, *key_file;
  struct lc_buf key_json; /* "key":"…","range_end":"…" of the service's keys */
  size_t endpoint_count;
  uint64_t lease_ms, reconcile_ms;

  /* Requests. */
  struct lc_list calls;
  size_t endpoint; /* which one now */
  unsigned tries;  /* failed lists in a row */
  enum lc_etcd_reach reach;
  uint64_t once[LC_ETCD_ONCE]; /* hashes of what was logged once */
  unsigned once_count;
  uint64_t once_ms; /* since when they are kept */

  /* Authentication. */
  char *token;                 /* NULL: none, or none yet */
  bool auth_running, auth_off; /* the server has none */
  uint64_t token_ms;           /* since when the token is there */

  /* List. */
  bool list_running, list_again, listed;
  uint64_t list_due_ms, list_sent_ms, refresh_ms; /* the last refresh */
  struct lc_etcd_table table;
  int64_t list_revision; /* of the table as listed */
  int64_t seen_revision; /* everything up to it has been told */

  /* Watch. */
  struct lc_fetch *watch;
  size_t watch_endpoint;
  bool watch_created;
  bool watch_ready;   /* a list was taken since the last trouble */
  bool watch_suspect; /* to be replaced when it is ready */
  bool watch_gap;     /* what was missed can't be had any more */
  uint64_t watch_ms;  /* when it started */
  unsigned watch_fails;
  struct lc_buf lines; /* that came and aren't dealt with */
  bool lines_over;
  uint64_t line_count;
  uint64_t doubt_ms, doubt_lines; /* a list knew something new: has the watch told anything by then? 0: no doubt */

  /* Our own registration. */
  const char *address; /* NULL: not entered; else the text below */
  char address_text[LC_ETCD_ADDRESS_SIZE];
  unsigned weight;
  bool grant_running, put_running, key_there, keepalive_failed;
  int64_t lease; /* 0: none */
  uint64_t lease_period_ms, keepalive_due_ms, keepalive_sent_ms;
  unsigned keepalives, enter_fails;
  uint64_t enter_due_ms, put_ms;
  int64_t put_revision, deleted_revision; /* of our key */

  /* Leaving. */
  bool leaving, revoke_running;
  uint64_t leave_due_ms, leave_deadline_ms;
  unsigned leave_fails;
  void (*left)(void *arg);
  void *left_arg;
};

static inline struct lc_etcd *lc_etcd_of(struct lc_registry *registry) {
  return (struct lc_etcd *)(void *)registry;
}

/* ---- etcd.c ---- */
uint64_t lc_etcd_now(const struct lc_etcd *etcd);
uint64_t lc_etcd_random(struct lc_etcd *etcd, uint64_t below);
void lc_etcd_wake(struct lc_etcd *etcd);
uint64_t lc_etcd_backoff(struct lc_etcd *etcd,
                         unsigned fails);      /* ms: doubles from 100 to 1,000, half of it by chance */
void lc_etcd_leave_busy(struct lc_etcd *etcd); /* ends a callback; may free */

/* ---- etcd_call.c ---- */
enum lc_etcd_outcome {
  LC_ETCD_ANSWERED,  /* `json` is the object */
  LC_ETCD_AGAIN,     /* our token isn't valid any more: ask again when there is another */
  LC_ETCD_NO_LEASE,  /* it doesn't know the lease */
  LC_ETCD_REFUSED,   /* another error, or not an answer of etcd's */
  LC_ETCD_NO_ANSWER, /* it couldn't be reached, or not in time */
};

struct lc_etcd_reply {
  enum lc_etcd_outcome outcome;
  const cJSON *json;
  const char *why; /* for a log line, with the endpoint and path: `http://127.0.0.1:2379/v3/kv/range: not JSON` */
};

struct lc_etcd_call {
  struct lc_list link;
  struct lc_etcd *etcd;
  struct lc_fetch *fetch;
  const char *path;
  size_t endpoint;
  void (*on_reply)(struct lc_etcd_call *call, const struct lc_etcd_reply *reply); /* the call is freed after */
  bool with_token;
  uint64_t sent_ms;
  int64_t lease;    /* that it is about */
  int64_t revision; /* what was known when it was sent */
};

/* NULL when memory is out (nothing is called); else on_reply comes once, unless cancelled. `body` is freed. */
struct lc_etcd_call *lc_etcd_send(struct lc_etcd *etcd, const char *path, struct lc_buf *body,
                                  void (*on_reply)(struct lc_etcd_call *call, const struct lc_etcd_reply *reply));
void lc_etcd_cancel_calls(struct lc_etcd *etcd);

/* What a fetch of `path` at `endpoint` came to. `why` is filled unless ANSWERED; *json is to be deleted. */
enum lc_etcd_outcome lc_etcd_judge(struct lc_etcd *etcd, size_t endpoint, const char *path,
                                   const struct lc_fetch_response *response, cJSON **json, char why[LC_ETCD_WHY_SIZE]);
enum lc_etcd_outcome lc_etcd_judge_error(struct lc_etcd *etcd, const cJSON *json); /* of an error object */
void lc_etcd_next_endpoint(struct lc_etcd *etcd, size_t failed);
bool lc_etcd_fresh(const struct lc_etcd *etcd); /* connections may be dead without our knowing */
bool lc_etcd_needs_token(const struct lc_etcd *etcd);
void lc_etcd_authenticate(struct lc_etcd *etcd);

/* Logs a warning unless it was logged in this hour; bounded, however many different ones there are. */
void lc_etcd_warn_once(struct lc_etcd *etcd, const char *event, const char *name, const char *text);

/* ---- etcd_list.c ---- */
void lc_etcd_list(struct lc_etcd *etcd);
void lc_etcd_unreached(struct lc_etcd *etcd, size_t endpoint, const char *why); /* a list failed, or to authenticate */
void lc_etcd_probe(struct lc_etcd *etcd); /* something else failed: list soon, that will tell */

/* ---- etcd_watch.c ---- */
void lc_etcd_watch_tend(struct lc_etcd *etcd); /* starts it, or another one, where that is called for */
uint64_t lc_etcd_watch_due(const struct lc_etcd *etcd);
void lc_etcd_watch_stop(struct lc_etcd *etcd);
void lc_etcd_watch_lines(struct lc_etcd *etcd); /* deals with what has come */

/* ---- etcd_lease.c ---- */
void lc_etcd_lease_tend(struct lc_etcd *etcd);
uint64_t lc_etcd_lease_due(const struct lc_etcd *etcd);
/* What a list (kv NULL: lacks it) or an event says of our own key. */
void lc_etcd_own_listed(struct lc_etcd *etcd, const struct lc_etcd_kv *kv, int64_t revision);
void lc_etcd_own_put(struct lc_etcd *etcd, const struct lc_etcd_kv *kv);
void lc_etcd_own_deleted(struct lc_etcd *etcd, int64_t revision);
bool lc_etcd_is_own(const struct lc_etcd *etcd, const char *address);

/* ---- etcd_leave.c ---- */
void lc_etcd_leave_tend(struct lc_etcd *etcd);
uint64_t lc_etcd_leave_due(const struct lc_etcd *etcd);

/* ---- etcd_json.c ---- */
cJSON *lc_etcd_parse(struct lc_slice text); /* an object, or NULL */
/* int64 values are strings, and 0 where absent (or JSON numbers, as other gateways have them). False: neither. */
bool lc_etcd_int(const cJSON *object, const char *name, int64_t *value);
bool lc_etcd_revision(const cJSON *object, int64_t *revision);   /* header.revision, over 0 */
const char *lc_etcd_text(const cJSON *object, const char *name); /* NULL: absent or no string */
/* 0; LC_EPROTO: not a kv at all; LC_EINVAL: not a member's key (logged once); LC_ENOMEM. */
int lc_etcd_kv_read(struct lc_etcd *etcd, const cJSON *json, struct lc_etcd_kv *kv);

/* ---- etcd_table.c ---- */
struct lc_etcd_member *lc_etcd_table_find(const struct lc_etcd_table *table, const char *address); /* or NULL */
int lc_etcd_table_set(struct lc_etcd_table *table, const struct lc_etcd_kv *kv); /* 0, LC_ENOMEM, LC_ETOOBIG */
void lc_etcd_table_remove(struct lc_etcd_table *table, struct lc_etcd_member *member);
bool lc_etcd_table_same(const struct lc_etcd_table *a, const struct lc_etcd_table *b);
void lc_etcd_table_free(struct lc_etcd_table *table);

#endif
