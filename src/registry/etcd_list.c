#include <stdio.h>

#include "base/alloc.h"
#include "registry/etcd.h"

/*
 * The list of all members: the first thing asked for, every ten seconds again, and whenever something else went wrong.
 * Only it says whether etcd is reached. One that fails changes nothing of what is known.
 */
#define PROBE_MS 500  /* between lists that other requests' failures call for */
#define DOUBT_MS 1000 /* for the watch to tell what a list knew first */

/* ---- reached or not ---- */

static void reached(struct lc_etcd *etcd, size_t endpoint) {
  uint64_t now = lc_etcd_now(etcd);
  bool change = etcd->reach != LC_ETCD_REACHED;
  etcd->tries = 0;
  etcd->reach = LC_ETCD_REACHED;
  if (change) {
    etcd->keepalive_due_ms = now; /* it may have lost our lease meanwhile */
    etcd->enter_due_ms = now;
    etcd->enter_fails = 0;
    lc_log_event(etcd->log, LC_LOG_INFO, "etcd reached", LC_F_STR("endpoint", etcd->endpoints[endpoint]));
    if (etcd->base.handler.on_reach != NULL)
      etcd->base.handler.on_reach(etcd->base.arg, true, "");
  } else if (etcd->keepalive_failed && etcd->keepalive_due_ms > etcd->keepalive_sent_ms + PROBE_MS) {
    etcd->keepalive_due_ms = etcd->keepalive_sent_ms + PROBE_MS;
  }
  etcd->keepalive_failed = false;
}

/* All endpoints are tried without a pause, then comes one. */
static uint64_t pause_ms(struct lc_etcd *etcd) {
  size_t rounds = etcd->tries / etcd->endpoint_count;
  return etcd->tries % etcd->endpoint_count != 0 ? 0 : lc_etcd_backoff(etcd, (unsigned)rounds);
}

void lc_etcd_unreached(struct lc_etcd *etcd, size_t endpoint, const char *why) {
  etcd->tries++;
  lc_etcd_next_endpoint(etcd, endpoint);
  etcd->watch_suspect = true;
  etcd->watch_ready = false;
  etcd->list_due_ms = lc_etcd_now(etcd) + pause_ms(etcd);
  if (etcd->reach == LC_ETCD_UNREACHED || etcd->tries < etcd->endpoint_count)
    return;
  etcd->reach = LC_ETCD_UNREACHED;
  lc_log_event(etcd->log, LC_LOG_WARN, "etcd unreachable, the ring stays as it is", LC_F_STR("error", why));
  if (etcd->base.handler.on_reach != NULL)
    etcd->base.handler.on_reach(etcd->base.arg, false, why);
}

void lc_etcd_probe(struct lc_etcd *etcd) {
  uint64_t soon = etcd->list_sent_ms + PROBE_MS;
  if (etcd->reach == LC_ETCD_REACHED && etcd->list_due_ms > soon)
    etcd->list_due_ms = soon;
}

/* ---- what a list says ---- */

struct listing {
  struct lc_etcd_table table;
  int64_t revision;
  struct lc_etcd_kv own;
  bool has_own;
};

static int read_entry(struct lc_etcd *etcd, const cJSON *json, struct listing *listing) {
  struct lc_etcd_kv kv;
  int rc = lc_etcd_kv_read(etcd, json, &kv);
  if (rc != 0)
    return rc == LC_EINVAL ? 0 : rc;
  if (lc_etcd_is_own(etcd, kv.address)) {
    listing->own = kv;
    listing->has_own = true;
  }
  rc = lc_etcd_table_set(&listing->table, &kv);
  if (rc == LC_ETOOBIG)
    lc_etcd_warn_once(etcd, "etcd has too many members: more are ignored", "service", etcd->prefix);
  return rc == LC_ETOOBIG ? 0 : rc;
}

/* One entry of a wrong type and the whole list counts for nothing: half a list would throw members out. */
static const char *read_list(struct lc_etcd *etcd, const cJSON *json, struct listing *listing) {
  const cJSON *kvs = cJSON_GetObjectItemCaseSensitive(json, "kvs"), *entry;
  if (!lc_etcd_revision(json, &listing->revision))
    return "a list without a revision";
  if (kvs != NULL && !cJSON_IsArray(kvs))
    return "a list whose kvs is no array";
  if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "more")))
    lc_etcd_warn_once(etcd, "etcd has too many members: more are ignored", "service", etcd->prefix);
  cJSON_ArrayForEach(entry, kvs) {
    int rc = read_entry(etcd, entry, listing);
    if (rc != 0)
      return rc == LC_ENOMEM ? "out of memory" : "a list with a malformed entry";
  }
  return NULL;
}

/* Its history is another one: wiped, or restored from a copy. What we know by number counts for nothing. */
static void start_over(struct lc_etcd *etcd, int64_t revision) {
  lc_log_event(etcd->log, LC_LOG_WARN, "etcd has lost its data", LC_F_INT("revision", revision),
               LC_F_INT("known_revision", etcd->seen_revision));
  lc_etcd_watch_stop(etcd);
  etcd->seen_revision = revision;
  etcd->put_revision = etcd->deleted_revision = 0;
  etcd->keepalive_due_ms = lc_etcd_now(etcd);
}

/*
 * The watch goes on where it was, not after the list: a list that lacks a member doesn't say why, the event does. What
 * a list knows and a living watch doesn't tell soon, the watch has missed.
 */
static void compare(struct lc_etcd *etcd, bool changed) {
  if (!etcd->listed || etcd->watch_gap) {
    etcd->seen_revision = etcd->list_revision;
    etcd->watch_gap = false;
  } else if (!changed && etcd->doubt_ms == 0) {
    etcd->seen_revision = etcd->list_revision;
  } else if (changed && etcd->watch != NULL && etcd->doubt_ms == 0) {
    etcd->doubt_ms = lc_etcd_now(etcd) + DOUBT_MS;
    etcd->doubt_lines = etcd->line_count;
  }
}

static void tell(struct lc_etcd *etcd) {
  const struct lc_etcd_table *table = &etcd->table;
  if (etcd->base.handler.on_list == NULL)
    return;
  struct lc_registry_member *members = lc_calloc(table->count + 1, sizeof *members);
  if (members == NULL) {
    etcd->list_due_ms = lc_etcd_now(etcd) + PROBE_MS; /* that one will be told */
    return;
  }
  for (size_t i = 0; i < table->count; i++)
    members[i] = (struct lc_registry_member){table->at[i].address, table->at[i].weight};
  etcd->base.handler.on_list(etcd->base.arg, members, table->count);
  lc_free(members);
}

static void take(struct lc_etcd *etcd, struct listing *listing) {
  bool changed = !lc_etcd_table_same(&etcd->table, &listing->table);
  struct lc_etcd_table old = etcd->table;
  etcd->table = listing->table;
  listing->table = old;
  etcd->list_revision = listing->revision;
  compare(etcd, changed);
  etcd->listed = etcd->watch_ready = true;
  if (etcd->address != NULL)
    lc_etcd_own_listed(etcd, listing->has_own ? &listing->own : NULL, listing->revision);
  tell(etcd);
}

/* A list is at least as new as what was known when it was asked for, unless etcd has lost what it knew. */
static void accept_list(struct lc_etcd_call *call, struct listing *listing) {
  struct lc_etcd *etcd = call->etcd;
  uint64_t now = lc_etcd_now(etcd);
  etcd->list_due_ms = etcd->list_again ? now : now + etcd->reconcile_ms - lc_etcd_random(etcd, etcd->reconcile_ms / 10);
  etcd->list_again = false;
  reached(etcd, call->endpoint);
  if (etcd->dead)
    return;
  if (listing->revision < call->revision) {
    start_over(etcd, listing->revision);
  } else if (listing->revision < etcd->seen_revision) {
    etcd->list_due_ms = now + PROBE_MS; /* the watch was faster, and so is alive */
    return;
  }
  take(etcd, listing);
}

static void on_listed(struct lc_etcd_call *call, const struct lc_etcd_reply *reply) {
  struct lc_etcd *etcd = call->etcd;
  struct listing listing = {0};
  const char *fault = NULL;
  char why[LC_ETCD_WHY_SIZE];
  etcd->list_running = false;
  if (reply->outcome == LC_ETCD_ANSWERED)
    fault = read_list(etcd, reply->json, &listing);
  if (fault != NULL)
    snprintf(why, sizeof why, "%s%s: %s", etcd->endpoints[call->endpoint], call->path, fault);
  if (reply->outcome == LC_ETCD_AGAIN) {
    etcd->list_due_ms = lc_etcd_now(etcd);
  } else if (reply->outcome != LC_ETCD_ANSWERED || fault != NULL) {
    lc_etcd_unreached(etcd, call->endpoint, fault != NULL ? why : reply->why);
  } else {
    accept_list(call, &listing);
  }
  lc_etcd_table_free(&listing.table);
}

void lc_etcd_list(struct lc_etcd *etcd) {
  struct lc_buf body;
  uint64_t now = lc_etcd_now(etcd);
  if (etcd->list_running || now < etcd->list_due_ms)
    return;
  lc_buf_init(&body);
  lc_buf_printf(&body, "{%s,\"limit\":\"%u\"}", (const char *)etcd->key_json.data, LC_ETCD_MEMBERS_MAX);
  etcd->list_sent_ms = now;
  struct lc_etcd_call *call = lc_etcd_send(etcd, "/v3/kv/range", &body, on_listed);
  if (call == NULL) {
    lc_etcd_unreached(etcd, etcd->endpoint, "out of memory");
    return;
  }
  call->revision = etcd->put_revision > etcd->seen_revision ? etcd->put_revision : etcd->seen_revision;
  etcd->list_running = true;
}
