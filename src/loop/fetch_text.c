#include <stdio.h>
#include <strings.h>

#include "base/parse.h"
#include "loop/fetch_state.h"

#define METHOD_MAX 32u

/* ---- what is asked ---- */

static bool is_alnum(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* RFC 9110, 5.6.2 */
static bool is_token(const char *s) {
  if (*s == '\0')
    return false;
  for (; *s != '\0'; s++) {
    if (!is_alnum((unsigned char)*s) && strchr("!#$%&'*+-.^_`|~", *s) == NULL)
      return false;
  }
  return true;
}

/* A line break in a value would smuggle in another header. */
static bool is_field_value(const char *s) {
  return strpbrk(s, "\r\n") == NULL;
}

static int check_headers(const struct lc_fetch_request *request, struct lc_err *err) {
  for (size_t i = 0; i < request->header_count; i++) {
    const struct lc_fetch_header *header = &request->headers[i];
    if (!is_token(header->name))
      return lc_err_set(err, LC_EINVAL, "\"%.64s\" is not a header name", header->name);
    if (!is_field_value(header->value)) {
      return lc_err_set(err, LC_EINVAL, "the value of header %.64s has a line break", header->name);
    }
  }
  return 0;
}

static size_t scheme_len(const char *url) {
  if (strncasecmp(url, "http://", 7) == 0)
    return 7;
  return strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
}

/* "http://user:secret@host:80/path" -> "host:80". The user and the query may be secrets: no message shows them. */
static struct lc_slice authority_of(const char *rest) {
  size_t len = strcspn(rest, "/?#");
  for (size_t i = len; i > 0; i--) {
    if (rest[i - 1] == '@')
      return lc_slice_of(rest + i, len - i);
  }
  return lc_slice_of(rest, len);
}

int lc_fetch_check(const struct lc_fetch_request *request, struct lc_slice *host, struct lc_err *err) {
  if (!is_token(request->method) || strlen(request->method) > METHOD_MAX) {
    return lc_err_set(err, LC_EINVAL, "\"%.32s\" is not a method", request->method);
  }
  size_t scheme = scheme_len(request->url);
  if (scheme == 0) {
    int shown = (int)strcspn(request->url, ":/?#");
    return lc_err_set(err, LC_EINVAL, "only http:// and https:// URLs are fetched, not \"%.*s…\"",
                      shown > 32 ? 32 : shown, request->url);
  }
  *host = authority_of(request->url + scheme);
  if (host->len == 0 || host->len > LC_HOST_SIZE)
    return lc_err_set(err, LC_EINVAL, "the URL names no host");
  if (request->has_body && strcmp(request->method, "HEAD") == 0) {
    return lc_err_set(err, LC_EINVAL, "a HEAD request has no body");
  }
  return check_headers(request, err);
}

/* ---- what went wrong ---- */

static void format_duration(uint64_t ms, char out[32]) {
  if (ms % 1000 == 0) {
    snprintf(out, 32, "%llus", (unsigned long long)(ms / 1000));
  } else {
    snprintf(out, 32, "%llums", (unsigned long long)ms);
  }
}

static int explain(const struct lc_fetch *fetch, char message[LC_FETCH_MESSAGE_SIZE], int code, const char *what) {
  snprintf(message, LC_FETCH_MESSAGE_SIZE, "%s: %s", fetch->host->name, what);
  return code;
}

static int explain_too_big(const struct lc_fetch *fetch, char message[LC_FETCH_MESSAGE_SIZE]) {
  char what[64];
  snprintf(what, sizeof what, "response over %zu bytes", fetch->max_response_bytes);
  return explain(fetch, message, LC_ETOOBIG, what);
}

static int explain_failure(const struct lc_fetch *fetch, char message[LC_FETCH_MESSAGE_SIZE]) {
  if (fetch->failure == LC_ENOMEM)
    return explain(fetch, message, LC_ENOMEM, "out of memory");
  if (fetch->failure == LC_ECANCELLED)
    return explain(fetch, message, LC_ECANCELLED, "ended by its reader");
  if (fetch->head.len > LC_FETCH_HEAD_MAX)
    return explain(fetch, message, LC_ETOOBIG, "response headers over 128KB");
  return explain_too_big(fetch, message);
}

int lc_fetch_explain_timeout(const struct lc_fetch *fetch, char message[LC_FETCH_MESSAGE_SIZE]) {
  if (fetch->failure != 0)
    return explain_failure(fetch, message);
  char duration[32], what[64];
  format_duration(fetch->timeout_ms, duration);
  snprintf(what, sizeof what,
           fetch->easy != NULL ? "timed out after %s" : "timed out after %s, waiting for a connection", duration);
  return explain(fetch, message, LC_EDEADLINE, what);
}

static int explain_connect(const struct lc_fetch *fetch, char message[LC_FETCH_MESSAGE_SIZE]) {
  long error = 0;
  curl_easy_getinfo(fetch->easy, CURLINFO_OS_ERRNO, &error);
  return explain(fetch, message, LC_EUNAVAILABLE,
                 error != 0 ? uv_strerror(uv_translate_sys_error((int)error)) : "cannot connect");
}

static int explain_redirects(const struct lc_fetch *fetch, char message[LC_FETCH_MESSAGE_SIZE]) {
  char what[64];
  snprintf(what, sizeof what, "more than %u redirects", fetch->max_redirects);
  return explain(fetch, message, LC_EUNAVAILABLE, what);
}

/* libcurl's own limit was for connecting; the whole request's is ours. */
static int explain_connect_timeout(const struct lc_fetch *fetch, char message[LC_FETCH_MESSAGE_SIZE]) {
  char duration[32], what[64];
  format_duration(fetch->connect_timeout_ms, duration);
  snprintf(what, sizeof what, "no connection after %s", duration);
  return explain(fetch, message, LC_EDEADLINE, what);
}

int lc_fetch_explain(const struct lc_fetch *fetch, CURLcode result, char message[LC_FETCH_MESSAGE_SIZE]) {
  if (fetch->failure != 0)
    return explain_failure(fetch, message);
  switch (result) {
  case CURLE_COULDNT_CONNECT:
    return explain_connect(fetch, message);
  case CURLE_COULDNT_RESOLVE_HOST:
    return explain(fetch, message, LC_EUNAVAILABLE, "cannot resolve the name");
  case CURLE_OPERATION_TIMEDOUT:
    return explain_connect_timeout(fetch, message);
  case CURLE_GOT_NOTHING:
    return explain(fetch, message, LC_EUNAVAILABLE, "closed the connection without an answer");
  case CURLE_PARTIAL_FILE:
  case CURLE_RECV_ERROR:
  case CURLE_SEND_ERROR:
    return explain(fetch, message, LC_EUNAVAILABLE, "connection lost");
  case CURLE_FILESIZE_EXCEEDED:
    return explain_too_big(fetch, message);
  case CURLE_TOO_MANY_REDIRECTS:
    return explain_redirects(fetch, message);
  case CURLE_URL_MALFORMAT:
    return explain(fetch, message, LC_EINVAL, "not a valid URL");
  case CURLE_UNSUPPORTED_PROTOCOL:
    if (strstr(fetch->curl_error, "HTTP/0.9") == NULL) {
      return explain(fetch, message, LC_EUNAVAILABLE, "redirects to something that is neither http nor https");
    } /* fall through */
  case CURLE_WEIRD_SERVER_REPLY:
    return explain(fetch, message, LC_EUNAVAILABLE, "not an HTTP response");
  case CURLE_OUT_OF_MEMORY:
    return explain(fetch, message, LC_ENOMEM, "out of memory");
  default:
    return explain(fetch, message, LC_EUNAVAILABLE,
                   fetch->curl_error[0] != '\0' ? fetch->curl_error : curl_easy_strerror(result));
  }
}

/* ---- escaping ---- */

int lc_fetch_escape(struct lc_slice text, struct lc_buf *out) {
  static const char hex[] = "0123456789ABCDEF";
  if (lc_buf_reserve(out, text.len) != 0)
    return LC_ENOMEM;
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = text.ptr[i];
    int rc = is_alnum(c) || (c != 0 && strchr("-._~", c) != NULL)
                 ? lc_buf_char(out, (char)c)
                 : lc_buf_append(out, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    if (rc != 0)
      return rc;
  }
  return 0;
}
