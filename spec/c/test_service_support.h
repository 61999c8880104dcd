#ifndef LC_TEST_SERVICE_SUPPORT_H
#define LC_TEST_SERVICE_SUPPORT_H

/* What the tests of service/ share: real groups on real workers behind a real socket, and a loader that reads keys. */
#include "test_rpc_support.h"

#include "group/group.h"
#include "group/peer.h"
#include "service/service.h"
#include "wire/msg.h"

/*
 * What a key makes the loader do:
 *   nil…      there is no such key               fail…     the source is away
 *   raise…    the getter raised                  hang…     it never ends
 *   later:X   ends with X some turns later       held:X    ends with X when world_let_go is called
 *   big:N     N bytes of 'b'                     nilx      not found, later
 *   others    their own bytes, at once
 */
struct loads {
  atomic_uint started, cancelled, now, most; /* most: at a time, of those that don't end at once */
  atomic_bool let_go;
};

/* Groups: "g"; "quick" has a timeout of 40 ms; "one" allows one load; "ttl" has one of a minute; "small" takes values
 * of at most 100 bytes. */
struct world {
  struct net net;
  struct lc_exec exec;
  struct lc_loader loader;
  struct lc_peers peers;         /* for admin */
  const struct lc_peers *domain; /* of the groups; NULL: a node alone */
  const struct lc_rpc_service *extra;
  struct lc_groups *groups;
  struct lc_services *services;
  struct loads loads;
  struct peer peer; /* its connection is worker 0's */
};

void world_init(struct world *world, unsigned workers); /* then change net, then world_start */
void world_start(struct world *world);
void world_stop(struct world *world);
void world_let_go(struct world *world);
void world_until_loads(struct world *world, unsigned started);
void world_until_cancelled(struct world *world, unsigned cancelled);

/* One whole call. The answer is to be given to answer_fini; what is decoded points into it. */
void get(struct answer *answer, struct peer *peer, const struct lc_msg_get_request *request);
void get_key(struct answer *answer, struct peer *peer, const char *group, const char *key);
struct lc_msg_get_response got(const struct answer *answer); /* of one that must be OK */
void expect_get(struct peer *peer, const char *group, const char *key, const char *value, int from);
void expect_get_fails(struct peer *peer, const char *group, const char *key, int status, const char *message);
void set_key(struct peer *peer, const char *group, const char *key, const char *value);

#endif
