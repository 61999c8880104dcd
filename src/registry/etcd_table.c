#include "base/alloc.h"
#include "registry/etcd.h"

/* Where the address is, or should stand. */
static size_t place_of(const struct lc_etcd_table *table, const char *address) {
  size_t low = 0, high = table->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(table->at[middle].address, address) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

struct lc_etcd_member *lc_etcd_table_find(const struct lc_etcd_table *table, const char *address) {
  size_t place = place_of(table, address);
  bool found = place < table->count && strcmp(table->at[place].address, address) == 0;
  return found ? &table->at[place] : NULL;
}

static int grow(struct lc_etcd_table *table) {
  if (table->count == LC_ETCD_MEMBERS_MAX)
    return LC_ETOOBIG;
  if (table->count < table->cap)
    return 0;
  size_t cap = table->cap != 0 ? table->cap * 2 : 16;
  struct lc_etcd_member *at = lc_realloc(table->at, cap * sizeof *at);
  if (at == NULL)
    return LC_ENOMEM;
  table->at = at;
  table->cap = cap;
  return 0;
}

/* A list comes sorted, so that this appends. */
static int insert(struct lc_etcd_table *table, const struct lc_etcd_kv *kv) {
  int rc = grow(table);
  char *address = rc == 0 ? lc_strdup(kv->address) : NULL;
  if (address == NULL)
    return rc != 0 ? rc : LC_ENOMEM;
  size_t place = place_of(table, address);
  memmove(table->at + place + 1, table->at + place, (table->count - place) * sizeof *table->at);
  table->at[place] = (struct lc_etcd_member){address, kv->weight, kv->mod_revision};
  table->count++;
  return 0;
}

int lc_etcd_table_set(struct lc_etcd_table *table, const struct lc_etcd_kv *kv) {
  struct lc_etcd_member *member = lc_etcd_table_find(table, kv->address);
  if (member == NULL)
    return insert(table, kv);
  member->weight = kv->weight;
  member->mod_revision = kv->mod_revision;
  return 0;
}

void lc_etcd_table_remove(struct lc_etcd_table *table, struct lc_etcd_member *member) {
  size_t place = (size_t)(member - table->at);
  lc_free(member->address);
  table->count--;
  memmove(member, member + 1, (table->count - place) * sizeof *member);
}

bool lc_etcd_table_same(const struct lc_etcd_table *a, const struct lc_etcd_table *b) {
  if (a->count != b->count)
    return false;
  for (size_t i = 0; i < a->count; i++) {
    if (a->at[i].mod_revision != b->at[i].mod_revision || strcmp(a->at[i].address, b->at[i].address) != 0)
      return false;
  }
  return true;
}

void lc_etcd_table_free(struct lc_etcd_table *table) {
  for (size_t i = 0; i < table->count; i++)
    lc_free(table->at[i].address);
  lc_free(table->at);
  *table = (struct lc_etcd_table){0};
}
