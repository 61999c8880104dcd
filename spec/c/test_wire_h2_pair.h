#ifndef LC_SPEC_WIRE_H2_PAIR_H
#define LC_SPEC_WIRE_H2_PAIR_H

#include "base/buf.h"
#include "wire/h2.h"

/*
 * A server and a client session joined in memory. The server answers what its hooks say; each side writes down, per
 * stream, what it saw.
 */
#define PAIR_STREAMS 16384

struct pair;
struct side;

struct pair_stream {
  struct side *side;
  int32_t id;
  struct lc_buf head, data, trailers; /* fields as "name: value\n" */
  struct lc_buf fields;               /* of the block being received */
  struct lc_outq body;
  int heads, trailer_heads, ends, closes;
  uint32_t error_code;
};

struct side {
  struct pair *pair;
  bool server;
  struct lc_mempool *pool;
  struct lc_h2 *h2;
  struct lc_outq out;
  struct pair_stream *streams; /* PAIR_STREAMS, in the order in which they began */
  int count;
  int goaways, ping_acks;
  int32_t goaway_last;
  uint32_t goaway_code;
  int recv_rc, pull_rc;
};

struct pair {
  struct side server, client;
  size_t max_cut; /* bytes given to one recv: 1 to this, at random; 0: all */
  size_t pull_limit;
  bool lost; /* a session ended with an error: what it says further isn't delivered */
  /* Server hooks, may be NULL. */
  bool (*accept)(struct pair *pair);
  int (*on_header)(struct pair_stream *stream, struct lc_slice name, struct lc_slice value);
  void (*on_head)(struct pair_stream *stream);
  void (*on_data)(struct pair_stream *stream, struct lc_slice data);
  void (*on_end)(struct pair_stream *stream);
  void (*on_close)(struct pair_stream *stream); /* both sides */
};

/* Windows of 0 take the defaults. Returns 0 or what lc_h2_create said. */
int pair_open(struct pair *pair, uint32_t window, uint32_t max_streams);
void pair_close(struct pair *pair);

/* Moves bytes until both sides are silent. Returns how many moved. */
size_t pair_run(struct pair *pair);

/* One turn of one direction. */
size_t pair_step(struct pair *pair, struct side *from, struct side *to);

/* A client request with standard gRPC fields; NULL on an error, which is in *rc. */
struct pair_stream *pair_request(struct pair *pair, int *rc);
struct pair_stream *pair_request_with(struct pair *pair, const void *bytes, size_t len); /* and END_STREAM */

/* 200 with these bytes as body and grpc-status: 0. */
int pair_reply(struct pair_stream *stream, const void *bytes, size_t len);
int pair_reply_error(struct pair_stream *stream);

/* The peer of a client's stream on the server, or NULL. */
struct pair_stream *pair_peer(struct pair *pair, const struct pair_stream *stream);

bool pair_has(const struct lc_buf *fields, const char *line);

#endif
