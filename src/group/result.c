/* What a load is about, for its loader, and the result that the loader or another node sets. */
#include <stdio.h>

#include "base/alloc.h"
#include "group/load.h"

#define MESSAGE_MAX 1024u /* it becomes a header of a reply */

struct lc_slice lc_load_group(const struct lc_load *load) {
  return lc_flight_group(load->flight);
}

struct lc_slice lc_load_key(const struct lc_load *load) {
  return lc_flight_key(load->flight);
}

unsigned lc_load_group_index(const struct lc_load *load) {
  return load->group->index;
}

unsigned lc_load_worker(const struct lc_load *load) {
  return load->worker;
}

uint64_t lc_load_deadline_ms(const struct lc_load *load) {
  return load->deadline_ms;
}

void lc_load_set_impl(struct lc_load *load, void *impl) {
  load->impl = impl;
}

void *lc_load_impl(const struct lc_load *load) {
  return load->impl;
}

void lc_load_set_static(struct lc_load *load, int code, const char *message) {
  lc_item_unref(load->item);
  lc_free(load->text);
  load->item = NULL;
  load->text = NULL;
  load->code = code;
  load->message = message;
}

void lc_load_set_not_found(struct lc_load *load) {
  lc_load_set_static(load, LC_ENOTFOUND, "not found");
}

void lc_load_set_error(struct lc_load *load, int code, const char *message, size_t len) {
  char *text = lc_memdup0(message, len < MESSAGE_MAX ? len : MESSAGE_MAX);
  if (!text) {
    lc_load_set_static(load, LC_ENOMEM, "out of memory");
    return;
  }
  lc_load_set_static(load, code < 0 ? code : LC_EINTERNAL, text);
  load->text = text;
}

/* The end of the stored copy: a mirror has an age limit of its own. */
static uint64_t copy_expires(const struct lc_load *load, uint64_t expires_ms) {
  if (!load->mirror || !load->keep)
    return expires_ms;
  uint64_t mirror_ms = lc_group_expiry(load->sent_ms, load->group->options.mirror_ttl_ms);
  return expires_ms < mirror_ms ? expires_ms : mirror_ms;
}

void lc_load_set_item(struct lc_load *load, struct lc_slice value, uint64_t expires_ms) {
  struct lc_item *item = lc_item_create(lc_load_key(load), value, copy_expires(load, expires_ms), 0);
  if (!item) {
    lc_load_set_static(load, LC_ENOMEM, "out of memory");
    return;
  }
  if (load->group->groups->peers)
    lc_item_set_view(item, load->view, load->mirror);
  lc_load_set_static(load, LC_OK, NULL);
  load->expires_ms = expires_ms;
  load->item = item;
}

void lc_load_set_value(struct lc_load *load, struct lc_slice value, int64_t ttl_ms) {
  const struct lc_group_options *options = &load->group->options;
  if (value.len > options->max_value) {
    char text[128];
    int len = snprintf(text, sizeof text, "the getter's value of %zu bytes is over the group's max_value of %zu",
                       value.len, options->max_value);
    lc_load_set_error(load, LC_EINTERNAL, text, len > 0 ? (size_t)len : 0);
    return;
  }
  uint64_t ttl = ttl_ms < 0 ? options->ttl_ms : (uint64_t)ttl_ms;
  lc_load_set_item(load, value, lc_group_expiry(lc_group_now(load->group, load->worker), ttl));
}

void lc_load_set_logged(struct lc_load *load) {
  load->logged = true;
}
