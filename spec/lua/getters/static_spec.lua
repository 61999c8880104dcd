local t = require "lcache.testing"
local static = require "getters.static"

describe("getters.static", function()
  it("gives a table's values, and nothing for a key it lacks", function()
    local getter = static.new{ dark_mode = "on" }
    assert.same({ "on" }, { t.run(getter, "dark_mode") })
    assert.same({}, { t.run(getter, "beta") })
  end)

  it("keeps its own copy of the table", function()
    local flags = { beta = "off" }
    local getter = static.new(flags)
    flags.beta = 7
    assert.same({ "off" }, { t.run(getter, "beta") })
  end)

  it("gives a constant for every key", function()
    local getter = static.new("hello")
    assert.same({ "hello" }, { t.run(getter, "a") })
    assert.same({ "hello" }, { t.run(getter, "b") })
  end)

  it("calls a function as a getter", function()
    local getter = static.new(function(key, ctx) return ctx.group .. "/" .. key, nil, "1m" end)
    assert.same({ "g/k", nil, "1m" }, { t.run(getter, "k", { group = "g" }) })
  end)

  it("blames misuse on the line that calls new, and says what to use", function()
    local function message_of(source)
      local _, message = pcall(function()
        local getter = static.new(source)
        return getter
      end)
      return message
    end
    assert.matches("static_spec.lua:%d+: .* new's argument must be a table, .*, got a nil", message_of(nil))
    assert.matches('static_spec.lua:%d+: .* the value of "a" must be a string; use tostring, got a number',
      message_of{ a = 1 })
    assert.matches("static_spec.lua:%d+: .* each key must be a string .*, got a number", message_of{ [7] = "x" })
  end)
end)
