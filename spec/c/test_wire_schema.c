#include "wire/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int by_symbol(const char *symbol, struct lc_slice *files) {
  return lc_schema_by_symbol(lc_slice_str(symbol), files);
}

/* A FileDescriptorProto begins with its name: tag, length, text. */
static void assert_file(struct lc_slice file, const char *name) {
  assert_int_equal(file.ptr[0], 0x0a);
  assert_int_equal(file.ptr[1], strlen(name));
  assert_memory_equal(file.ptr + 2, name, strlen(name));
}

static void files_are_found_by_name(void **state) {
  (void)state;
  struct lc_slice files[LC_SCHEMA_FILES_MAX];
  assert_int_equal(lc_schema_by_file(lc_slice_str("lcache/v1/cache.proto"), files), 1);
  assert_file(files[0], "lcache/v1/cache.proto");
  assert_int_equal(lc_schema_by_file(lc_slice_str("lcache/v1/none.proto"), files), LC_ENOTFOUND);
  assert_int_equal(lc_schema_by_file(lc_slice_str(""), files), LC_ENOTFOUND);
}

static void symbols_of_every_kind_are_found(void **state) {
  (void)state;
  const struct {
    const char *symbol, *file;
  } rows[] = {
      {"lcache.v1.Cache", "lcache/v1/cache.proto"},
      {"lcache.v1.Cache.BatchGet", "lcache/v1/cache.proto"},
      {"lcache.v1.GetRequest", "lcache/v1/cache.proto"},
      {"lcache.v1.GetRequest.only_if_cached", "lcache/v1/cache.proto"},
      {"lcache.v1.BatchGetResponse.Result", "lcache/v1/cache.proto"},
      {"lcache.v1.BatchGetResponse.Result.code", "lcache/v1/cache.proto"},
      {"lcache.v1.ServedFrom", "lcache/v1/cache.proto"},
      {"lcache.v1.SERVED_FROM_STORE", "lcache/v1/cache.proto"},
      {"lcache.v1.Admin.Stats", "lcache/v1/admin.proto"},
      {"lcache.v1.Peer.HandOver", "lcache/v1/peer.proto"},
      {"pb.LCache", "pb/lcache.proto"},
      {"grpc.health.v1.Health", "grpc/health/v1/health.proto"},
      {"grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"},
      {"grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"},
      {"grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"},
      {"grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct lc_slice files[LC_SCHEMA_FILES_MAX];
    assert_int_equal(by_symbol(rows[i].symbol, files), 1);
    assert_file(files[0], rows[i].file);
  }
}

static void unknown_symbols_are_not_found(void **state) {
  (void)state;
  const char *none[] = {"",
                        "lcache",
                        "lcache.v1",
                        "lcache.v1.",
                        "lcache.v1.Cach",
                        "lcache.v1.Cache.",
                        "Cache",
                        "lcache.v1.Cache.Gett",
                        "pb.LCache.Get.x",
                        ".pb.LCache"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    struct lc_slice files[LC_SCHEMA_FILES_MAX];
    assert_int_equal(by_symbol(none[i], files), LC_ENOTFOUND);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(files_are_found_by_name),
      cmocka_unit_test(symbols_of_every_kind_are_found),
      cmocka_unit_test(unknown_symbols_are_not_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
