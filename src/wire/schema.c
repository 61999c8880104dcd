#include "wire/schema.h"

#include <stdbool.h>

#include "wire/descriptor_set.h"
#include "wire/pb.h"

/* Field numbers of google/protobuf/descriptor.proto. All that has a name has it as field 1. */
enum { SET_FILE = 1 };
enum { FILE_PACKAGE = 2, FILE_DEPENDENCY = 3, FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6 };
enum { MESSAGE_FIELD = 2, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4 };
enum { ENUM_VALUE = 2, SERVICE_METHOD = 2 };
enum { NAME = 1 };

static bool next_of(struct lc_slice *in, uint32_t number, struct lc_slice *bytes) {
  struct lc_pb_field field;
  while (lc_pb_next(in, &field, NULL) == 1) {
    if (field.number != number || field.wire != LC_PB_LEN)
      continue;
    *bytes = field.bytes;
    return true;
  }
  return false;
}

static struct lc_slice first_of(struct lc_slice in, uint32_t number) {
  struct lc_slice bytes = lc_slice_of("", 0);
  next_of(&in, number, &bytes);
  return bytes;
}

static bool has_named(struct lc_slice in, uint32_t number, struct lc_slice name) {
  struct lc_slice item;
  while (next_of(&in, number, &item)) {
    if (lc_slice_eq(first_of(item, NAME), name))
      return true;
  }
  return false;
}

/* Takes `scope` and a dot off the front of *symbol. */
static bool enter(struct lc_slice *symbol, struct lc_slice scope) {
  if (scope.len == 0)
    return true;
  if (symbol->len <= scope.len || memcmp(symbol->ptr, scope.ptr, scope.len) != 0 || symbol->ptr[scope.len] != '.')
    return false;
  symbol->ptr += scope.len + 1;
  symbol->len -= scope.len + 1;
  return true;
}

/* Enum values are named as the enum's siblings (protobuf takes C++'s scoping). */
static bool enums_have(struct lc_slice in, uint32_t number, struct lc_slice symbol) {
  struct lc_slice item;
  while (next_of(&in, number, &item)) {
    if (lc_slice_eq(first_of(item, NAME), symbol) || has_named(item, ENUM_VALUE, symbol))
      return true;
  }
  return false;
}

static bool services_have(struct lc_slice in, struct lc_slice symbol) {
  struct lc_slice item;
  while (next_of(&in, FILE_SERVICE, &item)) {
    struct lc_slice name = first_of(item, NAME), rest = symbol;
    if (lc_slice_eq(name, symbol) || (enter(&rest, name) && has_named(item, SERVICE_METHOD, rest)))
      return true;
  }
  return false;
}

static bool messages_have(struct lc_slice in, uint32_t number, struct lc_slice symbol) {
  struct lc_slice item;
  while (next_of(&in, number, &item)) {
    struct lc_slice name = first_of(item, NAME), rest = symbol;
    if (lc_slice_eq(name, symbol))
      return true;
    if (!enter(&rest, name))
      continue;
    if (has_named(item, MESSAGE_FIELD, rest) || enums_have(item, MESSAGE_ENUM, rest) ||
        messages_have(item, MESSAGE_NESTED, rest))
      return true;
  }
  return false;
}

static bool file_has(struct lc_slice file, struct lc_slice symbol) {
  if (!enter(&symbol, first_of(file, FILE_PACKAGE)))
    return false;
  return messages_have(file, FILE_MESSAGE, symbol) || enums_have(file, FILE_ENUM, symbol) ||
         services_have(file, symbol);
}

static struct lc_slice descriptor_set(void) {
  return lc_slice_of(lc_descriptor_set, lc_descriptor_set_len);
}

static bool find_file(struct lc_slice name, struct lc_slice *file) {
  struct lc_slice set = descriptor_set();
  while (next_of(&set, SET_FILE, file)) {
    if (lc_slice_eq(first_of(*file, NAME), name))
      return true;
  }
  return false;
}

static bool listed(const struct lc_slice *files, int count, struct lc_slice file) {
  for (int i = 0; i < count; i++) {
    if (files[i].ptr == file.ptr)
      return true;
  }
  return false;
}

/* files[0] is given; each file's imports are put behind the last. */
static int add_imports(struct lc_slice *files) {
  int count = 1;
  for (int i = 0; i < count; i++) {
    struct lc_slice in = files[i], name, file;
    while (next_of(&in, FILE_DEPENDENCY, &name)) {
      if (count < (int)LC_SCHEMA_FILES_MAX && find_file(name, &file) && !listed(files, count, file))
        files[count++] = file;
    }
  }
  return count;
}

int lc_schema_by_file(struct lc_slice name, struct lc_slice files[LC_SCHEMA_FILES_MAX]) {
  return find_file(name, &files[0]) ? add_imports(files) : LC_ENOTFOUND;
}

int lc_schema_by_symbol(struct lc_slice symbol, struct lc_slice files[LC_SCHEMA_FILES_MAX]) {
  struct lc_slice set = descriptor_set();
  while (next_of(&set, SET_FILE, &files[0])) {
    if (file_has(files[0], symbol))
      return add_imports(files);
  }
  return LC_ENOTFOUND;
}
