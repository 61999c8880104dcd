#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_script_util.h"

/* The functions don't wait, so a script can check them while it loads. */
#define HEAD                                                                                                           \
  "local lcache = require 'lcache'\nlocal json = lcache.json\n"                                                        \
  "local function same(a, b) if a ~= b then error(tostring(a) .. ' ~= ' .. tostring(b), 2) end end\n"                  \
  "local function raises(want, f, ...) local ok, why = pcall(f, ...)\n"                                                \
  "if ok or not why:find(want, 1, true) then error(tostring(why), 2) end end\n"                                        \
  "local function refuses(want, text) local v, why = json.decode(text)\n"                                              \
  "if v ~= nil or not tostring(why):find(want, 1, true) then error(tostring(why), 2) end end\n"
#define TAIL "\nlcache.group('g', { getter = function() end })"

static void values_encode_as_json(void **state) {
  (void)state;
  assert_describes(
      HEAD "same(json.encode('a\"b\\\\\\n\\1'), '\"a\\\\\"b\\\\\\\\\\\\n\\\\u0001\"')\n"
           "same(json.encode('nul\\0'), '\"nul\\\\u0000\"')\n"
           "same(json.encode(true), 'true') same(json.encode(json.null), 'null')\n"
           "same(json.encode(3), '3') same(json.encode(-0.5), '-0.5') same(json.encode(1e300), '1e+300')\n"
           "same(json.encode(2^53), '9007199254740992') same(json.encode(0.1), '0.1') same(json.encode(-0), '0')\n"
           "same(json.encode({ 1, 'x', { 2 } }), '[1,\"x\",[2]]')\n"
           "same(json.encode({}), '{}') same(json.encode(json.array()), '[]')\n"
           "same(json.encode(json.array({ 1 })), '[1]')\n"
           "same(json.encode({ a = { b = {} } }), '{\"a\":{\"b\":{}}}')" TAIL);
}

static void what_json_cannot_say_raises_at_the_caller(void **state) {
  (void)state;
  assert_describes(
      HEAD
      "raises('a function has no form', function() return (json.encode(print)) end)\n"
      "raises('a userdata has no form', function() return (json.encode(io.open('/dev/null'))) end)\n"
      "raises('no inf', json.encode, 1 / 0) raises('no inf', json.encode, 0 / 0)\n"
      "raises('with holes', json.encode, { 1, nil, 3, [7] = 7 }) raises('keys of different', json.encode, { 1, a = "
      "2 })\n"
      "raises('with holes', json.encode, { [1.5] = 1 }) raises('with holes', json.encode, { [true] = 1 })\n"
      "raises('an array has holes', json.encode, json.array({ a = 1 }))\n"
      "local t = {} t.t = t raises('contain itself', json.encode, t)\n"
      "local many = { ('x'):rep(10000) } for i = 1, 40 do many = { many, many } end\n"
      "raises('larger than the memory', json.encode, many)" TAIL);
}

static void json_decodes_to_values(void **state) {
  (void)state;
  assert_describes(
      HEAD "local t = json.decode(' {\"a\":[1,2.5,-3e2],\"b\":{\"c\":null},\"d\":\"x\\\\u00e9\\\\n\",\"e\":false} ')\n"
           "same(#t.a, 3) same(t.a[2], 2.5) same(t.a[3], -300) same(t.b.c, json.null) same(t.d, 'x\\195\\169\\n')\n"
           "same(t.e, false) same(getmetatable(t.a), json.array_mt) same(getmetatable(t.b), nil)\n"
           "same(json.decode('5'), 5) same(json.decode('null'), json.null) same(json.decode('\"\"'), '')\n"
           "same(json.encode(json.decode('[[],{}]')), '[[],{}]')\n"
           "same(json.decode('\"\\\\\\\\u0000\"'), '\\\\u0000')" TAIL);
}

static void broken_json_is_nil_and_a_message(void **state) {
  (void)state;
  assert_describes(
      HEAD
      "for _, text in ipairs{ '', ' ', '{', '[1,', '{\"a\"}', '\"open', 'nul', '1 2', '{}x', '[1]]', \"'a'\" } do\n"
      "refuses('not JSON', text) end\n"
      "refuses('\\\\u0000', '\"a\\\\u0000b\"') refuses('\\\\u0000', '\"\\\\\\\\\\\\u0000\"')\n"
      "refuses('too deep', ('['):rep(129) .. (']'):rep(129))\n"
      "refuses('too deep', ('['):rep(1e6))\n"
      "same(type(json.decode(('['):rep(128) .. (']'):rep(128))), 'table')\n"
      "refuses('not JSON', ('\"' .. ('x'):rep(100)))\n"
      "raises('the text must be a string, got nil', json.decode, nil)" TAIL);
}

static void a_text_whose_tree_is_too_large_is_refused(void **state) {
  (void)state;
  assert_describes(
      HEAD
      "refuses('too large for the memory', '[' .. ('1,'):rep(500000) .. '1]')\nsame(json.decode('[1]')[1], 1)" TAIL);
}

static void random_values_survive_a_round_trip(void **state) {
  (void)state;
  assert_describes(
      HEAD
      "math.randomseed(7)\n"
      "local function text() local t = {} for i = 1, math.random(0, 8) do t[i] = string.char(math.random(1, 127)) end\n"
      "return table.concat(t) end\n"
      "local function value(depth) local kind = math.random(depth > 4 and 4 or 6)\n"
      "if kind == 1 then return math.random(-1e9, 1e9) elseif kind == 2 then return (math.random() - 0.5) * 10 ^ "
      "math.random(-20, 20)\n"
      "elseif kind == 3 then return text() elseif kind == 4 then return ({ true, false, json.null })[math.random(3)] "
      "end\n"
      "local t = kind == 5 and json.array() or {}\n"
      "for i = 1, math.random(0, 5) do t[kind == 5 and i or text()] = value(depth + 1) end return t end\n"
      "local function equal(a, b) if type(a) ~= 'table' then return a == b end\n"
      "if getmetatable(a) ~= getmetatable(b) then return false end\n"
      "for k, v in pairs(a) do if not equal(v, b[k]) then return false end end\n"
      "for k in pairs(b) do if a[k] == nil then return false end end return true end\n"
      "for i = 1, 500 do local v = value(0) local text = json.encode(v)\n"
      "local back, why = json.decode(text)\nif why or not equal(v, back) then error(text) end end" TAIL);
}

/* Truncated and changed texts: an answer or a message, nothing else (under sanitizers, no bad access). */
static void damaged_texts_never_break_the_decoder(void **state) {
  (void)state;
  assert_describes(
      HEAD "math.randomseed(11)\n"
           "local text = '{\"a\":[1,2.5e3,{\"b\":\"\\\\u00e9\\\\ud83d\\\\ude00\"}],\"c\":[true,false,null,\"\"]}'\n"
           "for i = 0, #text do json.decode(text:sub(1, i)) end\n"
           "for i = 1, 3000 do local at = math.random(#text)\n"
           "json.decode(text:sub(1, at - 1) .. string.char(math.random(0, 255)) .. text:sub(at + 1)) end" TAIL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_encode_as_json),
      cmocka_unit_test(what_json_cannot_say_raises_at_the_caller),
      cmocka_unit_test(json_decodes_to_values),
      cmocka_unit_test(broken_json_is_nil_and_a_message),
      cmocka_unit_test(a_text_whose_tree_is_too_large_is_refused),
      cmocka_unit_test(random_values_survive_a_round_trip),
      cmocka_unit_test(damaged_texts_never_break_the_decoder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
