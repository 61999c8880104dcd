#ifndef LC_SERVICE_HEALTH_H
#define LC_SERVICE_HEALTH_H

#include <stdbool.h>

#include "group/exec.h"
#include "rpc/server.h"

/* grpc.health.v1.Health: Check, and Watch with watchers on each worker. */
struct lc_health;

int lc_health_create(const struct lc_exec *exec, struct lc_health **out); /* 0 or LC_ENOMEM */
void lc_health_destroy(struct lc_health *health);                         /* NULL is fine */
void lc_health_set(struct lc_health *health, bool serving);               /* any thread */
void lc_health_drain(struct lc_health *health); /* any thread: NOT_SERVING for good, and watches end when told */

extern const struct lc_rpc_method lc_health_methods[];
extern const size_t lc_health_method_count;

#endif
