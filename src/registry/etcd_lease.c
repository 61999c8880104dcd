#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "registry/base64.h"
#include "registry/etcd.h"

/*
 * Our own key: a lease, the key under it, and keepalives by the clock. Whatever is lost is made again, first the lease,
 * then the key.
 */
#define PUT_PAUSE_MS 200      /* between puts, however often somebody deletes the key */
#define FOREIGN_PAUSE_MS 2000 /* where another process claims the address too */

bool lc_etcd_is_own(const struct lc_etcd *etcd, const char *address) {
  return etcd->address != NULL && strcmp(etcd->address, address) == 0;
}

/* ---- lost and found ---- */

static void enter_after(struct lc_etcd *etcd, uint64_t pause_ms) {
  uint64_t now = lc_etcd_now(etcd), due = etcd->put_ms + pause_ms;
  etcd->key_there = false;
  etcd->enter_due_ms = due > now ? due : now;
}

static void lost_lease(struct lc_etcd *etcd) {
  etcd->lease = 0;
  enter_after(etcd, 0);
  lc_log_event(etcd->log, LC_LOG_WARN, "lease lost", LC_F_STR("address", etcd->address));
}

static void lost_key(struct lc_etcd *etcd, const char *how) {
  enter_after(etcd, PUT_PAUSE_MS);
  lc_log_event(etcd->log, LC_LOG_WARN, "registration lost", LC_F_STR("address", etcd->address), LC_F_STR("how", how));
}

/* Our own process of a moment ago, or two nodes that advertise the same: then neither must fight. */
static void claimed(struct lc_etcd *etcd) {
  enter_after(etcd, FOREIGN_PAUSE_MS);
  lc_etcd_warn_once(etcd, "another process registers the same address", "address", etcd->address);
}

void lc_etcd_own_listed(struct lc_etcd *etcd, const struct lc_etcd_kv *kv, int64_t revision) {
  if (!etcd->key_there || revision < etcd->put_revision)
    return;
  if (kv == NULL) {
    lost_key(etcd, "it is not listed");
  } else if (kv->lease != etcd->lease) {
    claimed(etcd);
  }
}

void lc_etcd_own_put(struct lc_etcd *etcd, const struct lc_etcd_kv *kv) {
  if (etcd->key_there && kv->mod_revision > etcd->put_revision && kv->lease != etcd->lease)
    claimed(etcd);
}

void lc_etcd_own_deleted(struct lc_etcd *etcd, int64_t revision) {
  if (revision > etcd->deleted_revision)
    etcd->deleted_revision = revision;
  if (etcd->key_there && revision > etcd->put_revision)
    lost_key(etcd, "it was deleted");
}

/* ---- lease and key ---- */

static void enter_failed(struct lc_etcd *etcd, const struct lc_etcd_reply *reply, const char *fault) {
  etcd->enter_fails++;
  etcd->enter_due_ms = lc_etcd_now(etcd) + lc_etcd_backoff(etcd, etcd->enter_fails);
  lc_etcd_warn_once(etcd, "etcd registration failed", "error",
                    reply != NULL && *reply->why != '\0' ? reply->why : fault);
  lc_etcd_probe(etcd);
}

static void on_granted(struct lc_etcd_call *call, const struct lc_etcd_reply *reply) {
  struct lc_etcd *etcd = call->etcd;
  int64_t lease = 0, seconds = 0;
  etcd->grant_running = false;
  if (etcd->address == NULL || etcd->leaving || reply->outcome == LC_ETCD_AGAIN)
    return; /* a lease that nobody uses ends by itself */
  bool good = reply->outcome == LC_ETCD_ANSWERED && lc_etcd_int(reply->json, "ID", &lease) &&
              lc_etcd_int(reply->json, "TTL", &seconds) && lease != 0 && seconds > 0;
  if (!good)
    return enter_failed(etcd, reply, "a granted lease without ID or TTL");
  uint64_t ms = seconds < 1000000 ? (uint64_t)seconds * 1000 : etcd->lease_ms;
  etcd->lease = lease;
  etcd->lease_period_ms = (ms < etcd->lease_ms ? ms : etcd->lease_ms) / 3;
  etcd->keepalive_due_ms = call->sent_ms + etcd->lease_period_ms; /* it runs since some time before now */
  etcd->key_there = false;
}

static void grant(struct lc_etcd *etcd) {
  struct lc_buf body;
  lc_buf_init(&body);
  lc_buf_printf(&body, "{\"TTL\":\"%" PRIu64 "\"}", (etcd->lease_ms + 999) / 1000);
  etcd->grant_running = lc_etcd_send(etcd, "/v3/lease/grant", &body, on_granted) != NULL;
  if (!etcd->grant_running)
    enter_failed(etcd, NULL, "out of memory");
}

static void on_put(struct lc_etcd_call *call, const struct lc_etcd_reply *reply) {
  struct lc_etcd *etcd = call->etcd;
  int64_t revision = 0;
  etcd->put_running = false;
  if (call->lease != etcd->lease || etcd->leaving || reply->outcome == LC_ETCD_AGAIN)
    return;
  if (reply->outcome == LC_ETCD_NO_LEASE)
    return lost_lease(etcd);
  if (reply->outcome != LC_ETCD_ANSWERED || !lc_etcd_revision(reply->json, &revision))
    return enter_failed(etcd, reply, "a reply to put without a revision");
  etcd->put_revision = revision;
  etcd->enter_fails = 0;
  if (etcd->deleted_revision > revision)
    return lost_key(etcd, "it was deleted");
  etcd->key_there = true;
  lc_log_event(etcd->log, LC_LOG_INFO, "registered", LC_F_STR("address", etcd->address),
               LC_F_INT("lease", etcd->lease));
}

static void write_kv(struct lc_etcd *etcd, struct lc_buf *body) {
  struct lc_buf key, value;
  lc_buf_init(&key);
  lc_buf_init(&value);
  lc_buf_printf(&key, "%s%s", etcd->prefix, etcd->address);
  lc_buf_str(&value, etcd->address);
  if (etcd->weight != 1)
    lc_buf_printf(&value, " weight=%u", etcd->weight);
  lc_buf_str(body, "{\"key\":\"");
  lc_base64_encode(lc_buf_slice(&key), body);
  lc_buf_str(body, "\",\"value\":\"");
  lc_base64_encode(lc_buf_slice(&value), body);
  lc_buf_printf(body, "\",\"lease\":\"%" PRId64 "\"}", etcd->lease);
  body->failed = body->failed || key.failed || value.failed;
  lc_buf_fini(&key);
  lc_buf_fini(&value);
}

static void put(struct lc_etcd *etcd) {
  struct lc_buf body;
  lc_buf_init(&body);
  write_kv(etcd, &body);
  etcd->put_ms = lc_etcd_now(etcd);
  struct lc_etcd_call *call = lc_etcd_send(etcd, "/v3/kv/put", &body, on_put);
  etcd->put_running = call != NULL;
  if (call == NULL)
    return enter_failed(etcd, NULL, "out of memory");
  call->lease = etcd->lease;
}

/* ---- keepalives ---- */

static void keepalive_failed(struct lc_etcd *etcd) {
  etcd->keepalive_failed = true;
  lc_etcd_probe(etcd);
}

/* A lease that etcd doesn't know is answered like any other, but without a TTL. */
static void on_kept(struct lc_etcd_call *call, const struct lc_etcd_reply *reply) {
  struct lc_etcd *etcd = call->etcd;
  const cJSON *result = cJSON_GetObjectItemCaseSensitive(reply->json, "result");
  int64_t seconds = 0;
  etcd->keepalives--;
  if (call->lease != etcd->lease || etcd->leaving)
    return;
  if (reply->outcome == LC_ETCD_AGAIN) {
    etcd->keepalive_due_ms = lc_etcd_now(etcd);
  } else if (reply->outcome == LC_ETCD_NO_LEASE) {
    lost_lease(etcd);
  } else if (reply->outcome != LC_ETCD_ANSWERED) {
    keepalive_failed(etcd);
  } else if (!cJSON_IsObject(result) || !lc_etcd_int(result, "TTL", &seconds)) {
    lc_etcd_warn_once(etcd, "etcd keepalive failed", "error", "a reply without a result");
    keepalive_failed(etcd);
  } else if (seconds <= 0) {
    lost_lease(etcd);
  }
}

/* By the clock, whatever became of those before: an etcd that takes long to answer must not cost us the lease. */
static void keep_alive(struct lc_etcd *etcd) {
  struct lc_buf body;
  uint64_t now = lc_etcd_now(etcd);
  etcd->keepalive_due_ms = now + etcd->lease_period_ms;
  etcd->keepalive_sent_ms = now;
  if (etcd->keepalives == LC_ETCD_KEEPALIVES_MAX)
    return;
  lc_buf_init(&body);
  lc_buf_printf(&body, "{\"ID\":\"%" PRId64 "\"}", etcd->lease);
  struct lc_etcd_call *call = lc_etcd_send(etcd, "/v3/lease/keepalive", &body, on_kept);
  if (call == NULL)
    return keepalive_failed(etcd);
  call->lease = etcd->lease;
  etcd->keepalives++;
}

/* ---- what is to be done ---- */

static bool may_enter(const struct lc_etcd *etcd) {
  return etcd->reach == LC_ETCD_REACHED && !etcd->key_there && !etcd->grant_running && !etcd->put_running;
}

uint64_t lc_etcd_lease_due(const struct lc_etcd *etcd) {
  uint64_t due = LC_TIME_NEVER;
  if (etcd->address == NULL || etcd->leaving)
    return due;
  if (etcd->lease != 0)
    due = etcd->keepalive_due_ms;
  return may_enter(etcd) && etcd->enter_due_ms < due ? etcd->enter_due_ms : due;
}

void lc_etcd_lease_tend(struct lc_etcd *etcd) {
  if (etcd->address == NULL || etcd->leaving)
    return;
  if (etcd->lease != 0 && lc_etcd_now(etcd) >= etcd->keepalive_due_ms)
    keep_alive(etcd);
  if (!may_enter(etcd) || lc_etcd_now(etcd) < etcd->enter_due_ms)
    return;
  if (etcd->lease == 0) {
    grant(etcd);
  } else {
    put(etcd);
  }
}
