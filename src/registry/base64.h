#ifndef LC_REGISTRY_BASE64_H
#define LC_REGISTRY_BASE64_H

#include "base/buf.h"

/*
 * Base64 with padding (RFC 4648, 4), which etcd's JSON has for keys and values. By hand: of the libraries that lcache
 * links only OpenSSL has it, and that not below libcurl.
 */
int lc_base64_encode(struct lc_slice bytes, struct lc_buf *out); /* appends; 0 or LC_ENOMEM */

/* Appends; 0, LC_ENOMEM, or LC_EPROTO (what is appended by then stays): strict, without white space. */
int lc_base64_decode(struct lc_slice text, struct lc_buf *out);

#endif
