#include "wire/h2_internal.h"

/*
 * One token bucket (Turner, "New directions in communications", 1986) for all frames that carry nothing. It fills with
 * time, and with each frame that does carry something: gRPC clients answer every DATA frame with up to two
 * WINDOW_UPDATEs and a PING that probes the bandwidth, old ones send a PRIORITY with each request. That never empties
 * it; what comes on top may burst, then trickle.
 */
#define BURST 10000u
#define REFILL_PER_SECOND 1000u
#define EARNED_BY_SENT_DATA 3u
#define TINY_DATA 16u

#define MAGIC 24u /* the client's preface, before its first frame */
#define HEAD 9u

void lc_h2_flood_init(struct lc_h2_flood *flood, bool server) {
  *flood = (struct lc_h2_flood){.tokens = BURST, .payload = server ? MAGIC : 0};
}

static void earn(struct lc_h2_flood *flood, uint64_t tokens) {
  uint64_t sum = flood->tokens + tokens;
  flood->tokens = sum < BURST ? (uint32_t)sum : BURST;
}

static void fill_by_time(struct lc_h2_flood *flood) {
  if (flood->now_ms <= flood->filled_ms)
    return;
  uint64_t passed_ms = flood->now_ms - flood->filled_ms;
  flood->filled_ms = flood->now_ms;
  earn(flood, passed_ms < 1000u * BURST ? passed_ms * REFILL_PER_SECOND / 1000 : BURST);
}

static bool spend(struct lc_h2_flood *flood, uint32_t tokens) {
  if (flood->tokens < tokens)
    fill_by_time(flood);
  if (flood->tokens < tokens)
    return false;
  flood->tokens -= tokens;
  return true;
}

void lc_h2_flood_data_sent(struct lc_h2_flood *flood) {
  earn(flood, EARNED_BY_SENT_DATA);
}

/* Not worth its head: no body, or next to none, with more to come. */
static bool is_tiny_data(uint8_t flags, uint32_t len) {
  if (flags & NGHTTP2_FLAG_END_STREAM)
    return false;
  return len < TINY_DATA || (flags & NGHTTP2_FLAG_PADDED);
}

static bool take_frame(struct lc_h2_flood *flood, const uint8_t *head) {
  uint32_t len = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
  flood->payload = len;
  switch (head[3]) {
  case NGHTTP2_HEADERS:
    earn(flood, 1);
    return true;
  case NGHTTP2_DATA:
    return !is_tiny_data(head[4], len) || spend(flood, 1);
  case NGHTTP2_RST_STREAM: /* what its HEADERS earned, and one */
    return spend(flood, 2);
  default:
    return spend(flood, 1);
  }
}

bool lc_h2_flood_recv(struct lc_h2_flood *flood, const uint8_t *data, size_t len) {
  while (len > 0) {
    size_t step = flood->payload < len ? flood->payload : len;
    flood->payload -= (uint32_t)step;
    data += step;
    len -= step;
    if (len == 0)
      break;
    const uint8_t *head = data;
    step = HEAD - flood->head_len < len ? HEAD - flood->head_len : len;
    if (step < HEAD) {
      memcpy(flood->head + flood->head_len, data, step);
      flood->head_len = (uint8_t)(flood->head_len + step);
      head = flood->head;
    }
    data += step;
    len -= step;
    if (step < HEAD && flood->head_len < HEAD)
      break;
    flood->head_len = 0;
    if (!take_frame(flood, head))
      return false;
  }
  return true;
}
