#ifndef LC_SERVICE_INTERNAL_H
#define LC_SERVICE_INTERNAL_H

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

/* Holds an item's bytes in an output queue. */
extern const struct lc_hold_ops lc_item_hold_ops;

/* Ends a call with the status that a code means. */
void lc_reply_code(struct lc_rpc_call *call, int code, const char *message);

/* Ends a call with the bare message in buf, which is freed. A failed buf ends it with RESOURCE_EXHAUSTED. */
void lc_reply_buf(struct lc_rpc_call *call, struct lc_buf *buf);

/* Appends the bare message in buf, with its prefix, to the call's output; buf is freed. 0 or LC_ENOMEM. */
int lc_append_message(struct lc_rpc_call *call, struct lc_buf *buf);

/* A copy of bytes that lives as long as the call. 0 or LC_ENOMEM. */
int lc_keep_slice(struct lc_rpc_call *call, struct lc_slice *bytes);

#endif
