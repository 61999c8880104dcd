#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "script/internal.h"

struct lc_script_description {
  struct lc_script_declared declared; /* its references mean nothing here */
  struct lc_group_options *options;   /* the same groups in one row, as lc_groups_create takes them */
};

int lc_script_describe(const struct lc_script_options *options, struct lc_script_description **description,
                       struct lc_err *err) {
  struct lc_script *script;
  int code = lc_script_open(&(struct lc_script_config){.options = *options}, &script, err);
  if (code != LC_OK)
    return code;
  size_t count = script->declared.group_count;
  struct lc_script_description *d = lc_calloc(1, sizeof *d);
  struct lc_group_options *row = lc_calloc(count, sizeof *row);
  if (!d || !row) {
    lc_free(d);
    lc_free(row);
    lc_script_destroy(script);
    return lc_err_set(err, LC_ENOMEM, "no memory to describe the script");
  }
  d->declared = script->declared;
  script->declared = (struct lc_script_declared){0};
  for (size_t i = 0; i < count; i++)
    row[i] = d->declared.groups[i].options;
  d->options = row;
  lc_script_destroy(script);
  *description = d;
  return LC_OK;
}

void lc_script_description_destroy(struct lc_script_description *description) {
  if (!description)
    return;
  lc_declared_fini(&description->declared);
  lc_free(description->options);
  lc_free(description);
}

size_t lc_script_settings(const struct lc_script_description *description, const struct lc_script_setting **settings) {
  *settings = description->declared.settings;
  return description->declared.setting_count;
}

size_t lc_script_groups(const struct lc_script_description *description, const struct lc_group_options **groups) {
  *groups = description->options;
  return description->declared.group_count;
}

const char *lc_script_group_where(const struct lc_script_description *description, size_t index) {
  return description->declared.groups[index].where;
}

static struct lc_script_group *find(struct lc_script_declared *declared, const char *name) {
  for (size_t i = 0; i < declared->group_count; i++) {
    if (strcmp(declared->groups[i].options.name, name) == 0)
      return &declared->groups[i];
  }
  return NULL;
}

/* The name of an option in which the two differ, or NULL. */
static const char *difference(const struct lc_group_options *a, const struct lc_group_options *b) {
  if (a->limit_bytes != b->limit_bytes)
    return "bytes";
  if (a->ttl_ms != b->ttl_ms)
    return "ttl";
  if (a->timeout_ms != b->timeout_ms)
    return "timeout";
  if (a->policy != b->policy)
    return "policy";
  if (a->max_key != b->max_key)
    return "max_key";
  if (a->max_value != b->max_value)
    return "max_value";
  if (a->mirror_ttl_ms != b->mirror_ttl_ms)
    return "mirror_ttl";
  if (a->wants_evict != b->wants_evict)
    return "on_evict";
  return NULL;
}

static int disagree(struct lc_err *err, const struct lc_script_group *group, const char *what) {
  return lc_err_set(err, LC_EINVAL,
                    "%s: group \"%s\": %s differs from one run of the script to the next; "
                    "every worker runs it, and all must declare the same",
                    group->where, group->options.name, what);
}

/* Puts the groups in the description's order: a script may declare them by pairs(), which has none. */
static int agree(struct lc_script *script, struct lc_script_description *description, struct lc_err *err) {
  struct lc_script_declared *ours = &script->declared, *theirs = &description->declared;
  for (size_t i = 0; i < ours->group_count; i++) {
    if (!find(theirs, ours->groups[i].options.name))
      return disagree(err, &ours->groups[i], "whether it is declared");
  }
  for (size_t i = 0; i < theirs->group_count; i++) {
    struct lc_script_group *group = find(ours, theirs->groups[i].options.name);
    if (!group)
      return disagree(err, &theirs->groups[i], "whether it is declared");
    const char *what = difference(&group->options, &theirs->groups[i].options);
    if (what)
      return disagree(err, group, what);
    struct lc_script_group swap = ours->groups[i];
    ours->groups[i] = *group;
    *group = swap;
  }
  return LC_OK;
}

int lc_script_create(const struct lc_script_config *config, struct lc_script **script, struct lc_err *err) {
  struct lc_script *s;
  int code = lc_script_open(config, &s, err);
  if (code != LC_OK)
    return code;
  if (config->description)
    code = agree(s, (struct lc_script_description *)(uintptr_t)config->description, err);
  if (code != LC_OK) {
    lc_script_destroy(s);
    return code;
  }
  *script = s;
  return LC_OK;
}
