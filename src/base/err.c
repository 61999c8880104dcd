#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

int lc_err_set(struct lc_err *err, int code, const char *fmt, ...) {
  if (!err)
    return code;
  err->code = code;
  va_list args;
  va_start(args, fmt);
  if (vsnprintf(err->msg, sizeof err->msg, fmt, args) < 0)
    err->msg[0] = '\0';
  va_end(args);
  return code;
}

const char *lc_code_name(int code) {
  switch (code) {
  case LC_OK:
    return "OK";
  case LC_PENDING:
    return "PENDING";
  case LC_ENOMEM:
    return "NO_MEMORY";
  case LC_EINVAL:
    return "INVALID_ARGUMENT";
  case LC_ENOTFOUND:
    return "NOT_FOUND";
  case LC_ETOOBIG:
    return "TOO_BIG";
  case LC_EDEADLINE:
    return "DEADLINE_EXCEEDED";
  case LC_EUNAVAILABLE:
    return "UNAVAILABLE";
  case LC_EINTERNAL:
    return "INTERNAL";
  case LC_EEXHAUSTED:
    return "RESOURCE_EXHAUSTED";
  case LC_ECANCELLED:
    return "CANCELLED";
  case LC_EPROTO:
    return "PROTOCOL_ERROR";
  case LC_EIO:
    return "IO_ERROR";
  case LC_EBUSY:
    return "BUSY";
  case LC_EUNSUPPORTED:
    return "UNSUPPORTED";
  case LC_ENOTOWNER:
    return "NOT_OWNER";
  default:
    return "UNKNOWN";
  }
}
