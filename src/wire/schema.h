#ifndef LC_WIRE_SCHEMA_H
#define LC_WIRE_SCHEMA_H

#include "base/err.h"
#include "base/slice.h"

/*
 * What proto/ declares, for server reflection: looked up in the FileDescriptorSet that the build embeds. All results
 * live as long as the program. Thread-safe.
 */

#define LC_SCHEMA_FILES_MAX 16u

/*
 * The serialized FileDescriptorProtos of a file and of what it imports, the file first. Returns how many were written
 * to files (at most LC_SCHEMA_FILES_MAX), or LC_ENOTFOUND.
 */
int lc_schema_by_file(struct lc_slice name, struct lc_slice files[LC_SCHEMA_FILES_MAX]);

/* The same for the file that declares a service, method, message, field, enum or enum value: "lcache.v1.Cache.Get". */
int lc_schema_by_symbol(struct lc_slice symbol, struct lc_slice files[LC_SCHEMA_FILES_MAX]);

#endif
