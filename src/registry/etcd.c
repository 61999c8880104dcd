#include "registry/etcd.h"

#include <stdio.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "registry/base64.h"

#define RECONCILE_MS 10000u
#define LEASE_MIN_MS 2000u
#define REFRESH_MS 200u
#define BACKOFF_MAX_MS 1000u

uint64_t lc_etcd_now(const struct lc_etcd *etcd) {
  return lc_worker_now_ms(etcd->base.worker);
}

/* xorshift64 (Marsaglia 2003): only so that many nodes don't ask at the same moment. */
uint64_t lc_etcd_random(struct lc_etcd *etcd, uint64_t below) {
  etcd->random ^= etcd->random << 13;
  etcd->random ^= etcd->random >> 7;
  etcd->random ^= etcd->random << 17;
  return below > 0 ? etcd->random % below : 0;
}

uint64_t lc_etcd_backoff(struct lc_etcd *etcd, unsigned fails) {
  uint64_t ms = fails < 5 ? 50u << fails : BACKOFF_MAX_MS;
  return ms / 2 + lc_etcd_random(etcd, ms / 2);
}

/* ---- a turn: whatever is due ---- */

void lc_etcd_wake(struct lc_etcd *etcd) {
  if (!etcd->dead)
    lc_timer_start(lc_worker_timers(etcd->base.worker), &etcd->timer, lc_etcd_now(etcd));
}

static uint64_t earlier(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* Only what the turn would do something about is a reason to wake up. */
static uint64_t next_due(const struct lc_etcd *etcd) {
  uint64_t due = lc_etcd_leave_due(etcd);
  if (!etcd->started)
    return due;
  if (lc_etcd_needs_token(etcd))
    return etcd->auth_running ? due : earlier(due, etcd->list_due_ms);
  if (!etcd->list_running)
    due = earlier(due, etcd->list_due_ms);
  return earlier(due, earlier(lc_etcd_watch_due(etcd), lc_etcd_lease_due(etcd)));
}

static void tend(struct lc_etcd *etcd) {
  if (lc_etcd_needs_token(etcd)) {
    lc_etcd_authenticate(etcd);
    return;
  }
  lc_etcd_list(etcd);
  if (etcd->dead)
    return;
  lc_etcd_watch_tend(etcd);
  lc_etcd_lease_tend(etcd);
}

static void turn(struct lc_timer *timer) {
  struct lc_etcd *etcd = lc_container_of(timer, struct lc_etcd, timer);
  etcd->busy++;
  lc_etcd_watch_lines(etcd);
  if (!etcd->dead)
    lc_etcd_leave_tend(etcd);
  if (!etcd->dead && etcd->started)
    tend(etcd);
  uint64_t due = etcd->dead ? LC_TIME_NEVER : next_due(etcd);
  if (due != LC_TIME_NEVER)
    lc_timer_start(lc_worker_timers(etcd->base.worker), timer, due);
  lc_etcd_leave_busy(etcd);
}

/* ---- what registry.h offers ---- */

static void start(struct lc_registry *registry) {
  struct lc_etcd *etcd = lc_etcd_of(registry);
  etcd->started = true;
  lc_etcd_wake(etcd);
}

static void enter(struct lc_registry *registry, const char *address, unsigned weight) {
  struct lc_etcd *etcd = lc_etcd_of(registry);
  if (!lc_etcd_is_own(etcd, address))
    etcd->lease = 0; /* with it goes what was registered before */
  snprintf(etcd->address_text, sizeof etcd->address_text, "%s", address);
  etcd->address = etcd->address_text;
  etcd->weight = weight;
  etcd->key_there = false;
  etcd->enter_due_ms = lc_etcd_now(etcd);
  lc_etcd_wake(etcd);
}

static bool entered(const struct lc_registry *registry) {
  return ((const struct lc_etcd *)(const void *)registry)->key_there;
}

static void leave(struct lc_registry *registry, uint64_t timeout_ms, void (*done)(void *arg), void *arg) {
  struct lc_etcd *etcd = lc_etcd_of(registry);
  etcd->leaving = true;
  etcd->leave_fails = 0;
  etcd->leave_due_ms = lc_etcd_now(etcd);
  etcd->leave_deadline_ms = etcd->leave_due_ms + timeout_ms;
  etcd->left = done;
  etcd->left_arg = arg;
  lc_etcd_wake(etcd);
}

static void refresh(struct lc_registry *registry) {
  struct lc_etcd *etcd = lc_etcd_of(registry);
  uint64_t now = lc_etcd_now(etcd), at = etcd->refresh_ms + REFRESH_MS;
  if (etcd->refresh_ms > now)
    return; /* one is to come */
  at = at > now ? at : now;
  etcd->refresh_ms = at;
  etcd->list_again = etcd->list_running;
  etcd->list_due_ms = earlier(etcd->list_due_ms, at);
  etcd->keepalive_due_ms = earlier(etcd->keepalive_due_ms, at);
  lc_etcd_wake(etcd);
}

/* ---- life ---- */

static void free_etcd(struct lc_etcd *etcd) {
  for (size_t i = 0; i < etcd->endpoint_count; i++)
    lc_free(etcd->endpoints[i]);
  lc_free(etcd->endpoints);
  lc_free(etcd->prefix);
  lc_free(etcd->user);
  lc_free(etcd->password);
  lc_free(etcd->ca_file);
  lc_free(etcd->cert_file);
  lc_free(etcd->key_file);
  lc_free(etcd->token);
  lc_buf_fini(&etcd->key_json);
  lc_buf_fini(&etcd->lines);
  lc_etcd_table_free(&etcd->table);
  lc_free(etcd);
}

void lc_etcd_leave_busy(struct lc_etcd *etcd) {
  if (--etcd->busy == 0 && etcd->dead)
    free_etcd(etcd);
}

static void destroy(struct lc_registry *registry) {
  struct lc_etcd *etcd = lc_etcd_of(registry);
  etcd->dead = true;
  etcd->base.handler = (struct lc_registry_handler){0};
  etcd->left = NULL;
  lc_timer_stop(lc_worker_timers(registry->worker), &etcd->timer);
  lc_etcd_watch_stop(etcd);
  lc_etcd_cancel_calls(etcd);
  if (etcd->busy == 0)
    free_etcd(etcd);
}

static const struct lc_registry_ops ops = {start, enter, entered, leave, refresh, destroy};

static int check_endpoint(const char *url, struct lc_err *err) {
  size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
  if (scheme == 0)
    return lc_err_set(err, LC_EINVAL, "%.200s: not a URL of etcd, use http://127.0.0.1:2379", url);
  size_t host = strcspn(url + scheme, "/?#");
  if (memchr(url + scheme, '@', host) != NULL)
    return lc_err_set(err, LC_EINVAL, "a URL of etcd has no user in it: there are options for that");
  const char *rest = url + scheme + host;
  if (host == 0 || host > LC_HOST_SIZE || (strcmp(rest, "") != 0 && strcmp(rest, "/") != 0))
    return lc_err_set(err, LC_EINVAL, "%.200s: not a URL of etcd, use http://127.0.0.1:2379", url);
  return 0;
}

static int check(const struct lc_etcd_config *config, struct lc_err *err) {
  if (config->endpoint_count == 0)
    return lc_err_set(err, LC_EINVAL, "no URL of etcd");
  for (size_t i = 0; i < config->endpoint_count; i++) {
    int rc = check_endpoint(config->endpoints[i], err);
    if (rc != 0)
      return rc;
  }
  if (*config->service == '\0' || strchr(config->service, '/') != NULL)
    return lc_err_set(err, LC_EINVAL, "%.200s: not a service name: it must not be empty, nor have a slash",
                      config->service);
  if (config->lease_ms < LEASE_MIN_MS)
    return lc_err_set(err, LC_EINVAL, "a lease lasts at least 2s");
  return 0;
}

/* False when memory is out. */
static bool copy_text(char **to, const char *from) {
  *to = from != NULL ? lc_strdup(from) : NULL;
  return from == NULL || *to != NULL;
}

static bool copy_endpoints(struct lc_etcd *etcd, const struct lc_etcd_config *config) {
  etcd->endpoints = lc_calloc(config->endpoint_count, sizeof *etcd->endpoints);
  for (size_t i = 0; etcd->endpoints != NULL && i < config->endpoint_count; i++) {
    const char *url = config->endpoints[i];
    size_t len = strlen(url);
    etcd->endpoints[i] = lc_memdup0(url, url[len - 1] == '/' ? len - 1 : len);
    etcd->endpoint_count = i + 1;
    if (etcd->endpoints[i] == NULL)
      return false;
  }
  return etcd->endpoints != NULL;
}

/* All keys that begin with the prefix, and no others: '0' comes after '/'. */
static bool make_range(struct lc_etcd *etcd, const char *service) {
  struct lc_buf from;
  lc_buf_init(&from);
  lc_buf_printf(&from, "/services/%s/", service);
  lc_buf_str(&etcd->key_json, "\"key\":\"");
  lc_base64_encode(lc_buf_slice(&from), &etcd->key_json);
  if (!from.failed) {
    etcd->prefix = lc_memdup0(from.data, from.len);
    from.data[from.len - 1]++;
  }
  lc_buf_str(&etcd->key_json, "\",\"range_end\":\"");
  lc_base64_encode(lc_buf_slice(&from), &etcd->key_json);
  lc_buf_append(&etcd->key_json, "\"", 2);
  lc_buf_fini(&from);
  return !etcd->key_json.failed && etcd->prefix != NULL;
}

static bool copy_config(struct lc_etcd *etcd, const struct lc_etcd_config *config) {
  return copy_endpoints(etcd, config) && make_range(etcd, config->service) && copy_text(&etcd->user, config->user) &&
         copy_text(&etcd->password, config->password) && copy_text(&etcd->ca_file, config->tls.ca_file) &&
         copy_text(&etcd->cert_file, config->tls.cert_file) && copy_text(&etcd->key_file, config->tls.key_file);
}

int lc_registry_etcd_create(const struct lc_etcd_config *config, const struct lc_registry_handler *handler, void *arg,
                            struct lc_registry **out, struct lc_err *err) {
  int rc = check(config, err);
  if (rc != 0)
    return rc;
  struct lc_etcd *etcd = lc_calloc(1, sizeof *etcd);
  if (etcd == NULL)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  etcd->base = (struct lc_registry){.ops = &ops, .worker = config->worker, .handler = *handler, .arg = arg};
  etcd->fetcher = config->fetcher;
  etcd->log = config->log;
  etcd->timer.fire = turn;
  etcd->random = lc_clock_ns() ^ (uint64_t)(uintptr_t)etcd;
  etcd->random |= 1;
  etcd->lease_ms = config->lease_ms;
  etcd->reconcile_ms = config->reconcile_ms != 0 ? config->reconcile_ms : RECONCILE_MS;
  lc_list_init(&etcd->calls);
  if (!copy_config(etcd, config)) {
    free_etcd(etcd);
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  }
  *out = &etcd->base;
  return 0;
}
