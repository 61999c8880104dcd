#ifndef LC_FLIGHT_NAME_H
#define LC_FLIGHT_NAME_H

#include "base/slice.h"

/* How groups and keys look in messages for people: quoted, escaped, cut. */

#define LC_NAME_SHOWN 32u                           /* bytes shown of a key or group; "..." says that there are more */
#define LC_NAME_QUOTED_SIZE (4 * LC_NAME_SHOWN + 6) /* all four characters an escape, quotes, dots, NUL */

/* Writes "bytes" in quotes; returns its length. Bytes that aren't printable ASCII become \xNN. */
size_t lc_name_quote(char out[LC_NAME_QUOTED_SIZE], struct lc_slice bytes);

#endif
