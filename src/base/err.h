#ifndef LC_BASE_ERR_H
#define LC_BASE_ERR_H

/*
 * Result codes and error messages.
 *
 * A function that can fail returns 0 (or another non-negative result that its
 * header names) or a negative LC_E code. Where a person has to read what went
 * wrong, the function also fills a `struct lc_err` given by the caller.
 */

enum lc_code {
  LC_OK = 0,
  LC_PENDING = 1, /* started; the callback comes later, exactly once */

  LC_ENOMEM = -1,        /* no memory, or a bound on memory reached */
  LC_EINVAL = -2,        /* the caller's argument is wrong */
  LC_ENOTFOUND = -3,     /* unknown group, or the source has no such key */
  LC_ETOOBIG = -4,       /* key, value or message over its limit */
  LC_EDEADLINE = -5,     /* deadline passed */
  LC_EUNAVAILABLE = -6,  /* the source failed, or this node is draining */
  LC_EINTERNAL = -7,     /* the getter raised, or passed a budget */
  LC_EEXHAUSTED = -8,    /* too many loads, streams, connections */
  LC_ECANCELLED = -9,    /* the caller went away */
  LC_EPROTO = -10,       /* malformed bytes from the network */
  LC_EIO = -11,          /* a system call failed */
  LC_EBUSY = -12,        /* address in use, queue full */
  LC_EUNSUPPORTED = -13, /* known, but not built */
  LC_ENOTOWNER = -14,    /* a forwarded write that came to a node which doesn't own the key by its own ring */
};

#define LC_ERR_MSG_SIZE 1024

/* A code and one line of text for a person. Zeroed means "no error". */
struct lc_err {
  int code; /* enum lc_code */
  char msg[LC_ERR_MSG_SIZE];
};

/* Fills `err` (may be NULL) with a formatted message, cut at its size, and returns `code`. */
int lc_err_set(struct lc_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The code's name as users see it in logs: "NOT_FOUND", "DEADLINE_EXCEEDED"; never NULL. */
const char *lc_code_name(int code);

#endif
