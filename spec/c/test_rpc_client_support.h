#ifndef LC_TEST_RPC_CLIENT_SUPPORT_H
#define LC_TEST_RPC_CLIENT_SUPPORT_H

/* A client and a server for it, for the tests of rpc/client.h. */
#include "test_rpc_support.h"

struct both {
  struct seen seen;
  struct net net;
  struct peer peer;
};

int both_setup(void **state);
int both_setup_with(void **state, void (*change)(struct both *both)); /* before the server and the client start */
int both_teardown(void **state);
void both_restart_server(struct both *both); /* after a net_stop */

void expect_reply(const struct answer *answer, const char *reply);
void expect_works(struct peer *peer);

struct early {
  struct peer *peer;
  struct answer *answer;
};

void open_and_call(void *arg); /* struct early, on the peer's worker: opens the client and starts the call at once */
void cancel_here(void *arg);   /* struct answer, on the peer's worker */

/* A listener whose queue is full, so that the kernel answers no further connection request. */
int full_listener(uint16_t *port, int *fillers, unsigned count);

#endif
