#ifndef LC_CLUSTER_CONTROL_H
#define LC_CLUSTER_CONTROL_H

#include "cluster/internal.h"

/* What the files of membership share: peer.c, view.c, members.c, greet.c, join.c, leave.c, loss.c, control.c,
 * cluster.c. On the control thread, but for what says otherwise. */
#define LC_TICK_MS 100u
#define LC_HELLO_GAP_MS 100u         /* one peer hears Hello, or is dialled, no more often */
#define LC_PEER_FORGET_MS 600000u    /* no member, and silent for so long: forgotten */
#define LC_STRANGER_FORGET_MS 60000u /* the same for who has never answered */
#define LC_STRANGERS_MAX 256u        /* peers that are no members */
#define LC_JOIN_HELLO_MS 1000u       /* those who are listed have so long to answer before we register */
#define LC_LEAVE_MS 1000u            /* and so long to take our leaving in */

/* ---- config.c, about.c: parts of cluster.c ---- */

int lc_cluster_config_copy(const struct lc_cluster_config *from, struct lc_cluster_config *to); /* 0, LC_ENOMEM */
void lc_cluster_config_free(struct lc_cluster_config *config); /* also of a copy that failed */
void lc_cluster_fill_peers(struct lc_cluster *cluster);

/* ---- peer.c ---- */

size_t lc_peer_strangers(const struct lc_cluster *cluster);    /* cluster->lock held */
void lc_peer_forget(struct lc_cluster *cluster, size_t index); /* takes it out of known; cluster->lock held */
unsigned lc_peer_weight(uint64_t weight);                      /* brought into the ring's bounds */

/* ---- view.c ---- */

/* Whether the peer belongs on the ring as things stand; cluster->lock held. */
bool lc_view_on_ring(const struct lc_peer *peer);

/* ---- greet.c ---- */

/* Which versions work together; LC_EINVAL with a message. */
int lc_greet_versions(uint32_t protocol, uint32_t ring_version, struct lc_err *err);
struct lc_slice lc_greet_service(const struct lc_cluster *cluster); /* of --service, as a Hello says it */

enum lc_greeted {
  LC_GREETED,        /* it is who we took it for */
  LC_GREETED_SELF,   /* that address is this node */
  LC_GREETED_OTHER,  /* that address is a node of another name, which is a peer of its own now */
  LC_GREETED_REFUSED /* err says why */
};

/* A Hello reply: notes who answered, and that writes wait for it. */
enum lc_greeted lc_greet_answered(struct lc_peer *peer, const struct lc_msg_hello_response *reply, struct lc_err *err);

/* ---- control.c ---- */

void lc_control_retry(struct lc_timer *timer);        /* of a peer's `retry` */
void lc_control_dial_new(struct lc_cluster *cluster); /* whoever isn't connected nor waiting for its next try */
void lc_control_init(struct lc_cluster *cluster);     /* before any thread can post to it */
void lc_control_start(struct lc_cluster *cluster);
void lc_control_stop(struct lc_cluster *cluster); /* all connections; nobody is called back */
void lc_control_drop(struct lc_peer *peer);       /* its connection and timer, before it is forgotten */

/* ---- join.c: from the first list to being on everybody's ring ---- */

int lc_join_create(struct lc_cluster *cluster);
void lc_join_destroy(struct lc_cluster *cluster);
void lc_join_listed(struct lc_cluster *cluster); /* the members are known; the first time counts */
void lc_join_step(struct lc_cluster *cluster);   /* goes on if what was waited for is there */
void lc_join_reach(struct lc_cluster *cluster, bool reached, const char *why); /* lc_registry_handler.on_reach */
void lc_join_self(struct lc_cluster *cluster, bool listed); /* the registry has this node, or has it no more */

/* Others, who had this node on their ring, don't now: what it owns may have been elsewhere meanwhile. Any thread. */
void lc_join_again(struct lc_cluster *cluster);

/* ---- leave.c ---- */

void lc_leave_cancel(struct lc_cluster *cluster); /* at stop; nobody is told */

/* ---- loss.c: nodes that are gone with writes that nobody told us of ---- */

void lc_loss_given_up(struct lc_peer *peer); /* the same process as before didn't wait for us any more */
void lc_loss_gone(struct lc_peer *peer);     /* its process is gone for good */
void lc_loss_tick(struct lc_cluster *cluster);

#endif
