/*
 * Whether stored copies may be served. README.md ("The fence") has the argument; in short: nothing is served unless all
 * threads were alive within the last 500 ms, because peers give a node up after 750 ms of silence. After a gap every
 * peer that was in contact has to be heard first, or all copies go.
 */
#include <string.h>

#include "base/alloc.h"
#include "cluster/internal.h"

#define BEAT_MS 100u
#define FENCED_LOOK_MS 10u /* while fenced */
#define CONTACT_SLACK_MS 1000u
#define RING_LOOK_MS 100u /* while only the rings differ */

/* Values of verified_ms that are no time. */
#define NOT_VERIFIED 0u
#define ALONE UINT64_MAX /* never in contact with anybody: nobody could have waited for us */

struct lc_fence {
  _Atomic uint64_t verified_ms; /* all threads were alive then */
  _Atomic uint64_t gap_ms;      /* some worker's beat came so late; 0: none */
  _Atomic uint64_t replaced_ms; /* when another process last took a peer's place */
  struct lc_task check;
  atomic_bool check_posted;
  atomic_bool cut_off; /* some peer's cut_off is set */

  /* The control thread's. */
  struct lc_cluster *cluster;
  struct lc_timer again;
  uint64_t *given_up;  /* by worker: the beat at which it was left out; 0: it isn't */
  uint64_t looked_ms;  /* when all beats were last read; 0: never */
  bool raised, asking; /* fenced; and the peers have been asked since the last gap */
  bool stalled;        /* fenced for a gap, not only because others had given us up */
  uint64_t before_ms;  /* the stall can't have begun earlier */
  uint64_t since_ms;   /* raised, or raised again after another stop of the process */
  uint64_t asked_ms;   /* the peers */
  size_t asked;        /* how many of them */
};

static void run_check(struct lc_task *task);
static void on_again(struct lc_timer *timer);

int lc_fence_create(struct lc_cluster *cluster) {
  struct lc_fence *fence = lc_calloc(1, sizeof *fence);
  uint64_t *given_up = lc_calloc(cluster->workers, sizeof *given_up);
  if (!fence || !given_up) {
    lc_free(fence);
    lc_free(given_up);
    return LC_ENOMEM;
  }
  atomic_init(&fence->verified_ms, ALONE);
  fence->cluster = cluster;
  fence->given_up = given_up;
  fence->check.run = run_check;
  fence->again.fire = on_again;
  cluster->fence = fence;
  return LC_OK;
}

void lc_fence_destroy(struct lc_fence *fence) {
  if (!fence)
    return;
  lc_free(fence->given_up);
  lc_free(fence);
}

/* ---- on the workers ---- */

bool lc_fence_fresh(void *ctx, unsigned worker) {
  struct lc_cluster *cluster = ctx;
  (void)worker;
  uint64_t verified_ms = atomic_load_explicit(&cluster->fence->verified_ms, memory_order_acquire);
  return verified_ms == ALONE || (verified_ms != NOT_VERIFIED && lc_clock_ms() <= verified_ms + LC_STALL_MS);
}

/* Those who wait again are not looked at twice in one go. */
static void unpark(struct lc_cluster_worker *worker) {
  struct lc_list parked, *link;
  if (lc_list_empty(&worker->parked) || !lc_fence_fresh(worker->cluster, worker->index))
    return;
  lc_list_init(&parked);
  lc_list_splice_back(&parked, &worker->parked);
  while ((link = lc_list_pop_front(&parked))) {
    struct lc_peer_fresh *fresh = lc_container_of(link, struct lc_peer_fresh, link);
    fresh->done(fresh);
  }
}

static void run_unpark(struct lc_task *task) {
  struct lc_cluster_worker *worker = lc_container_of(task, struct lc_cluster_worker, unpark);
  atomic_store(&worker->unpark_posted, false);
  unpark(worker);
}

static void post_unpark(struct lc_cluster_worker *worker) {
  const struct lc_exec *exec = worker->cluster->exec;
  if (atomic_load(&worker->beat_ms) == 0 || atomic_exchange(&worker->unpark_posted, true))
    return;
  worker->unpark.run = run_unpark;
  exec->post(exec->ctx, worker->index, &worker->unpark);
}

void lc_fence_wait(void *ctx, unsigned worker, struct lc_peer_fresh *fresh) {
  struct lc_cluster *cluster = ctx;
  lc_list_push_back(&cluster->worker[worker].parked, &fresh->link);
  if (lc_fence_fresh(cluster, worker))
    post_unpark(&cluster->worker[worker]);
}

static void start_beat(struct lc_cluster_worker *worker) {
  lc_timer_start(lc_worker_timers(worker->worker), &worker->beat, lc_worker_now_ms(worker->worker) + BEAT_MS);
}

/* The gap is told of before the beat that ends it. */
static void on_beat(struct lc_timer *timer) {
  struct lc_cluster_worker *worker = lc_container_of(timer, struct lc_cluster_worker, beat);
  uint64_t now_ms = lc_clock_ms();
  uint64_t gap_ms = now_ms - atomic_load_explicit(&worker->beat_ms, memory_order_relaxed);
  if (gap_ms > LC_STALL_MS)
    atomic_store(&worker->cluster->fence->gap_ms, gap_ms);
  atomic_store(&worker->beat_ms, now_ms);
  start_beat(worker);
  unpark(worker);
}

/* The control thread's looks are its beat. */
void lc_fence_open(struct lc_cluster *cluster, unsigned index) {
  struct lc_cluster_worker *worker = &cluster->worker[index];
  if (index == cluster->workers)
    return;
  worker->beat.fire = on_beat;
  atomic_store(&worker->beat_ms, lc_clock_ms());
  start_beat(worker);
}

void lc_fence_close(struct lc_cluster *cluster, unsigned index) {
  struct lc_cluster_worker *worker = &cluster->worker[index];
  atomic_store(&worker->beat_ms, 0);
  lc_timer_stop(lc_worker_timers(worker->worker), &worker->beat);
  while (lc_list_pop_front(&worker->parked))
    ;
  if (index == cluster->workers)
    lc_timer_stop(lc_worker_timers(worker->worker), &cluster->fence->again);
}

void lc_fence_contact(struct lc_cluster *cluster, bool replaced) {
  struct lc_fence *fence = cluster->fence;
  uint64_t now_ms = lc_clock_ms(), alone = ALONE;
  atomic_compare_exchange_strong(&fence->verified_ms, &alone, now_ms);
  if (replaced)
    atomic_store(&fence->replaced_ms, now_ms);
}

/* ---- on the control thread: looking ---- */

/* The earliest beat, of those workers that are open and not given up. */
static uint64_t earliest_beat(struct lc_fence *fence) {
  struct lc_cluster *cluster = fence->cluster;
  uint64_t earliest = LC_TIME_NEVER;
  for (unsigned i = 0; i < cluster->workers; i++) {
    uint64_t beat_ms = atomic_load(&cluster->worker[i].beat_ms);
    if (beat_ms == 0 || beat_ms == fence->given_up[i])
      continue;
    fence->given_up[i] = 0;
    earliest = beat_ms < earliest ? beat_ms : earliest;
  }
  return earliest;
}

struct look {
  uint64_t now_ms, alive_ms; /* all were alive at alive_ms */
  uint64_t gap_ms;           /* somebody stood still for so long; at most LC_STALL_MS: nobody did */
  bool stuck;                /* a worker does so still */
  bool late;                 /* this thread did, and so perhaps all */
};

/* The beats are read before the clock: whatever happens in between counts as a gap, and no beat after one is believed
 * before the gap is known. */
static struct look look(struct lc_fence *fence) {
  struct look look = {.alive_ms = earliest_beat(fence)};
  look.gap_ms = atomic_exchange(&fence->gap_ms, 0);
  look.now_ms = lc_clock_ms();
  if (look.alive_ms > look.now_ms)
    look.alive_ms = look.now_ms;
  uint64_t since_ms = fence->looked_ms != 0 && fence->looked_ms < look.alive_ms ? fence->looked_ms : look.alive_ms;
  if (look.gap_ms < look.now_ms - since_ms)
    look.gap_ms = look.now_ms - since_ms;
  look.stuck = look.now_ms - look.alive_ms > LC_STALL_MS;
  look.late = fence->looked_ms != 0 && look.now_ms - fence->looked_ms > LC_STALL_MS;
  fence->looked_ms = look.now_ms;
  return look;
}

static void verify(struct lc_fence *fence, const struct look *seen) {
  struct lc_cluster *cluster = fence->cluster;
  uint64_t before_ms = atomic_load(&fence->verified_ms);
  /* lc_fence_cut_off sets its flag, then the time: one of the two is seen here, or the exchange fails. */
  if (before_ms == ALONE || atomic_load(&fence->cut_off) ||
      !atomic_compare_exchange_strong(&fence->verified_ms, &before_ms, seen->alive_ms))
    return;
  if (atomic_load(&fence->cut_off)) {
    atomic_store(&fence->verified_ms, NOT_VERIFIED); /* it came in between, while the time was that already */
    return;
  }
  if (seen->now_ms <= before_ms + LC_STALL_MS)
    return;
  for (unsigned i = 0; i < cluster->workers; i++)
    post_unpark(&cluster->worker[i]);
}

/* ---- the fence ---- */

/* Its writes waited for us before the stall, as far as we know. */
static bool was_in_contact(const struct lc_fence *fence, const struct lc_peer *peer) {
  return peer->connected || atomic_load(&peer->waited) ||
         (peer->in_contact && peer->lost_ms + CONTACT_SLACK_MS >= fence->before_ms);
}

static void ask(struct lc_fence *fence, struct lc_peer *peer) {
  peer->fence_answered = false;
  peer->fence_asked = was_in_contact(fence, peer);
  if (!peer->fence_asked)
    return;
  fence->asked++;
  peer->fence_stale = !peer->connected && peer->hello_call;
  if (peer->connected)
    lc_control_hello(peer);
  else
    lc_control_look(fence->cluster, peer);
}

static void ask_all(struct lc_fence *fence, uint64_t now_ms) {
  struct lc_view *view = lc_view_acquire(fence->cluster);
  fence->asking = true;
  fence->asked_ms = now_ms;
  fence->asked = 0;
  for (size_t i = 0; i < view->peer_count; i++)
    ask(fence, view->peers[i]);
  lc_view_unref(view);
}

/* Who is gone from the view isn't counted, and so never up to date. */
static bool all_applied(struct lc_fence *fence) {
  struct lc_view *view = lc_view_acquire(fence->cluster);
  size_t done = 0;
  for (size_t i = 0; i < view->peer_count; i++) {
    const struct lc_peer *peer = view->peers[i];
    done += peer->fence_asked && peer->fence_answered &&
            atomic_load_explicit(&peer->applied, memory_order_acquire) >= peer->fence_head;
  }
  lc_view_unref(view);
  return done == fence->asked;
}

/* Whether they have the ring that we have. Else a node may have come meanwhile that we don't know, nor it us: it owns
 * and writes keys that we take for our own. */
static bool same_ring(struct lc_fence *fence) {
  struct lc_view *view = lc_view_acquire(fence->cluster);
  bool same = true;
  for (size_t i = 0; same && i < view->peer_count; i++) {
    const struct lc_peer *peer = view->peers[i];
    if (peer->fence_asked && peer->fence_ring != 0 && lc_ring_find(view->now->ring, peer->name) != LC_RING_NONE)
      same = peer->fence_ring == lc_ring_id(view->now->ring);
  }
  lc_view_unref(view);
  return same;
}

/* True if it was not raised before: somebody has to say why it is. */
static bool raise_for(struct lc_fence *fence, uint64_t now_ms, uint64_t before_ms) {
  bool raised = fence->raised;
  fence->asking = false;
  fence->raised = true;
  if (!raised) {
    fence->since_ms = now_ms;
    fence->before_ms = before_ms;
    fence->stalled = false;
  } else if (before_ms < fence->before_ms) {
    fence->before_ms = before_ms;
  }
  atomic_store(&fence->verified_ms, NOT_VERIFIED);
  return !raised;
}

static void raise_fence(struct lc_fence *fence, const struct look *seen) {
  if (raise_for(fence, seen->now_ms, seen->now_ms - seen->gap_ms))
    lc_log_event(fence->cluster->config.log, LC_LOG_WARN, "stood still", LC_F_INT("ms", seen->gap_ms));
  if (seen->late)
    fence->since_ms = seen->now_ms;
  fence->stalled = true;
}

/* Since when the peers that gave us up may have done so; takes their flags. */
static uint64_t cut_off_since(struct lc_fence *fence, uint64_t now_ms) {
  struct lc_view *view = lc_view_acquire(fence->cluster);
  uint64_t since_ms = now_ms;
  for (size_t i = 0; i < view->peer_count; i++) {
    const struct lc_peer *peer = view->peers[i];
    if (atomic_exchange(&view->peers[i]->cut_off, false) && peer->lost_ms != 0 && peer->lost_ms < since_ms)
      since_ms = peer->lost_ms;
  }
  lc_view_unref(view);
  return since_ms > LC_SILENCE_MS ? since_ms - LC_SILENCE_MS : 0;
}

static void raise_cut_off(struct lc_fence *fence, const struct look *seen) {
  uint64_t since_ms = cut_off_since(fence, seen->now_ms);
  if (raise_for(fence, seen->now_ms, since_ms))
    lc_log_event(fence->cluster->config.log, LC_LOG_WARN, "was given up by others",
                 LC_F_INT("ms", seen->now_ms - since_ms));
}

static void lift(struct lc_fence *fence, const struct look *seen) {
  fence->raised = fence->asking = false;
  lc_log_event(fence->cluster->config.log, LC_LOG_INFO, "serves stored copies again",
               LC_F_INT("after_ms", seen->now_ms - fence->since_ms));
  verify(fence, seen);
}

/* Who is stuck is left out until it beats again, which raises the fence anew. */
static void give_up_stuck(struct lc_fence *fence, const struct look *seen) {
  struct lc_cluster *cluster = fence->cluster;
  for (unsigned i = 0; i < cluster->workers; i++) {
    uint64_t beat_ms = atomic_load(&cluster->worker[i].beat_ms);
    if (beat_ms != 0 && beat_ms + LC_STALL_MS < seen->now_ms)
      fence->given_up[i] = beat_ms;
  }
}

/* Whatever was missed, no copy is left that it could be about. Dropping may take long, and that is no gap; who is
 * stopped meanwhile says so by its beat, or by having none. */
static void drop_and_lift(struct lc_fence *fence, const struct look *seen, const char *why) {
  give_up_stuck(fence, seen);
  lc_apply_drop_all(fence->cluster, why);
  fence->looked_ms = lc_clock_ms();
  struct look after = look(fence);
  fence->raised = false;
  if (after.gap_ms > LC_STALL_MS)
    raise_fence(fence, &after);
  else
    lift(fence, &after);
}

/* What they say of their rings changes when they have taken us on again. */
static void ask_again(struct lc_fence *fence, const struct look *seen, bool heard) {
  if (heard && seen->now_ms - fence->asked_ms >= RING_LOOK_MS)
    ask_all(fence, seen->now_ms);
}

/* All that may happen next, while fenced. */
static void go_on(struct lc_fence *fence, const struct look *seen) {
  if (!fence->asking && !seen->stuck)
    ask_all(fence, seen->now_ms);
  bool heard = fence->asking && all_applied(fence);
  bool replaced = fence->stalled && atomic_load(&fence->replaced_ms) >= fence->before_ms;
  if (fence->asking && replaced)
    drop_and_lift(fence, seen, "stood still, and another node was restarted meanwhile");
  else if (heard && same_ring(fence))
    lift(fence, seen);
  else if (seen->now_ms - fence->since_ms < LC_FENCE_MAX_MS)
    ask_again(fence, seen, heard);
  else if (!fence->stalled)
    lift(fence, seen); /* still cut off from somebody: each side goes on for itself, and loss.c keeps the account */
  else
    drop_and_lift(fence, seen, "stood still, and could not be brought up to date in time");
}

static void step(struct lc_fence *fence) {
  struct lc_cluster *cluster = fence->cluster;
  bool cut_off = atomic_exchange(&fence->cut_off, false);
  struct look seen = look(fence);
  if (cut_off)
    raise_cut_off(fence, &seen);
  if (seen.gap_ms > LC_STALL_MS && atomic_load(&fence->verified_ms) != ALONE)
    raise_fence(fence, &seen);
  if (fence->raised)
    go_on(fence, &seen);
  else
    verify(fence, &seen);
  if (fence->raised)
    lc_timer_start(lc_worker_timers(cluster->control), &fence->again,
                   lc_cluster_now(cluster, cluster->workers) + FENCED_LOOK_MS);
}

static void on_again(struct lc_timer *timer) {
  struct lc_fence *fence = lc_container_of(timer, struct lc_fence, again);
  if (fence->raised)
    step(fence);
}

void lc_fence_tick(struct lc_cluster *cluster) {
  step(cluster->fence);
  lc_deliver_run(cluster);
}

/* ---- news ---- */

static void run_check(struct lc_task *task) {
  struct lc_fence *fence = lc_container_of(task, struct lc_fence, check);
  atomic_store(&fence->check_posted, false);
  if (fence->raised || atomic_load(&fence->cut_off))
    step(fence);
}

static void post_check(struct lc_cluster *cluster) {
  struct lc_fence *fence = cluster->fence;
  if (cluster->control && !atomic_exchange(&fence->check_posted, true))
    lc_worker_post(cluster->control, &fence->check);
}

void lc_fence_cut_off(struct lc_cluster *cluster, struct lc_peer *peer) {
  struct lc_fence *fence = cluster->fence;
  if (atomic_load(&fence->verified_ms) == ALONE)
    return;
  atomic_store(&peer->cut_off, true);
  atomic_store(&fence->cut_off, true);
  atomic_store(&fence->verified_ms, NOT_VERIFIED);
  post_check(cluster);
}

void lc_fence_greeted(struct lc_peer *peer, const struct lc_msg_hello_response *reply) {
  struct lc_fence *fence = peer->cluster->fence;
  if (!fence->raised || !fence->asking || !peer->fence_asked)
    return;
  if (peer->fence_stale) {
    peer->fence_stale = false;
    lc_control_hello(peer);
    return;
  }
  peer->fence_head = reply->head;
  peer->fence_ring = reply->ring;
  peer->fence_answered = true;
  lc_fence_applied(peer->cluster);
}

void lc_fence_applied(struct lc_cluster *cluster) {
  if (atomic_load(&cluster->fence->verified_ms) == NOT_VERIFIED)
    post_check(cluster);
}
