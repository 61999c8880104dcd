#include "rpc/table.h"

#include <assert.h>

#include "base/alloc.h"

int lc_rpc_table_create(const struct lc_rpc_service *services, size_t count, struct lc_rpc_table **out) {
  size_t total = 0;
  for (size_t i = 0; i < count; i++)
    total += services[i].count;
  struct lc_rpc_table *table = lc_malloc(sizeof(*table) + total * sizeof(table->routes[0]));
  if (!table)
    return LC_ENOMEM;
  table->count = 0;
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < services[i].count; j++) {
      const struct lc_rpc_method *method = &services[i].methods[j];
      assert(method->state_size <= LC_RPC_STATE_SIZE);
      table->routes[table->count++] =
          (struct lc_rpc_route){.path = lc_slice_str(method->path), .method = method, .ctx = services[i].ctx};
    }
  }
  *out = table;
  return LC_OK;
}

void lc_rpc_table_destroy(struct lc_rpc_table *table) {
  lc_free(table);
}

const struct lc_rpc_route *lc_rpc_table_find(const struct lc_rpc_table *table, struct lc_slice path) {
  for (size_t i = 0; i < table->count; i++) {
    if (lc_slice_eq(table->routes[i].path, path))
      return &table->routes[i];
  }
  return NULL;
}
