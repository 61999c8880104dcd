#include "base/clock.h"

#include <time.h>

#define MS_PER_S 1000u
#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u

static struct timespec read_clock(clockid_t id) {
  struct timespec ts = {0};
  clock_gettime(id, &ts);
  return ts;
}

/* The second added keeps 0, which callers use for "not set", out of the range even right after boot. */
uint64_t lc_clock_ms(void) {
  struct timespec ts = read_clock(CLOCK_MONOTONIC);
  return ((uint64_t)ts.tv_sec + 1) * MS_PER_S + (uint64_t)ts.tv_nsec / NS_PER_MS;
}

uint64_t lc_clock_ns(void) {
  struct timespec ts = read_clock(CLOCK_MONOTONIC);
  return ((uint64_t)ts.tv_sec + 1) * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t lc_clock_thread_cpu_ns(void) {
  struct timespec ts = read_clock(CLOCK_THREAD_CPUTIME_ID);
  return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}
