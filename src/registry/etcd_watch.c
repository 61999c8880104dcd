#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "registry/etcd.h"

/*
 * The watch: one endless reply, a line an answer. Bytes are only collected inside libcurl's callback and dealt with on
 * our timer, so that those who hear of an event may start requests and destroy the registry.
 */
#define WATCH_PATH "/v3/watch"
#define STEADY_MS 5000 /* a watch that lived so long didn't fail at once */

/* ---- its end ---- */

void lc_etcd_watch_stop(struct lc_etcd *etcd) {
  if (etcd->watch != NULL)
    lc_fetch_cancel(etcd->watch);
  etcd->watch = NULL;
  etcd->doubt_ms = 0;
  etcd->lines.len = 0;
  etcd->lines_over = false;
}

/* List again, then watch again: at once, unless watches keep ending. */
static void ended(struct lc_etcd *etcd) {
  uint64_t now = lc_etcd_now(etcd);
  etcd->watch_fails = now >= etcd->watch_ms + STEADY_MS ? 0 : etcd->watch_fails + 1;
  uint64_t due = now + (etcd->watch_fails > 0 ? lc_etcd_backoff(etcd, etcd->watch_fails) : 0);
  lc_etcd_watch_stop(etcd);
  etcd->watch_ready = false;
  if (etcd->list_due_ms > due)
    etcd->list_due_ms = due;
}

static void broken(struct lc_etcd *etcd, const char *what) {
  char why[LC_ETCD_WHY_SIZE];
  snprintf(why, sizeof why, "%s%s: %.200s", etcd->endpoints[etcd->watch_endpoint], WATCH_PATH, what);
  lc_etcd_warn_once(etcd, "etcd watch failed", "error", why);
  ended(etcd);
}

/* ---- events ---- */

/* A list may know more than an old event does. */
static void on_put(struct lc_etcd *etcd, const struct lc_etcd_kv *kv) {
  const struct lc_etcd_member *known = lc_etcd_table_find(&etcd->table, kv->address);
  int64_t known_revision = known != NULL ? known->mod_revision : etcd->list_revision;
  if (lc_etcd_is_own(etcd, kv->address))
    lc_etcd_own_put(etcd, kv);
  if (kv->mod_revision <= known_revision)
    return;
  if (lc_etcd_table_set(&etcd->table, kv) != 0) {
    lc_etcd_warn_once(etcd, "etcd event lost: too many members, or no memory", "address", kv->address);
    return;
  }
  if (etcd->base.handler.on_put != NULL) {
    struct lc_registry_member member = {kv->address, kv->weight};
    etcd->base.handler.on_put(etcd->base.arg, &member);
  }
}

static void on_delete(struct lc_etcd *etcd, const struct lc_etcd_kv *kv) {
  struct lc_etcd_member *known = lc_etcd_table_find(&etcd->table, kv->address);
  if (lc_etcd_is_own(etcd, kv->address))
    lc_etcd_own_deleted(etcd, kv->mod_revision);
  if (known != NULL && known->mod_revision > kv->mod_revision)
    return; /* it is back already */
  if (known != NULL)
    lc_etcd_table_remove(&etcd->table, known);
  if (etcd->base.handler.on_delete != NULL)
    etcd->base.handler.on_delete(etcd->base.arg, kv->address);
}

/* PUT is the type's zero and so isn't written. */
static int read_type(const cJSON *event, bool *is_delete) {
  const cJSON *type = cJSON_GetObjectItemCaseSensitive(event, "type");
  int64_t number = 0;
  *is_delete = cJSON_IsString(type) && strcmp(type->valuestring, "DELETE") == 0;
  if (type == NULL || *is_delete || (cJSON_IsString(type) && strcmp(type->valuestring, "PUT") == 0))
    return 0;
  if (!cJSON_IsNumber(type) || !lc_etcd_int(event, "type", &number) || (number != 0 && number != 1))
    return LC_EPROTO;
  *is_delete = number == 1;
  return 0;
}

static int on_event(struct lc_etcd *etcd, const cJSON *event) {
  struct lc_etcd_kv kv;
  bool is_delete = false;
  int rc = read_type(event, &is_delete);
  if (rc == 0)
    rc = lc_etcd_kv_read(etcd, cJSON_GetObjectItemCaseSensitive(event, "kv"), &kv);
  if (rc != 0)
    return rc == LC_EINVAL ? 0 : rc;
  if (is_delete) {
    on_delete(etcd, &kv);
  } else {
    on_put(etcd, &kv);
  }
  if (kv.mod_revision > etcd->seen_revision)
    etcd->seen_revision = kv.mod_revision;
  return 0;
}

/* ---- lines ---- */

/* What was compacted away is gone: the next list has to do, and the watch begins behind it. */
static void on_canceled(struct lc_etcd *etcd, const cJSON *result) {
  int64_t compacted = 0;
  const char *reason = lc_etcd_text(result, "cancel_reason");
  if (!lc_etcd_int(result, "compact_revision", &compacted) || compacted <= 0) {
    if (reason != NULL && lc_etcd_judge_error(etcd, result) == LC_ETCD_AGAIN)
      return ended(etcd);
    return broken(etcd, reason != NULL ? reason : "canceled");
  }
  lc_log_event(etcd->log, LC_LOG_INFO, "etcd watch compacted", LC_F_INT("revision", compacted));
  ended(etcd);
  etcd->watch_gap = true;
  etcd->list_due_ms = lc_etcd_now(etcd);
}

static void on_events(struct lc_etcd *etcd, const cJSON *events) {
  const cJSON *event;
  if (events != NULL && !cJSON_IsArray(events))
    return broken(etcd, "events is no array");
  cJSON_ArrayForEach(event, events) {
    int rc = on_event(etcd, event);
    if (etcd->dead)
      return;
    if (rc != 0)
      return broken(etcd, rc == LC_ENOMEM ? "out of memory" : "a malformed event");
  }
}

static void on_answer(struct lc_etcd *etcd, const cJSON *json) {
  const cJSON *result = cJSON_GetObjectItemCaseSensitive(json, "result");
  const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
  if (error != NULL && lc_etcd_judge_error(etcd, json) == LC_ETCD_AGAIN)
    return ended(etcd);
  if (error != NULL) {
    const char *text = cJSON_IsObject(error) ? lc_etcd_text(error, "message") : lc_etcd_text(json, "error");
    return broken(etcd, text != NULL ? text : "an error without a message");
  }
  if (!cJSON_IsObject(result))
    return broken(etcd, "a line without a result");
  if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(result, "canceled")))
    return on_canceled(etcd, result);
  if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(result, "created")))
    etcd->watch_created = true;
  on_events(etcd, cJSON_GetObjectItemCaseSensitive(result, "events"));
}

static void on_line(struct lc_etcd *etcd, struct lc_slice line) {
  cJSON *json = line.len > 0 ? lc_etcd_parse(line) : NULL;
  etcd->line_count++;
  if (json != NULL) {
    on_answer(etcd, json);
  } else if (line.len > 0) {
    broken(etcd, "not JSON");
  }
  cJSON_Delete(json);
}

/* A line may end the watch, which empties the buffer. */
void lc_etcd_watch_lines(struct lc_etcd *etcd) {
  size_t at = 0;
  for (const uint8_t *end; at < etcd->lines.len && !etcd->dead; at = (size_t)(end - etcd->lines.data) + 1) {
    end = memchr(etcd->lines.data + at, '\n', etcd->lines.len - at);
    if (end == NULL)
      break;
    on_line(etcd, lc_slice_of(etcd->lines.data + at, (size_t)(end - etcd->lines.data) - at));
  }
  if (etcd->lines.len > 0)
    lc_buf_consume(&etcd->lines, at < etcd->lines.len ? at : etcd->lines.len);
}

static bool on_body(void *arg, struct lc_slice bytes) {
  struct lc_etcd *etcd = arg;
  if (bytes.len > LC_ETCD_REPLY_MAX - etcd->lines.len || lc_buf_append(&etcd->lines, bytes.ptr, bytes.len) != 0) {
    etcd->lines.failed = false;
    etcd->lines_over = true;
    return false;
  }
  lc_etcd_wake(etcd);
  return true;
}

/* ---- its beginning ---- */

static void on_done(void *arg, const struct lc_fetch_response *response) {
  struct lc_etcd *etcd = arg;
  char why[LC_ETCD_WHY_SIZE] = "";
  cJSON *json = NULL;
  etcd->busy++;
  etcd->watch = NULL;
  bool over = etcd->lines_over;
  lc_etcd_watch_lines(etcd); /* what came before the end counts */
  if (etcd->dead)
    return lc_etcd_leave_busy(etcd);
  if (over) {
    broken(etcd, "a line too long");
  } else if (response->code == LC_OK && response->status != 200) {
    enum lc_etcd_outcome outcome = lc_etcd_judge(etcd, etcd->watch_endpoint, WATCH_PATH, response, &json, why);
    if (outcome != LC_ETCD_AGAIN)
      lc_etcd_warn_once(etcd, "etcd watch failed", "error", why);
    cJSON_Delete(json);
    ended(etcd);
  } else {
    ended(etcd);
  }
  lc_etcd_wake(etcd);
  lc_etcd_leave_busy(etcd);
}

/* With a leader, the header asks for: a member that has lost it would be silent for ever. */
static void start(struct lc_etcd *etcd) {
  struct lc_fetch_header headers[2] = {{"Grpc-Metadata-hasleader", "true"}, {"Authorization", etcd->token}};
  struct lc_buf url, body;
  lc_buf_init(&url);
  lc_buf_init(&body);
  lc_buf_printf(&url, "%s" WATCH_PATH, etcd->endpoints[etcd->endpoint]);
  lc_buf_char(&url, '\0');
  lc_buf_printf(&body, "{\"create_request\":{%s,\"start_revision\":\"%" PRId64 "\",\"progress_notify\":true}}",
                (const char *)etcd->key_json.data, etcd->seen_revision + 1);
  struct lc_fetch_request request = {
      .method = "POST",
      .url = (const char *)url.data,
      .headers = headers,
      .header_count = etcd->token != NULL ? 2 : 1,
      .body = lc_buf_slice(&body),
      .has_body = true,
      .connect_timeout_ms = etcd->lease_ms / 2,
      .tls = {etcd->ca_file, etcd->cert_file, etcd->key_file},
      .fresh_connection = true,
      .on_body = on_body,
  };
  etcd->watch_ms = lc_etcd_now(etcd);
  etcd->watch_endpoint = etcd->endpoint;
  etcd->watch_created = etcd->watch_suspect = false;
  if (url.failed || body.failed || lc_fetch_start(etcd->fetcher, &request, on_done, etcd, &etcd->watch, NULL) != 0) {
    etcd->watch = NULL;
    ended(etcd);
  }
  lc_buf_fini(&url);
  lc_buf_fini(&body);
}

static bool may_act(const struct lc_etcd *etcd) {
  return etcd->watch_ready && !etcd->list_running && etcd->tries == 0;
}

/* When a watch that says nothing at all, or not what a list said, has had its time. */
static uint64_t dead_ms(const struct lc_etcd *etcd) {
  uint64_t hangs = etcd->watch_created ? LC_TIME_NEVER : etcd->watch_ms + etcd->lease_ms;
  return etcd->doubt_ms != 0 && etcd->doubt_ms < hangs ? etcd->doubt_ms : hangs;
}

uint64_t lc_etcd_watch_due(const struct lc_etcd *etcd) {
  if (!may_act(etcd))
    return LC_TIME_NEVER;
  return etcd->watch == NULL || etcd->watch_suspect ? 0 : dead_ms(etcd);
}

static bool is_dead(struct lc_etcd *etcd) {
  uint64_t now = lc_etcd_now(etcd);
  bool doubted = etcd->doubt_ms != 0 && now >= etcd->doubt_ms;
  bool silent = doubted && etcd->doubt_lines == etcd->line_count;
  if (doubted)
    etcd->doubt_ms = 0;
  return silent || now >= dead_ms(etcd);
}

/* Only after a list, so that what a new watch may miss is known. It begins where the old one was. */
void lc_etcd_watch_tend(struct lc_etcd *etcd) {
  if (!may_act(etcd))
    return;
  if (etcd->watch != NULL && !etcd->watch_suspect) {
    if (!is_dead(etcd))
      return;
    lc_log_event(etcd->log, LC_LOG_INFO, "etcd watch was silent: another is started");
  }
  lc_etcd_watch_stop(etcd);
  start(etcd);
}
