#include <stdio.h>

#include "base/alloc.h"
#include "registry/etcd.h"

#define LIST_PATH "/v3/kv/range"
#define SMALL_REPLY_MAX (64u << 10)
#define HOUR_MS 3600000u
#define TOKEN_MIN_MS 1000 /* one that is refused sooner wasn't just worn out */

/* ---- endpoints ---- */

/* Several requests may fail together; they move on by one. */
void lc_etcd_next_endpoint(struct lc_etcd *etcd, size_t failed) {
  if (etcd->endpoint == failed)
    etcd->endpoint = (failed + 1) % etcd->endpoint_count;
}

bool lc_etcd_fresh(const struct lc_etcd *etcd) {
  return etcd->tries > 0 || etcd->reach != LC_ETCD_REACHED;
}

/*
 * A lost SYN is sent again after 1, 3, 7 s, and etcd has to be noticed sooner when it is back: what can't be reached is
 * dialled each second, and given more time only now and then, for the sake of long lines.
 */
static uint64_t connect_timeout_ms(const struct lc_etcd *etcd) {
  return etcd->reach == LC_ETCD_UNREACHED && etcd->tries % 4 != 0 ? 1000 : etcd->lease_ms / 2;
}

/* ---- what a reply means ---- */

static bool is_token_error(const char *text) {
  return strstr(text, "invalid auth token") != NULL || strstr(text, "user name is empty") != NULL ||
         strstr(text, "revision in header is old") != NULL;
}

/* Without a token again. A server that refuses a new one isn't asked in a tight loop. */
static enum lc_etcd_outcome drop_token(struct lc_etcd *etcd) {
  bool worn_out = lc_etcd_now(etcd) >= etcd->token_ms + TOKEN_MIN_MS;
  if (etcd->user == NULL)
    return LC_ETCD_REFUSED;
  lc_free(etcd->token);
  etcd->token = NULL;
  etcd->auth_off = false;
  uint64_t due = lc_etcd_now(etcd) + (worn_out ? 0 : TOKEN_MIN_MS);
  if (etcd->list_due_ms > due)
    etcd->list_due_ms = due;
  return worn_out ? LC_ETCD_AGAIN : LC_ETCD_REFUSED;
}

/* {"error":"…","code":5}; in a stream {"error":{"message":"…","grpc_code":14}}. */
static const char *error_text(const cJSON *json) {
  const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
  const char *text = cJSON_IsObject(error) ? lc_etcd_text(error, "message") : lc_etcd_text(json, "error");
  if (text == NULL)
    text = lc_etcd_text(json, "message");
  return text != NULL ? text : "";
}

enum lc_etcd_outcome lc_etcd_judge_error(struct lc_etcd *etcd, const cJSON *json) {
  const char *text = error_text(json);
  if (is_token_error(text))
    return drop_token(etcd);
  return strstr(text, "requested lease not found") != NULL ? LC_ETCD_NO_LEASE : LC_ETCD_REFUSED;
}

/* Some errors have a second JSON-like text behind the object (a trailer that the gateway writes into the body). */
static cJSON *parse_error(struct lc_slice body) {
  return cJSON_ParseWithLengthOpts((const char *)body.ptr, body.len, NULL, 0);
}

static enum lc_etcd_outcome judge_status(struct lc_etcd *etcd, const struct lc_fetch_response *response, char *what,
                                         size_t size) {
  cJSON *json = response->body.len > 0 ? parse_error(response->body) : NULL;
  enum lc_etcd_outcome outcome = lc_etcd_judge_error(etcd, json);
  snprintf(what, size, "%ld %.200s", response->status, error_text(json));
  cJSON_Delete(json);
  return outcome;
}

enum lc_etcd_outcome lc_etcd_judge(struct lc_etcd *etcd, size_t endpoint, const char *path,
                                   const struct lc_fetch_response *response, cJSON **json, char why[LC_ETCD_WHY_SIZE]) {
  char what[256] = "not JSON";
  enum lc_etcd_outcome outcome = LC_ETCD_REFUSED;
  *json = NULL;
  if (response->code != LC_OK) {
    snprintf(why, LC_ETCD_WHY_SIZE, "%s", response->message);
    return response->code == LC_ETOOBIG ? LC_ETCD_REFUSED : LC_ETCD_NO_ANSWER;
  }
  if (response->status != 200) {
    outcome = judge_status(etcd, response, what, sizeof what);
  } else if (response->body.len > 0 && (*json = lc_etcd_parse(response->body)) != NULL) {
    return LC_ETCD_ANSWERED;
  }
  snprintf(why, LC_ETCD_WHY_SIZE, "%s%s: %s", etcd->endpoints[endpoint], path, what);
  return outcome;
}

/* ---- a request ---- */

static void free_call(struct lc_etcd_call *call) {
  lc_list_remove(&call->link);
  lc_free(call);
}

static void on_done(void *arg, const struct lc_fetch_response *response) {
  struct lc_etcd_call *call = arg;
  struct lc_etcd *etcd = call->etcd;
  char why[LC_ETCD_WHY_SIZE] = "";
  cJSON *json = NULL;
  etcd->busy++;
  lc_list_remove(&call->link);
  lc_list_init(&call->link);
  struct lc_etcd_reply reply = {.why = why};
  reply.outcome = lc_etcd_judge(etcd, call->endpoint, call->path, response, &json, why);
  reply.json = json;
  call->on_reply(call, &reply);
  cJSON_Delete(json);
  free_call(call);
  lc_etcd_wake(etcd);
  lc_etcd_leave_busy(etcd);
}

static int start(struct lc_etcd_call *call, const struct lc_buf *body) {
  struct lc_etcd *etcd = call->etcd;
  struct lc_fetch_header token = {"Authorization", etcd->token}; /* raw: with a scheme before it, it is refused */
  struct lc_buf url;
  lc_buf_init(&url);
  lc_buf_printf(&url, "%s%s", etcd->endpoints[call->endpoint], call->path);
  lc_buf_char(&url, '\0');
  struct lc_fetch_request request = {
      .method = "POST",
      .url = (const char *)url.data,
      .headers = &token,
      .header_count = call->with_token ? 1 : 0,
      .body = lc_buf_slice(body),
      .has_body = true,
      .timeout_ms = etcd->lease_ms, /* of no use to the lease after that */
      .connect_timeout_ms = connect_timeout_ms(etcd),
      .max_response_bytes = strcmp(call->path, LIST_PATH) == 0 ? LC_ETCD_REPLY_MAX : SMALL_REPLY_MAX,
      .tls = {etcd->ca_file, etcd->cert_file, etcd->key_file},
      .fresh_connection = lc_etcd_fresh(etcd),
  };
  int rc = url.failed || body->failed ? LC_ENOMEM
                                      : lc_fetch_start(etcd->fetcher, &request, on_done, call, &call->fetch, NULL);
  lc_buf_fini(&url);
  return rc;
}

struct lc_etcd_call *lc_etcd_send(struct lc_etcd *etcd, const char *path, struct lc_buf *body,
                                  void (*on_reply)(struct lc_etcd_call *call, const struct lc_etcd_reply *reply)) {
  struct lc_etcd_call *call = lc_calloc(1, sizeof *call);
  if (call != NULL) {
    *call = (struct lc_etcd_call){.etcd = etcd,
                                  .path = path,
                                  .endpoint = etcd->endpoint,
                                  .on_reply = on_reply,
                                  .with_token = etcd->token != NULL,
                                  .sent_ms = lc_etcd_now(etcd)};
    lc_list_push_back(&etcd->calls, &call->link);
    if (start(call, body) != 0) {
      free_call(call);
      call = NULL;
    }
  }
  lc_buf_fini(body);
  return call;
}

void lc_etcd_cancel_calls(struct lc_etcd *etcd) {
  while (!lc_list_empty(&etcd->calls)) {
    struct lc_etcd_call *call = lc_container_of(etcd->calls.next, struct lc_etcd_call, link);
    lc_fetch_cancel(call->fetch);
    free_call(call);
  }
}

/* ---- authentication ---- */

bool lc_etcd_needs_token(const struct lc_etcd *etcd) {
  return etcd->user != NULL && etcd->token == NULL && !etcd->auth_off;
}

static void on_authenticated(struct lc_etcd_call *call, const struct lc_etcd_reply *reply) {
  struct lc_etcd *etcd = call->etcd;
  const char *token = reply->outcome == LC_ETCD_ANSWERED ? lc_etcd_text(reply->json, "token") : NULL;
  etcd->auth_running = false;
  etcd->token_ms = lc_etcd_now(etcd);
  etcd->auth_off = reply->outcome == LC_ETCD_REFUSED && strstr(reply->why, "authentication is not enabled") != NULL;
  if (etcd->auth_off)
    return;
  if (token != NULL && *token != '\0' && strpbrk(token, "\r\n") == NULL) {
    lc_free(etcd->token);
    etcd->token = lc_strdup(token);
  }
  if (etcd->token == NULL)
    lc_etcd_unreached(etcd, call->endpoint, *reply->why != '\0' ? reply->why : "authentication brought no token");
}

void lc_etcd_authenticate(struct lc_etcd *etcd) {
  struct lc_buf body;
  if (etcd->auth_running || lc_etcd_now(etcd) < etcd->list_due_ms)
    return;
  lc_buf_init(&body);
  lc_buf_str(&body, "{\"name\":");
  lc_buf_json(&body, lc_slice_str(etcd->user));
  lc_buf_str(&body, ",\"password\":");
  lc_buf_json(&body, lc_slice_str(etcd->password != NULL ? etcd->password : ""));
  lc_buf_char(&body, '}');
  etcd->auth_running = true;
  if (lc_etcd_send(etcd, "/v3/auth/authenticate", &body, on_authenticated) == NULL) {
    etcd->auth_running = false;
    lc_etcd_unreached(etcd, etcd->endpoint, "out of memory");
  }
}

/* ---- the log ---- */

static uint64_t hash(uint64_t seed, const char *text) {
  for (; *text != '\0'; text++)
    seed = (seed ^ (uint8_t)*text) * 1099511628211u; /* FNV-1a */
  return seed;
}

void lc_etcd_warn_once(struct lc_etcd *etcd, const char *event, const char *name, const char *text) {
  uint64_t mark = hash(hash(14695981039346656037u, event), text);
  if (lc_etcd_now(etcd) - etcd->once_ms > HOUR_MS)
    etcd->once_count = 0;
  for (unsigned i = 0; i < etcd->once_count; i++) {
    if (etcd->once[i] == mark)
      return;
  }
  if (etcd->once_count == LC_ETCD_ONCE)
    return;
  if (etcd->once_count == 0)
    etcd->once_ms = lc_etcd_now(etcd);
  etcd->once[etcd->once_count++] = mark;
  lc_log_event(etcd->log, LC_LOG_WARN, event, LC_F_STR(name, text));
}
