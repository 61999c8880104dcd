#ifndef LC_CLUSTER_INTERNAL_H
#define LC_CLUSTER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/hash.h"
#include "cluster/cluster.h"
#include "registry/registry.h"
#include "ring/ring.h"
#include "rpc/client.h"
#include "wire/msg_peer.h"

/*
 * What the files of this folder share. Threads: data workers 0 to workers-1, and the control thread, whose index is
 * `workers`. Lock order: cluster->lock, then a peer's apply_lock, then the log's lock; flight, then the log's lock.
 * Nothing is called with cluster->lock held that may take a flight's lock, and whoever holds an apply_lock or a
 * flight's lock never takes cluster->lock. cluster->view_lock is the last of all: lc_cluster_view may be called under
 * any lock.
 */
#define LC_PROTOCOL 1u
#define LC_PING_MS 250u
#define LC_SILENCE_MS 750u
#define LC_STALL_MS 500u /* a loop that stood still for longer: no stored copy until brought up to date */
#define LC_FENCE_MAX_MS 1000u
#define LC_PEEK_MS 100u
#define LC_PREVIOUS_MS 300000u /* how long a previous owner is asked after a change of the ring */
#define LC_PREVIOUS_MAX 3u

/* ---- peer.c: another node, under one address ---- */

enum lc_peer_state {
  LC_PEER_DOWN,    /* writes don't wait for it, nothing is forwarded to it */
  LC_PEER_SYNCING, /* in contact; it is being told what it missed. Writes wait for it */
  LC_PEER_UP,
};

struct lc_peer {
  atomic_uint refs;
  struct lc_cluster *cluster;
  unsigned slot;                   /* index into each worker's links; no two living peers have the same */
  char name[LC_NODE_ADDRESS_SIZE]; /* on the ring: as it advertises itself, or as listed until its first Hello */
  struct lc_address address;       /* where it is dialled */

  /* Read by any thread. */
  _Atomic uint64_t process; /* 0: not known; a change publishes a new view */
  atomic_int state;         /* enum lc_peer_state; the control thread's to change */
  atomic_bool leaving;      /* it said so; until another process speaks for its address */
  atomic_bool waited;       /* writes wait for it; changes under the log's lock */
  atomic_bool gave_up;      /* they did, and then no more: the process is to be told so before it counts as up */
  atomic_bool cut_off;      /* the process said that it had given us up: the fence asks since when */
  atomic_bool gave_us_up;   /* the same, for loss.c */
  atomic_bool parted;       /* the process before had said that it leaves: nothing of it is lost */

  /* Its log, as applied here (apply.c). */
  pthread_mutex_t apply_lock;
  _Atomic uint64_t applied; /* of `process`; changes under apply_lock */

  /* Our log, as delivered there (deliver.c); under the log's lock. */
  uint64_t cursor;            /* the last number that it acknowledged */
  uint64_t sync_goal;         /* SYNCING ends when the cursor reaches it */
  uint64_t epoch;             /* counts the processes that the cursor was of */
  bool lost_track;            /* it claims what we never wrote: told to drop all */
  struct lc_list waited_link; /* in the log's list while `waited` */

  /* Membership (members.c); under cluster->lock. */
  unsigned weight;
  bool member;      /* the registry, or the list, has it */
  bool lacked;      /* a list lacked it: a member still while it answers */
  bool listed;      /* on_list's, while it runs */
  bool alias;       /* whoever answers at its address goes by another name: never on the ring */
  uint64_t seen_ms; /* lc_clock_ms of its last sign of life, while not connected */

  /* The control thread's (control.c, deliver.c). */
  struct lc_rpc_client *client; /* NULL: not dialled */
  bool connected;               /* and greeted */
  struct lc_timer retry;
  unsigned attempts;
  struct lc_rpc_client_call *hello_call, *deliver_call;
  uint64_t deliver_epoch;   /* `epoch` when deliver_call was made */
  uint64_t greeted_process; /* whom the last Hello reached */
  uint64_t fence_head;      /* fence.c: what has to be applied here before the fence lifts; */
  uint64_t fence_ring;      /* the id of its ring, as it answered */
  bool fence_asked, fence_answered;
  bool fence_stale; /* the Hello that is under way was said before the stall ended: its answer doesn't count */
  bool in_contact;  /* was connected at some time: a stall matters for it */
  atomic_bool look; /* lc_control_look; any thread */
  bool tried;       /* has answered, or failed to, at least once */
  bool told;        /* that it can't be reached stands in the log */
  bool dropped;     /* forgotten: not to be dialled again */
  bool suspect;     /* loss.c: it may have written what we haven't heard of */
  uint64_t dialled_ms, hello_ms, connected_ms, lost_ms; /* when last */
  uint64_t hello_head;                                  /* of its log, at its last Hello reply */
};

struct lc_peer *lc_peer_ref(struct lc_peer *peer);
void lc_peer_unref(struct lc_peer *peer); /* NULL is fine; any thread */

static inline enum lc_peer_state lc_peer_state(const struct lc_peer *peer) {
  return (enum lc_peer_state)atomic_load_explicit(&peer->state, memory_order_acquire);
}

/* The peer of that name, made if there is none (DOWN, no member). NULL: no memory, or too many. cluster->lock held. */
struct lc_peer *lc_peer_obtain(struct lc_cluster *cluster, const char *name);
struct lc_peer *lc_peer_find(struct lc_cluster *cluster, const char *name); /* NULL; cluster->lock held */

/* ---- view.c: immutable snapshots ---- */

/* A ring, and who its members are. Shared by the views that show it, as present or past. */
struct lc_members {
  atomic_uint refs;
  struct lc_ring *ring;
  struct lc_peer **peers; /* by ring member, with references; NULL: this node */
  size_t self;            /* this node's member; LC_RING_NONE once it is leaving */
};

struct lc_past {
  struct lc_members *members; /* NULL: none */
  uint64_t until_ms;          /* lc_clock_ms: not asked after that */
};

struct lc_view {
  atomic_uint refs;
  uint64_t serial;                      /* of every view */
  unsigned number;                      /* of the ring: the tag of items; 1 to LC_ITEM_VIEW_MASK, going round */
  struct lc_members *now;               /* its ring always has this node, unless it is leaving */
  struct lc_past past[LC_PREVIOUS_MAX]; /* newest first */
  uint64_t joined_until_ms;             /* this node joined lately: its keys' previous owner is the pick without it */
  struct lc_peer **peers;               /* all known, on the ring or not, with references; by name, ascending */
  size_t peer_count;
  struct lc_peer **by_process; /* open addressing; NULL entries end a probe */
  size_t process_mask;
};

/* The view that is in force on the calling worker (or control thread: index `workers`), valid until its next call. */
struct lc_view *lc_cluster_view(struct lc_cluster *cluster, unsigned index);

/* Makes a view of what cluster->lock guards now and puts it in force; the ring's number changes only if the ring does.
 * cluster->lock held. 0 or LC_ENOMEM: the old one stays, and the control thread tries again. */
int lc_view_publish(struct lc_cluster *cluster);

/* For threads that have no view of their own: with a reference. */
struct lc_view *lc_view_acquire(struct lc_cluster *cluster);
void lc_view_unref(struct lc_view *view);

struct lc_peer *lc_view_peer_of(const struct lc_view *view, uint64_t process); /* NULL: a stranger */

/* NULL: this node owns it (or nobody else is there). */
struct lc_peer *lc_view_owner(const struct lc_view *view, uint64_t hash);

/* Whom to peek at, most likely first: at most max (2 is what is used), each UP and another node. Returns how many. */
size_t lc_view_previous(const struct lc_view *view, uint64_t hash, uint64_t now_ms, struct lc_peer **out, size_t max);

/* ---- members.c: who is on the ring; joining and leaving ---- */

extern const struct lc_registry_handler lc_members_handler; /* arg: the cluster; on the control thread */

/* Another process says Hello: makes or updates its peer and answers who we are. Any thread. *reply is filled with ours
 * (slices borrow from the cluster). LC_OK, also where it is ourselves (who then knows by the process id in the reply);
 * LC_EINVAL (its versions don't fit, its address is none or belongs to a process that is up: err says which),
 * LC_ENOMEM.
 */
int lc_members_greeted(struct lc_cluster *cluster, const struct lc_msg_hello_request *from_them,
                       struct lc_msg_hello_response *reply, struct lc_err *err);
void lc_members_left(struct lc_cluster *cluster, struct lc_peer *peer); /* it said Leave. Any thread */
void lc_members_tick(struct lc_cluster *cluster);                       /* control thread, every 100 ms */
void lc_members_publish(struct lc_task *task);                          /* control thread: what events have changed */
void lc_members_leave(struct lc_task *task);                            /* control thread: begins to leave */

/* ---- control.c: the control thread and its connections ---- */

/* A unary call on the control connection; control thread only. 0 or LC_EUNAVAILABLE (not connected), LC_ENOMEM. */
int lc_control_call(struct lc_peer *peer, const char *path, struct lc_outq *request, uint64_t timeout_ms,
                    lc_rpc_client_done done, void *arg, struct lc_rpc_client_call **out);
struct lc_outq *lc_control_request(struct lc_cluster *cluster); /* an empty queue to frame a request into */

/* Says Hello to a connected peer; the answer goes through lc_deliver_connected and lc_fence_greeted. */
void lc_control_hello(struct lc_peer *peer);

/* Something went wrong with the peer, or it has spoken: look at it now rather than at the next retry. Any thread. */
void lc_control_look(struct lc_cluster *cluster, struct lc_peer *peer);

/* Its cursor has reached sync_goal: UP. Control thread. */
void lc_control_synced(struct lc_peer *peer);

/* Runs the tasks of the control thread's: cluster->control.tick every 100 ms calls lc_members_tick and lc_fence_tick.
 */

/* ---- log.c: the numbered log of this node's writes ---- */

#define LC_LOG_ENTRIES 65536u
#define LC_LOG_BYTES ((size_t)8 << 20)

struct lc_write_log;
int lc_write_log_create(struct lc_write_log **out);
void lc_write_log_destroy(struct lc_write_log *log);
void lc_write_log_lock(struct lc_cluster *cluster);
void lc_write_log_unlock(struct lc_cluster *cluster);
uint64_t lc_write_log_head(const struct lc_write_log *log);   /* of the last entry; 0: none ever. Locked */
uint64_t lc_write_log_oldest(const struct lc_write_log *log); /* of the oldest kept; head + 1: none. Locked */

/* ---- deliver.c: the log to the peers; writes that wait ---- */

uint64_t lc_deliver_written(void *ctx, struct lc_slice group, struct lc_slice key); /* lc_peers.written */
int lc_deliver_wait(void *ctx, struct lc_peer_wait *wait);
bool lc_deliver_cancel_wait(void *ctx, struct lc_peer_wait *wait);

/* Writes wait for the peer from now on; the head of our log at that moment. `fresh_process`: it never heard of us: its
 * cursor begins at 0. Any thread; cluster->lock may be held. */
uint64_t lc_deliver_greeted(struct lc_cluster *cluster, struct lc_peer *peer, bool fresh_process, bool *was_waited);
void lc_deliver_connected(struct lc_peer *peer);    /* control thread: greeted and connected: deliver what it lacks */
void lc_deliver_disconnected(struct lc_peer *peer); /* control thread: the calls in progress have ended */
void lc_deliver_down(struct lc_peer *peer);         /* control thread: writes wait for it no longer */
void lc_deliver_run(struct lc_cluster *cluster);    /* control thread, by every tick: sends what is due */

/* ---- apply.c: others' logs, here ---- */

void lc_apply_invalidate(struct lc_cluster *cluster, unsigned worker, struct lc_peer *peer,
                         const struct lc_msg_invalidate_request *request, struct lc_msg_invalidate_response *reply);
void lc_apply_drop_all(struct lc_cluster *cluster, const char *why); /* and logs it. Any thread */

/* ---- touched.c: keys written lately, for hand-over ---- */

struct lc_touched;
int lc_touched_create(struct lc_touched **out);
void lc_touched_destroy(struct lc_touched *touched);
/* Under the key's flight lock: `writer` wrote it as number seq of its log. */
void lc_touched_note(struct lc_touched *touched, uint64_t hash, uint64_t writer, uint64_t seq);
/* The writer may have written any key, up to its number seq; called before all copies are dropped for it. */
void lc_touched_floor(struct lc_touched *touched, uint64_t writer, uint64_t seq);
/* All that the writer wrote up to seq is in force here; lc_touched_note says so too. */
void lc_touched_seen(struct lc_touched *touched, uint64_t writer, uint64_t seq);
/* Some other node than `process` wrote the key in the last seconds: what `process` answers may be older, and isn't to
 * be stored. Any thread. */
bool lc_touched_elsewhere(struct lc_touched *touched, uint64_t hash, uint64_t process, uint64_t now_ms);
/* How far each log is in force here, also those of processes that are gone; at most max. Any thread. */
size_t lc_touched_applied(struct lc_touched *touched, struct lc_msg_applied *out, size_t max);
/* Under the key's flight lock: a copy that was read where `applied` of all logs had been applied is not older than any
 * write known here. */
bool lc_touched_allows(struct lc_touched *touched, uint64_t hash, const struct lc_msg_applied *applied, size_t count);

/* ---- fence.c: whether stored copies may be served ---- */

struct lc_fence;
int lc_fence_create(struct lc_cluster *cluster); /* sets cluster->fence, after cluster->workers; 0 or LC_ENOMEM */
void lc_fence_destroy(struct lc_fence *fence);   /* NULL is fine */
bool lc_fence_fresh(void *ctx, unsigned worker); /* lc_peers.fresh */
void lc_fence_wait(void *ctx, unsigned worker, struct lc_peer_fresh *fresh);
void lc_fence_open(struct lc_cluster *cluster, unsigned index);  /* on the worker: starts its beat */
void lc_fence_close(struct lc_cluster *cluster, unsigned index); /* stops it; whoever waits is dropped */
void lc_fence_tick(struct lc_cluster *cluster);                  /* control thread, every 100 ms */
void lc_fence_greeted(struct lc_peer *peer, const struct lc_msg_hello_response *reply); /* control thread */
/* Before writes wait for us anywhere: from now on a stall matters. `replaced`: another process than the one before
 * speaks for its address. Any thread; takes no lock. */
void lc_fence_contact(struct lc_cluster *cluster, bool replaced);

/* The peer says that it had given us up: others may have written without us. From now on no stored copy is served until
 * those in contact have brought us up to date (at most 1 s). Any thread; cluster->lock may be held. */
void lc_fence_cut_off(struct lc_cluster *cluster, struct lc_peer *peer);
void lc_fence_applied(struct lc_cluster *cluster); /* any thread: `applied` of some peer has moved */

/* ---- handover.c ---- */

/* Control thread: pushes all items to their owners by the view in force; done once, on the control thread. */
void lc_handover_push(struct lc_cluster *cluster, uint64_t deadline_ms, void (*done)(struct lc_cluster *cluster));
void lc_handover_take(struct lc_cluster *cluster, unsigned worker, struct lc_peer *peer,
                      const struct lc_msg_handover_request *request, struct lc_msg_handover_response *reply);
void lc_handover_cancel(struct lc_cluster *cluster);
void lc_handover_disconnected(struct lc_peer *peer); /* control thread: calls in progress have ended */

/* ---- link.c, calls.c: the data connections of a worker ---- */

int lc_links_open(struct lc_cluster *cluster, unsigned index);
void lc_links_close(struct lc_cluster *cluster, unsigned index);
/* On the worker: drops the connections to peers that are DOWN: their calls end unreached. */
void lc_links_check(struct lc_cluster *cluster, unsigned index);
void lc_links_check_all(struct lc_cluster *cluster); /* any thread: the same on every worker, soon */

int lc_calls_get(void *ctx, struct lc_peer_get *get); /* lc_peers */
void lc_calls_cancel_get(void *ctx, struct lc_peer_get *get);
void lc_calls_cork(void *ctx, unsigned worker);
void lc_calls_uncork(void *ctx, unsigned worker);
int lc_calls_write(void *ctx, struct lc_peer_write *write);
void lc_calls_cancel_write(void *ctx, struct lc_peer_write *write);

/* ---- service.c: lcache.v1.Peer ---- */

extern const struct lc_rpc_method lc_peer_methods[];
extern const size_t lc_peer_method_count;

/* ---- cluster.c ---- */

struct lc_link;

/* What one thread has. Its own, but for what says otherwise. */
struct lc_cluster_worker {
  struct lc_cluster *cluster;
  unsigned index;
  struct lc_worker *worker;
  struct lc_view *view;   /* lc_cluster_view's */
  struct lc_link **links; /* by the peers' slot */
  size_t link_count;
  unsigned corked;            /* depth */
  struct lc_list corked_gets; /* struct lc_peer_get, until they are uncorked */
  struct lc_list failed_gets; /* these could not be sent: told soon */
  struct lc_task fail;
  bool fail_posted;
  struct lc_task check; /* lc_links_check_all */
  atomic_bool check_posted;
  struct lc_timer beat;     /* fence.c */
  _Atomic uint64_t beat_ms; /* read by the control thread; 0: not open */
  struct lc_list parked;    /* struct lc_peer_fresh */
  struct lc_task unpark;
  atomic_bool unpark_posted;
};

struct lc_cluster {
  struct lc_cluster_config config; /* with copies of its own of what it points to */
  char self[LC_NODE_ADDRESS_SIZE];
  uint64_t process; /* random, never 0 */
  unsigned workers; /* data workers; the control thread's index */
  const struct lc_exec *exec;
  struct lc_groups *groups;
  struct lc_peers peers;
  struct lc_rpc_service service;
  struct lc_cluster_worker *worker; /* workers + 1 of them */

  pthread_mutex_t lock;
  struct lc_peer **known; /* all peers, with references; by name */
  size_t known_count;
  _Atomic uint64_t slots[64]; /* slots in use, a bit each (LC_RING_MEMBERS_MAX); given back by any thread */
  pthread_mutex_t view_lock;  /* `view` changes under both locks, is read under either */
  struct lc_view *view;
  _Atomic uint64_t view_serial;
  _Atomic uint64_t refused_ms; /* when it was last logged that a Hello was refused; 0: never. Any thread */
  bool publish_again;          /* the view is behind: publish_task is to come, or there was no memory */
  bool publish_posted;         /* publish_task */
  bool leaving;                /* says so to others; */
  bool off_ring;               /* and has taken itself off its own ring */
  bool entered;                /* the ring has others by now; before, only this node */
  bool joined;                 /* this node was put on its own ring together with others, at least once */
  uint64_t joined_until_ms;    /* see lc_view */

  struct lc_write_log *log;
  struct lc_touched *touched;
  struct lc_fence *fence;

  /* The control thread's. */
  struct lc_worker *control; /* made with the cluster: anybody may post to it */
  struct lc_fetcher *fetcher;
  struct lc_registry *registry;
  struct lc_outq request;
  struct lc_timer tick;
  struct lc_task deliver_task, leave_task, look_task, refresh_task, publish_task;
  atomic_bool deliver_posted, look_posted, refresh_posted;
  void *handover, *leave;     /* in progress; handover.c's, members.c's */
  struct lc_joining *joining; /* join.c's */
  void *starting;             /* cluster.c's, while the control thread starts */
  uint64_t ticked_ms, jitter;
  atomic_bool running;  /* the control thread runs, connections may be made; false again when it ends */
  bool lost_unsynced;   /* loss.c */
  atomic_bool doubtful; /* loss.c: some peer is a suspect: copies here may be older than what it wrote */
  atomic_bool arriving; /* not all members know this process yet: it takes no forwarded writes (join.c) */
  uint64_t started_ms;
  bool ready_told;
  void (*on_ready)(void *arg);
  void *on_ready_arg;
  uint64_t leave_deadline_ms;
  void (*on_left)(void *arg);
  void *on_left_arg;
};

static inline uint64_t lc_cluster_now(const struct lc_cluster *cluster, unsigned index) {
  return lc_worker_now_ms(cluster->worker[index].worker);
}

#endif
