/*
 * The steps of a load that ask another node. FORWARD: the key's owner; value, not found and failure are answers for the
 * waiters, and only a node that can't be reached, or can't answer, makes this node load the key itself. PEEK: this node
 * owns the key; a previous owner's copy saves the getter's run.
 */
#include "group/load.h"

/* Per group: what bounds the Gets that wait for other nodes, where max_loads bounds the getters. */
#define REMOTE_MAX 65536u

static bool admit(struct lc_load *load) {
  struct lc_group *group = load->group;
  if (atomic_fetch_add_explicit(&group->remote_now, 1, memory_order_relaxed) >= REMOTE_MAX) {
    atomic_fetch_sub_explicit(&group->remote_now, 1, memory_order_relaxed);
    return false;
  }
  load->counted_remote = true;
  return true;
}

void lc_remote_uncount(struct lc_load *load) {
  if (load->counted_remote)
    atomic_fetch_sub_explicit(&load->group->remote_now, 1, memory_order_relaxed);
  load->counted_remote = false;
}

/* What is left counts from when the request was sent: late rather than early. */
static void take_value(struct lc_load *load, const struct lc_peer_get *answer) {
  bool forward = load->step == LC_STEP_FORWARD;
  uint64_t ttl_ms = answer->ttl_ms > 0 ? (uint64_t)answer->ttl_ms : 0;
  load->keep = !forward || (answer->keep && load->hot && load->group->options.mirror_ttl_ms > 0);
  load->from = LC_FROM_PEER;
  lc_load_set_item(load, answer->value, lc_group_expiry(load->sent_ms, ttl_ms));
}

/* True: the load has its result. */
static bool take_answer(struct lc_load *load, const struct lc_peer_get *answer) {
  bool forward = load->step == LC_STEP_FORWARD;
  if (answer->outcome == LC_PEER_VALUE) {
    take_value(load, answer);
    return true;
  }
  if (forward && answer->outcome == LC_PEER_NOT_FOUND) {
    lc_load_set_not_found(load);
    return true;
  }
  if (forward && answer->outcome == LC_PEER_FAILED) {
    lc_load_set_error(load, answer->code, (const char *)answer->message.ptr, answer->message.len);
    load->logged = true;
    return true;
  }
  return false;
}

static void count_answer(const struct lc_load *load, bool answered) {
  struct lc_counters *counters = lc_group_counters(load->group, load->worker);
  if (load->step == LC_STEP_FORWARD && !answered)
    lc_count(&counters->forward_fails);
  if (load->step == LC_STEP_PEEK && answered)
    lc_count(&counters->peek_hits);
}

static void on_answer(struct lc_peer_get *answer) {
  struct lc_load *load = lc_container_of(answer, struct lc_load, remote);
  bool answered = take_answer(load, answer);
  count_answer(load, answered);
  if (answered)
    lc_load_done(load);
  else
    lc_load_fall_back(load);
}

static int ask(struct lc_load *load) {
  const struct lc_peers *peers = load->group->groups->peers;
  struct lc_flight_name names[LC_FLIGHT_MAX_DEPTH + 1];
  load->remote = (struct lc_peer_get){
      .group = lc_load_group(load),
      .key = lc_load_key(load),
      .worker = load->worker,
      .peek = load->step == LC_STEP_PEEK,
      .refresh = load->refresh,
      .deadline_ms = load->deadline_ms,
      .lineage = names,
      .lineage_count = lc_flight_lineage(load->flight, names) - 1, /* the last is this key itself */
      .done = on_answer,
  };
  int rc = peers->get(peers->ctx, &load->remote);
  load->remote.lineage = NULL;
  return rc;
}

/* Counted as sent, and for the key's rate, whatever comes of it. */
static void count_start(struct lc_load *load) {
  struct lc_groups *groups = load->group->groups;
  struct lc_counters *counters = lc_group_counters(load->group, load->worker);
  if (load->step == LC_STEP_PEEK) {
    lc_count(&counters->peeks);
    return;
  }
  lc_count(&counters->forwards);
  /* The hash is the key's alone: groups are told apart by their index. */
  uint64_t hash = load->hash ^ (load->group->index * UINT64_C(0x9e3779b97f4a7c15));
  load->hot = groups->heat && lc_heat_add(groups->heat, hash, load->sent_ms);
}

int lc_remote_begin(struct lc_load *load) {
  if (!admit(load)) {
    lc_count(&lc_group_counters(load->group, load->worker)->refused);
    lc_load_set_static(load, LC_EEXHAUSTED, "too many Gets wait for other nodes: try again later");
    return LC_OK;
  }
  load->sent_ms = lc_group_now(load->group, load->worker);
  int rc = ask(load);
  if (rc == LC_PENDING) {
    count_start(load);
    return rc;
  }
  lc_remote_uncount(load);
  if (rc == LC_EUNAVAILABLE || load->step == LC_STEP_PEEK) {
    if (load->step == LC_STEP_FORWARD) {
      count_start(load);
      count_answer(load, false);
    }
    return LC_EUNAVAILABLE;
  }
  lc_load_set_static(load, rc, rc == LC_ENOMEM ? "out of memory" : "too many requests wait for the key's owner");
  return LC_OK;
}

void lc_remote_cancel(struct lc_load *load) {
  const struct lc_peers *peers = load->group->groups->peers;
  peers->cancel_get(peers->ctx, &load->remote);
}
