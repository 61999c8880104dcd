#include <inttypes.h>

#include "base/clock.h"
#include "registry/etcd.h"

/* Taking this node off: the lease is revoked, and the key goes with it; also one that a put under way would write. */

static void finish(struct lc_etcd *etcd, bool off) {
  void (*left)(void *arg) = etcd->left;
  if (etcd->address != NULL)
    lc_log_event(etcd->log, off ? LC_LOG_INFO : LC_LOG_WARN,
                 off ? "registration ended" : "registration left to its lease", LC_F_STR("address", etcd->address));
  etcd->address = NULL;
  etcd->lease = 0;
  etcd->key_there = etcd->leaving = false;
  etcd->left = NULL;
  if (left != NULL)
    left(etcd->left_arg);
}

static void on_revoked(struct lc_etcd_call *call, const struct lc_etcd_reply *reply) {
  struct lc_etcd *etcd = call->etcd;
  etcd->revoke_running = false;
  if (!etcd->leaving || call->lease != etcd->lease)
    return;
  if (reply->outcome == LC_ETCD_ANSWERED || reply->outcome == LC_ETCD_NO_LEASE) {
    finish(etcd, true);
    return;
  }
  if (reply->outcome == LC_ETCD_AGAIN)
    return;
  lc_etcd_next_endpoint(etcd, call->endpoint);
  etcd->leave_fails++;
  etcd->leave_due_ms = lc_etcd_now(etcd) + lc_etcd_backoff(etcd, etcd->leave_fails);
}

static void send_revoke(struct lc_etcd *etcd) {
  struct lc_buf body;
  lc_buf_init(&body);
  lc_buf_printf(&body, "{\"ID\":\"%" PRId64 "\"}", etcd->lease);
  struct lc_etcd_call *call = lc_etcd_send(etcd, "/v3/lease/revoke", &body, on_revoked);
  etcd->revoke_running = call != NULL;
  if (call != NULL) {
    call->lease = etcd->lease;
  } else {
    etcd->leave_due_ms = lc_etcd_now(etcd) + lc_etcd_backoff(etcd, 1);
  }
}

uint64_t lc_etcd_leave_due(const struct lc_etcd *etcd) {
  if (!etcd->leaving)
    return LC_TIME_NEVER;
  bool waits = etcd->revoke_running || lc_etcd_needs_token(etcd) || etcd->leave_due_ms > etcd->leave_deadline_ms;
  return waits ? etcd->leave_deadline_ms : etcd->leave_due_ms;
}

void lc_etcd_leave_tend(struct lc_etcd *etcd) {
  uint64_t now = lc_etcd_now(etcd);
  if (!etcd->leaving)
    return;
  if (etcd->lease == 0 || now >= etcd->leave_deadline_ms) {
    finish(etcd, etcd->lease == 0);
  } else if (!etcd->revoke_running && now >= etcd->leave_due_ms && !lc_etcd_needs_token(etcd)) {
    send_revoke(etcd);
  }
}
