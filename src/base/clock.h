#ifndef LC_BASE_CLOCK_H
#define LC_BASE_CLOCK_H

#include <stdint.h>

/*
 * Monotonic time in milliseconds or nanoseconds since an unspecified start;
 * never 0. Logic takes time as an argument and leaves these calls to the edges.
 */
uint64_t lc_clock_ms(void);
uint64_t lc_clock_ns(void);

/* CPU time that the calling thread has used, in nanoseconds. */
uint64_t lc_clock_thread_cpu_ns(void);

/* "Never": later than any deadline or expiry. */
#define LC_TIME_NEVER UINT64_MAX

#endif
