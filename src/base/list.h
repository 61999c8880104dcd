#ifndef LC_BASE_LIST_H
#define LC_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* Intrusive circular doubly linked list; a head is a node that holds no element. */
struct lc_list {
  struct lc_list *prev, *next;
};

#define lc_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void lc_list_init(struct lc_list *head) {
  head->prev = head->next = head;
}

static inline bool lc_list_empty(const struct lc_list *head) {
  return head->next == head;
}

static inline void lc_list_insert_after(struct lc_list *pos, struct lc_list *node) {
  node->prev = pos;
  node->next = pos->next;
  pos->next->prev = node;
  pos->next = node;
}

static inline void lc_list_push_front(struct lc_list *head, struct lc_list *node) {
  lc_list_insert_after(head, node);
}

static inline void lc_list_push_back(struct lc_list *head, struct lc_list *node) {
  lc_list_insert_after(head->prev, node);
}

/* Leaves `node` linked to itself, so that removing it twice is harmless. */
static inline void lc_list_remove(struct lc_list *node) {
  node->prev->next = node->next;
  node->next->prev = node->prev;
  lc_list_init(node);
}

/* Moves all of `from` to the end of `to`; `from` is empty after. */
static inline void lc_list_splice_back(struct lc_list *to, struct lc_list *from) {
  if (lc_list_empty(from))
    return;
  from->next->prev = to->prev;
  to->prev->next = from->next;
  from->prev->next = to;
  to->prev = from->prev;
  lc_list_init(from);
}

/* The first node, unlinked, or NULL. */
static inline struct lc_list *lc_list_pop_front(struct lc_list *head) {
  if (lc_list_empty(head))
    return NULL;
  struct lc_list *node = head->next;
  lc_list_remove(node);
  return node;
}

#endif
