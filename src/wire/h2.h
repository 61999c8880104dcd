#ifndef LC_WIRE_H2_H
#define LC_WIRE_H2_H

#include <stdbool.h>

#include "base/err.h"
#include "base/outq.h"
#include "base/pool.h"
#include "base/slice.h"

/*
 * An HTTP/2 session (RFC 9113), server or client side: bytes in, bytes out, no I/O and no clock. Today over nghttp2;
 * nothing of it shows here, so that own framing can take its place. Not thread-safe: a session belongs to one worker.
 *
 * The owner feeds what it read to lc_h2_recv, which calls the handler; inside a callback the owner may respond, send,
 * reset and so on, never recv or pull. After recv it calls lc_h2_pull once, which appends all frames that are ready to
 * an output queue, so that one write answers everything that one read brought.
 *
 * Calls about a stream that is over, or that was reset, return LC_ENOTFOUND; calls out of order LC_EINVAL; any call may
 * return LC_ENOMEM, after which its stream should be reset. A server's reply that ends before its request has is
 * followed by RST_STREAM(NO_ERROR), so that the client stops sending.
 */
struct lc_h2;

#define LC_H2_NO_ERROR 0u
#define LC_H2_INTERNAL_ERROR 2u
#define LC_H2_REFUSED_STREAM 7u
#define LC_H2_CANCEL 8u
#define LC_H2_ENHANCE_YOUR_CALM 11u

/* All callbacks are optional but on_begin. `stream` is what on_begin returned (server) or lc_h2_request was given. */
struct lc_h2_handler {
  /* Server: a request's HEADERS begin. (Clients set it too, it is never called there.) Returns the stream's object;
   * NULL refuses the stream (REFUSED_STREAM). */
  void *(*on_begin)(void *arg, int32_t stream_id);

  /* A header or trailer field, lower-case name, bytes valid during the call. Negative resets the stream. */
  int (*on_header)(void *arg, void *stream, struct lc_slice name, struct lc_slice value);

  /* The head (or, with trailers true, the trailers) is complete. */
  void (*on_head)(void *arg, void *stream, bool trailers);

  /* A run of the body, valid during the call. */
  void (*on_data)(void *arg, void *stream, struct lc_slice data);

  /* The other side has ended its half. */
  void (*on_end)(void *arg, void *stream);

  /*
   * The stream is over: exactly once for each on_begin that returned non-NULL, and each lc_h2_request; from recv, pull
   * or destroy. Its body queue isn't looked at any more. On a client LC_H2_REFUSED_STREAM says that the server has not
   * begun with it (also what a GOAWAY passed by): it can be sent again elsewhere.
   */
  void (*on_close)(void *arg, void *stream, uint32_t error_code);

  void (*on_goaway)(void *arg, int32_t last_stream_id, uint32_t error_code);
  void (*on_ping_ack)(void *arg, const uint8_t opaque[8]);

  /* The body of the stream, as queued by its owner: frames are made from it as windows allow. Required for sending
   * bodies. */
  struct lc_outq *(*body)(void *arg, void *stream);
};

struct lc_h2_config {
  bool server;
  struct lc_mempool *pool; /* borrowed; all of the session's memory comes from it */
  uint32_t max_streams;    /* that the other side may have open */
  uint32_t stream_window;  /* bytes that we are ready to receive: a stream, the connection */
  uint32_t conn_window;
  uint32_t max_header_list;            /* bytes of one head */
  const struct lc_h2_handler *handler; /* borrowed */
  void *arg;
};

/* Defaults: 4,096 streams, 1 MiB and 16 MiB windows (256 KiB and 1 MiB on a server), 16 KiB of head. */
void lc_h2_config_init(struct lc_h2_config *config, bool server);

int lc_h2_create(const struct lc_h2_config *config, struct lc_h2 **out); /* 0 or LC_ENOMEM; SETTINGS are queued */

/* Calls on_close for every open stream first. Never from a callback. NULL is fine. */
void lc_h2_destroy(struct lc_h2 *h2);

/*
 * Feeds bytes. 0, or LC_EPROTO or LC_ENOMEM: the session is done for; pull what is left (a GOAWAY), send it, close.
 * Frames that cost us but carry nothing (PING, SETTINGS, PRIORITY, tiny DATA, WINDOW_UPDATE, unknown types, rapid
 * resets) are counted; a flood (lc_h2_set_now gives the time) ends the session with ENHANCE_YOUR_CALM and LC_EPROTO.
 * So does, on a server, a client that makes ever more replies wait to be pulled.
 */
int lc_h2_recv(struct lc_h2 *h2, const uint8_t *data, size_t len);

/* Milliseconds, monotonic, for the flood counters: before recv, when the time changed. */
void lc_h2_set_now(struct lc_h2 *h2, uint64_t now_ms);

/* Appends ready frames to `out` until none is left or `out` holds limit bytes or more (by one frame at most). 0, or
 * LC_ENOMEM: a frame was lost, the session is done for. */
int lc_h2_pull(struct lc_h2 *h2, struct lc_outq *out, size_t limit);

/*
 * True if the session is still of use. If not: nothing more to read or write, close the connection. Ask after each
 * pull: a broken frame in what recv was given shows here, once its GOAWAY has been pulled.
 */
bool lc_h2_alive(const struct lc_h2 *h2);

/*
 * A field of a head or of trailers; the name is lower-case. Both are copied by the call they are given to, unless
 * `fixed` says that they (and, of trailers, the array of fields) live as long as the session: that saves work in every
 * request and reply.
 */
struct lc_h2_field {
  struct lc_slice name, value;
  bool fixed;
};

/* Of literals, as an initialiser: LC_H2_FIXED("te", "trailers"). */
#define LC_H2_FIXED(name_, value_)                                                                                     \
  { {(const uint8_t *)(name_), sizeof(name_) - 1}, {(const uint8_t *)(value_), sizeof(value_) - 1}, true }

/*
 * Server: the response's head. With end true it ends the stream (an error-only reply); otherwise the body follows from
 * handler->body until lc_h2_finish.
 */
int lc_h2_respond(struct lc_h2 *h2, int32_t stream_id, const struct lc_h2_field *fields, size_t count, bool end);

/*
 * A whole reply in one go, the hot path: head, everything now in the stream's body, trailers, end. The session
 * remembers the trailers and submits them when the body has been sent.
 */
int lc_h2_reply(struct lc_h2 *h2, int32_t stream_id, const struct lc_h2_field *head, size_t head_count,
                const struct lc_h2_field *trailers, size_t trailer_count);

/* More was queued in the stream's body. */
int lc_h2_resume(struct lc_h2 *h2, int32_t stream_id);

/* The body ends with what is queued; then trailers (count 0: none). */
int lc_h2_finish(struct lc_h2 *h2, int32_t stream_id, const struct lc_h2_field *trailers, size_t count);

/* Client: begins a request; its body comes from handler->body(stream) until finish. *stream_id is set. LC_EEXHAUSTED:
 * the other side's limit of streams, or no ids left. */
int lc_h2_request(struct lc_h2 *h2, const struct lc_h2_field *fields, size_t count, void *object, int32_t *stream_id);

/* The same with a body that is complete as queued. */
int lc_h2_request_whole(struct lc_h2 *h2, const struct lc_h2_field *fields, size_t count, void *object,
                        int32_t *stream_id);

int lc_h2_reset(struct lc_h2 *h2, int32_t stream_id, uint32_t error_code);
int lc_h2_ping(struct lc_h2 *h2, const uint8_t opaque[8]);

/* Graceful stop: first GOAWAY (2^31-1) and a PING; when `final`, the real GOAWAY with the last stream seen. */
int lc_h2_goaway(struct lc_h2 *h2, bool final);

/* Streams open now. */
size_t lc_h2_streams(const struct lc_h2 *h2);

#endif
