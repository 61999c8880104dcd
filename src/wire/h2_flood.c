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

void lc_h2_flood_init(struct lc_h2_flood *flood) {
  *flood = (struct lc_h2_flood){.tokens = BURST};
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

bool lc_h2_flood_idle(struct lc_h2_flood *flood) {
  if (flood->tokens == 0)
    fill_by_time(flood);
  if (flood->tokens == 0)
    return false;
  flood->tokens--;
  return true;
}

void lc_h2_flood_data_sent(struct lc_h2_flood *flood) {
  earn(flood, EARNED_BY_SENT_DATA);
}

bool lc_h2_flood_frame(struct lc_h2_flood *flood, const nghttp2_frame_hd *hd) {
  switch (hd->type) {
  case NGHTTP2_HEADERS:
    earn(flood, 1);
    return true;
  case NGHTTP2_DATA:
    if (hd->length > 0 || (hd->flags & NGHTTP2_FLAG_END_STREAM))
      return true;
    return lc_h2_flood_idle(flood);
  case NGHTTP2_CONTINUATION: /* nghttp2 bounds these itself, */
  case NGHTTP2_GOAWAY:
    return true;
  case NGHTTP2_RST_STREAM: /* and these too, more strictly */
  default:
    return lc_h2_flood_idle(flood);
  }
}
