#include "loop/fetch.h"

#include <strings.h>

#include "base/alloc.h"
#include "loop/fetch_state.h"

/* ---- the response, as libcurl hands it over ---- */

static size_t break_off(struct lc_fetch *fetch, int code) {
  fetch->failure = code;
  return CURL_WRITEFUNC_ERROR;
}

/* An error's body is kept for `done` even where another would be streamed. */
static bool is_streamed(const struct lc_fetch *fetch) {
  long status = 0;
  if (fetch->on_body == NULL)
    return false;
  curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
  return status >= 200 && status < 300;
}

/* Counts decoded bytes: a few KB of gzip can hold gigabytes. */
static size_t on_content(char *data, size_t size, size_t count, void *arg) {
  struct lc_fetch *fetch = arg;
  size_t len = size * count;
  if (is_streamed(fetch))
    return fetch->on_body(fetch->arg, lc_slice_of(data, len)) ? len : break_off(fetch, LC_ECANCELLED);
  if (len > fetch->max_response_bytes - fetch->content.len)
    return break_off(fetch, LC_ETOOBIG);
  if (lc_buf_append(&fetch->content, data, len) != 0)
    return break_off(fetch, LC_ENOMEM);
  return len;
}

static struct lc_slice trim(const char *s, const char *end) {
  while (s < end && (*s == ' ' || *s == '\t'))
    s++;
  while (s < end && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r' || end[-1] == '\n'))
    end--;
  return lc_slice_of(s, (size_t)(end - s));
}

static void lower(uint8_t *s, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if (s[i] >= 'A' && s[i] <= 'Z')
      s[i] = (uint8_t)(s[i] + ('a' - 'A'));
  }
}

static void append_field(struct lc_fetch *fetch, struct lc_slice name, struct lc_slice value) {
  size_t at = fetch->head.len;
  lc_buf_append(&fetch->head, name.ptr, name.len);
  lc_buf_char(&fetch->head, '\0');
  lc_buf_append(&fetch->head, value.ptr, value.len);
  lc_buf_char(&fetch->head, '\0');
  if (fetch->head.failed)
    return;
  lower(fetch->head.data + at, name.len);
  fetch->field_count++;
}

/* A line of a head. A status line begins a new one: after a 100, or a redirect. */
static size_t on_header(char *line, size_t size, size_t count, void *arg) {
  struct lc_fetch *fetch = arg;
  size_t len = size * count;
  if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
    fetch->head.len = 0;
    fetch->field_count = 0;
    return len;
  }
  const char *colon = memchr(line, ':', len);
  if (colon == NULL || memchr(line, '\0', len) != NULL)
    return len;
  append_field(fetch, trim(line, colon), trim(colon + 1, line + len));
  if (fetch->head.failed)
    return break_off(fetch, LC_ENOMEM);
  return fetch->head.len > LC_FETCH_HEAD_MAX ? break_off(fetch, LC_ETOOBIG) : len;
}

/* ---- the request, as libcurl is told it ---- */

static void set_constant_options(struct lc_fetch *fetch) {
  CURL *easy = fetch->easy;
  curl_easy_setopt(easy, CURLOPT_PRIVATE, fetch);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* or cancelling waits for the resolver's thread */
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->curl_error);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_content);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, fetch);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, lc_fetcher_open_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, fetch->fetcher);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, lc_fetcher_close_socket);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, fetch->fetcher);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* none from the environment */
  curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "lcache");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, 60L);
  curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, 600L); /* so that a name's new address is seen */
}

static void set_method(struct lc_fetch *fetch) {
  CURL *easy = fetch->easy;
  if (fetch->has_body) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)fetch->body.len);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, fetch->body.ptr);
  }
  if (strcmp(fetch->method, "HEAD") == 0) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (strcmp(fetch->method, fetch->has_body ? "POST" : "GET") != 0) {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, fetch->method);
  }
}

static void set_tls(struct lc_fetch *fetch) {
  const struct lc_fetch_tls *tls = &fetch->tls;
  if (tls->ca_file != NULL) {
    curl_easy_setopt(fetch->easy, CURLOPT_CAINFO, tls->ca_file);
    curl_easy_setopt(fetch->easy, CURLOPT_CAPATH, NULL); /* or the system's CAs would count as well */
  }
  if (tls->cert_file != NULL)
    curl_easy_setopt(fetch->easy, CURLOPT_SSLCERT, tls->cert_file);
  if (tls->key_file != NULL)
    curl_easy_setopt(fetch->easy, CURLOPT_SSLKEY, tls->key_file);
}

/* False when memory is out; other options can't fail. */
static bool configure(struct lc_fetch *fetch) {
  CURL *easy = fetch->easy;
  set_constant_options(fetch);
  set_method(fetch);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->headers);
  if (fetch->connect_timeout_ms != 0) {
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)fetch->connect_timeout_ms);
  }
  if (fetch->on_body == NULL)
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)fetch->max_response_bytes);
  if (fetch->fresh_connection)
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  set_tls(fetch);
  if (fetch->max_redirects != 0) {
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)fetch->max_redirects);
  }
  /* Over TLS it pays to wait and see whether the first connection speaks HTTP/2. */
  if (strncasecmp(fetch->url, "https", 5) == 0)
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
  return curl_easy_setopt(easy, CURLOPT_URL, fetch->url) == CURLE_OK;
}

int lc_fetch_launch(struct lc_fetch *fetch) {
  fetch->easy = lc_fetcher_take_easy(fetch->fetcher);
  if (fetch->easy == NULL)
    return LC_ENOMEM;
  if (!configure(fetch) || curl_multi_add_handle(fetch->fetcher->multi, fetch->easy) != CURLM_OK) {
    lc_fetcher_give_easy(fetch->fetcher, fetch->easy);
    fetch->easy = NULL;
    return LC_ENOMEM;
  }
  fetch->host->running++;
  lc_list_push_back(&fetch->fetcher->running, &fetch->link);
  return 0;
}

/* ---- copying what is asked ---- */

/* A content type of libcurl's own choice, and waiting for a 100, are not wanted unless the caller says so. */
static const char *const quiet[] = {"Expect", "Content-Type"};

static bool has_header(const struct lc_fetch_request *request, const char *name) {
  for (size_t i = 0; i < request->header_count; i++) {
    if (strcasecmp(request->headers[i].name, name) == 0)
      return true;
  }
  return false;
}

static size_t optional_size(const char *s) {
  return s != NULL ? strlen(s) + 1 : 0;
}

static size_t copy_size(const struct lc_fetch_request *request) {
  size_t nodes = request->header_count + sizeof quiet / sizeof quiet[0];
  size_t size = nodes * (sizeof(struct curl_slist) + sizeof "Content-Type:");
  for (size_t i = 0; i < request->header_count; i++) {
    size += strlen(request->headers[i].name) + strlen(request->headers[i].value) + sizeof ": ";
  }
  size += optional_size(request->tls.ca_file) + optional_size(request->tls.cert_file);
  size += optional_size(request->tls.key_file);
  return size + strlen(request->method) + 1 + strlen(request->url) + 1 + request->body.len;
}

static char *put(char **at, const char *s, size_t len) {
  char *start = *at;
  if (len > 0)
    memcpy(start, s, len);
  *at += len;
  return start;
}

static const char *put_optional(char **at, const char *s) {
  return s != NULL ? put(at, s, strlen(s) + 1) : NULL;
}

static void copy_header(struct lc_fetch *fetch, struct curl_slist *node, char **at, const char *name,
                        const char *value) {
  node->data = put(at, name, strlen(name));
  if (value == NULL) {
    put(at, ":", sizeof ":"); /* libcurl's way to say: leave it out */
  } else if (*value == '\0') {
    put(at, ";", sizeof ";"); /* and: send it empty */
  } else {
    put(at, ": ", 2);
    put(at, value, strlen(value) + 1);
  }
  node->next = fetch->headers;
  fetch->headers = node;
}

/* Servers expect a length from these, be it 0. */
static bool sends_body(const char *method) {
  return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static int copy_request(struct lc_fetch *fetch, const struct lc_fetch_request *request) {
  if (lc_buf_reserve(&fetch->copy, copy_size(request)) != 0)
    return LC_ENOMEM;
  fetch->has_body = request->has_body || sends_body(request->method);
  size_t quiet_count = fetch->has_body ? sizeof quiet / sizeof quiet[0] : 0;
  struct curl_slist *nodes = (struct curl_slist *)(void *)fetch->copy.data;
  char *at = (char *)(nodes + request->header_count + quiet_count);
  fetch->headers = NULL;
  for (size_t i = 0; i < quiet_count; i++) {
    if (!has_header(request, quiet[i]))
      copy_header(fetch, nodes++, &at, quiet[i], NULL);
  }
  for (size_t i = request->header_count; i > 0; i--) {
    copy_header(fetch, nodes++, &at, request->headers[i - 1].name, request->headers[i - 1].value);
  }
  fetch->method = put(&at, request->method, strlen(request->method) + 1);
  fetch->url = put(&at, request->url, strlen(request->url) + 1);
  fetch->tls.ca_file = put_optional(&at, request->tls.ca_file);
  fetch->tls.cert_file = put_optional(&at, request->tls.cert_file);
  fetch->tls.key_file = put_optional(&at, request->tls.key_file);
  fetch->fresh_connection = request->fresh_connection;
  fetch->on_body = request->on_body;
  fetch->body = lc_slice_of(put(&at, (const char *)request->body.ptr, request->body.len), request->body.len);
  fetch->timeout_ms = request->timeout_ms;
  fetch->connect_timeout_ms = request->connect_timeout_ms;
  fetch->max_redirects = request->max_redirects;
  fetch->max_response_bytes =
      request->max_response_bytes != 0 ? request->max_response_bytes : fetch->fetcher->max_response_bytes;
  return 0;
}

/* ---- life ---- */

static struct lc_fetch *take_free(struct lc_fetcher *fetcher) {
  struct lc_list *link = lc_list_pop_front(&fetcher->free);
  if (link != NULL) {
    fetcher->free_count--;
    return lc_container_of(link, struct lc_fetch, link);
  }
  struct lc_fetch *fetch = lc_calloc(1, sizeof *fetch);
  if (fetch == NULL)
    return NULL;
  fetch->fetcher = fetcher;
  lc_list_init(&fetch->link);
  return fetch;
}

static void empty_buf(struct lc_buf *buf) {
  if (buf->cap > LC_FETCH_KEEP_BYTES)
    lc_buf_fini(buf);
  buf->len = 0;
  buf->failed = false;
}

void lc_fetch_free(struct lc_fetch *fetch) {
  lc_buf_fini(&fetch->copy);
  lc_buf_fini(&fetch->head);
  lc_buf_fini(&fetch->content);
  lc_buf_fini(&fetch->fields);
  lc_free(fetch);
}

static void give_free(struct lc_fetch *fetch) {
  struct lc_fetcher *fetcher = fetch->fetcher;
  if (fetcher->closing || fetcher->free_count == LC_FETCH_KEEP_FREE) {
    lc_fetch_free(fetch);
    return;
  }
  empty_buf(&fetch->copy);
  empty_buf(&fetch->head);
  empty_buf(&fetch->content);
  empty_buf(&fetch->fields);
  fetch->field_count = 0;
  fetch->failure = 0;
  fetch->curl_error[0] = '\0';
  fetcher->free_count++;
  lc_list_push_front(&fetcher->free, &fetch->link);
}

/* Out of libcurl, its host and all lists. */
static void take_out(struct lc_fetch *fetch) {
  struct lc_fetcher *fetcher = fetch->fetcher;
  lc_timer_stop(lc_worker_timers(fetcher->worker), &fetch->deadline);
  lc_list_remove(&fetch->link);
  if (fetch->easy != NULL) {
    curl_multi_remove_handle(fetcher->multi, fetch->easy);
    lc_fetcher_give_easy(fetcher, fetch->easy);
    fetch->easy = NULL;
    lc_fetch_host_leave(fetcher, fetch->host);
  } else {
    lc_fetch_host_drop(fetch->host);
  }
}

/* NULL when memory is out. */
static const struct lc_fetch_header *list_fields(struct lc_fetch *fetch) {
  if (lc_buf_reserve(&fetch->fields, (fetch->field_count + 1) * sizeof(struct lc_fetch_header)) != 0)
    return NULL;
  struct lc_fetch_header *fields = (struct lc_fetch_header *)(void *)fetch->fields.data;
  const char *at = (const char *)fetch->head.data;
  for (size_t i = 0; i < fetch->field_count; i++) {
    fields[i].name = at;
    at += strlen(at) + 1;
    fields[i].value = at;
    at += strlen(at) + 1;
  }
  return fields;
}

void lc_fetch_complete(struct lc_fetch *fetch, int code, const char *message) {
  struct lc_fetch_response response = {.code = code, .message = message};
  if (code == LC_OK) {
    curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &response.status);
    response.body = lc_buf_slice(&fetch->content);
    response.headers = list_fields(fetch);
    response.header_count = fetch->field_count;
  }
  if (code == LC_OK && response.headers == NULL) {
    response = (struct lc_fetch_response){.code = LC_ENOMEM, .message = "out of memory"};
  }
  take_out(fetch);
  fetch->done(fetch->arg, &response);
  give_free(fetch);
}

static void on_deadline(struct lc_timer *timer) {
  struct lc_fetch *fetch = lc_container_of(timer, struct lc_fetch, deadline);
  char message[LC_FETCH_MESSAGE_SIZE];
  int code = lc_fetch_explain_timeout(fetch, message);
  lc_fetch_complete(fetch, code, message);
}

static int place(struct lc_fetch *fetch, struct lc_slice name) {
  struct lc_fetcher *fetcher = fetch->fetcher;
  fetch->host = lc_fetch_host_join(fetcher, name);
  if (fetch->host == NULL)
    return LC_ENOMEM;
  if (fetch->host->running >= fetcher->max_host_connections) {
    lc_list_push_back(&fetch->host->waiting, &fetch->link);
    return 0;
  }
  int rc = lc_fetch_launch(fetch);
  if (rc != 0)
    lc_fetch_host_drop(fetch->host);
  return rc;
}

int lc_fetch_start(struct lc_fetcher *fetcher, const struct lc_fetch_request *request, lc_fetch_done done, void *arg,
                   struct lc_fetch **out, struct lc_err *err) {
  struct lc_slice host;
  int rc = lc_fetch_check(request, &host, err);
  if (rc != 0)
    return rc;
  struct lc_fetch *fetch = take_free(fetcher);
  if (fetch == NULL)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  fetch->done = done;
  fetch->arg = arg;
  fetch->deadline.fire = on_deadline;
  rc = copy_request(fetch, request);
  if (rc == 0)
    rc = place(fetch, host);
  if (rc != 0) {
    give_free(fetch);
    return lc_err_set(err, rc, "out of memory");
  }
  if (fetch->timeout_ms != 0) {
    lc_timer_start(lc_worker_timers(fetcher->worker), &fetch->deadline,
                   lc_worker_now_ms(fetcher->worker) + fetch->timeout_ms);
  }
  *out = fetch;
  return 0;
}

void lc_fetch_cancel(struct lc_fetch *fetch) {
  take_out(fetch);
  give_free(fetch);
}
