#ifndef LC_RPC_TABLE_H
#define LC_RPC_TABLE_H

#include "rpc/server.h"

/* The method table, for rpc/server.c. */
struct lc_rpc_route {
  struct lc_slice path;
  const struct lc_rpc_method *method;
  void *ctx;
};

struct lc_rpc_table {
  size_t count;
  struct lc_rpc_route routes[];
};

/* NULL if no service has that path. */
const struct lc_rpc_route *lc_rpc_table_find(const struct lc_rpc_table *table, struct lc_slice path);

#endif
