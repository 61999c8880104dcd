local json = require "lcache.testing.json"

describe("lcache.testing.json", function()
  it("gives back what it was given", function()
    local texts = {
      "{}", "[]", "null", "true", "false", "0", "-1", "2.5", '""', '"é"', "[[],{}]", "[1,null,3]",
      '{"a":[],"b":{},"c":null,"d":[{"e":false}]}', '"\\"\\\\\\n\\r\\t\\b\\f\\u0001"', "123456789012345",
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
      assert.matches("^invalid JSON at byte %d+: ", err)
    end
  end)

  it("refuses nesting without end", function()
    local value, err = json.decode(("["):rep(100000))
    assert.is_nil(value)
    assert.matches("nested too deeply", err)
    local circle = {}
    circle.circle = circle
    assert.error_matches(function() json.encode(circle) end, "nested too deeply")
  end)

  it("refuses to encode what JSON cannot hold", function()
    for _, value in ipairs{ print, 0 / 0, math.huge, -math.huge, coroutine.create(function() end) } do
      assert.has_error(function() json.encode(value) end)
    end
  end)
end)
