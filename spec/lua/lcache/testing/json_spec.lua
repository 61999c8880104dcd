local json = require "lcache.testing.json"

describe("lcache.testing.json", function()
  it("gives back what it was given", function()
    local texts = {
      "{}", "[]", "null", "true", "false", "0", "-1", "2.5", '""', '"é"', "[[],{}]", "[1,null,3]",
      '{"a":[],"b":{},"c":null,"d":[{"e":false}]}', '"\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u007f"', "123456789012345",
    }
    for _, text in ipairs(texts) do
      local value, err = json.decode(text)
      assert.is_nil(err)
      assert.equal(text, json.encode(value))
    end
  end)

  it("skips white space", function()
    assert.same({ a = 1 }, json.decode(' \r\n\t{ "a" : 1 } \n'))
  end)

  it("tells null from a missing field", function()
    local value = json.decode('{"a":null}')
    assert.equal(json.null, value.a)
    assert.is_nil(value.b)
  end)

  it("tells an empty array from an empty object", function()
    assert.equal(json.array_mt, getmetatable(json.decode("[]")))
    assert.is_nil(getmetatable(json.decode("{}")))
    assert.equal("[]", json.encode(json.array{}))
    assert.equal("{}", json.encode{})
  end)

  it("decodes escapes, also pairs of surrogates", function()
    assert.equal("a/\"\\é€😀\n", json.decode([["a\/\"\\\u00e9\u20AC\ud83d\ude00\n"]]))
  end)

  it("loses digits of whole numbers over 2^53, as the server does", function()
    assert.equal(json.decode("9007199254740992"), json.decode("9007199254740993"))
  end)

  it("writes the shortest number that reads back the same", function()
    for _, number in ipairs{ 0.1, 1 / 3, 1e300, 5e-324, 2 ^ 53 } do
      assert.equal(number, json.decode(json.encode(number)))
    end
    assert.equal("0.1", json.encode(0.1))
    assert.equal("3", json.encode(3.0))
  end)

  it("says where broken JSON is broken", function()
    local texts = {
      "", " ", "{", "[", '"abc', "[1,]", "[1 2]", "{1:2}", '{"a" 1}', '{"a":1,}', "tru", "nul", "-", "+1", "1x", "1 2",
      "'a'", '"\\x"', '"\\u12"', '"\\ud800"', '"\\udc00"', "{} {}",
    }
    for _, text in ipairs(texts) do
      local value, err = json.decode(text)
      assert.is_nil(value)
      assert.matches("^not JSON at byte %d+: ", err)
    end
  end)

  it("takes 128 levels and no more", function()
    local deep = ("["):rep(128) .. ("]"):rep(128)
    assert.equal(deep, json.encode(json.decode(deep)))
    local value, err = json.decode("[" .. deep .. "]")
    assert.is_nil(value)
    assert.equal("JSON is nested too deep", err)
    assert.error_matches(function() json.encode{ json.decode(deep) } end, "nested deeper than 128")
    local circle = {}
    circle.circle = circle
    assert.error_matches(function() json.encode(circle) end, "does the table contain itself")
  end)

  it("refuses an escaped NUL, as the server does", function()
    local value, err = json.decode('"a\\u0000b"')
    assert.is_nil(value)
    assert.matches("u0000", err)
    assert.equal("a\\u0000b", json.decode('"a\\\\u0000b"'))
  end)

  it("refuses tables that are neither array nor object", function()
    for _, value in ipairs{ { 1, 2, x = 3 }, { [1] = 1, [3] = 3 }, { [0] = 1 }, { [true] = 1 }, json.array{ x = 1 } } do
      assert.error_matches(function() json.encode(value) end, "lcache.json.encode: ")
    end
  end)

  it("blames what it refuses on the line that calls encode", function()
    local _, message = pcall(function()
      local text = json.encode{ print }
      return text
    end)
    assert.matches("json_spec.lua:%d+: lcache.json.encode: a function has no form in JSON", message)
  end)

  it("encodes nil as null", function()
    assert.equal("null", json.encode(nil))
  end)

  it("refuses to encode what JSON cannot hold", function()
    for _, value in ipairs{ print, 0 / 0, math.huge, -math.huge, coroutine.create(function() end) } do
      assert.error_matches(function() json.encode(value) end, "lcache.json.encode: ")
    end
  end)
end)
