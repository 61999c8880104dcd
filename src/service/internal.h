#ifndef LC_SERVICE_INTERNAL_H
#define LC_SERVICE_INTERNAL_H

#include "rpc/reply.h"
#include "service/health.h"
#include "service/service.h"

struct lc_services {
  struct lc_services_config config;
  struct lc_rpc_table *table;
  struct lc_health *health;
};

extern const struct lc_rpc_method lc_cache_methods[];
extern const size_t lc_cache_method_count;
extern const struct lc_rpc_method lc_pb_methods[];
extern const size_t lc_pb_method_count;
extern const struct lc_rpc_method lc_batch_methods[];
extern const size_t lc_batch_method_count;
extern const struct lc_rpc_method lc_admin_methods[];
extern const size_t lc_admin_method_count;
extern const struct lc_rpc_method lc_reflection_methods[];
extern const size_t lc_reflection_method_count;

#endif
