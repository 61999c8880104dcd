#ifndef LC_TEST_RPC_SUPPORT_H
#define LC_TEST_RPC_SUPPORT_H

/*
 * What the tests of server/, rpc/ and service/ share: a gRPC server on workers of its own behind a real socket, a
 * client on another worker, and a raw HTTP/2 client on the test's thread that does what well-behaved clients don't.
 */
#include "test_loop_support.h"

#include "base/arena.h"
#include "base/buf.h"
#include "rpc/client.h"
#include "rpc/server.h"
#include "server/server.h"
#include "wire/h2.h"

#define WORKERS_MAX 4u

/* ---- a server ---- */

struct net;

struct net_worker {
  struct net *net;
  struct lc_worker *worker;
  struct lc_rpc_server *rpc;
  struct lc_server *server;
  struct gate drained;
};

struct net {
  unsigned count; /* of workers */
  size_t max_message;
  size_t buffer_bytes;                  /* of each worker */
  struct lc_server_config config;       /* as changed by the test before net_start */
  const struct lc_rpc_table *table;     /* borrowed */
  void (*on_stop)(struct net_worker *); /* on each worker, last; may be NULL */
  struct net_worker workers[WORKERS_MAX];
  int listener;
  uint16_t port;
  pthread_t acceptor;
  struct gate ended; /* connections that ended */
};

void net_init(struct net *net, const struct lc_rpc_table *table); /* one worker, 1 MiB messages, 64 MiB buffers */
void net_start(struct net *net);
void net_stop(struct net *net); /* cuts what is left */
void net_drain(struct net *net, unsigned worker);
unsigned net_connections(struct net *net, unsigned worker);
size_t net_charged(struct net *net, unsigned worker);
size_t net_streams(struct net *net, unsigned worker);

/* Waits until ok(arg) on that worker. */
void net_until(struct net *net, unsigned worker, bool (*ok)(void *arg), void *arg);

/* ---- methods to call ---- */

/* What the test methods saw. Only touched on the server's workers, but for the gates. */
struct seen {
  struct gate messages, cancels, half_closes;
  atomic_size_t bytes;      /* of messages */
  struct lc_rpc_call *held; /* of the last call of Held */
  bool over_when_cancelled; /* lc_rpc_over inside on_cancel */
  struct lc_rpc_table *table;
};

/*
 * /t.T/Echo answers with its message, so does /t.T/Longer, which takes LONGER_BY bytes more; /t.T/Fail with
 * INVALID_ARGUMENT and its message as text, /t.T/Big with as many bytes as its message says; /t.T/Hang never answers,
 * nor does /t.T/Held, which also holds its call; /t.T/Late sends its message and holds its
 * call; /t.T/None ends without a message, /t.T/Two with two; /t.T/Stream
 * echoes each message and ends when the client does.
 */
#define LONGER_BY 65536u
void seen_init(struct seen *seen);
void seen_fini(struct seen *seen);
void finish_held(void *arg); /* on the server's worker: answers the last call of Held (arg: the seen) with "finished",
                                lets go of it */
void finish_late(void *arg); /* the same for Late, whose message has gone */
uint8_t big_byte(size_t at); /* of a reply of Big */

void copy_text(char *out, size_t size, struct lc_slice text); /* cut, with a NUL */

/* ---- a client on a worker of its own ---- */

struct peer {
  struct lc_worker *worker;
  struct lc_rpc_client *client;
  struct lc_rpc_client_config config;
  int rc;
  struct lc_err err, down_err;
  void (*on_up)(struct peer *peer); /* on its worker; may be NULL */
  struct gate up, down;
};

struct answer {
  struct peer *peer;
  const char *path;
  struct lc_buf request; /* the bare message */
  uint64_t timeout_ms;
  struct lc_rpc_client_call *call;
  int rc; /* of starting it */
  unsigned done;
  int status;
  bool transport;
  char message[LC_ERR_MSG_SIZE];
  struct lc_buf reply;
  void (*on_done)(struct answer *answer); /* on the client's worker; may be NULL */
  struct gate over;
};

#define PEER_BUFFER_BYTES (64u << 20)              /* of its worker */
void peer_start(struct peer *peer, uint16_t port); /* 127.0.0.1 */
void peer_open(struct peer *peer);                 /* config as changed by the test; rc and err are set */
void peer_worker(struct peer *peer);               /* only the worker */
void peer_close(struct peer *peer);                /* destroys the client; the worker goes on */
void peer_stop(struct peer *peer);

void answer_init(struct answer *answer, struct peer *peer, const char *path, struct lc_slice message);
void answer_start(struct answer *answer);      /* from the test's thread */
void answer_start_here(struct answer *answer); /* on the peer's worker */
void answer_wait(struct answer *answer);
void answer_fini(struct answer *answer);

/* One whole call that must be answered; free it by answer_fini. */
void ask(struct answer *answer, struct peer *peer, const char *path, struct lc_slice message);
void expect_status(const struct answer *answer, int status, const char *message);

/* ---- a raw client ---- */

#define RAW_STREAMS 512u

struct raw_stream {
  struct raw *raw;
  int32_t id;
  struct lc_outq body;
  char http_status[8], grpc_status[8], message[LC_ERR_MSG_SIZE];
  struct lc_buf data; /* the reply's body */
  bool head, ended, closed;
  uint32_t error_code;
};

struct raw {
  int fd;
  struct lc_mempool *pool;
  struct lc_h2 *h2;
  unsigned goaways;
  int32_t last_id;
  uint32_t goaway_code;
  bool eof;
  struct raw_stream streams[RAW_STREAMS];
  unsigned count;
};

struct raw *raw_connect(uint16_t port);
struct raw *raw_connect_windows(uint16_t port, uint32_t stream_window, uint32_t conn_window);
void raw_close(struct raw *raw);
void raw_send(struct raw *raw); /* what is ready */

/* Sends what is ready and reads once, waiting at most timeout_ms; false when nothing came. */
bool raw_turn(struct raw *raw, int timeout_ms);
void raw_until_closed(struct raw *raw, struct raw_stream *stream);
void raw_until_eof(struct raw *raw);

struct raw_stream *raw_open(struct raw *raw, const char *path); /* a gRPC head */
struct raw_stream *raw_open_fields(struct raw *raw, const struct lc_h2_field *fields, size_t count);
void raw_write(struct raw_stream *stream, const void *data, size_t len); /* one DATA frame, sent at once */
void raw_message(struct raw_stream *stream, const char *text);           /* with its prefix, sent at once */
void raw_end(struct raw_stream *stream);
void expect_trailer(const struct raw_stream *stream, const char *status, const char *message); /* message as encoded */

#define FIELD(name_, value_)                                                                                           \
  { .name = lc_slice_str(name_), .value = lc_slice_str(value_) }

#endif
