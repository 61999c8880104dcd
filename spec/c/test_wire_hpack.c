#include "wire/hpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"

/* Writes fields as "name: value\n". */
static void write_field(void *arg, struct lc_slice name, struct lc_slice value) {
  lc_buf_printf(arg, "%.*s: %.*s\n", (int)name.len, (const char *)name.ptr, (int)value.len, (const char *)value.ptr);
}

#define BLOCK(bytes_) lc_slice_of((const uint8_t *)(bytes_), sizeof(bytes_) - 1)

static void assert_decodes(struct lc_hpack *hpack, struct lc_slice block, const char *fields) {
  struct lc_buf text;
  lc_buf_init(&text);
  assert_int_equal(lc_hpack_decode(hpack, block, write_field, &text), LC_OK);
  lc_buf_append(&text, "", 1);
  assert_string_equal((const char *)text.data, fields);
  lc_buf_fini(&text);
}

/* RFC 7541, C.6: three responses whose fields share the table, Huffman-coded. */
static void later_blocks_use_what_earlier_ones_added(void **state) {
  (void)state;
  struct lc_hpack *hpack;
  assert_int_equal(lc_hpack_create(&hpack), LC_OK);
  assert_decodes(hpack,
                 BLOCK("\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20"
                       "\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff\x6e\x91\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b"
                       "\x97\xc8\xe9\xae\x82\xae\x43\xd3"),
                 ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n"
                 "location: https://www.example.com\n");
  assert_decodes(hpack, BLOCK("\x48\x83\x64\x0e\xff\xc1\xc0\xbf"),
                 ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n"
                 "location: https://www.example.com\n");
  assert_decodes(hpack, BLOCK("\xbe\xc1\xc0\xbf"),
                 ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n"
                 "location: https://www.example.com\n");
  lc_hpack_destroy(hpack);
}

static void an_empty_block_has_no_fields(void **state) {
  (void)state;
  struct lc_hpack *hpack;
  assert_int_equal(lc_hpack_create(&hpack), LC_OK);
  assert_decodes(hpack, BLOCK(""), "");
  assert_decodes(hpack, BLOCK("\x88"), ":status: 200\n");
  lc_hpack_destroy(hpack);
}

static void malformed_blocks_are_refused(void **state) {
  (void)state;
  static const struct lc_slice blocks[] = {
      {(const uint8_t *)"\x80", 1}, /* index 0 */
      {(const uint8_t *)"\xff", 1}, /* an index that goes on */
      {(const uint8_t *)"\xc8", 1}, /* an entry that the table has not */
      {(const uint8_t *)"\x40\x03"
                        "abc",
       5},                                                      /* a name without a value */
      {(const uint8_t *)"\x48\x83\x64", 3},                     /* a cut text */
      {(const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff", 8}, /* a number without end */
      {(const uint8_t *)"\x88\x3f\xe1\x1f", 4},                 /* a new table size behind a field */
  };
  for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
    struct lc_hpack *hpack;
    struct lc_buf text;
    lc_buf_init(&text);
    assert_int_equal(lc_hpack_create(&hpack), LC_OK);
    uint8_t *exact = malloc(blocks[i].len);
    memcpy(exact, blocks[i].ptr, blocks[i].len);
    assert_int_equal(lc_hpack_decode(hpack, lc_slice_of(exact, blocks[i].len), write_field, &text), LC_EPROTO);
    free(exact);
    lc_buf_fini(&text);
    lc_hpack_destroy(hpack);
  }
}

static void only_blocks_that_leave_the_table_alone_are_indexed(void **state) {
  (void)state;
  assert_true(lc_hpack_is_indexed(BLOCK("\x88")));
  assert_true(lc_hpack_is_indexed(BLOCK("\x88\xbe\xbf")));
  assert_true(lc_hpack_is_indexed(BLOCK("\xff\x80\x01\x88"))); /* index 255, then 8 */
  assert_false(lc_hpack_is_indexed(BLOCK("")));
  assert_false(lc_hpack_is_indexed(BLOCK("\x88\x40\x01"
                                         "a\x01"
                                         "b"))); /* with indexing */
  assert_false(lc_hpack_is_indexed(BLOCK("\x88\x0f\x2f\x01"
                                         "b")));                /* without, of a named entry */
  assert_false(lc_hpack_is_indexed(BLOCK("\x20\x88")));         /* a new table size */
  assert_false(lc_hpack_is_indexed(BLOCK("\xff\x80\x01\x08"))); /* a literal behind a long index */
}

static void without_memory_there_is_no_decoder(void **state) {
  (void)state;
  if (!lc_alloc_faults_built()) {
    skip();
  }
  struct lc_hpack *hpack = NULL;
  lc_alloc_fail_at(1);
  int rc = lc_hpack_create(&hpack);
  lc_alloc_fail_at(0);
  assert_int_equal(rc, LC_ENOMEM);
  assert_null(hpack);
  lc_hpack_destroy(hpack);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(later_blocks_use_what_earlier_ones_added),
      cmocka_unit_test(an_empty_block_has_no_fields),
      cmocka_unit_test(malformed_blocks_are_refused),
      cmocka_unit_test(only_blocks_that_leave_the_table_alone_are_indexed),
      cmocka_unit_test(without_memory_there_is_no_decoder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
