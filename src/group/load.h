#ifndef LC_GROUP_LOAD_H
#define LC_GROUP_LOAD_H

#include "group/internal.h"

/* A load, as the files that make it up see it: load.c (its life), result.c, remote.c. */

enum lc_load_step {
  LC_STEP_GETTER,  /* the getter runs here */
  LC_STEP_FORWARD, /* the key's owner is asked */
  LC_STEP_PEEK     /* we own the key; its previous owner is asked for a copy */
};

struct lc_load {
  struct lc_group *group;
  struct lc_flight *flight;
  uint64_t hash; /* of the key, for the store */
  unsigned worker;
  enum lc_load_step step;
  bool over;
  bool nested;         /* a getter's own load asked for it */
  bool counted;        /* in the group's loads_now */
  bool counted_remote; /* in its remote_now */
  bool logged;         /* by the loader, or by the node that answered */
  bool refresh;
  bool mirror; /* another node owned the key when this began */
  bool hot;    /* and is asked for it often */
  bool keep;   /* a value goes into the store */
  void *impl;
  uint64_t deadline_ms;
  struct lc_timer timer;
  struct lc_task cancel_task; /* posted at most once: a flight is abandoned once */

  unsigned view;    /* when it began */
  uint64_t sent_ms; /* when the present step asked; a mirror's age counts from here */
  struct lc_peer_get remote;

  int code; /* the result */
  enum lc_from from;
  struct lc_item *item;
  uint64_t expires_ms; /* of the value; a mirror's item may expire before */
  const char *message; /* NULL for a value */
  char *text;          /* the message, if it is this load's own */
};

/* result.c. `message` must outlive the load. */
void lc_load_set_static(struct lc_load *load, int code, const char *message);
/* A value that is good until expires_ms (LC_TIME_NEVER: for ever). */
void lc_load_set_item(struct lc_load *load, struct lc_slice value, uint64_t expires_ms);

/*
 * remote.c: begins the step FORWARD or PEEK. LC_PENDING; LC_OK, with the result set; LC_EUNAVAILABLE: nobody to ask,
 * the getter must run.
 */
int lc_remote_begin(struct lc_load *load);
void lc_remote_cancel(struct lc_load *load);
void lc_remote_uncount(struct lc_load *load);

/* load.c: the other node has no answer: runs the getter. */
void lc_load_fall_back(struct lc_load *load);

#endif
