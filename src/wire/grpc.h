#ifndef LC_WIRE_GRPC_H
#define LC_WIRE_GRPC_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/outq.h"
#include "base/slice.h"

/*
 * gRPC over HTTP/2 (the gRPC project's PROTOCOL-HTTP2.md): statuses, message frames, timeouts, messages in headers.
 */
enum lc_grpc_status {
  LC_GRPC_OK = 0,
  LC_GRPC_CANCELLED = 1,
  LC_GRPC_UNKNOWN = 2,
  LC_GRPC_INVALID_ARGUMENT = 3,
  LC_GRPC_DEADLINE_EXCEEDED = 4,
  LC_GRPC_NOT_FOUND = 5,
  LC_GRPC_RESOURCE_EXHAUSTED = 8,
  LC_GRPC_UNIMPLEMENTED = 12,
  LC_GRPC_INTERNAL = 13,
  LC_GRPC_UNAVAILABLE = 14,
};

/*
 * enum lc_code to status, the design's table. LC_ETOOBIG is a key's or value's: a message over the limit of the
 * deframer is RESOURCE_EXHAUSTED, which its caller says.
 */
int lc_grpc_status_of(int lc_code);
int lc_grpc_code_of(int grpc_status);        /* back, for a client */
const char *lc_grpc_status_name(int status); /* "NOT_FOUND"; never NULL */

/* "100m" -> nanoseconds rounded up to ms; at most 8 digits and a unit of HMSmun. 0 or LC_EINVAL. */
int lc_grpc_parse_timeout(struct lc_slice text, uint64_t *ms);
/* The shortest form that is not later than ms; writes at most 16 bytes with NUL. */
void lc_grpc_format_timeout(uint64_t ms, char out[16]);

/* Percent-encoding of grpc-message: all but printable ASCII, and '%'. */
int lc_grpc_encode_message(struct lc_slice text, struct lc_buf *out);
int lc_grpc_decode_message(struct lc_slice text, struct lc_buf *out); /* lenient: a broken escape is kept */

#define LC_GRPC_PREFIX 5u
void lc_grpc_write_prefix(uint8_t prefix[LC_GRPC_PREFIX], uint32_t len); /* not compressed */

/* Queues the prefix and a copy of the message. 0, LC_ENOMEM or LC_ETOOBIG (over 4 GiB), and then the queue is as it
 * was. */
int lc_grpc_frame(struct lc_outq *q, struct lc_slice message);

/*
 * Cuts a body into messages. Frames and messages need not align. A message that lies whole in one run is given without
 * a copy; others are gathered, in memory that is taken only as bytes arrive, never on the word of the prefix: the
 * arena's, at most 4/3 of the message in all, or without an arena (NULL) the deframer's own, which the next message
 * takes over; of a message of up to 4 MiB that is the whole once 64 KiB have come (base/warm.h).
 */
struct lc_grpc_deframer {
  struct lc_arena *arena;
  size_t limit; /* of one message */
  uint8_t prefix[LC_GRPC_PREFIX];
  uint8_t prefix_len;
  uint8_t *gather;
  size_t need, have, cap;
};

void lc_grpc_deframer_init(struct lc_grpc_deframer *deframer, struct lc_arena *arena, size_t limit);

/* Frees memory of its own; without an arena only. */
void lc_grpc_deframer_fini(struct lc_grpc_deframer *deframer);

/*
 * Takes from *in. Returns 1 with *message (valid as long as *in's bytes and what it is gathered in), 0 when *in is used
 * up, or LC_ETOOBIG (over the limit, told from the prefix), LC_EPROTO (a compression flag that is not 0), LC_ENOMEM.
 */
int lc_grpc_deframe(struct lc_grpc_deframer *deframer, struct lc_slice *in, struct lc_slice *message);

/* The message lies in the deframer's own memory, not in what was read. */
static inline bool lc_grpc_deframer_holds(const struct lc_grpc_deframer *deframer, struct lc_slice message) {
  return deframer->gather && message.ptr == deframer->gather;
}

/* True if a message has begun and not ended: an end of stream now is an error. */
bool lc_grpc_deframer_partial(const struct lc_grpc_deframer *deframer);

#endif
