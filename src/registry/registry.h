#ifndef LC_REGISTRY_REGISTRY_H
#define LC_REGISTRY_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/fetch.h"
#include "loop/worker.h"

/*
 * Where nodes find one another: etcd (etcd.c) or a fixed list (fixed.c); another kind (DNS) needs a third file behind
 * this interface. All on one worker's thread. A registry never says that it has failed: it goes on trying, and what is
 * known stays known.
 */
struct lc_registry;

struct lc_registry_member {
  const char *address; /* HOST:PORT, valid during the call */
  unsigned weight;     /* 1 to 100; 1 where the registry says none, or nonsense */
};

/* No callback runs inside a call below, nor after destroy, which may be called inside one. Any may be NULL. */
struct lc_registry_handler {
  /* All members now: at the first answer, at each reconciliation, after a watch was lost. */
  void (*on_list)(void *arg, const struct lc_registry_member *members, size_t count);
  void (*on_put)(void *arg, const struct lc_registry_member *member);

  /* The member's key was deleted, or its lease ran out. Told by an event; a list that lacks a member says nothing of
   * why. */
  void (*on_delete)(void *arg, const char *address);

  /*
   * It can be reached, or not any more (`why`: one line for a person; "" when it can); the first time, and at each
   * change. The registry has logged it.
   */
  void (*on_reach)(void *arg, bool reached, const char *why);
};

/* A fixed list. `members` are copied. Its list comes once, soon after start. */
int lc_registry_fixed_create(struct lc_worker *worker, const struct lc_registry_member *members, size_t count,
                             const struct lc_registry_handler *handler, void *arg, struct lc_registry **out);

struct lc_etcd_config {
  struct lc_worker *worker;
  struct lc_fetcher *fetcher;   /* borrowed; outlives the registry */
  const char *const *endpoints; /* http://HOST:PORT or https://; copied, as all strings here */
  size_t endpoint_count;
  const char *service; /* keys are /services/SERVICE/HOST:PORT */
  uint64_t lease_ms;   /* of our key; at least 2 s; keepalives go out at a third of it; no request is given longer */
  const char *user, *password; /* NULL: no authentication */
  struct lc_fetch_tls tls;     /* for https */
  uint64_t reconcile_ms;       /* a full list that often; 0: 10 s */
  struct lc_log *log;
};

/* 0, LC_ENOMEM, or LC_EINVAL with a message (an endpoint that is no URL, a service name with a slash). */
int lc_registry_etcd_create(const struct lc_etcd_config *config, const struct lc_registry_handler *handler, void *arg,
                            struct lc_registry **out, struct lc_err *err);

/* Begins to list and watch. Once. */
void lc_registry_start(struct lc_registry *registry);

/* From now on this node is registered, and again whenever its lease or key is lost. A fixed list: nothing. `address` is
 * HOST:PORT, key and value; the weight stands in the value, ` weight=N`, unless it is 1. Not while it leaves. */
void lc_registry_enter(struct lc_registry *registry, const char *address, unsigned weight);
bool lc_registry_entered(const struct lc_registry *registry); /* our key is there, as far as we know */

/* Takes this node off; `done` (may be NULL) is called once, later, when it is off or timeout_ms has passed. The rest
 * goes on: lists, events. It may enter again after. */
void lc_registry_leave(struct lc_registry *registry, uint64_t timeout_ms, void (*done)(void *arg), void *arg);

/* A hint that the membership may have changed, or that time was lost (the process stood still): list, and look after
 * the lease, now; at most once in 200 ms however often it is called. */
void lc_registry_refresh(struct lc_registry *registry);

/* NULL is fine. Requests in progress are cancelled. */
void lc_registry_destroy(struct lc_registry *registry);

#endif
