#include "test_rpc_client_support.h"

int both_setup_with(void **state, void (*change)(struct both *both)) {
  struct both *both = malloc(sizeof *both);
  seen_init(&both->seen);
  net_init(&both->net, both->seen.table);
  peer_worker(&both->peer);
  if (change)
    change(both);
  net_start(&both->net);
  both->peer.config.address.port = both->net.port;
  peer_open(&both->peer);
  assert_int_equal(both->peer.rc, 0);
  *state = both;
  return 0;
}

int both_setup(void **state) {
  return both_setup_with(state, NULL);
}

int both_teardown(void **state) {
  struct both *both = *state;
  peer_stop(&both->peer);
  net_stop(&both->net);
  seen_fini(&both->seen);
  free(both);
  return 0;
}

void both_restart_server(struct both *both) {
  net_init(&both->net, both->seen.table);
  net_start(&both->net);
}

void expect_reply(const struct answer *answer, const char *reply) {
  expect_status(answer, LC_GRPC_OK, "");
  assert_int_equal(answer->reply.len, strlen(reply));
  assert_memory_equal(answer->reply.data, reply, answer->reply.len);
}

void expect_works(struct peer *peer) {
  struct answer answer;
  ask(&answer, peer, "/t.T/Echo", lc_slice_str("still here"));
  expect_reply(&answer, "still here");
  answer_fini(&answer);
}

void open_and_call(void *arg) {
  struct early *early = arg;
  early->peer->rc = lc_rpc_client_create(&early->peer->config, &early->peer->client, &early->peer->err);
  answer_start_here(early->answer);
}

void cancel_here(void *arg) {
  lc_rpc_client_cancel(((struct answer *)arg)->call);
}

int full_listener(uint16_t *port, int *fillers, unsigned count) {
  int listener = listen_socket(0, port);
  struct sockaddr_in addr = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};
  for (unsigned i = 0; i < count; i++) {
    fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)connect(fillers[i], (struct sockaddr *)&addr, sizeof addr);
  }
  return listener;
}
