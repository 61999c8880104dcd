/*
 * A Set or Delete in a cluster:
 *
 *   we own the key, and aren't behind -> change it here, then WAIT until every node that is up has heard of it
 *   another node forwarded it to us   -> refused, LC_ENOTOWNER
 *   another node owns it              -> REMOTE: asked to write it; OK, or its failure, is the answer
 *   nobody takes it: rings differ, or this node stood still and may have missed writes
 *                                     -> BACK_OFF, then again from the top, with the ring of then
 *
 * One timer is the deadline of it all, another that of BACK_OFF. All of it happens on the write's worker.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "group/write.h"

#define BACK_OFF_MIN_MS 10u
#define BACK_OFF_MAX_MS 200u

enum state { REMOTE, BACK_OFF, WAIT };

struct lc_write_op {
  struct lc_write *write;
  struct lc_change change; /* with key in `bytes`; its item is this object's */
  enum state state;
  uint64_t deadline_ms, back_off_ms;
  struct lc_timer deadline, again;
  int code; /* WAIT: what the change itself came to */
  union {
    struct lc_peer_write remote;
    struct lc_peer_wait wait;
  };
  uint8_t bytes[];
};

static const struct lc_peers *peers_of(const struct lc_write_op *op) {
  return op->change.group->groups->peers;
}

static struct lc_timers *timers_of(const struct lc_write_op *op) {
  const struct lc_exec *exec = op->change.group->groups->exec;
  return exec->timers(exec->ctx, op->write->worker);
}

static void op_free(struct lc_write_op *op) {
  lc_item_unref(op->change.item);
  lc_free(op);
}

/* The write is over; its caller is not told. */
static void drop_op(struct lc_write_op *op, int code) {
  struct lc_write *write = op->write;
  lc_timer_stop(timers_of(op), &op->deadline);
  lc_timer_stop(timers_of(op), &op->again);
  write->code = code;
  write->op = NULL;
  op_free(op);
}

static void finish(struct lc_write_op *op, int code) {
  struct lc_write *write = op->write;
  drop_op(op, code);
  write->done(write);
}

static void on_known(struct lc_peer_wait *wait) {
  struct lc_write_op *op = lc_container_of(wait, struct lc_write_op, wait);
  finish(op, op->code);
}

/* Also after a refused Set: the old value must go everywhere. */
static int change_here(struct lc_write_op *op) {
  const struct lc_peers *peers = peers_of(op);
  uint64_t seq;
  op->code = lc_write_commit(&op->change, op->write, &seq);
  op->wait = (struct lc_peer_wait){.seq = seq, .worker = op->write->worker, .done = on_known};
  if (peers->wait(peers->ctx, &op->wait) != LC_PENDING)
    return op->code;
  op->state = WAIT;
  return LC_PENDING;
}

static int unreachable(struct lc_write_op *op) {
  const struct lc_peers *peers = peers_of(op);
  char owner[LC_NODE_ADDRESS_SIZE];
  if (op->remote.owner[0])
    snprintf(owner, sizeof owner, "%s", op->remote.owner);
  else
    peers->owner(peers->ctx, op->change.group->name, op->change.key, owner);
  return lc_err_set(&op->write->err, LC_EUNAVAILABLE,
                    "owner %s can't be reached; the write may or may not have happened", owner);
}

static int back_off(struct lc_write_op *op) {
  const struct lc_peers *peers = peers_of(op);
  peers->refresh(peers->ctx);
  op->back_off_ms = op->back_off_ms == 0 ? BACK_OFF_MIN_MS : op->back_off_ms * 2;
  if (op->back_off_ms > BACK_OFF_MAX_MS)
    op->back_off_ms = BACK_OFF_MAX_MS;
  op->state = BACK_OFF;
  lc_timer_start(timers_of(op), &op->again, lc_group_now(op->change.group, op->write->worker) + op->back_off_ms);
  return LC_PENDING;
}

/*
 * LC_PENDING, or the code of the whole write. Who wrote here must not be answered here by what was before, even if the
 * owner has given this node up and told it nothing.
 */
static int take_answer(struct lc_write_op *op) {
  const struct lc_peer_write *answer = &op->remote;
  switch (answer->outcome) {
  case LC_PEER_OK:
    op->write->deleted = answer->deleted;
    lc_group_forget(op->change.group, op->change.key, op->write->worker);
    return LC_OK;
  case LC_PEER_NOT_OWNER:
    return back_off(op);
  case LC_PEER_FAILED:
    return lc_err_set(&op->write->err, answer->code < 0 ? answer->code : LC_EINTERNAL, "%.*s",
                      (int)(answer->message.len < LC_ERR_MSG_SIZE ? answer->message.len : LC_ERR_MSG_SIZE),
                      answer->message.ptr ? (const char *)answer->message.ptr : "");
  default:
    return unreachable(op);
  }
}

static void on_answer(struct lc_peer_write *remote) {
  struct lc_write_op *op = lc_container_of(remote, struct lc_write_op, remote);
  int code = take_answer(op);
  if (code != LC_PENDING)
    finish(op, code);
}

static int ask_owner(struct lc_write_op *op) {
  const struct lc_peers *peers = peers_of(op);
  op->remote = (struct lc_peer_write){
      .group = op->change.group->name,
      .key = op->change.key,
      .worker = op->write->worker,
      .item = op->change.item,
      .ttl_ms = op->write->ttl_ms,
      .deadline_ms = op->deadline_ms,
      .done = on_answer,
  };
  int rc = peers->write(peers->ctx, &op->remote);
  switch (rc) {
  case LC_PENDING:
    op->state = REMOTE;
    return rc;
  case LC_ENOTOWNER:
    return back_off(op);
  case LC_EUNAVAILABLE:
    return unreachable(op);
  case LC_ENOMEM:
    return lc_err_set(&op->write->err, rc, "out of memory");
  default:
    return lc_err_set(&op->write->err, rc, "too many requests wait for the key's owner");
  }
}

static bool may_change_here(const struct lc_group *group, unsigned worker, struct lc_slice key) {
  return lc_group_owns(group, worker, key) && lc_groups_fresh(group->groups, worker);
}

static int refuse(struct lc_write *write) {
  return lc_err_set(&write->err, LC_ENOTOWNER, "this node doesn't own the key by its own ring, or stood still");
}

static int attempt(struct lc_write_op *op) {
  unsigned worker = op->write->worker;
  if (may_change_here(op->change.group, worker, op->change.key))
    return change_here(op);
  if (op->write->forwarded) /* only its sender sends it on */
    return refuse(op->write);
  if (lc_group_owns(op->change.group, worker, op->change.key))
    return back_off(op);
  return ask_owner(op);
}

static void on_again(struct lc_timer *timer) {
  struct lc_write_op *op = lc_container_of(timer, struct lc_write_op, again);
  int code = attempt(op);
  if (code != LC_PENDING)
    finish(op, code);
}

/* False: the end is on its way. */
static bool stop(struct lc_write_op *op) {
  const struct lc_peers *peers = peers_of(op);
  if (op->state == WAIT)
    return peers->cancel_wait(peers->ctx, &op->wait);
  if (op->state == REMOTE)
    peers->cancel_write(peers->ctx, &op->remote);
  return true;
}

static void on_deadline(struct lc_timer *timer) {
  struct lc_write_op *op = lc_container_of(timer, struct lc_write_op, deadline);
  bool untaken = op->state == BACK_OFF;
  if (!stop(op))
    return;
  const char *how = untaken ? "no node took it for its own" : "it may or may not have happened";
  finish(op, lc_err_set(&op->write->err, LC_EDEADLINE, "the write timed out; %s", how));
}

static uint64_t deadline_of(const struct lc_group *group, const struct lc_write *write) {
  uint64_t own_ms = lc_group_expiry(lc_group_now(group, write->worker), group->options.timeout_ms);
  return write->deadline_ms > 0 && write->deadline_ms < own_ms ? write->deadline_ms : own_ms;
}

static struct lc_write_op *op_create(struct lc_group *group, struct lc_write *write, bool set) {
  struct lc_item *item = set ? lc_write_item(group, write) : NULL;
  struct lc_write_op *op = lc_malloc(sizeof *op + write->key.len);
  if (!op || (set && !item)) {
    lc_item_unref(item);
    lc_free(op);
    return NULL;
  }
  *op = (struct lc_write_op){
      .write = write,
      .change = {.group = group, .set = set, .value_len = set ? write->value.len : 0, .item = item},
      .deadline_ms = deadline_of(group, write),
      .deadline.fire = on_deadline,
      .again.fire = on_again,
  };
  memcpy(op->bytes, write->key.ptr, write->key.len);
  op->change.key = lc_slice_of(op->bytes, write->key.len);
  return op;
}

int lc_write_start(struct lc_group *group, struct lc_write *write, bool set) {
  if (write->forwarded && !may_change_here(group, write->worker, write->key))
    return refuse(write);
  struct lc_write_op *op = op_create(group, write, set);
  if (!op)
    return lc_err_set(&write->err, LC_ENOMEM, "out of memory");
  int code = attempt(op);
  if (code != LC_PENDING) {
    op_free(op);
    return code;
  }
  write->op = op;
  lc_timer_start(timers_of(op), &op->deadline, op->deadline_ms);
  return LC_PENDING;
}

bool lc_write_cancel(struct lc_groups *groups, struct lc_write *write) {
  (void)groups;
  struct lc_write_op *op = write->op;
  if (!op || !stop(op))
    return false;
  lc_err_set(&write->err, LC_ECANCELLED, "cancelled");
  drop_op(op, LC_ECANCELLED);
  return true;
}
