#include <stdio.h>
#include <stdlib.h>

#include "registry/base64.h"
#include "registry/etcd.h"

/* Reading what etcd's JSON gateway sends. Nothing here trusts it. */

cJSON *lc_etcd_parse(struct lc_slice text) {
  const char *end = NULL;
  cJSON *json = cJSON_ParseWithLengthOpts((const char *)text.ptr, text.len, &end, 0);
  if (json == NULL)
    return NULL;
  const char *stop = (const char *)text.ptr + text.len;
  while (end < stop && (*end == ' ' || *end == '\t' || *end == '\r' || *end == '\n'))
    end++;
  if (end == stop && cJSON_IsObject(json))
    return json;
  cJSON_Delete(json);
  return NULL;
}

/* Digits only: strtoll would take white space and a plus sign too. */
static bool parse_int(const char *text, int64_t *value) {
  const char *digits = *text == '-' ? text + 1 : text;
  size_t len = strspn(digits, "0123456789");
  if (len == 0 || len > 19 || digits[len] != '\0')
    return false;
  *value = strtoll(text, NULL, 10);
  return *value != INT64_MAX && *value != INT64_MIN; /* what is larger comes out as these */
}

bool lc_etcd_int(const cJSON *object, const char *name, int64_t *value) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
  *value = 0;
  if (item == NULL)
    return true;
  if (cJSON_IsString(item))
    return parse_int(item->valuestring, value);
  if (!cJSON_IsNumber(item) || !(item->valuedouble >= -9e15 && item->valuedouble <= 9e15))
    return false;
  *value = (int64_t)item->valuedouble;
  return true;
}

const char *lc_etcd_text(const cJSON *object, const char *name) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
  return cJSON_IsString(item) ? item->valuestring : NULL;
}

bool lc_etcd_revision(const cJSON *object, int64_t *revision) {
  return lc_etcd_int(cJSON_GetObjectItemCaseSensitive(object, "header"), "revision", revision) && *revision > 0;
}

/* Bytes are base64; none where absent. Adds a NUL behind them. */
static int read_bytes(const cJSON *object, const char *name, struct lc_buf *out) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
  if (item != NULL && !cJSON_IsString(item))
    return LC_EPROTO;
  int rc = item != NULL ? lc_base64_decode(lc_slice_str(item->valuestring), out) : 0;
  return rc == 0 ? lc_buf_char(out, '\0') : rc;
}

/* What is printable ASCII can be logged and compared; an address has nothing else. */
static bool is_plain(const char *text, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if (text[i] <= ' ' || text[i] > '~')
      return false;
  }
  return true;
}

static int read_address(struct lc_etcd *etcd, const struct lc_buf *key, struct lc_etcd_kv *kv) {
  size_t prefix = strlen(etcd->prefix), len = key->len - 1;
  struct lc_address address;
  const char *text = (const char *)key->data;
  if (len < prefix || memcmp(text, etcd->prefix, prefix) != 0)
    return LC_EPROTO; /* we didn't ask for that */
  text += prefix;
  len -= prefix;
  if (len < sizeof kv->address && is_plain(text, len) && lc_parse_address(text, &address, NULL) == 0 &&
      address.port != 0) {
    memcpy(kv->address, text, len + 1);
    return 0;
  }
  lc_etcd_warn_once(etcd, "etcd key ignored: not HOST:PORT", "key", (const char *)key->data);
  return LC_EINVAL;
}

/* `HOST:PORT` or `HOST:PORT weight=N`. The key counts: other programs may write another value. */
static void read_value(struct lc_etcd *etcd, const struct lc_buf *value, struct lc_etcd_kv *kv) {
  static const char mark[] = " weight=";
  const char *text = (const char *)value->data;
  const char *weight = strstr(text, mark);
  size_t len = weight != NULL ? (size_t)(weight - text) : strlen(text);
  uint64_t number = 1;
  bool bad = weight != NULL && lc_parse_uint(weight + sizeof mark - 1, 1, LC_ETCD_WEIGHT_MAX, &number, NULL) != 0;
  kv->weight = bad ? 1 : (unsigned)number;
  if (bad || len != strlen(kv->address) || memcmp(text, kv->address, len) != 0)
    lc_etcd_warn_once(etcd, "etcd value is not its key's address: the key counts", "address", kv->address);
}

int lc_etcd_kv_read(struct lc_etcd *etcd, const cJSON *json, struct lc_etcd_kv *kv) {
  struct lc_buf key, value;
  lc_buf_init(&key);
  lc_buf_init(&value);
  *kv = (struct lc_etcd_kv){.weight = 1};
  int rc = cJSON_IsObject(json) ? read_bytes(json, "key", &key) : LC_EPROTO;
  if (rc == 0)
    rc = read_bytes(json, "value", &value);
  if (rc == 0 && (!lc_etcd_int(json, "mod_revision", &kv->mod_revision) || kv->mod_revision <= 0 ||
                  !lc_etcd_int(json, "lease", &kv->lease)))
    rc = LC_EPROTO;
  if (rc == 0)
    rc = read_address(etcd, &key, kv);
  if (rc == 0 && value.len > 1)
    read_value(etcd, &value, kv);
  lc_buf_fini(&key);
  lc_buf_fini(&value);
  return rc;
}
